"""Reads OctoPrint's answers: what the printer does, whose job it is, how a job ended. Pure; asks nothing itself.

Facts: OctoPrint's documentation of its REST API and the code of 1.8 to 1.11. `flags.printing` is also true while a job
starts, pauses, resumes, finishes or is cancelled, so the narrower flags are tested first; `completion` is percent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from fablab.devices.protocols.contract import HttpAnswer, PrintLine

READ_AHEAD = 2
"""Lines that OctoPrint has read from the file and its printer has not acknowledged: one on the wire, one waiting."""


class Printer(Enum):
    """What OctoPrint says of its printer."""

    CLOSED = auto()
    OPENING = auto()
    FAILED = auto()  # closed after an error, which is told in words
    IDLE = auto()
    PRINTING = auto()
    PAUSED = auto()
    CANCELLING = auto()


@dataclass(frozen=True)
class Seen:
    """One look at OctoPrint: printer and job, a few milliseconds apart."""

    printer: Printer
    file: str = ""  # name of the selected file, "" where none is
    error: str = ""
    pausing: bool = False
    filepos: int | None = None  # bytes that were read from the file
    size: int | None = None
    completion: float | None = None  # percent
    remaining_s: int | None = None
    temperatures: dict[str, tuple[float, float | None]] = field(default_factory=dict, hash=False)

    @property
    def busy(self) -> bool:
        return self.printer in (Printer.PRINTING, Printer.PAUSED, Printer.CANCELLING)

    @property
    def fraction(self) -> float | None:
        """Part of the file that was read, 0 … 1."""
        if self.filepos is not None and self.size:
            return min(1.0, self.filepos / self.size)
        return None if self.completion is None else min(1.0, self.completion / 100)


def read(printer: HttpAnswer, job: HttpAnswer) -> Seen | None:
    """Put /api/printer and /api/job together; None where they cannot be what OctoPrint answers."""
    body = _table(job.json)
    if job.status != 200 or printer.status not in (200, 409):
        return None
    file, progress = _table(_table(body.get("job")).get("file")), _table(body.get("progress"))
    error = str(body.get("error") or "")
    flags = _table(_table(_table(printer.json).get("state")).get("flags"))
    return Seen(
        printer=_from_flags(flags) if printer.status == 200 else _from_text(str(body.get("state") or ""), error),
        file=str(file.get("name") or ""),
        error=error,
        pausing=bool(flags.get("pausing")),
        filepos=_whole(progress.get("filepos")),
        size=_whole(file.get("size")),
        completion=_number(progress.get("completion")),
        remaining_s=_whole(progress.get("printTimeLeft")),
        temperatures=_temperatures(_table(_table(printer.json).get("temperature"))),
    )


def _from_flags(flags: Mapping[str, Any]) -> Printer:
    if flags.get("closedOrError"):
        return Printer.FAILED if flags.get("error") else Printer.CLOSED
    if flags.get("cancelling"):
        return Printer.CANCELLING
    if flags.get("paused"):
        return Printer.PAUSED
    return Printer.PRINTING if flags.get("printing") else Printer.IDLE


def _from_text(state: str, error: str) -> Printer:
    """Only for a printer that is not operational: OctoPrint gives no flags then."""
    if error or "error" in state.lower():
        return Printer.FAILED
    opening = state.startswith(("Opening", "Connecting", "Detecting"))
    return Printer.OPENING if opening else Printer.CLOSED


def _temperatures(table: Mapping[str, Any]) -> dict[str, tuple[float, float | None]]:
    values: dict[str, tuple[float, float | None]] = {}
    for name, entry in table.items():
        actual = _number(_table(entry).get("actual"))
        if actual is not None:
            values[name] = (actual, _number(_table(entry).get("target")))
    return values


# ---------------------------------------------------------------- the life of a run


class Sight(Enum):
    """One look, as the owner of a certain file sees it."""

    PRINTING = auto()
    PAUSED = auto()
    CANCELLING = auto()
    DONE = auto()  # ours is selected, complete, and the printer stands idle
    NOT_OURS = auto()  # idle without a finished file of ours, or busy with another's
    OFFLINE = auto()


class Phase(Enum):
    """Where a run of ours stands at OctoPrint."""

    UPLOADING = auto()
    STARTING = auto()  # the one order to print is out
    ADOPTING = auto()  # it was started before we came
    RUNNING = auto()
    PAUSED = auto()
    RESOLVING = auto()  # no longer seen to print: OctoPrint's own record of the file decides
    DOUBTFUL = auto()  # a person was asked; we go on watching


_SEEN_ALIVE = {Sight.PRINTING: Phase.RUNNING, Sight.CANCELLING: Phase.RUNNING, Sight.PAUSED: Phase.PAUSED}
_SEEN_GONE = {Sight.DONE: Phase.RESOLVING, Sight.NOT_OURS: Phase.RESOLVING, Sight.OFFLINE: Phase.RESOLVING}

NEXT: dict[tuple[Phase, Sight], Phase] = {
    (phase, sight): after
    for phase, table in {
        Phase.STARTING: _SEEN_ALIVE | {Sight.DONE: Phase.RESOLVING, Sight.OFFLINE: Phase.RESOLVING},
        Phase.ADOPTING: _SEEN_ALIVE | _SEEN_GONE,
        Phase.RUNNING: _SEEN_ALIVE | _SEEN_GONE,
        Phase.PAUSED: _SEEN_ALIVE | _SEEN_GONE,
        Phase.RESOLVING: _SEEN_ALIVE,
        Phase.DOUBTFUL: _SEEN_ALIVE | {Sight.DONE: Phase.RESOLVING},
    }.items()
    for sight, after in table.items()
}
"""(phase, sight) → phase; a pair that is absent changes nothing."""


def sight(seen: Seen, file: str) -> Sight:
    """What one look means for the run that prints `file`."""
    if seen.printer in (Printer.CLOSED, Printer.OPENING, Printer.FAILED):
        return Sight.OFFLINE
    if seen.file != file:
        return Sight.NOT_OURS
    if seen.busy:
        return {Printer.PRINTING: Sight.PRINTING, Printer.PAUSED: Sight.PAUSED}.get(seen.printer, Sight.CANCELLING)
    # a cancelled job has no progress any more, a finished one keeps its 100 %
    return Sight.DONE if seen.completion is not None and seen.completion >= 100 else Sight.NOT_OURS


@dataclass(frozen=True)
class Verdict:
    result: str  # succeeded | failed | stopped
    code: str = ""


_REASONS = {
    "firmware": "firmware_error",
    "resend": "resend_failed",
    "resend_loop": "resend_failed",
    "timeout": "printer_silent",
    "connection": "printer_lost",
    "start_print": "start_refused",
    "autodetect": "printer_lost",
}
"""OctoPrint's `reason` of an error (from 1.10) → our code."""


