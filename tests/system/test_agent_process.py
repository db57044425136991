"""The agent as a real process on real brokers: killed at each step of an order's road, stopped in order, cut off."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fablab.messages import Cancel, Declare, EmergencyStop, Start, Started, StopConfirmed
from tests.builders_agent_process import AgentProcess, hub_on
from tests.builders_brokers import Mosquitto, embedded, free_port
from tests.builders_scripted_hub import ScriptedHub, prepare

Until = Callable[..., None]


class Place:
    """A broker, a hub, an agent's folder."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.port = free_port()
        self.broker = Mosquitto(folder / "mosquitto", self.port) if kind == "mosquitto" else embedded(self.port)
        self.broker.start()
        self.hub, self.bus = hub_on(self.port)
        self.agent = AgentProcess(folder / "agent", self.port)

    def close(self) -> None:
        self.agent.kill()
        self.bus.close()
        self.broker.kill()


@pytest.fixture(params=["embedded", "mosquitto"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path, request.param)
    yield place
    place.close()


@pytest.fixture
def on_mosquitto(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path, "mosquitto")
    yield place
    place.close()


def pressing(hub: ScriptedHub, condition: Callable[[], object]) -> Callable[[], object]:
    """A condition that the hub furthers as its outbox does: what has no answer is said again."""
    import time

    last = [time.monotonic()]

    def check() -> object:
        if time.monotonic() - last[0] > 0.5:
            last[0] = time.monotonic()
            hub.repeat()
        return condition()

    return check


def test_a_run_from_prepare_to_end_and_an_orderly_stop(place: Place, until: Until) -> None:
    hub = place.hub
    place.agent.start()
    until(lambda: hub.state("bambu") == "idle", seconds=30)
    hub.order("bambu", prepare(), "run-1", 1)
    until(lambda: hub.token("run-1"))
    start = hub.order("bambu", Start(token=hub.token("run-1")), "run-1", 1)
    until(lambda: hub.state_of(start.id) == "succeeded")
    hub.order("bambu", Declare(what="finished", minutes=12, grams=3.5), "run-1", 1)
    until(lambda: hub.ended("run-1"))
    assert place.agent.stop() == 0
    until(lambda: hub.online and not hub.online[-1].online)
    until(lambda: hub.state("bambu") == "offline")


@pytest.mark.parametrize("step", ["agent.5:2", "agent.6:2", "agent.9", "agent.10"])
def test_killed_at_a_step_of_the_start_nothing_starts_twice(on_mosquitto: Place, until: Until, step: str) -> None:
    """`:2`: the first order that comes there is the prepare."""
    hub, agent = on_mosquitto.hub, on_mosquitto.agent
    agent.start(step)
    until(lambda: hub.state("bambu") == "idle", seconds=30)
    hub.order("bambu", prepare(), "run-1", 1)
    until(pressing(hub, lambda: hub.token("run-1")))
    start = hub.order("bambu", Start(token=hub.token("run-1")), "run-1", 1)
    until(agent.reached)
    assert agent.marker.read_text().split()[1] == str(agent.pids[-1])
    agent.kill()
    agent.start()
    began = step in {"agent.9", "agent.10"}
    if began:
        # written down as about to start: whatever was, it is adopted and a person says how it ended
        until(lambda: hub.state("bambu") == "running" and hub.states["bambu"].boot_no == 2, seconds=30)
        hub.send(start)
        hub.order("bambu", Declare(what="finished", minutes=5), "run-1", 1)
        until(pressing(hub, lambda: hub.ended("run-1")))
        assert len(hub.bodies(Started, "run-1")) <= 1
    else:
        until(pressing(hub, lambda: hub.state_of(start.id) == "rejected"), seconds=30)
        assert hub.code_of(start.id) in {"token_void", "not_prepared"}
        assert not hub.bodies(Started)
        hub.order("bambu", prepare(), "run-1", 1)
        old = hub.token("run-1")
        until(pressing(hub, lambda: hub.token("run-1") != old))
        again = hub.order("bambu", Start(token=hub.token("run-1")), "run-1", 1)
        until(pressing(hub, lambda: hub.state_of(again.id) == "succeeded"))
        assert len(hub.bodies(Started, "run-1")) == 1
    assert not hub.conflicts
    assert len(set(agent.pids)) == 2


def test_killed_after_the_result_was_written_it_is_reported_once(on_mosquitto: Place, until: Until) -> None:
    hub, agent = on_mosquitto.hub, on_mosquitto.agent
    agent.start("agent.11")
    until(lambda: hub.state("bambu") == "idle", seconds=30)
    hub.order("bambu", prepare(), "run-1", 1)
    until(pressing(hub, lambda: hub.token("run-1")))
    hub.order("bambu", Start(token=hub.token("run-1")), "run-1", 1)
    until(pressing(hub, lambda: hub.bodies(Started)))
    hub.order("bambu", Declare(what="finished", minutes=5), "run-1", 1)
    until(agent.reached)
    assert hub.ended("run-1") is None
    agent.kill()
    agent.start()
    until(lambda: hub.ended("run-1"), seconds=30)
    assert not hub.conflicts


def test_a_cancel_while_the_agent_is_away_is_obeyed_when_it_is_back(on_mosquitto: Place, until: Until) -> None:
    hub, agent = on_mosquitto.hub, on_mosquitto.agent
    agent.start()
    until(lambda: hub.state("bambu") == "idle", seconds=30)
    hub.order("bambu", prepare(), "run-1", 1)
    until(pressing(hub, lambda: hub.token("run-1")))
    hub.order("bambu", Start(token=hub.token("run-1")), "run-1", 1)
    until(pressing(hub, lambda: hub.bodies(Started)))
    agent.kill()
    until(lambda: hub.online and not hub.online[-1].online, why="the last will was not published")
    cancel = hub.order("bambu", Cancel(by="Ada"), "run-1", 1, stop_no=1)
    agent.start()
    until(pressing(hub, lambda: hub.ended("run-1")), seconds=30)
    assert hub.ended("run-1").result == "stopped"  # type: ignore[union-attr]
    until(lambda: hub.state_of(cancel.id) == "succeeded")


def test_a_broker_that_was_killed_and_forgot_or_went_back_is_put_right(place: Place, until: Until) -> None:
    hub, agent = place.hub, place.agent
    agent.start()
    until(lambda: hub.state("bambu") == "idle", seconds=30)
    hub.order("bambu", prepare(), "run-1", 1)
    until(lambda: hub.state("bambu") == "prepared")
    place.broker.kill()
    place.broker.start()
    fresh, bus = hub_on(place.port)
    try:
        until(lambda: fresh.state("bambu") == "prepared", seconds=40, why="the picture was not published again")
        until(lambda: fresh.online and fresh.online[-1].online, seconds=10)
    finally:
        bus.close()


def test_a_wrong_password_is_said_once_in_the_log(place: Place, until: Until) -> None:
    token = place.agent.folder / "agent.token"
    token.write_text(token.read_text().replace("agent:word", "another word"))
    place.agent.start()
    until(lambda: "no broker" in place.agent.words(), seconds=20)
    place.agent.stop()
    lines = [line for line in place.agent.words().splitlines() if "no broker" in line]
    assert len(lines) == 2, "one for each of the two connections"
    assert "another word" not in place.agent.words()


def test_sigterm_twice_means_now(on_mosquitto: Place, until: Until, tmp_path: Path) -> None:
    place = on_mosquitto
    place.agent.start()
    until(lambda: place.hub.state("bambu") == "idle", seconds=30)
    assert place.agent.process is not None
    place.agent.process.terminate()
    place.agent.process.terminate()
    assert place.agent.process.wait(15) == 0


def test_an_emergency_stop_is_answered_though_the_machine_has_no_wire(place: Place, until: Until) -> None:
    hub = place.hub
    place.agent.start()
    until(lambda: hub.state("bambu") == "idle", seconds=30)
    stop = hub.order("bambu", EmergencyStop(by="Ada"), stop_no=1)
    until(lambda: hub.bodies(StopConfirmed))
    assert hub.bodies(StopConfirmed)[0].how == "none"
    until(lambda: hub.state_of(stop.id) == "failed")
