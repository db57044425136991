"""What a start-like or prepare-like order does to one machine. Numbers in comments are the steps of an order's road."""

import logging
import secrets
import sqlite3
import threading
from collections.abc import Callable
from functools import partial

from fablab.devices.files_client import Abandoned
from fablab.devices.machine import Machine, Next
from fablab.devices.orders import decide
from fablab.devices.preparing import Readied
from fablab.devices.protocols import contract as c
from fablab.devices.reporter import answer_to
from fablab.devices.runbook import RunBook, RunFacts
from fablab.failpoints import reach
from fablab.messages import (
    Cleared,
    Command,
    Declare,
    Prepare,
    Prepared,
    ReleaseStop,
    Resume,
    RunUnknown,
    Start,
    SwitchOn,
)
from fablab.refusals import Refusal

log = logging.getLogger(__name__)

TOKEN_S = 15 * 60
"""How long a start token lives, on this agent's own monotonic clock."""
RENEW_S = 60
"""A new token is offered this long before the old one lapses."""

Tell = Callable[[list[c.Event]], None]


class Desk:
    """Orders of one machine. `tell` takes the events that an order caused at once."""

    def __init__(self, machine: Machine, tell: Tell) -> None:
        self._m = machine
        self._tell = tell

    def order(self, command: Command) -> None:
        """Steps 5 and 6, then what the order asks for."""
        m = self._m
        reach("agent.5")
        verdict = decide(m.view(command), command)
        if verdict.what == "ignore":
            return
        if verdict.what == "again":
            m.site.reporter.again(command.id)
            return
        if verdict.what == "refuse":
            m.write_down(command, "rejected", verdict.code)
            return
        if not m.write_down(command, "accepted"):
            return  # nothing is done that nobody could know of later
        reach("agent.6")
        try:
            self._perform(command)
        except sqlite3.Error:
            log.exception("%s: the journal took an order and not what it does", m.id)
            m.settle(command, "rejected", "journal_full")

    def _perform(self, command: Command) -> None:
        m = self._m
        match command.body:
            case Prepare():
                self._prepare(command, command.body)
            case Start():
                self._start(command)
            case Resume():
                self._ask(command, c.Resume())
            case Declare():
                self._ask(command, c.Declare(command.body.what, command.body.minutes, command.body.grams))
            case SwitchOn():
                self._ask(command, c.Switch(True, command.body.seconds))
            case ReleaseStop():
                m.site.reporter.say(answer_to(command, "succeeded"), also=partial(m.update, latched=False))
                if m.halted:
                    m.halted = ""
                    m.reopen()  # a firmware that has stopped itself needs a reset and a new hello
            case Cleared():
                m.site.reporter.say(answer_to(command, "succeeded"), also=partial(m.update, plate_unsure=""))
            case _:
                m.settle(command, "rejected", "not_supported")

    def _ask(self, command: Command, intent: c.Intent) -> None:
        """Hand it to the engine; the answer follows from the event that shows that it worked."""
        m = self._m
        if not m.up:
            m.settle(command, "rejected", "not_connected")
            return
        m.waiting.append(command)
        try:
            events = m.hosting.ask(intent)
        except c.Refused as refused:
            m.settle(command, "rejected", refused.code)
            return
        except OSError:
            m.settle(command, "unknown", "link_lost")
            m.line_dead()
            return
        self._tell(events)

    # ---- prepare: step 7

    def _prepare(self, command: Command, body: Prepare) -> None:
        m = self._m
        m.drop_next()
        m.update(highest_claim=max(m.row.highest_claim, command.claim_no))
        m.next = following = Next(command, body)
        if m.manual:
            self._prepared(following, Readied(None))
            return
        threading.Thread(target=self._fetch, args=(following,), name=f"prepare {m.id}", daemon=True).start()

    def _fetch(self, following: Next) -> None:
        """On a thread of its own; the outcome goes back to the worker."""
        m = self._m
        outcome: Readied | Refusal
        try:
            outcome = m.site.preparer.ready(following.body, m.profile, following.stop)
        except Abandoned:
            return
        except Refusal as refusal:
            outcome = refusal
        except Exception as error:  # whatever it is, the hub must hear that it did not work
            log.exception("%s: the file could not be made ready", m.id)
            outcome = Refusal("prepare_failed", why=type(error).__name__)
        reach("agent.7")
        m.later(partial(self._prepared, following, outcome))

    def _prepared(self, following: Next, outcome: Readied | Refusal) -> None:
        m = self._m
        if following is not m.next:
            return  # replaced by a higher claim, or closed
        if isinstance(outcome, Refusal):
            m.next = None
            data = {key: value for key, value in outcome.data.items() if isinstance(value, str | int | float)}
            m.site.reporter.say(answer_to(following.command, "rejected", outcome.code, **data))
            return
        following.readied = outcome
        self._offer(following, outcome, first=True)

    def renew(self) -> None:
        """Offer a new token before the old one lapses."""
        following = self._m.next
        if following is None or following.readied is None or not following.token:
            return
        if self._m.now() >= following.lapses - RENEW_S:
            self._offer(following, following.readied)

    def _offer(self, following: Next, readied: Readied, first: bool = False) -> None:
        m = self._m
        following.token = secrets.token_urlsafe(16)
        following.lapses = m.now() + TOKEN_S
        offer = Prepared(
            run=following.command.run,
            machine=m.id,
            claim_no=following.command.claim_no,
            token=following.token,
            valid_s=TOKEN_S,
            lines=readied.lines,
            filament_mm=readied.filament_mm,
        )
        m.site.reporter.say(offer, *((answer_to(following.command, "succeeded"),) if first else ()))

    # ---- start: steps 9 and 10

    def _start(self, command: Command) -> None:
        m = self._m
        following = m.next
        assert following is not None and following.readied is not None  # noqa: S101 — the verdict says so
        m.next = None  # its token is used up, whatever happens
        path = "" if following.readied.path is None else str(following.readied.path)
        m.open_index(path)
        if path and m.index is None:
            m.settle(command, "rejected", "index_missing")
            return
        body = following.body
        m.update(
            started_run=command.run, started_claim=command.claim_no, started_command=command.id, job=body.job,
            payer=body.payer, path=path, line=0, seconds=0.0, paused_s=0.0, staff_paused_s=0.0, hot=not m.manual,
        )  # fmt: skip
        reach("agent.9")
        facts = RunFacts(command.run, m.id, command.claim_no, body.job, body.payer, command.id, following.readied.lines)
        m.book = RunBook(facts, m.filament(), m.site.speed)
        m.waiting.append(command)
        self._first_byte(command, path)

    def _first_byte(self, command: Command, path: str) -> None:
        m = self._m
        lines, total = (iter(()), 0) if m.index is None else (m.index.lines(), m.index.total)
        try:
            events = m.hosting.ask(c.Print(command.run, lines, total, path))
        except c.Refused as refused:
            # the engine says that nothing left: the start never was
            m.waiting.remove(command)
            m.forget_book()
            m.site.reporter.say(answer_to(command, "rejected", refused.code), also=m.forget_start)
            return
        except OSError:
            m.line_dead()
            return
        reach("agent.10")
        self._tell(events)

    # ---- after a restart

    def give_up(self, code: str) -> None:
        """A started run whose machine cannot go on without us is over: reported failed, and cooled on first contact."""
        m = self._m
        run = m.row.started_run
        if run and m.book is None:
            book = self._take_up()
            m.cool_first = True
            self._tell([c.RunEnded(run, "failed", accepted=book.accepted, code=code)])

    def adopt(self) -> None:
        """A started run without an end: the machine is asked what became of it, and nothing is started again."""
        m = self._m
        run = m.row.started_run
        if not run or m.book is not None:
            return
        book = self._take_up()
        lines = iter(()) if m.index is None else m.index.lines()
        try:
            self._tell(m.hosting.ask(c.Adopt(run, lines, book.facts.total_lines)))
        except c.Refused as refused:
            m.site.reporter.say(RunUnknown(run=run, machine=m.id, claim_no=book.facts.claim_no, code=refused.code))
        except OSError:
            m.line_dead()

    def _take_up(self) -> RunBook:
        """The run as the journal knows it. What it counts from now on comes on top."""
        m, row = self._m, self._m.row
        m.open_index(row.path)
        total = 0 if m.index is None else m.index.total
        facts = RunFacts(row.started_run, m.id, row.started_claim, row.job, row.payer, row.started_command, total)
        book = RunBook(
            facts, m.filament(), m.site.speed, row.seconds, row.paused_s, row.staff_paused_s, row.line, adopted=True
        )
        m.book = book
        known = m.journal.command(row.started_command)
        if known is not None and known.state != "accepted":
            book.begin(m.now())
            return book
        # killed before the machine was seen to begin: the start order waits for its answer still
        book.count_from(m.now())
        start = Command(
            id=row.started_command,
            machine=m.id,
            run=row.started_run,
            claim_no=row.started_claim,
            term=0,
            body=Start(token=""),
        )
        m.waiting.append(start)
        return book
