"""Runs a transcript against the engine: both directions, time and events. What is unread or unsaid at its end fails.

# profile: NAME            # ignore: Event Event      (in the header)
@ Print        an intent; the lines of the file follow as `| G28`
> text         must be written exactly so          < text    is received
! 31 s         time goes by                        = Event(field=value)   expected; unnamed fields are free
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fablab.devices.drivers.marlin_serial import dialect_of, vet_for
from fablab.devices.protocols import contract
from fablab.devices.protocols.marlin import Marlin
from fablab.profiles import find_profile


@dataclass(frozen=True)
class FileLine:
    """One line of a file as the index gives it."""

    number: int
    text: bytes
    layer: int = 0
    mm: tuple[float, ...] = ()


def file_of(texts: list[str]) -> Iterator[FileLine]:
    return iter([FileLine(number, text.encode()) for number, text in enumerate(texts, 1)])


@dataclass
class Replay:
    """An engine, the time, and what it said and wrote that nobody has looked at yet."""

    profile: str
    ignored: frozenset[str]
    now: float = 1000.0
    written: list[str] = field(default_factory=list)
    said: list[contract.Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        profile = find_profile(self.profile)
        self.engine = Marlin(dialect_of(profile), vet_for(profile.limits()))
        self.rest = b""

    def collect(self, events: Any) -> None:
        self.said += [event for event in events if type(event).__name__ not in self.ignored]
        *lines, self.rest = (self.rest + b"".join(self.engine.to_write())).split(b"\n")
        self.written += [line.decode() for line in lines]

    def ask(self, intent: contract.Intent) -> None:
        self.collect([*self.engine.tick(self.now), *self.engine.ask(intent)])

    def hear(self, text: str) -> None:
        self.collect(self.engine.tick(self.now))
        self.collect(self.engine.receive(text.encode() + b"\n"))

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.engine.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.collect(self.engine.tick(self.now))
        self.now = end
        self.collect(self.engine.tick(self.now))


def run_transcript(path: Path, profile: str | None = None) -> None:
    """Raises AssertionError with the line of the transcript at which the engine did something else."""
    lines = path.read_text(encoding="utf-8").splitlines()
    header = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# ") and ": " in line)
    replay = Replay(profile or header["profile"], frozenset(header.get("ignore", "").split()))
    body = [(number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
    for place, (number, line) in enumerate(body):
        mark, _, text = line.partition(" ")
        where = f"{path.name}:{number}: {line}"
        if mark == ">":
            assert replay.written, f"{where}: nothing was written; said {replay.said}"
            assert replay.written.pop(0) == text, where
        elif mark == "<":
            assert not replay.written, f"{where}: written before: {replay.written}"
            replay.hear(text)
        elif mark == "!":
            assert not replay.written, f"{where}: written before: {replay.written}"
            replay.pass_time(float(text.split()[0]))
        elif mark == "=":
            assert replay.said, f"{where}: nothing was said; written {replay.written}"
            check_event(replay.said.pop(0), text, where)
        elif mark == "@":
            replay.ask(intent_of(text, body[place + 1 :]))
    assert (replay.written, replay.said) == ([], []), f"{path.name}: unread or unsaid at its end"


def check_event(event: contract.Event, text: str, where: str) -> None:
    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call) and isinstance(call.func, ast.Name), where
    assert type(event).__name__ == call.func.id, f"{where}: got {event}"
    for keyword in call.keywords:
        assert keyword.arg is not None
        assert getattr(event, keyword.arg) == ast.literal_eval(keyword.value), f"{where}: got {event}"


def intent_of(text: str, following: list[tuple[int, str]]) -> contract.Intent:
    name, _, rest = text.partition(" ")
    if name == "Print":
        texts = []
        for _, line in following:
            if not line.startswith("| "):
                break
            texts.append(line[2:])
        return contract.Print("r1", file_of(texts), len(texts))
    if name == "Console":
        return contract.Console(rest.encode())
    return getattr(contract, name)()  # type: ignore[no-any-return]
