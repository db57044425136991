"""One bus client per web process: the newest picture of each machine, and hints about what changed, for open pages.

Pictures are for looking; nothing here is ever stored, billed or decided from. A lost hint is made up for by polling.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec

from fablab import topics
from fablab.clock import Clock
from fablab.messages import Changed, Forged, StateSnapshot, Telemetry, unseal

log = logging.getLogger(__name__)

RING = 2000
"""How many hints an open page may fall behind before it is told to refresh everything."""
MAX_OPEN_PAGES_SHARE = 2 / 3
"""Share of the process's threads that open live pages may take; the rest fall back to polling."""

KeyOf = Callable[[str], bytes | None]
"""Machine id → the key that its agent seals with; None where no agent is known."""


@dataclass(frozen=True)
class Picture:
    """A machine as last heard of: the snapshot, newer telemetry where there is any, and when it came."""

    snapshot: StateSnapshot
    telemetry: Telemetry | None
    at: datetime


@dataclass(frozen=True)
class Hint:
    """Something looks different: `topic` is `machine-<id>`, `job-<id>`, `everything` or `link`."""

    number: int
    topic: str


class Live:
    """Pictures and hints of one process. Threads of the bus feed it, threads of requests read it."""

    def __init__(self, clock: Clock, key_of: KeyOf, send: Callable[[str, bytes], None] | None = None) -> None:
        self._clock = clock
        self._key_of = key_of
        self._send = send
        self._pictures: dict[str, Picture] = {}
        self._hints: deque[Hint] = deque(maxlen=RING)
        self._number = 0
        self._news = threading.Condition()
        self._open = 0
        self._closed = False
        self.connected = False
        self.ignored = 0

    # ---- from the bus

    def feed(self, topic: str, payload: bytes) -> None:
        """Take a message of the bus. What is malformed, forged or not ours is counted and ignored; never raises."""
        try:
            if topic == topics.changed():
                self._changed(payload)
                return
            parsed = topics.parse(topic)
            if parsed is None or parsed.machine is None or parsed.what not in {"state", "telemetry"}:
                return
            if not payload:
                return  # a retained picture was taken away
            key = self._key_of(parsed.machine)
            if key is None:
                raise Forged("no agent")
            _, raw = unseal(topic, key, payload)
            self._picture(parsed.machine, parsed.what, raw)
        except (Forged, msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            if self.ignored == 0:
                log.warning("ignored a message on %s: %s", topic, error)
            self.ignored += 1

    def link(self, connected: bool) -> None:
        """The bus says whether it has a broker."""
        self.connected = connected
        self._tell("link")

    def _picture(self, machine: str, what: str, raw: bytes) -> None:
        now = self._clock.now()
        if what == "state":
            snapshot = msgspec.json.decode(raw, type=StateSnapshot)
            if snapshot.machine != machine:
                raise Forged("another machine")
            with self._news:
                old = self._pictures.get(machine)
                if old is not None and _older(snapshot, old.snapshot):
                    return
                self._pictures[machine] = Picture(snapshot, None, now)
        else:
            telemetry = msgspec.json.decode(raw, type=Telemetry)
            with self._news:
                old = self._pictures.get(machine)
                if old is None or telemetry.machine != machine:
                    return
                self._pictures[machine] = Picture(old.snapshot, telemetry, now)
        self._tell(f"machine-{machine}")

    def _changed(self, payload: bytes) -> None:
        hint = msgspec.json.decode(payload, type=Changed)
        self._tell(*(f"job-{job}" for job in hint.jobs[:200]), *(f"machine-{name}" for name in hint.machines[:200]))

    def _tell(self, *names: str) -> None:
        with self._news:
            for name in names:
                self._number += 1
                self._hints.append(Hint(self._number, name))
            self._news.notify_all()

    # ---- to the bus

    def wake(self) -> None:
        """Hint to the hub that something was committed, and to this process's pages; lossy on purpose."""
        if self._send is not None:
            try:
                self._send(topics.wake(), b"{}")
            except (OSError, RuntimeError, ValueError) as error:
                log.info("the hub was not woken: %s", error)

    def told(self, *, jobs: tuple[str, ...] = (), machines: tuple[str, ...] = ()) -> None:
        """Pages of this process look again at these things, without waiting for the hub's hint."""
        self._tell(*(f"job-{job}" for job in jobs), *(f"machine-{name}" for name in machines))

    # ---- to requests

    def picture(self, machine: str) -> Picture | None:
        return self._pictures.get(machine)

    def pictures(self) -> dict[str, Picture]:
        return dict(self._pictures)

    @property
    def open_pages(self) -> int:
        return self._open

    def follow(self, wanted: frozenset[str], beat_s: float, until: Callable[[], bool]) -> Iterator[str | None]:
        """Names of what changed, as they come, each once per round; None every `beat_s` seconds of silence.

        `everything` where this reader fell behind the ring. Ends when closed, or when `until` says so at a beat.
        """
        with self._news:
            seen = self._number
            self._open += 1
        try:
            while not self._closed:
                names, seen = self._wait(seen, wanted, beat_s)
                if names:
                    yield from names
                else:
                    if until():
                        return
                    yield None
        finally:
            with self._news:
                self._open -= 1

    def _wait(self, seen: int, wanted: frozenset[str], beat_s: float) -> tuple[list[str], int]:
        with self._news:
            self._news.wait_for(lambda: self._closed or self._fresh(seen, wanted), timeout=beat_s)
            behind = bool(self._hints) and self._hints[0].number > seen + 1
            names = ["everything"] if behind else list(dict.fromkeys(self._since(seen, wanted)))
            return names, self._number

    def _fresh(self, seen: int, wanted: frozenset[str]) -> bool:
        return any(True for _ in self._since(seen, wanted))

    def _since(self, seen: int, wanted: frozenset[str]) -> Iterator[str]:
        for hint in reversed(self._hints):
            if hint.number <= seen:
                return
            if hint.topic in wanted or hint.topic == "link" or "machines" in wanted:
                yield hint.topic

    def close(self) -> None:
        """End every open stream."""
        with self._news:
            self._closed = True
            self._news.notify_all()


def _older(new: StateSnapshot, old: StateSnapshot) -> bool:
    return new.journal_id == old.journal_id and (new.boot_no, new.rev) < (old.boot_no, old.rev)
