"""The engine contract: five methods, the intents that may be asked and the events that may come back.

An engine is a value: it owns no port, no clock, no thread. `tick(now)` is called before every `receive` and `ask`;
`now` is monotonic seconds. Items are bytes (serial), request or answer values (HTTP) or (topic, payload) (MQTT).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class PrintLine(Protocol):
    """One line to be sent, as the index of the file gives it (fablab.gcode.index.IndexedLine is one)."""

    @property
    def number(self) -> int:
        """1-based order among the lines to be sent."""
        ...

    @property
    def text(self) -> bytes:
        """Command without comment, number, checksum or line end; 7-bit ASCII."""
        ...

    @property
    def layer(self) -> int: ...

    @property
    def mm(self) -> tuple[float, ...]:
        """Net commanded filament per tool up to and including this line, millimetres."""
        ...

    @property
    def end(self) -> int:
        """Byte of the file just after this line, its line end included: for machines that count bytes."""
        ...


# ---------------------------------------------------------------- intents


@dataclass(frozen=True)
class Connect:
    """Say hello to the machine; asked once after the transport was opened."""


@dataclass(frozen=True)
class Print:
    """Run a file. `path` is the checked file on disk, for machines that take whole files."""

    run: str
    lines: Iterator[PrintLine] = field(compare=False)
    total: int
    path: str = ""


@dataclass(frozen=True)
class Adopt:
    """A run that was going on before the agent restarted: watch it, if the machine still has it.

    With the file's lines, what the machine has taken can still be counted; without them only its end is told.
    """

    run: str
    lines: Iterator[PrintLine] = field(default_factory=lambda: iter(()), compare=False)
    total: int = 0


@dataclass(frozen=True)
class Pause:
    pass


@dataclass(frozen=True)
class Resume:
    pass


@dataclass(frozen=True)
class Cancel:
    """Stop the run in order: heaters off, head lifted; works during heat-up."""


@dataclass(frozen=True)
class EmergencyStop:
    """Whatever stops soonest; nothing else is written before it."""


@dataclass(frozen=True)
class HeatersOff:
    """All heaters and the part fan off; no run is meant."""


@dataclass(frozen=True)
class Console:
    """One line typed by a technician; already checked against the allow-list."""

    text: bytes


@dataclass(frozen=True)
class AnswerPrompt:
    choice: int


@dataclass(frozen=True)
class Switch:
    on: bool
    seconds: int = 0  # when on: switch off after this unless told again


@dataclass(frozen=True)
class Declare:
    """A person's word: the manual driver's machine has `finished` or `failed`."""

    what: str
    minutes: int | None = None
    grams: float | None = None


Intent = (
    Connect
    | Print
    | Adopt
    | Pause
    | Resume
    | Cancel
    | EmergencyStop
    | HeatersOff
    | Console
    | AnswerPrompt
    | Switch
    | Declare
)


# ---------------------------------------------------------------- events


@dataclass(frozen=True)
class Identified:
    """Who answered. `capabilities` are names that are on (Cap:… lines, or a driver's own)."""

    firmware: str
    model: str = ""
    uuid: str = ""
    capabilities: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ready:
    """The machine takes orders now. `foreign` names a job that is not ours and runs there."""

    foreign: str = ""


@dataclass(frozen=True)
class LinkLost:
    """Nobody answers; the worker closes the transport and tries again later."""

    code: str


@dataclass(frozen=True)
class Halted:
    """The firmware stopped itself and needs a reset or a person. `text` is what it said."""

    code: str
    text: str = ""


@dataclass(frozen=True)
class WasReset:
    """The board rebooted: line numbers, position and heat are gone."""


@dataclass(frozen=True)
class Temperatures:
    """Sensor name (tool0, bed, chamber) → (actual °C, target °C or None)."""

    values: dict[str, tuple[float, float | None]] = field(hash=False)


@dataclass(frozen=True)
class Began:
    """The machine took the first line of the run."""

    run: str


@dataclass(frozen=True)
class StartUnknown:
    """The start was given out and nobody can tell whether it was taken: never repeated, a person decides.

    The engine goes on watching; a late `Began` or `RunEnded` of the same run may follow.
    """

    run: str
    code: str


@dataclass(frozen=True)
class Progressed:
    """Marks of the run: `sent` ≥ `accepted` ≥ `done`, counted in lines of the file."""

    sent: int
    accepted: int
    done: int = 0
    fraction: float | None = None  # where the machine counts in another unit
    remaining_s: int | None = None


@dataclass(frozen=True)
class HeldStill:
    """The run is paused. `by` is host | machine | rule; `code` says why where the machine said it."""

    by: str = "host"
    code: str = ""


@dataclass(frozen=True)
class WentOn:
    pass


@dataclass(frozen=True)
class RunEnded:
    """The attempt is over: result succeeded | failed | stopped. `accepted` lines were taken.

    `mm` is the commanded filament per tool that may be charged (None: the worker looks it up at `accepted`).
    """

    run: str
    result: str
    accepted: int
    code: str = ""
    mm: tuple[float, ...] | None = None
    minutes: int | None = None
    grams: float | None = None


@dataclass(frozen=True)
class Resent:
    """The firmware asked for line `n` again (statistics)."""

    n: int


@dataclass(frozen=True)
class Silent:
    """No sign of life for `after` seconds although an answer is due."""

    after: float


@dataclass(frozen=True)
class StopSeen:
    """How an emergency stop was confirmed: firmware | reset | relay | none."""

    how: str


@dataclass(frozen=True)
class Prompted:
    """The machine asks a person something; empty text: the question is gone."""

    text: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Power:
    on: bool | None
    watts: float | None = None
    wh_total: float | None = None


@dataclass(frozen=True)
class Warned:
    """Worth a word on the machine's page, not an alarm."""

    code: str
    data: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Replied:
    """A line that answers a technician's console line."""

    text: str


Event = (
    Identified
    | Ready
    | LinkLost
    | Halted
    | WasReset
    | Temperatures
    | Began
    | StartUnknown
    | Progressed
    | HeldStill
    | WentOn
    | RunEnded
    | Resent
    | Silent
    | StopSeen
    | Prompted
    | Power
    | Warned
    | Replied
)


# ---------------------------------------------------------------- items of machines that speak HTTP


@dataclass(frozen=True)
class Upload:
    """A file that goes out as multipart field `file`, streamed from `path` under `name`."""

    path: str
    name: str


@dataclass(frozen=True)
class HttpRequest:
    """One request. Lanes are independent of each other; within one, order is kept.

    `usual` for questions and orders, `upload` for files, `urgent` for what must not wait behind either.
    """

    number: int  # given back in the answer
    method: str
    path: str  # below the machine's base address, begins with "/"
    json: dict[str, Any] | None = field(default=None, hash=False)
    upload: Upload | None = None
    lane: str = "usual"
    timeout: float = 10.0  # seconds for each step: connect, send a piece, wait for the answer


@dataclass(frozen=True)
class HttpAnswer:
    """What became of a request: a status with decoded JSON, or status 0 and an `error`.

    unreachable | dropped | no_file: it never left. timeout | broken: it may have been obeyed.
    not_http: what answers speaks something else (a server that is only starting).
    """

    number: int
    status: int
    json: Any = field(default=None, hash=False)
    error: str = ""


class Engine(Protocol):
    """What every file in this folder provides."""

    def receive(self, item: Any) -> Sequence[Event]:
        """Take what came from the machine."""
        ...

    def ask(self, intent: Intent) -> Sequence[Event]:
        """Take an order. Raises `Refused` where the present state does not allow it."""
        ...

    def to_write(self) -> Sequence[Any]:
        """Everything that should leave now; handed out once."""
        ...

    def deadline(self) -> float | None:
        """The next instant (monotonic seconds) at which `tick` wants to be called, or None."""
        ...

    def tick(self, now: float) -> Sequence[Event]:
        """Be told the time."""
        ...


class Refused(Exception):
    """An intent that does not fit the engine's state. `code` is stable, `data` names what was in the way."""

    def __init__(self, code: str, **data: Any) -> None:
        super().__init__(code)
        self.code = code
        self.data = data


class Transport(Protocol):
    """The only things that open something. One file each in devices/transports."""

    def open(self) -> None:
        """Raises OSError where the machine cannot be reached."""
        ...

    def wait(self, timeout: float | None, wake_fd: int, writing: bool) -> None:
        """Block until input is there, `wake_fd` is readable, output room (where `writing`), or the timeout."""
        ...

    def read(self) -> Sequence[Any]:
        """What has come, without blocking. Raises OSError when the line is dead."""
        ...

    def write(self, items: Sequence[Any]) -> bool:
        """Hand over without blocking; True while something of it still waits inside the transport."""
        ...

    def drop_pending(self) -> None:
        """Forget what was handed over and has not left: an emergency stop goes first."""
        ...

    def reset_board(self) -> bool:
        """Pull the reset line where there is one; False where there is none."""
        ...

    def close(self) -> None: ...