def verdict(record: HttpAnswer, trouble: HttpAnswer, seen: Seen | None, *, cancelled: bool) -> Verdict | None:
    """How our file's one print ended, by OctoPrint's record of the file; None where it has none (yet).

    `record` answers /api/files/local/<file>, `trouble` answers /api/printer/error (404 before 1.10). The file's name is
    the run's, so its counters speak of this attempt and no other.
    """
    prints = _table(_table(record.json).get("prints")) if record.status == 200 else {}
    if _whole(prints.get("success")):
        return Verdict("succeeded")
    if not _whole(prints.get("failure")):
        return None
    reason = str(_table(trouble.json).get("reason") or "") if trouble.status == 200 else ""
    if reason:
        return Verdict("failed", _REASONS.get(reason, "printer_error"))
    if cancelled:
        return Verdict("stopped", "cancelled")
    if seen is not None and seen.printer in (Printer.CLOSED, Printer.FAILED, Printer.OPENING):
        return Verdict("failed", "printer_lost")
    return Verdict("stopped", "stopped_at_machine")


# ---------------------------------------------------------------- bytes → lines


class Marks:
    """How far a file is, by the byte that OctoPrint has read to; pulls the lines as far as that and no further."""

    def __init__(self, lines: Iterator[PrintLine], total: int) -> None:
        self.total = total
        self._lines = lines
        self._waiting: PrintLine | None = None
        self.sent = 0

    @property
    def accepted(self) -> int:
        """A lower bound of the lines that the printer has acknowledged."""
        return max(0, self.sent - READ_AHEAD)

    def up_to(self, filepos: int) -> None:
        """All lines that end at or before byte `filepos` were read."""
        while True:
            line = self._waiting if self._waiting is not None else next(self._lines, None)
            if line is None or line.end > filepos:
                self._waiting = line
                return
            self._waiting, self.sent = None, line.number


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None or number != number or abs(number) > 1e15 else int(number)
