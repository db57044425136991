"""The hub's loop: it alone claims, sends orders and applies reports. Composition of the process is hub.py's.

The bus and the alarm clock only fill a queue and so wake the loop. Measuring has a thread of its own, because it waits
for child processes. What is published is published after the commit, never inside a session.
"""

import logging
import queue
import threading
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from sqlalchemy.exc import DBAPIError

from fablab import topics
from fablab.bus import Bus, Message
from fablab.clock import Clock
from fablab.db import Database
from fablab.failpoints import reach
from fablab.messages import Applied, Changed, Hello, Online, Report, StateSnapshot, seal
from fablab.queue import dispatcher, greeting, inbox, machine_view, measuring, outbox, settling, watching
from fablab.queue.applying import Touched
from fablab.queue.envelopes import Directory, Opened, Opener, load_directory
from fablab.queue.lease import LEASE_S, Lease, LeaseLost
from fablab.queue.timers import AlarmClock

log = logging.getLogger(__name__)

WAITING = 20_000
"""Messages that may wait for the loop; what comes beyond is dropped, and sent again by whoever sent it."""
TICK_S = 1.0
LOOK_S = 5.0
PAUSE_S = 2.0
"""Pause after the database failed, in seconds."""


@dataclass
class Due:
    """What the next round of the loop has to do beside the messages."""

    look: bool = True
    dispatch: bool = True
    directory: bool = True
    press: bool = False
    seen: set[str] = field(default_factory=set)  # agents whose Applied is to be published


