"""A simulated Marlin printer in a process of its own, and our driver hosted on its port."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fablab.clock import SystemClock
from fablab.devices.drivers import Surroundings, build
from fablab.devices.hosting import Hosting
from fablab.devices.protocols.contract import Event, Print, Ready
from fablab.lifeline import tied
from fablab.messages import MachineSettings
from tests.builders_transcripts import file_of

PROFILES = {"mk3": "prusa-mk3", "mini": "marlin-mini", "big": "marlin-big"}
OWN = ("M105", "M110", "M115", "M155", "M400", "M114")
"""Commands that the host says by itself; no file here holds them."""
E = TypeVar("E")


@dataclass(frozen=True)
class Simulated:
    """A simulator in a process of its own."""

    port: Path
    control: Path
    log: Path

    def ask(self, line: str) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.control))
            connection.sendall(f"{line}\n".encode())
            answer: dict[str, Any] = json.loads(connection.makefile().readline())
        assert "error" not in answer, answer
        return answer

    def executed(self) -> list[str]:
        """The numbered commands that were executed, in order, without those that the host adds."""
        return [line for line in self.log.read_text().splitlines() if line.split()[0] not in OWN]


@contextmanager
def simulated(folder: Path, model: str, speed: float = 600) -> Iterator[Simulated]:
    there = Simulated(folder / "port", folder / "control", folder / "log")
    command = [sys.executable, "-m", "fablab.devices.simulators.marlin", "--model", model, "--speed", str(speed)]
    paths = ["--link", str(there.port), "--control", str(there.control), "--log", str(there.log)]
    process = subprocess.Popen([*command, *paths], env=tied())
    try:
        wait_for(lambda: there.port.is_symlink() and there.control.is_socket(), "the simulator is there")
        yield there
    finally:
        process.kill()
        process.wait(10)


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


@dataclass
class Hosted:
    """The driver on that port, with everything it has said so far."""

    hosting: Hosting
    events: list[Event] = field(default_factory=list)

    def until(self, kind: type[E], seconds: float = 40, fits: Callable[[E], bool] = lambda _: True) -> E:
        """Let the loop turn until an event of that kind comes; earlier ones do not count."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            fresh = self.hosting.step(0.2)
            self.events += fresh
            for event in fresh:
                if isinstance(event, kind) and fits(event):
                    return event
        raise AssertionError(f"{kind.__name__} never came; last: {self.events[-5:]}")

    def ask(self, intent: Any) -> None:
        self.events += self.hosting.ask(intent)

    def connect(self) -> None:
        self.events += self.hosting.open()
        self.until(Ready)

    def print(self, texts: list[str]) -> None:
        self.ask(Print("run", file_of(texts), len(texts)))


@contextmanager
def hosted(there: Simulated, model: str) -> Iterator[Hosted]:
    settings = MachineSettings(id="m", driver="marlin_serial", port=str(there.port), profile=PROFILES[model])
    made = build(settings, Surroundings())
    host = Hosted(Hosting(made.engine, made.transport, SystemClock()))
    try:
        yield host
    finally:
        host.hosting.dispose()


def square(moves: int) -> list[str]:
    """A small file: heat, home, then short extruding moves."""
    head = ["M140 S50", "M104 S200", "M190 S50", "M109 S200", "G28", "G90", "M83", "G1 X10 Y10 Z0.2 F6000"]
    body = [f"G1 X{10 + n % 50} Y{10 + n * 7 % 50} E0.05 F1800" for n in range(moves)]
    return [*head, *body, "M104 S0", "M140 S0", "M107", "M84"]


def as_sent(texts: list[str], model: str) -> list[str]:
    """The file after the documented rewrite: heat-and-wait is heat where the firmware knows no M108."""
    if model == "mini":
        return texts
    return [text.replace("M190", "M140").replace("M109", "M104") for text in texts]
