"""What an event of a machine means: a report, a line in the journal, the answer that an order waited for, a look."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from fablab.devices.machine import Machine
from fablab.devices.protocols import contract as c
from fablab.devices.reporter import answer_to
from fablab.messages import (
    Answer,
    Cancel,
    Declare,
    EmergencyStop,
    Incident,
    Pause,
    Paused,
    PlateUnsure,
    Resume,
    Resumed,
    RunUnknown,
    Start,
    Started,
    StopConfirmed,
    SwitchOff,
    SwitchOn,
)

log = logging.getLogger(__name__)


class Happenings:
    """Events of one machine, taken in order on the worker's thread."""

    def __init__(self, machine: Machine) -> None:
        self._m = machine

    def take(self, events: Sequence[c.Event]) -> bool:
        """Returns False where the link is lost and the transport is to be closed."""
        going = True
        for event in events:
            self._m.picture.take(event)
            going = self._one(event) and going
        return going

    def _one(self, event: c.Event) -> bool:
        m = self._m
        match event:
            case c.Ready():
                self._ready(event)
            case c.LinkLost():
                m.ready, m.offline = False, event.code
                return False
            case c.Halted():
                m.halted = event.code or "halted"
                m.site.reporter.say(self._incident("machine_halted", why=event.code, text=event.text[:500]))
            case c.WasReset():
                m.ready, m.offline = False, "greeting"
                m.picture.warn("was_reset")
            case c.Power():
                self._power(event)
            case c.StopSeen():
                self._stop_seen(event)
            case c.Warned():
                log.info("%s: %s %s", m.id, event.code, event.data)
            case _ if m.book is not None:
                self._of_run(event)
        return True

    def _ready(self, event: c.Ready) -> None:
        m = self._m
        if not m.ready:
            log.info("%s: ready", m.id)
        m.ready, m.offline = True, ""
        if m.cool_first:
            m.cool_first = False
            log.warning("%s: was hot without a run: heaters off", m.id)
            m.later(m.heaters_off)
        if not m.row.latched:
            m.halted = ""
        if event.foreign and event.foreign != m.foreign:
            m.site.reporter.say(
                PlateUnsure(machine=m.id, why="foreign_print"), also=partial(m.update, plate_unsure="foreign_print")
            )
        m.foreign = event.foreign

    # ---- the run

    def _of_run(self, event: c.Event) -> None:
        m = self._m
        book = m.book
        assert book is not None  # noqa: S101 — the caller looked
        match event:
            case c.Began():
                self._began(event)
            case c.Progressed():
                self._began(c.Began(book.facts.run))  # an adopted run may never have been said to begin
                book.progress(event)
            case c.Resent():
                book.resends += 1
            case c.HeldStill():
                self._held(event)
            case c.WentOn() if book.held:
                book.go_on(m.now())
                self._say_with(Resumed(run=book.facts.run, machine=m.id, claim_no=book.facts.claim_no), Resume)
            case c.StartUnknown():
                self._start_unknown(event)
            case c.RunEnded() if event.run == book.facts.run:
                self._ended(event)

    def _began(self, event: c.Began) -> None:
        m, book = self._m, self._m.book
        if book is None or book.began or event.run != book.facts.run:
            return
        book.begin(m.now())
        self._say_with(Started(run=book.facts.run, machine=m.id, claim_no=book.facts.claim_no), Start)

    def _held(self, event: c.HeldStill) -> None:
        m, book = self._m, self._m.book
        if book is None or book.held:
            return
        asked = [command.body for command in m.waiting if isinstance(command.body, Pause)]
        by_staff = event.by != "host" or any(pause.staff for pause in asked)
        book.hold(m.now(), by_staff)
        who = asked[-1].by if asked else event.by
        self._say_with(
            Paused(run=book.facts.run, machine=m.id, claim_no=book.facts.claim_no, by=who, code=event.code), Pause
        )

    def _start_unknown(self, event: c.StartUnknown) -> None:
        m, book = self._m, self._m.book
        if book is None:
            return
        answers = [answer_to(command, "unknown", event.code) for command in m.take_waiting(Start)]
        unknown = RunUnknown(run=event.run, machine=m.id, claim_no=book.facts.claim_no, code=event.code)
        m.site.reporter.say(unknown, *answers)

    def _ended(self, event: c.RunEnded) -> None:
        """Step 11: result and report in one transaction, then on the wire."""
        m, book = self._m, self._m.book
        if book is None:
            return
        if book.adopted and event.accepted < book.accepted:
            event = replace(event, accepted=book.accepted)  # what the journal saw taken was taken
        ended = book.end(m.now(), event)
        answers: list[Answer] = []
        for command in m.take_waiting(Start, Cancel, Declare, Pause, Resume):
            begun = not isinstance(command.body, Start) or book.began
            late = isinstance(command.body, Pause | Resume)
            state = "failed" if late or not begun else "succeeded"
            answers.append(
                answer_to(command, state, ("run_ended" if late else event.code) if state == "failed" else "")
            )
        m.site.reporter.say(ended, *answers, also=m.forget_start, point="agent.11")
        m.remember(started_run="")  # the row in memory even where the journal takes nothing now
        m.forget_book()
        log.info("%s: run %s %s after %d lines", m.id, ended.run, ended.result, ended.lines)

    # ---- power and stops

    def _power(self, event: c.Power) -> None:
        m = self._m
        if event.on is None:
            return
        for command in m.take_waiting(SwitchOn if event.on else SwitchOff):
            m.site.reporter.answer(command, "succeeded")

    def _stop_seen(self, event: c.StopSeen) -> None:
        m = self._m
        state, code = ("failed", "not_confirmed") if event.how == "none" else ("succeeded", "")
        answers = [answer_to(command, state, code) for command in m.take_waiting(EmergencyStop)]
        m.site.reporter.say(StopConfirmed(machine=m.id, how=event.how, stop_no=m.row.stop_no), *answers)

    def _say_with(self, body: Started | Paused | Resumed, kind: type) -> None:
        """A report, and with it the answers to the orders that wished for it."""
        m = self._m
        m.site.reporter.say(body, *(answer_to(command, "succeeded") for command in m.take_waiting(kind)))

    def _incident(self, code: str, **data: str) -> Incident:
        m = self._m
        return Incident(machine=m.id, run="" if m.book is None else m.book.facts.run, code=code, data=dict(data))