class Hub:
    """One hub. `step` is a round of the loop; tests call it themselves, `run` calls it until stopped."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        clock: Clock,
        files: Path,
        reader: measuring.Reader,
        lease: Lease | None = None,
    ) -> None:
        self.database, self.bus, self.clock = database, bus, clock
        self.lease = lease or Lease(database, clock)
        self.opener = Opener()
        self.directory = Directory("", {}, {})
        self._messages: queue.Queue[Message | None] = queue.Queue(WAITING)
        self._retained: dict[str, Message] = {}
        self._due = Due()
        self._next_look = self._next_renew = 0.0
        self._changed = Touched()
        self._files, self._reader = files, reader
        self._measure_wake = threading.Event()
        self._stop = threading.Event()
        self._measurer = threading.Thread(target=self._measure_for_ever, name="measuring", daemon=True)
        self._alarms = AlarmClock({self.wake: TICK_S})
        self._down = False

    # ---- life

    def listen(self) -> None:
        """Subscribe and connect; nothing runs by itself yet."""
        for pattern in (topics.ALL_REPORTS, topics.ALL_STATES, topics.ALL_ONLINE):
            self.bus.subscribe(pattern, self._take)
        self.bus.subscribe(topics.wake(), self._take_wake, 0)
        self.bus.on_link(self._take_link)
        self.bus.start()

    def start(self) -> None:
        """Listen, and let alarms and measuring run."""
        self.listen()
        self._alarms.start()
        self._measurer.start()

    def run(self, stop: threading.Event) -> None:
        """Go round until `stop` is set, through every pause of database and broker."""
        while not stop.is_set():
            self.guarded_step(TICK_S)

    def close(self) -> None:
        """Let another hub take over, and leave."""
        self._stop.set()
        self._measure_wake.set()
        self._alarms.stop()
        self._measurer.join(10)
        self.bus.close()
        try:
            self.lease.release()
        except DBAPIError:
            log.warning("the lease could not be given back: the database is away")

    def wake(self) -> None:
        """Go round now."""
        try:
            self._messages.put_nowait(None)
        except queue.Full:
            log.debug("awake already")

    def _take(self, message: Message) -> None:
        try:
            self._messages.put_nowait(message)
        except queue.Full:
            self.opener.drop("too_many", message.topic)

    def nudge(self) -> None:
        """Something was committed: look at the tables."""
        self._due.dispatch = self._due.look = True
        self._measure_wake.set()
        self.wake()

    def _take_link(self, up: bool) -> None:
        if up:
            self._due.press = True
            self.wake()

    def _take_wake(self, _message: Message) -> None:
        self.nudge()

    # ---- one round

    def guarded_step(self, timeout: float) -> None:
        """A round that survives a database that is away: says so once, and once that it is back."""
        try:
            self.step(timeout)
        except DBAPIError as error:
            if not self._down:
                log.warning("the database is away: %s", str(error.orig).splitlines()[0] if error.orig else error)
            self._down = True
            self._due = Due()
            self._stop.wait(PAUSE_S)
            return
        except LeaseLost:
            log.warning("another hub acts by now; waiting")
            self._due = Due()
            return
        if self._down:
            log.info("the database is back")
            self._down = False

    def step(self, timeout: float = 0.0) -> None:
        """Wait for news, then do all there is to do. Raises DBAPIError, LeaseLost."""
        messages = self._drain(timeout)
        if not self._hold_lease():
            self._keep_retained(messages)
            return
        if self._retained:
            messages = [*self._retained.values(), *messages]
            self._retained = {}
        if self._due.directory or self._is_look_time():
            self._load_directory()
        self._receive(messages)
        if self._due.press:
            self._press()
        self._send_orders()
        if self._due.look or self._is_look_time():
            self._look()
        if self._due.dispatch:
            self._dispatch()
        self._send_orders()
        self._publish_applied()
        self._publish_changed()

    def _drain(self, timeout: float) -> list[Message]:
        found: list[Message] = []
        try:
            first = self._messages.get(timeout=timeout) if timeout else self._messages.get_nowait()
            while True:
                if first is not None:
                    found.append(first)
                if len(found) >= 500:
                    return found
                first = self._messages.get_nowait()
        except queue.Empty:
            return found

    def _hold_lease(self) -> bool:
        now = self.clock.monotonic()
        if self.lease.held and now < self._next_renew:
            return True
        self._next_renew = now + LEASE_S / 3
        if self.lease.held and self.lease.renew():
            return True
        if self.lease.acquire():
            log.info("this hub acts, term %d", self.lease.term)
            self._due = Due()
            return True
        return False

    def _keep_retained(self, messages: list[Message]) -> None:
        """A hub that stands by keeps the newest pictures, for the moment when it acts."""
        for message in messages:
            parsed = topics.parse(message.topic)
            if parsed is not None and parsed.what in {"state", "online"}:
                self._retained[message.topic] = message

    def _is_look_time(self) -> bool:
        return self.clock.monotonic() >= self._next_look

    def _load_directory(self) -> None:
        with self.database.read() as session:
            self.directory = load_directory(session)
        self._due.directory = False

    # ---- what comes in

    def _receive(self, messages: list[Message]) -> None:
        newest = {message.topic: message for message in messages}
        for message in messages:
            parsed = topics.parse(message.topic)
            picture = parsed is not None and parsed.what in {"state", "online"}
            if picture and newest[message.topic] is not message:
                continue  # a newer one of the same machine is here already
            opened = self.opener.open(self.directory, message.topic, message.payload)
            if opened is None:
                self._due.directory = True
                continue
            try:
                self._one(opened)
            except msgspec.DecodeError:
                self.opener.drop("malformed", opened.agent_id)

    def _one(self, opened: Opened) -> None:
        if opened.topic.what == "reports":
            self._report(opened, inbox.decode(opened.raw))
        elif opened.topic.what == "state":
            self._picture(opened, msgspec.json.decode(opened.raw, type=StateSnapshot))
        elif opened.topic.what == "online":
            body = msgspec.json.decode(opened.raw, type=Online)
            with self.database.write() as session:
                if greeting.presence(session, self.clock.now(), opened.agent_id, body):
                    self._agent_changed(opened.agent_id)

    def _report(self, opened: Opened, report: Report) -> None:
        now = self.clock.now()
        if isinstance(report.body, Hello):
            self._load_directory()  # the epoch as it is now
            with self.database.write() as session:
                self.lease.guard(session)
                greeted = greeting.hello(session, now, self.directory.epoch, opened.agent_id, report, report.body)
                outbox.press(session, now, opened.agent_id)
            if greeted is None:
                self.opener.drop("hello", opened.agent_id)
                return
            self._load_directory()
            site, agent = opened.topic.site, opened.agent_id
            self._publish(outbox.to_agent(self.directory, site, agent, self.lease.term, greeted.answer))
            self._agent_changed(agent)
            return
        if opened.epoch != self.directory.epoch:
            self.opener.drop("old_epoch", opened.agent_id)
            self._due.seen.add(opened.agent_id)  # it learns the new one, and says hello
            return
        with self.database.write() as session:
            self.lease.guard(session)
            taken = inbox.take(session, now, opened.agent_id, report, opened.raw)
        self._due.seen.add(opened.agent_id)
        self._note(Touched(taken.jobs, taken.machines))
        self._due.dispatch = self._due.look = True

    def _picture(self, opened: Opened, snapshot: StateSnapshot) -> None:
        if snapshot.machine != opened.topic.machine:
            self.opener.drop("other_machine", opened.agent_id)
            return
        with self.database.write() as session:
            fresh = machine_view.keep(session, self.clock.now(), opened.agent_id, snapshot)
        if fresh:
            self._note(Touched(machines=frozenset({snapshot.machine})))
            self._due.dispatch = self._due.dispatch or snapshot.state == "idle"

    def _agent_changed(self, agent_id: str) -> None:
        mine = frozenset(machine for (_, machine), agent in self.directory.machines.items() if agent == agent_id)
        self._note(Touched(machines=mine))
        self._due.dispatch = True

    # ---- what goes out

    def _press(self) -> None:
        self._due.press = False
        with self.database.write() as session:
            self.lease.guard(session)
            outbox.press(session, self.clock.now())

    def _send_orders(self) -> None:
        now = self.clock.now()
        with self.database.read() as session:
            first = outbox.next_due(session)
        if first is None or first > now:
            return
        with self.database.write() as session:
            self.lease.guard(session)
            letters = outbox.due(session, now, self.directory, self.lease.term)
        reach("hub.4")
        for letter in letters:
            self._publish(letter)

    def _publish(self, letter: outbox.Letter) -> None:
        self.bus.publish(letter.topic, letter.payload, 1, False)

    def _publish_applied(self) -> None:
        """Step 13: what the agents need not keep any more."""
        seen, self._due.seen = self._due.seen, set()
        for (site, agent_id), key in self.directory.keys.items():
            if agent_id in seen:
                with self.database.read() as session:
                    body: Applied | None = inbox.applied(session, agent_id, self.lease.term)
                if body is not None:
                    reach("hub.13")
                    topic = topics.agent_applied(site, agent_id)
                    self.bus.publish(topic, seal(topic, self.directory.epoch, key, body), 1, False)

    def _note(self, touched: Touched) -> None:
        self._changed = self._changed | touched

    def _publish_changed(self) -> None:
        touched, self._changed = self._changed, Touched()
        if touched.jobs or touched.machines:
            hint = Changed(jobs=tuple(sorted(touched.jobs)), machines=tuple(sorted(touched.machines)))
            self.bus.publish(topics.changed(), msgspec.json.encode(hint), 0, False)

    # ---- what is due

    def _look(self) -> None:
        self._next_look = self.clock.monotonic() + LOOK_S
        self._due.look = False
        now = self.clock.now()
        found = watching.look(self.database, now) | settling.settle_due(self.database, now)
        self._note(found)
        self._due.dispatch = True
        self._measure_wake.set()

    def _dispatch(self) -> None:
        self._due.dispatch = False
        self._note(dispatcher.dispatch(self.database, self.clock, self.lease))
        with self.database.write() as session:
            started = dispatcher.let_unattended_go(session, self.clock.now(), self.lease)
        self._note(Touched(jobs=frozenset(started)))

    def _measure_for_ever(self) -> None:
        while not self._stop.is_set():
            self._measure_wake.wait(LOOK_S)
            self._measure_wake.clear()
            try:
                if self.lease.held and not self._stop.is_set():
                    self.measure_waiting()
            except DBAPIError:
                self._stop.wait(PAUSE_S)
            except Exception:  # the thread must live on for the next file
                log.exception("measuring failed")
                self._stop.wait(PAUSE_S)

    def measure_waiting(self) -> None:
        """Understand every file that waits, and move its jobs on."""
        with self.database.read() as session:
            waiting = measuring.waiting_files(session)
        for sha256 in waiting:
            if self._stop.is_set():
                return
            moved = measuring.measure(self.database, self.clock.now, self._files, sha256, self._reader)
            hint = Changed(jobs=tuple(moved))
            self.bus.publish(topics.changed(), msgspec.json.encode(hint), 0, False)
            self._due.dispatch = True
            self.wake()
