"""Facts on their way to the hub: written to the journal first, published after. Decides nothing, builds no topic."""

import logging
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from fablab.clock import Clock
from fablab.devices.journal import Journal, ReportRow
from fablab.failpoints import reach
from fablab.messages import Answer, Command, Report, ReportBody

log = logging.getLogger(__name__)

Send = Callable[[ReportRow], None]


class Reporter:
    """Shared by all workers. What cannot be written stays in memory, is tried again, and blocks new starts."""

    def __init__(self, journal: Journal, clock: Clock, send: Send) -> None:
        self.journal = journal
        self._clock = clock
        self._send = send
        self._unwritten: list[tuple[tuple[ReportBody, ...], Callable[[], object] | None]] = []
        self._lock = threading.Lock()

    @property
    def blocked(self) -> bool:
        """Whether results wait in memory because the journal takes nothing."""
        return bool(self._unwritten)

    def say(self, *bodies: ReportBody, also: Callable[[], object] | None = None, point: str = "") -> bool:
        """Write reports, and what `also` writes beside them, in one transaction; then publish them.

        False where the journal takes nothing now: they wait in memory.
        """
        try:
            rows = self._write(bodies, also)
        except sqlite3.Error as error:
            with self._lock:
                if not self._unwritten:
                    log.error("the journal takes nothing: %s", error)
                self._unwritten.append((bodies, also))
            return False
        if point:
            reach(point)
        for row in rows:
            self._send(row)
        return True

    def answer(self, command: Command, state: str, code: str = "", /, **data: Any) -> bool:
        """Say what became of an order."""
        return self.say(answer_to(command, state, code, **data))

    def again(self, command_id: str) -> None:
        """An order came twice: its stored answer is given again, nothing else."""
        known = self.journal.command(command_id)
        if known is None or not known.answer:
            return
        if known.seq > self.journal.applied:
            for row in self.journal.reports_after(known.seq - 1, 1):
                self._send(row)
        elif known.state != "accepted":
            self.say(msgspec.json.decode(known.answer, type=Answer))

    def retry(self) -> None:
        """Try to write what waits in memory, in order."""
        with self._lock:
            waiting, self._unwritten = self._unwritten, []
        for number, (bodies, also) in enumerate(waiting):
            if not self.say(*bodies, also=also):
                with self._lock:
                    self._unwritten += waiting[number + 1 :]
                return
        if waiting:
            log.info("the journal takes results again")

    def _write(self, bodies: tuple[ReportBody, ...], also: Callable[[], object] | None) -> list[ReportRow]:
        rows = []
        with self.journal.transaction():
            if also is not None:
                also()
            for body in bodies:
                row = self.journal.append_report(msgspec.json.encode(body), self._clock.now())
                rows.append(row)
                if isinstance(body, Answer):
                    self.journal.set_answer(body.command, body.state, row.body, row.seq)
        return rows


def answer_to(command: Command, state: str, code: str = "", /, **data: Any) -> Answer:
    """The answer to an order, with the run and claim it named."""
    return Answer(
        command=command.id,
        run=command.run,
        machine=command.machine,
        claim_no=command.claim_no,
        state=state,
        code=code,
        data=data,
    )


_bodies = msgspec.json.Decoder(ReportBody)


def report_of(row: ReportRow, journal_id: str, agent: str) -> Report:
    """A row of the journal as the message that carries it."""
    return Report(
        journal_id=journal_id,
        seq=row.seq,
        boot_no=row.boot_no,
        agent=agent,
        at=row.at,
        body=_bodies.decode(row.body),
    )
