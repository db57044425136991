"""The state of one machine inside the agent, which outlives its connection, and the small verbs that all parts share.

Owned by the worker's thread; whatever another thread wants goes through `later`.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fablab.clock import Clock
from fablab.devices.hosting import Hosting
from fablab.devices.journal import Journal, Position
from fablab.devices.orders import View
from fablab.devices.picture import Frame, Picture, snapshot
from fablab.devices.preparing import Preparer, Readied, open_index
from fablab.devices.protocols.contract import Event, HeatersOff, Refused
from fablab.devices.reporter import Reporter, answer_to
from fablab.devices.runbook import Filament, RunBook
from fablab.gcode.index import IndexedFile
from fablab.messages import NATURE, Command, MachineSettings, Prepare, StateSnapshot
from fablab.profiles import Profile

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Site:
    """What all machines of an agent share. `blocked` says why nothing may be prepared or started now, or is empty."""

    reporter: Reporter
    preparer: Preparer
    clock: Clock
    speed: int
    blocked: Callable[[], str]
    term: Callable[[], int]


@dataclass
class Next:
    """A run on its way to a go."""

    command: Command
    body: Prepare
    stop: threading.Event = field(default_factory=threading.Event)
    readied: Readied | None = None
    token: str = ""
    lapses: float = 0.0  # monotonic


@dataclass
class Machine:
    """One machine. `later` hands a call to the worker's thread; `line_dead` and `reopen` ask the
    worker to close and open again, with a pause or at once; `tell` takes the events that an order caused.
    """

    site: Site
    settings: MachineSettings
    hosting: Hosting
    profile: Profile | None
    host_death: str
    later: Callable[[Callable[[], None]], None]
    line_dead: Callable[[], None]
    reopen: Callable[[], None]
    tell: Callable[[Sequence[Event]], None]
    picture: Picture = field(default_factory=Picture)
    up: bool = False  # the transport is open
    ready: bool = False  # and the machine takes orders
    offline: str = "starting"  # why it is not
    halted: str = ""
    foreign: str = ""  # a job that is not ours runs there
    stopping: bool = False
    cool_first: bool = False  # it was hot without a run when we met it last
    book: RunBook | None = None
    index: IndexedFile | None = None
    next: Next | None = None
    waiting: list[Command] = field(default_factory=list)
    rev: int = 0

    def __post_init__(self) -> None:
        self.row = self.journal.machine(self.settings.id)
        self.cool_first = self.row.hot and not self.row.started_run

    @property
    def id(self) -> str:
        return self.settings.id

    @property
    def journal(self) -> Journal:
        return self.site.reporter.journal

    @property
    def manual(self) -> bool:
        """Nothing physical hangs on an order: a person does it all."""
        return self.settings.driver == "manual"

    def now(self) -> float:
        return self.site.clock.monotonic()

    # ---- the journal's row

    def update(self, **values: Any) -> None:
        """Write columns of the machine's row; call inside `say(also=…)` where a report belongs to it."""
        self.journal.update_machine(self.id, **values)
        self.row = replace(self.row, **values)

    def remember(self, **values: Any) -> None:
        """Change the row in memory at once; whoever calls writes it down after."""
        self.row = replace(self.row, **values)

    def forget_start(self) -> None:
        """The started run has a reported end; call inside `say(also=…)`."""
        self.journal.forget_start(self.id)
        self.row = self.journal.machine(self.id)

    def forget_book(self) -> None:
        self.book, self.stopping = None, False
        if self.index is not None:
            self.index.close()
            self.index = None

    # ---- orders

    def view(self, command: Command) -> View:
        """What is known as an order comes in."""
        following = self.next
        lapsed = following is None or self.now() >= following.lapses
        return View(
            known=self.journal.command(command.id) is not None,
            closed=self.journal.is_closed(command.run, command.claim_no),
            highest_claim=self.row.highest_claim,
            stop_no=self.row.stop_no,
            latched=self.row.latched,
            started_run=self.row.started_run,
            prepared_run="" if following is None else following.command.run,
            prepared_claim=0 if following is None else following.command.claim_no,
            token="" if lapsed or following is None else following.token,
            ready=self.ready and not self.halted and not self.foreign,
            term=self.site.term(),
            blocked=self.site.blocked(),
        )

    def write_down(
        self, command: Command, state: str, code: str = "", also: Callable[[], object] | None = None
    ) -> bool:
        """Step 6: the order's id and its first answer in one transaction."""

        def insert() -> None:
            self.journal.insert_command(
                command.id, command.machine, command.run, command.claim_no, NATURE[type(command.body)], state,
                self.site.clock.now(),
            )  # fmt: skip
            if also is not None:
                also()

        return self.site.reporter.say(answer_to(command, state, code), also=insert)

    def settle(self, command: Command, state: str, code: str = "", /, **data: Any) -> None:
        """The last word about an order."""
        if command in self.waiting:
            self.waiting.remove(command)
        self.site.reporter.answer(command, state, code, **data)

    def take_waiting(self, *kinds: type) -> list[Command]:
        """The orders of these kinds that waited for an event; they wait no longer."""
        found = [command for command in self.waiting if isinstance(command.body, kinds)]
        self.waiting = [command for command in self.waiting if command not in found]
        return found

    def is_started(self, command: Command) -> bool:
        return bool(self.row.started_run) and command.run in ("", self.row.started_run)

    def drop_next(self) -> None:
        """Void the token, and stop a preparation on its way."""
        if self.next is not None:
            self.next.stop.set()
            self.next = None

    def heaters_off(self) -> None:
        """Cool a machine on which no run of ours is."""
        if self.book is not None or not self.up:
            return
        try:
            self.tell(self.hosting.ask(HeatersOff()))
        except Refused as refused:
            log.warning("%s: heaters off was refused: %s", self.id, refused.code)
        except OSError:
            self.line_dead()

    # ---- looks

    def open_index(self, path: str) -> None:
        self.index = open_index(Path(path)) if path else None

    def filament(self) -> Filament:
        """Millimetres by accepted lines, of the run that is on."""
        index = self.index
        if index is None:
            return lambda _: ()
        return lambda accepted: index.at(max(0, min(accepted, index.total))).mm

    def state(self) -> tuple[str, str]:
        """State and code of the snapshot."""
        if not self.up:
            return "offline", self.offline
        if not self.ready:
            return "connecting", self.offline
        if self.halted:
            return "halted", self.halted
        if self.book is not None:
            if self.stopping:
                return "stopping", ""
            return ("paused", "") if self.book.held else ("running", "")
        if self.foreign:
            return "running", "foreign_print"
        code = self.site.blocked() or self.row.plate_unsure
        if self.next is not None:
            return ("prepared" if self.next.token else "preparing"), code
        return "idle", code

    def snapshot(self) -> StateSnapshot:
        """The whole picture, with the next revision number."""
        self.rev += 1
        state, code = self.state()
        frame = Frame(
            self.id, self.journal.journal_id, self.journal.boot_no, self.rev, self.site.clock.now().isoformat(),
            state, code, self.settings.driver, self.row.latched, self.row.stop_no, self.host_death, self.site.speed,
        )  # fmt: skip
        layer = (0, 0)
        if self.index is not None and self.book is not None:
            accepted = max(0, min(self.book.accepted, self.index.total))
            layer = (self.index.at(accepted).layer, self.index.at(self.index.total).layer)
        return snapshot(frame, self.picture, self.book, layer, self.now())

    def position(self) -> Position | None:
        """How far the run is, for the journal; None where there is nothing to write."""
        book = self.book
        if book is None:
            return None
        paused, staff = book.paused(self.now())
        hot = self.picture.hot or self.row.hot
        return Position(self.id, book.facts.run, book.accepted, book.seconds(self.now()), paused, staff, hot)

    def note_heat(self) -> None:
        """Without a run, write down when the machine gets hot or cold."""
        hot = self.picture.hot
        if self.book is None and self.ready and self.picture.temperatures and hot != self.row.hot:
            self.update(hot=hot)
