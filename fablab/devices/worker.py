"""Runs one machine on one thread: inbox → driver → reports. Nobody else touches the machine's driver.

The loop is the same for every kind of machine; what orders and events mean is in desk, stops and happenings.
"""

import contextlib
import logging
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from fablab.devices.desk import Desk
from fablab.devices.drivers import Hosted
from fablab.devices.happenings import Happenings
from fablab.devices.hosting import Hosting
from fablab.devices.journal import Position
from fablab.devices.machine import Machine, Site
from fablab.devices.protocols import contract as c
from fablab.devices.stops import Stops
from fablab.messages import Command, MachineSettings, StateSnapshot

log = logging.getLogger(__name__)

STEP_S = 1.0
LOOK_S = 0.9
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
SAFE_POINT_S = 20.0
"""How long a stopping service waits for a cancelled run to end in order."""
COOL_S = 3.0
HELLO_S = 8.0
SURVIVES = frozenset({"octoprint", "manual"})
"""Drivers whose run goes on without us: a service stop leaves it alone, and the next start finds it again."""


class Worker(threading.Thread):
    """One machine. Orders come in through `give` and `stop_now`; pictures are in `latest`."""

    def __init__(self, site: Site, settings: MachineSettings, hosted: Hosted) -> None:
        super().__init__(name=f"machine {settings.id}", daemon=True)
        self.hosting = Hosting(hosted.engine, hosted.transport, site.clock)
        self.machine = Machine(
            site,
            settings,
            self.hosting,
            hosted.profile,
            hosted.host_death,
            self.later,
            self._line_dead,
            self._reopen,
            self._tell,
        )
        self._happenings = Happenings(self.machine)
        self._desk = Desk(self.machine, self._tell)
        self._stops = Stops(self.machine, self._tell)
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._urgent: deque[Command] = deque()
        self._bell = threading.Event()
        self._dead = False
        self._halting = ""
        self._now = threading.Event()
        self._pause = 0.0
        self._next_try = 0.0
        self._down_logged = False
        self._looked_at = 0.0
        self._seen: tuple[object, ...] = ()
        self.latest: StateSnapshot | None = None
        """The machine's picture, at most a second old; anybody may read it."""
        self.latest_position: Position | None = None

    # ---- from other threads

    def give(self, command: Command) -> None:
        """An order that may wait its turn."""
        self.later(partial(self._desk.order, command))

    def stop_now(self, command: Command) -> None:
        """A stop-like order: before everything that waits."""
        self._urgent.append(command)
        self._ring()

    def later(self, task: Callable[[], None]) -> None:
        """Run something on this machine's thread."""
        self._tasks.put(task)
        self._ring()

    def halt(self, policy: str) -> None:
        """Come to a safe point and end: `abort` cancels a run that needs us, `wait` lets it finish, `now` drops all."""
        if policy == "now":
            self._now.set()
        self._halting = policy
        self._ring()

    # ---- the loop

    def run(self) -> None:
        """Until `halt`. What raises here is a fault of ours: the supervisor starts the machine's worker again."""
        try:
            if self.machine.settings.driver not in SURVIVES:
                self._desk.give_up("host_restarted")
            while not self._halting:
                self._once(STEP_S)
            if not self._now.is_set():
                self._to_safe_point()
        finally:
            self.machine.up = self.machine.ready = False
            self.machine.drop_next()
            self.machine.offline = "agent_stopped" if self._halting else "worker_failed"
            self._look(())
            self.hosting.dispose()

    def _once(self, timeout: float) -> None:
        self._live(timeout)
        m = self.machine
        seen = (m.state(), m.row.latched, m.row.stop_no, m.picture.relay_on, m.picture.prompt)
        if seen != self._seen or m.now() - self._looked_at >= LOOK_S:
            self._look(seen)

    def _look(self, seen: tuple[object, ...]) -> None:
        self._seen, self._looked_at = seen, self.machine.now()
        self.latest, self.latest_position = self.machine.snapshot(), self.machine.position()
        with contextlib.suppress(sqlite3.Error):
            self.machine.note_heat()

    def _live(self, timeout: float) -> None:
        if not self.machine.up and not self._open():
            self._do_tasks()
            self._bell.wait(min(timeout, self._pause))
            self._bell.clear()
            self._desk.renew()
            return
        self._do_tasks()
        if self._dead:
            self._close("link_lost")
        if not self.machine.up:
            return
        try:
            self._tell(self.hosting.step(timeout))
        except OSError as error:
            self._close(_code(error))
        self._desk.renew()

    def _open(self) -> bool:
        m = self.machine
        if m.now() < self._next_try:
            return False
        try:
            events = self.hosting.open()
        except OSError as error:
            self._close(_code(error))
            return False
        m.up, m.offline = True, "greeting"
        self._dead = False
        self._desk.adopt()
        self._tell(events)
        return m.up

    def _do_tasks(self) -> None:
        self._do_urgent()
        while True:
            try:
                task = self._tasks.get_nowait()
            except queue.Empty:
                return
            task()
            self._do_urgent()

    def _do_urgent(self) -> None:
        while self._urgent:
            self._stops.order(self._urgent.popleft())

    def _tell(self, events: Sequence[c.Event]) -> None:
        m = self.machine
        was_ready = m.ready
        if not self._happenings.take(events):
            self._close(m.offline)
            return
        if m.ready and not was_ready:
            if self._down_logged:
                log.info("%s: answers again", m.id)
            self._down_logged, self._pause = False, 0.0
            self._stops.again()

    def _line_dead(self) -> None:
        self._dead = True

    def _reopen(self) -> None:
        """Close now and open at once."""
        self._close("greeting", quietly=True)
        self._pause = self._next_try = 0.0

    def _close(self, code: str, quietly: bool = False) -> None:
        """The line is gone; try again after a pause that grows."""
        m = self.machine
        if not self._down_logged and not quietly:
            log.warning("%s: no link: %s", m.id, code)
            self._down_logged = True
        with contextlib.suppress(OSError):
            self.hosting.close()
        m.up = m.ready = self._dead = False
        m.offline = code
        m.picture.forget()
        self._pause = min(LONGEST_PAUSE_S, self._pause * 2 or FIRST_PAUSE_S)
        self._next_try = m.now() + self._pause

    def _ring(self) -> None:
        self._bell.set()
        with contextlib.suppress(OSError):
            self.hosting.wake()

    # ---- the end

    def _to_safe_point(self) -> None:
        m = self.machine
        if m.book is not None and m.settings.driver not in SURVIVES:
            if self._halting == "abort" and m.up:
                with contextlib.suppress(c.Refused, OSError):
                    m.stopping = True
                    self._tell(self.hosting.ask(c.Cancel()))
            limit = m.now() + SAFE_POINT_S if self._halting == "abort" else float("inf")
            self._until(lambda: m.book is None, limit)
        if m.book is None and m.row.hot and not m.ready:
            self._next_try = 0.0
            if m.up or self._open():  # the journal calls it hot: heaters off is worth a last try
                self._until(lambda: m.ready, m.now() + HELLO_S)
        if m.book is None and m.up and (m.picture.hot or m.row.hot):
            with contextlib.suppress(c.Refused, OSError):
                self._tell(self.hosting.ask(c.HeatersOff()))
            cool = lambda: not any((heat.target or 0) > 0 for heat in m.picture.temperatures.values())  # noqa: E731
            self._until(cool, m.now() + COOL_S)

    def _until(self, done: Callable[[], bool], limit: float) -> None:
        """Go on living until something is so."""
        m = self.machine
        while m.up and not done() and m.now() < limit and not self._now.is_set():
            self._once(0.2)


def _code(error: OSError) -> str:
    """A stable code for the line's trouble; transports put one into the error, the system a number."""
    text = str(error.args[0]) if error.args and error.errno is None else ""
    if text.replace("_", "").isalpha() and text.islower():
        return text
    names = {2: "port_missing", 13: "port_denied", 16: "port_busy", 111: "connection_refused"}
    return names.get(error.errno or 0, "link_lost")
