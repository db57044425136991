"""OctoPrint, which shares no code with us, prints a whole sliced file on each simulated Marlin printer."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fablab.devices.protocols.contract import Cancel, Print, Progressed, Ready, RunEnded, Temperatures
from fablab.devices.simulators.marlin import MODELS
from fablab.gcode.index import IndexedFile
from fablab.gcode.limits import Limits
from fablab.gcode.scan import scan
from fablab.lifeline import tied
from tests.builders_octoprint import watch
from tests.octoprint_server import OctoPrint, start_octoprint

FILE = Path(__file__).parent.parent / "fixtures" / "gcode" / "tiny-pla-mk3.gcode"
SPEED = 60
Until = Callable[..., None]


@dataclass(frozen=True)
class Simulated:
    """A simulator in a process of its own."""

    port: Path
    control: Path
    log: Path

    def ask(self, line: str) -> dict[str, Any]:
        """One control line, one answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.control))
            connection.sendall(f"{line}\n".encode())
            answer: dict[str, Any] = json.loads(connection.makefile().readline())
        return answer

    def executed(self) -> list[str]:
        """Commands in the order in which they were executed."""
        return self.log.read_text().splitlines()


@contextmanager
def simulated(until: Until, folder: Path, model: str) -> Iterator[Simulated]:
    there = Simulated(folder / model, folder / f"{model}.sock", folder / f"{model}.log")
    for left in (there.port, there.control, there.log):  # by one that was killed
        left.unlink(missing_ok=True)
    command = [sys.executable, "-m", "fablab.devices.simulators.marlin", "--model", model, "--speed", str(SPEED)]
    paths = ["--link", str(there.port), "--control", str(there.control), "--log", str(there.log)]
    process = subprocess.Popen([*command, *paths], env=tied())
    try:
        until(there.port.is_symlink)
        until(there.control.is_socket)
        yield there
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ports")


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OctoPrint]:
    ports = [str(folder / model) for model in MODELS]
    with start_octoprint(tmp_path_factory.mktemp("octoprint"), ports) as running:
        yield running


@contextmanager
def connected(server: OctoPrint, printer: Simulated) -> Iterator[None]:
    server.connect(str(printer.port))
    try:
        yield
    finally:
        server.call("POST", "/api/job", {"command": "cancel"})
        server.disconnect()


def of_the_file(executed: list[str]) -> list[str]:
    """Without what OctoPrint says by itself: questions, numbering, and its own reports."""
    own = ("M105", "M110", "M113", "M114", "M115", "M155", "M20", "M21", "M27", "M154", "M29", "M400", "M999")
    return [line for line in executed if line.split()[0] not in own]


@pytest.mark.parametrize("model", sorted(MODELS))
def test_octoprint_prints_a_full_file(
    server: OctoPrint, folder: Path, tmp_path: Path, until: Until, model: str
) -> None:
    index = tmp_path / "index"
    scan(FILE, Limits(), index)
    with simulated(until, folder, model) as printer, connected(server, printer), IndexedFile(FILE, index) as indexed:
        watched = watch(server, tmp_path / "keys")
        assert watched.greet() == Ready()
        watched.ask(Print(f"full-{model}", indexed.lines(), indexed.total, str(FILE)))
        ended = watched.until(RunEnded, 120)
        assert ended == RunEnded(f"full-{model}", "succeeded", indexed.total)
        wanted = [line.text.decode() for line in indexed.lines()]
        server.until(
            lambda: len(of_the_file(printer.executed())) >= len(of_the_file(wanted)), "the last lines are executed"
        )
        done = of_the_file(printer.executed())
        assert done == of_the_file(wanted)
        assert printer.ask("stats")["extruded_mm"] == pytest.approx(indexed.filament_mm[0], abs=0.001)
        watched.hosting.dispose()


def test_what_is_counted_when_a_print_is_cancelled_was_really_extruded(
    server: OctoPrint, folder: Path, tmp_path: Path, until: Until
) -> None:
    cube, index = FILE.with_name("cube-pla-mk3.gcode"), tmp_path / "index"
    scan(cube, Limits(), index)
    with simulated(until, folder, "mini") as printer, connected(server, printer), IndexedFile(cube, index) as indexed:
        watched = watch(server, tmp_path / "keys")
        watched.greet()
        watched.ask(Print("half", indexed.lines(), indexed.total, str(cube)))
        watched.until(Progressed, 120, lambda mark: mark.accepted > 400)
        watched.ask(Cancel())
        ended = watched.until(RunEnded)
        counted = indexed.at(ended.accepted).mm
        assert 400 < ended.accepted < indexed.total
        assert 0 < counted[0] <= printer.ask("stats")["extruded_mm"] + 0.001
        watched.hosting.dispose()


def test_a_cancel_ends_the_heat_up_where_the_firmware_knows_how(
    server: OctoPrint, folder: Path, tmp_path: Path, until: Until
) -> None:
    hot = tmp_path / "hot.gcode"
    hot.write_text("M109 S215\nG28\nG1 X10 F600\n")
    scan(hot, Limits(), tmp_path / "index")
    with simulated(until, folder, "mini") as printer, connected(server, printer):
        printer.ask(f"slow {SPEED}")  # a minute and more to 215 °C
        watched = watch(server, tmp_path / "keys")
        watched.greet()
        with IndexedFile(hot, tmp_path / "index") as indexed:
            watched.ask(Print("heat", indexed.lines(), indexed.total, str(hot)))
            watched.until(Temperatures, 20, lambda seen: seen.values["tool0"][1] == 215)
            watched.ask(Cancel())
            ended = watched.until(RunEnded, 20)
        assert (ended.result, ended.code) == ("stopped", "cancelled")
        until(lambda: printer.ask("stats")["targets"][0] == 0)
        assert printer.ask("stats")["hottest"] < 200
        watched.hosting.dispose()
