"""A hub, a scripted agent and a wire between them, on a real database with a clock that is moved by hand."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fablab.bus import Message
from fablab.bus_local import LocalBus, LocalNet
from fablab.clock import ManualClock
from fablab.db import Database
from fablab.gcode.facts import Comments, Facts, Measured
from fablab.queue import jobs, runs, summaries
from fablab.queue.loop import Hub
from fablab.queue.tables import Job, Run
from tests.builders_agent import SITE, ScriptedAgent
from tests.builders_hub import NOW, make_database

GCODE = b"G28\nG1 X10 Y10 E4000 F1200\n"


def facts_of(path: Path, **more: Any) -> Facts:
    """What a reader would say of a small PLA file of 10 minutes and 4 m."""
    given: dict[str, Any] = {
        "slicer": "PrusaSlicer", "slicer_version": "2.5", "dialect": "marlin", "printer_model": None,
        "material": "PLA", "nozzle_mm": 0.4, "layer_height_mm": 0.2, "first_layer_c": 215.0,
        "first_layer_bed_c": 60.0, "comments": Comments(time_s=600.0),
        "measured": Measured(
            time_s=580.0, filament_mm=(4000.0,), bbox_mm=((10, 10, 0), (60, 60, 20)), travel_mm=None, layers=100,
            max_temperatures={"tool0": 215.0, "bed": 60.0},
        ),
        "hazards": (), "lines": 2, "size": len(GCODE), "sha256": hashlib.sha256(GCODE).hexdigest(), **more,
    }  # fmt: skip
    return Facts(**given)


class World:
    """Everything of one test. `round` lets hub and agent talk until nothing more is said."""

    def __init__(self, folder: Path, url: str | None = None, password: str | None = None, **net: Any) -> None:
        self.database: Database = make_database(url or f"sqlite:///{folder / 'lab.db'}", password)
        self.clock = ManualClock(NOW)
        self.net = LocalNet(**net)
        self.folder = folder
        self.reader: Callable[[Path], Facts] = facts_of
        self.hub = self.make_hub()
        bus = LocalBus(self.net)
        self.agent_bus = bus
        self.agent = ScriptedAgent(lambda topic, payload: bus.publish(topic, payload, 1, topic.endswith("/state")))
        for pattern in (f"fablab/v1/{SITE}/m/+/order", f"fablab/v1/{SITE}/m/+/stop", f"fablab/v1/{SITE}/agent/main/+"):
            bus.subscribe(pattern, self._to_agent)
        bus.start()

    def make_hub(self) -> Hub:
        """A hub whose rounds the test drives; alarms and threads stay off."""
        bus = LocalBus(self.net)
        hub = Hub(self.database, bus, self.clock, self.folder, lambda path: self.reader(path))
        hub.listen()
        return hub

    def _to_agent(self, message: Message) -> None:
        if not message.topic.endswith(("/reports", "/online")):
            self.agent.receive(message.topic, message.payload)

    def round(self, times: int = 4) -> None:
        for _ in range(times):
            self.net.pump()
            self.hub.step()
        self.net.pump()

    def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.round()

    def send(self, asker: str = "ana", **choices: Any) -> str:
        """Send a file and have it measured; returns the draft's id."""
        file = jobs.SentFile(hashlib.sha256(GCODE).hexdigest(), len(GCODE), "cube.gcode")
        with self.database.write() as session:
            (job_id,) = jobs.create_jobs(
                session, self.clock.now(), asker, site_id=SITE, asker=asker, file=file, choices=jobs.Choices(**choices)
            )
        self.hub.measure_waiting()
        return job_id

    def do(self, verb: Callable[..., Any], *arguments: Any, actor: str = "max", **named: Any) -> Any:
        """A verb of a person, in a transaction of its own, then the talk that follows."""
        with self.database.write() as session:
            done = verb(session, self.clock.now(), actor, *arguments, **named)
        self.hub.nudge()
        self.round()
        return done

    def queued(self, asker: str = "ana", **choices: Any) -> str:
        """A confirmed job whose agent is there, claimed by now."""
        self.agent.say_hello()
        self.round()
        job_id = self.send(asker, **choices)
        self.do(jobs.confirm, job_id, actor=asker)
        return job_id

    def prepared(self, **choices: Any) -> tuple[str, str]:
        """Job and run, ready for a go."""
        job_id = self.queued(**choices)
        order = self.agent.prepare()
        self.round()
        return job_id, order.run

    def running(self, **choices: Any) -> tuple[str, str, Any]:
        """Job, run, and the start order that the agent performed."""
        from fablab.messages import Start

        job_id, run_id = self.prepared(**choices)
        self.do(runs.go, run_id)
        order = self.agent.last(Start, run_id)
        self.agent.start(order)
        self.round()
        return job_id, run_id, order

    def ended(self, result: str = "succeeded", **facts: Any) -> tuple[str, str]:
        job_id, run_id, order = self.running()
        self.agent.end(order, result, **facts)
        self.round()
        return job_id, run_id

    def state(self, job_id: str) -> str:
        with self.database.read() as session:
            return session.get_one(Job, job_id).state

    def run_state(self, run_id: str) -> str:
        with self.database.read() as session:
            return session.get_one(Run, run_id).state

    def summary(self, job_id: str) -> dict[str, Any]:
        with self.database.read() as session:
            return summaries.job_summary(session, self.clock.now(), job_id)

    def machine(self, machine_id: str) -> dict[str, Any]:
        with self.database.read() as session:
            return summaries.machine_summary(session, self.clock.now(), machine_id)

    def rows(self, statement: Any) -> list[Any]:
        with self.database.read() as session:
            return list(session.scalars(statement))
