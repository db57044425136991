"""The agent as a process, a simulated Marlin as another: what was executed is counted at the printer."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fablab.lifeline import tied
from fablab.messages import Cancel, EmergencyStop, Pause, ReleaseStop, Resume, Start, StopConfirmed
from tests.builders_agent_process import AgentProcess, hub_on
from tests.builders_brokers import Mosquitto, free_port
from tests.builders_scripted_hub import FileServer, ScriptedHub, go, prepare

Until = Callable[..., None]
MK3 = """
[[machines]]
id = "mk3"
driver = "marlin_serial"
port = "mk3.port"
profile = "prusa-mk3"
"""
FILE = b"M104 S210\nM140 S60\nM109 S210\nG28\nM83\n" + b"".join(
    b"G1 X%d Y%d E0.5 F6000\n" % (20 + n % 150, 20 + n // 150) for n in range(600)
)


class Printer:
    """The simulated printer. `executed` are the lines that it carried out, checksums and numbers taken off."""

    def __init__(self, folder: Path, speed: float) -> None:
        self._control, self._log = folder / "mk3.control", folder / "mk3.log"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "fablab.devices.simulators.marlin", "--model", "mk3", "--speed", str(speed)),
                *("--link", str(folder / "mk3.port"), "--control", str(self._control), "--log", str(self._log)),
            ],
            env=tied(),
        )

    @property
    def executed(self) -> list[str]:
        return self._log.read_text(encoding="utf-8").splitlines() if self._log.exists() else []

    @property
    def homed(self) -> int:
        """Every file homes once: how often a print was begun."""
        return sum(1 for line in self.executed if line.startswith("G28"))

    @property
    def moves(self) -> int:
        return sum(1 for line in self.executed if line.startswith("G1 X") and "E0.5" in line)

    def tell(self, *words: str) -> dict[str, object]:
        with socket.socket(socket.AF_UNIX) as talk:
            talk.settimeout(5)
            talk.connect(str(self._control))
            talk.sendall((" ".join(words) + "\n").encode())
            return dict(json.loads(talk.makefile().readline()))

    @property
    def targets(self) -> object:
        return self.tell("stats")["targets"]


class Shop:
    def __init__(self, folder: Path, speed: float = 20.0) -> None:
        self.agent_folder = folder / "agent"
        self.agent_folder.mkdir()
        self.printer = Printer(self.agent_folder, speed)
        self.port = free_port()
        self.broker = Mosquitto(folder / "mosquitto", self.port).start()
        self.hub, self._bus = hub_on(self.port)
        self.files = FileServer({"/files/a": FILE})
        self.agent = AgentProcess(self.agent_folder, self.port, MK3, f'hub_url = "{self.files.url}"')

    def start(self, until: Until, failpoint: str = "") -> ScriptedHub:
        boots = len(self.agent.pids)
        self.agent.start(failpoint)
        until(
            lambda: self.hub.state("mk3") == "idle" and self.hub.states["mk3"].boot_no == boots + 1,
            seconds=60,
            why=f"not ready: {self.hub.states}",
        )
        return self.hub

    def printing(self, until: Until) -> None:
        go(self.hub, until, "mk3", "run-1", order=prepare(FILE))
        until(lambda: self.printer.moves > 20, seconds=60, why="it does not print")
        self.printer.tell("slow", "20")  # so that something of it is left for what the test does

    def close(self) -> None:
        self.agent.kill()
        self.printer.process.terminate()
        self.printer.process.wait(10)
        self.files.close()
        self._bus.close()
        self.broker.kill()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.close()


def test_a_file_is_printed_whole_and_once(shop: Shop, until: Until) -> None:
    hub = shop.start(until)
    go(hub, until, "mk3", "run-1", order=prepare(FILE))
    until(lambda: hub.ended("run-1"), seconds=120)
    facts = hub.ended("run-1")
    assert facts is not None
    assert (facts.result, facts.lines, facts.total_lines) == ("succeeded", 605, 605)
    assert facts.commanded_mm == pytest.approx((300.0,))
    assert (shop.printer.homed, shop.printer.moves) == (1, 600)
    until(lambda: hub.state("mk3") == "idle")


def test_pause_resume_and_cancel(shop: Shop, until: Until) -> None:
    hub = shop.start(until)
    shop.printing(until)
    pause = hub.order("mk3", Pause(by="Ada"), "run-1", 1, stop_no=1)
    until(lambda: hub.state("mk3") == "paused", seconds=30)
    until(lambda: hub.state_of(pause.id) == "succeeded")
    resume = hub.order("mk3", Resume(by="Ada"), "run-1", 1, stop_no=1)
    until(lambda: hub.state_of(resume.id) == "succeeded", seconds=60)
    before = shop.printer.moves
    until(lambda: shop.printer.moves > before, seconds=60)
    cancel = hub.order("mk3", Cancel(by="Ada"), "run-1", 1, stop_no=2)
    until(lambda: hub.ended("run-1"), seconds=60)
    until(lambda: hub.state_of(cancel.id) == "succeeded")
    facts = hub.ended("run-1")
    assert facts is not None
    assert facts.result == "stopped"
    assert facts.commanded_mm[0] == pytest.approx(0.5 * max(0, facts.lines - 5))
    until(lambda: shop.printer.targets == [0, 0], seconds=20)


def test_an_agent_killed_in_a_print_ends_it_and_cools_the_printer(shop: Shop, until: Until) -> None:
    shop.start(until)
    shop.printing(until)
    time.sleep(1.2)  # the position is written once a second
    shop.agent.kill()
    hub = shop.start(until)
    until(lambda: hub.ended("run-1"), seconds=30)
    facts = hub.ended("run-1")
    assert facts is not None
    assert (facts.result, facts.code) == ("failed", "host_restarted")
    assert 0 < facts.lines <= 605
    until(lambda: shop.printer.targets == [0, 0], seconds=20)
    assert shop.printer.homed == 1


@pytest.mark.parametrize("step", ["agent.5:2", "agent.6:2", "agent.7", "agent.9", "agent.10", "agent.11"])
def test_killed_at_each_step_the_printer_begins_at_most_once(shop: Shop, until: Until, step: str) -> None:
    hub = shop.start(until, step)
    first = hub.order("mk3", prepare(FILE), "run-1", 1)
    if step != "agent.7":
        until(lambda: hub.token("run-1"), seconds=30)
        first = hub.order("mk3", Start(token=hub.token("run-1")), "run-1", 1)
    until(shop.agent.reached, seconds=120)
    shop.agent.kill()
    shop.start(until)
    for _ in range(3):
        hub.send(first)
    if step in {"agent.9", "agent.10", "agent.11"}:
        until(lambda: hub.ended("run-1"), seconds=30)
    else:
        hub.order("mk3", prepare(FILE), "run-1", 1)
        until(lambda: hub.token("run-1") and hub.state("mk3") == "prepared", seconds=30)
    marker = hub.order("mk3", Cancel(), "run-1", 1, stop_no=1)
    until(lambda: hub.state_of(marker.id) == "succeeded", seconds=30)
    assert shop.printer.homed <= 1
    assert not hub.conflicts
    assert shop.printer.homed == (1 if step == "agent.11" else shop.printer.homed)


def test_a_cable_that_is_pulled_ends_the_run_and_the_printer_is_found_again(shop: Shop, until: Until) -> None:
    hub = shop.start(until)
    shop.printing(until)
    shop.printer.tell("unplug")
    until(lambda: hub.state("mk3") == "offline", seconds=30)
    shop.printer.tell("replug")
    until(lambda: hub.ended("run-1"), seconds=60)
    assert hub.ended("run-1").result == "failed"  # type: ignore[union-attr]
    until(lambda: hub.state("mk3") == "idle", seconds=60)
    assert shop.printer.homed == 1


def test_an_emergency_stop_is_confirmed_latches_and_is_released_by_a_person(shop: Shop, until: Until) -> None:
    hub = shop.start(until)
    shop.printing(until)
    stop = hub.order("mk3", EmergencyStop(by="Ada"), stop_no=1)
    until(lambda: hub.state_of(stop.id) == "succeeded", seconds=15)
    assert hub.bodies(StopConfirmed)[0].how in {"firmware", "reset"}
    until(lambda: hub.ended("run-1"))
    refused = hub.order("mk3", prepare(FILE), "run-2", 2)
    until(lambda: hub.state_of(refused.id) == "rejected")
    assert hub.code_of(refused.id) == "latched"
    hub.order("mk3", ReleaseStop(by="Ada"), stop_no=1)
    shop.printer.tell("reset")  # what DTR does on a real board; a pseudo-terminal has no such wire
    until(lambda: hub.state("mk3") == "idle", seconds=60)
    assert shop.printer.homed == 1


def test_a_service_stop_in_a_print_cancels_it_and_cools(shop: Shop, until: Until) -> None:
    hub = shop.start(until)
    shop.printing(until)
    assert shop.agent.stop() == 0
    until(lambda: hub.ended("run-1"))
    assert hub.ended("run-1").result == "stopped"  # type: ignore[union-attr]
    until(lambda: shop.printer.targets == [0, 0], seconds=20)


def test_a_print_goes_on_while_hub_and_broker_are_away(shop: Shop, until: Until) -> None:
    hub = shop.start(until)
    shop.printing(until)
    shop.broker.kill()
    shop.printer.tell("slow", "1")
    until(lambda: shop.printer.moves == 600, seconds=120)
    shop.broker.start()
    until(lambda: hub.ended("run-1"), seconds=60)
    assert hub.ended("run-1").result == "succeeded"  # type: ignore[union-attr]
    assert not hub.conflicts
