"""The real hub and the real agent on one wire: from the queue to the shelf, a cancel, a bad wire, a killed agent."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from fablab.bus_local import LocalBus
from fablab.clock import SystemClock
from fablab.config import AgentSettings, Config, Site
from fablab.devices.agent import Agent
from fablab.devices.agent_token import AgentToken
from fablab.devices.journal import Journal
from fablab.messages import MachineSettings
from fablab.queue import claims, jobs, runs
from fablab.queue.tables import Job, Run
from tests.builders_agent import SITE
from tests.builders_hub import KEY
from tests.builders_world import World

Until = Callable[..., None]
TOKEN = AgentToken(agent="main", mqtt_user="a", mqtt_password="p", http_token="h", hmac_key=KEY.hex())


class Place:
    """The hub of `World`, with a real agent in place of the scripted one."""

    def __init__(self, folder: Path, until: Until, **net: float) -> None:
        self.world = World(folder, **net)
        self.world.agent_bus.close()
        self.folder = folder / "agent"
        self._until = until

    def config(self) -> Config:
        return Config(
            site=Site(id=SITE),
            agent=AgentSettings(id="main", hub_url="http://127.0.0.1:9"),
            machines=tuple(MachineSettings(id=name, driver="manual") for name in ("mk3", "xl")),
            folder=str(self.folder),
        )

    @contextmanager
    def agent(self, orderly: bool = True) -> Iterator[Agent]:
        self.folder.mkdir(exist_ok=True)
        clock, holder = SystemClock(), []
        net = self.world.net
        bus, stops = LocalBus(net, will=lambda: holder[0].presence.will()), LocalBus(net)
        agent = Agent(self.config(), TOKEN, clock, Journal(self.folder / "journal.db", clock.now()), bus, stops)
        holder.append(agent)
        agent.start()
        stop = threading.Event()
        thread = threading.Thread(target=agent.run, args=(stop,), daemon=True)
        thread.start()
        try:
            self.until(lambda: agent.presence.greeted)
            # its doubts about the plates are in the database before anybody says that they are free
            self.until(lambda: agent.journal.applied == agent.journal.next_seq - 1)
            yield agent
        finally:
            stop.set()
            thread.join(10)
            if orderly:
                agent.stop()
            else:
                bus.cut()
                stops.cut()
                agent.supervisor.halt("now", 5)
                agent.journal.shut()

    def until(self, condition: Callable[[], object], seconds: float = 40) -> None:
        """Hub and wire go on while we wait; the hub's clock moves with each look, so that its outbox tries again."""

        def look() -> object:
            self.world.clock.advance(0.2)
            self.world.round(1)
            return condition()

        self._until(look, seconds=seconds)

    def free_plates(self) -> None:
        for machine in ("mk3", "xl"):
            if self.world.machine(machine)["plate"] != "free":
                self.world.do(claims.cleared, machine)

    def queued(self) -> str:
        job_id = self.world.send()
        self.world.do(jobs.confirm, job_id, actor="ana")
        return job_id

    def run_of(self, job_id: str) -> Run:
        return self.world.rows(select(Run).where(Run.job_id == job_id).order_by(Run.id.desc()))[0]

    def prepared(self, job_id: str) -> str:
        self.until(lambda: self.world.rows(select(Run.id).where(Run.job_id == job_id)))
        self.until(lambda: self.run_of(job_id).state == "prepared")
        return self.run_of(job_id).id


@pytest.fixture
def place(tmp_path: Path, until: Until) -> Iterator[Place]:
    place = Place(tmp_path, until)
    yield place
    place.world.hub.lease.release()
    place.world.database.dispose()


def test_a_job_goes_from_the_queue_to_the_shelf(place: Place) -> None:
    world = place.world
    with place.agent():
        place.until(lambda: world.rows(select(Job)) is not None)
        place.free_plates()
        job_id = place.queued()
        run_id = place.prepared(job_id)
        world.do(runs.go, run_id)
        place.until(lambda: world.state(job_id) == "running")
        world.do(runs.finish, run_id, minutes=45, grams=12.0)
        place.until(lambda: world.state(job_id) == "to_judge")
        world.do(runs.judge, run_id, verdict="good", shelf="A3")
        place.until(lambda: world.state(job_id) == "done")
        facts = place.run_of(job_id).facts
        assert facts is not None
        assert (facts["kind"], facts["seconds"], facts["declared_g"]) == ("declared", 2700, 12.0)


def test_a_cancel_before_the_go_lets_everything_go(place: Place) -> None:
    world = place.world
    with place.agent():
        place.free_plates()
        job_id = place.queued()
        place.prepared(job_id)
        world.do(jobs.cancel, job_id, actor="ana")
        place.until(lambda: world.state(job_id) == "cancelled")
        second = place.queued()
        place.prepared(second)


def test_an_agent_that_was_killed_after_preparing_is_asked_to_prepare_again(place: Place) -> None:
    world = place.world
    with place.agent(orderly=False):
        place.free_plates()
        job_id = place.queued()
        run_id = place.prepared(job_id)
        void = place.run_of(job_id).token
    with place.agent():
        place.until(lambda: place.run_of(job_id).state == "prepared" and place.run_of(job_id).token != void)
        world.do(runs.go, run_id)
        place.until(lambda: world.state(job_id) == "running")
        assert len(world.rows(select(Run.id).where(Run.job_id == job_id))) == 1


@pytest.mark.parametrize("seed", [1, 2])
def test_on_a_bad_wire_a_job_still_comes_to_its_end_once(tmp_path: Path, until: Until, seed: int) -> None:
    place = Place(tmp_path, until, seed=seed, drop=0.2, repeat=0.2, reorder=0.3)
    world = place.world
    with place.agent():
        place.free_plates()
        job_id = place.queued()
        run_id = place.prepared(job_id)
        world.do(runs.go, run_id)
        place.until(lambda: world.state(job_id) == "running")
        world.do(runs.finish, run_id, minutes=10, grams=1.0)
        place.until(lambda: world.state(job_id) == "to_judge")
        assert len(world.rows(select(Run.id).where(Run.job_id == job_id))) == 1
    world.hub.lease.release()
    world.database.dispose()
