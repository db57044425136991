"""A plug as a process of its own, the agent as another, on real brokers: power is a lease that ends without us."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fablab.lifeline import tied
from fablab.messages import EmergencyStop, StopConfirmed, SwitchOff, SwitchOn
from tests.builders_agent_process import AgentProcess, hub_on
from tests.builders_brokers import DEVICES, Mosquitto, embedded, free_port

Until = Callable[..., None]

SAW = """
[[machines]]
id = "saw"
driver = "mqtt_relay"
kind = "saw"
topic = "saw"
profile = "tasmota-plug"
lease_s = 20
"""


class PlugProcess:
    """The simulated plug; `did` is what it executed, with the instants of its own clock."""

    def __init__(self, folder: Path, port: int) -> None:
        password = folder / "device.password"
        password.write_text(DEVICES[1] + "\n", encoding="utf-8")
        self.did: list[tuple[str, float]] = []
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-u", "-m", "fablab.devices.simulators.relay", "--topic", "saw", "--period", "1"),
                *("--port", str(port), "--user", DEVICES[0], "--password-file", str(password), "--load", "900"),
            ],
            env=tied(),
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            *words, at = line.split()
            self.did.append((" ".join(words), float(at)))

    def count(self, what: str) -> int:
        return sum(1 for did, _ in self.did if did == what)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Bench:
    def __init__(self, folder: Path, kind: str) -> None:
        self.port = free_port()
        self.broker = Mosquitto(folder / "mosquitto", self.port) if kind == "mosquitto" else embedded(self.port)
        self.broker.start()
        self.plug = PlugProcess(folder, self.port)
        self.hub, self.bus = hub_on(self.port)
        self.agent = AgentProcess(folder / "agent", self.port, SAW).start()

    def close(self) -> None:
        self.agent.kill()
        self.plug.kill()
        self.bus.close()
        self.broker.kill()


@pytest.fixture(params=["embedded", "mosquitto"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, until: Until) -> Iterator[Bench]:
    bench = Bench(tmp_path, request.param)
    try:
        until(lambda: bench.hub.state("saw") == "idle", seconds=40)
        yield bench
    finally:
        bench.close()


def test_power_on_for_a_time_measured_and_off_again(bench: Bench, until: Until) -> None:
    hub = bench.hub
    on = hub.order("saw", SwitchOn(seconds=600, by="Ada"))
    until(lambda: hub.state_of(on.id) == "succeeded")
    until(lambda: (hub.states["saw"].watts or 0) > 800, seconds=25)
    assert hub.states["saw"].relay_on is True
    assert hub.states["saw"].host_death == "relay_timer"
    until(lambda: bench.plug.count("power on") >= 2, seconds=15, why="the lease was not renewed")
    off = hub.order("saw", SwitchOff(by="Ada"), stop_no=1)
    until(lambda: hub.state_of(off.id) == "succeeded")
    until(lambda: hub.states["saw"].relay_on is False)
    assert bench.plug.count("timer off") == 0


def test_a_plug_whose_agent_was_killed_goes_off_by_its_own_timer(bench: Bench, until: Until) -> None:
    hub = bench.hub
    on = hub.order("saw", SwitchOn(seconds=600))
    until(lambda: hub.state_of(on.id) == "succeeded")
    bench.agent.kill()
    last = bench.plug.did[-1][1]
    until(lambda: bench.plug.count("timer off") == 1, seconds=30)
    assert bench.plug.did[-1][1] - last <= 21


def test_an_emergency_stop_cuts_the_power_and_says_that_it_was_seen(bench: Bench, until: Until) -> None:
    hub = bench.hub
    on = hub.order("saw", SwitchOn(seconds=600))
    until(lambda: hub.state_of(on.id) == "succeeded")
    stop = hub.order("saw", EmergencyStop(by="Ada"), stop_no=2)
    until(lambda: hub.state_of(stop.id) == "succeeded")
    assert hub.bodies(StopConfirmed)[0].how == "relay"
    late = hub.order("saw", SwitchOn(seconds=60), stop_no=2)
    until(lambda: hub.state_of(late.id) == "rejected")
    assert hub.code_of(late.id) == "latched"


def test_a_plug_that_is_gone_is_offline_and_found_again(bench: Bench, until: Until, tmp_path: Path) -> None:
    hub = bench.hub
    bench.plug.kill()
    until(lambda: hub.state("saw") == "offline", seconds=60)
    refused = hub.order("saw", SwitchOn(seconds=60))
    until(lambda: hub.state_of(refused.id) == "rejected")
    bench.plug = PlugProcess(tmp_path, bench.port)
    until(lambda: hub.state("saw") == "idle", seconds=60)


def test_a_retained_order_at_the_broker_switches_nothing(bench: Bench, until: Until) -> None:
    """A ghost of somebody's experiment lies on our topics: it may be of any age."""
    hub = bench.hub
    order = hub.order("saw", SwitchOn(seconds=1))
    until(lambda: hub.state_of(order.id) == "succeeded")
    topic, command = hub.orders[order.id]
    from fablab.ids import new_id
    from fablab.messages import Command, seal
    from tests.builders_scripted_hub import EPOCH, KEY

    ghost = Command(id=new_id(), machine="saw", term=command.term, body=SwitchOn(seconds=600))
    bench.bus.publish(topic, seal(topic, EPOCH, KEY, ghost), retain=True)
    until(lambda: hub.state_of(ghost.id) == "succeeded", why="a live message is taken, retained at the broker or not")
    hub.order("saw", SwitchOff(), stop_no=1)
    until(lambda: hub.states["saw"].relay_on is False, seconds=20)
    bench.agent.kill()
    on = bench.plug.count("power on")
    bench.agent.start()
    until(lambda: hub.state("saw") == "idle" and hub.states["saw"].boot_no == 2, seconds=40)
    marker = hub.order("saw", SwitchOff(), stop_no=2)
    until(lambda: hub.state_of(marker.id) == "succeeded", seconds=20)
    assert bench.plug.count("power on") == on
