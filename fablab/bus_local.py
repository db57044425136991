"""A wire without a broker, for tests: it loses, repeats and reorders as it is told to, by a seeded random."""

import random
import threading
from collections.abc import Callable

from paho.mqtt.client import topic_matches_sub

from fablab.bus import Handler, LinkCallback, Message, dispatch


class LocalNet:
    """A broker in memory that is as unkind as it is told to be, by a seeded random.

    `drop`, `repeat` and `reorder` are probabilities per message. Deliver with `pump`, or let a thread do it (`start`).
    """

    def __init__(self, seed: int = 0, drop: float = 0.0, repeat: float = 0.0, reorder: float = 0.0) -> None:
        self.drop, self.repeat, self.reorder = drop, repeat, reorder
        self._random = random.Random(seed)  # noqa: S311 — a test repeats it
        self._queue: list[tuple[LocalBus, Message]] = []
        self._buses: list[LocalBus] = []
        self._retained: dict[str, Message] = {}
        self._news = threading.Condition()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> "LocalNet":
        """Deliver on a thread of its own until `stop`."""
        self._thread = threading.Thread(target=self._deliver_for_ever, name="local net", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        with self._news:
            self._stopped = True
            self._news.notify_all()
        if self._thread is not None:
            self._thread.join(5)

    def pump(self) -> int:
        """Deliver everything that is on its way, and what that causes; returns how many messages."""
        count = 0
        while (item := self._take()) is not None:
            item[0].deliver(item[1])
            count += 1
        return count

    def forget_retained(self) -> None:
        """What a killed broker does."""
        with self._news:
            self._retained.clear()

    def _take(self) -> "tuple[LocalBus, Message] | None":
        with self._news:
            if not self._queue:
                return None
            late = self._random.random() < self.reorder
            place = self._random.randrange(min(len(self._queue), 8)) if late else 0
            return self._queue.pop(place)

    def _deliver_for_ever(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._queue or self._stopped)
                if self._stopped:
                    return
            self.pump()

    def send(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """What a client published."""
        with self._news:
            if retain and payload:
                self._retained[topic] = Message(topic, payload, qos, True)
            elif retain:
                self._retained.pop(topic, None)
            for bus in self._buses:
                if not bus.wants(topic) or self._random.random() < self.drop:
                    continue
                times = 2 if self._random.random() < self.repeat else 1
                self._queue += [(bus, Message(topic, payload, qos))] * times
            self._news.notify_all()

    def attach(self, bus: "LocalBus") -> None:
        with self._news:
            self._buses.append(bus)

    def detach(self, bus: "LocalBus") -> None:
        with self._news:
            if bus in self._buses:
                self._buses.remove(bus)

    def give_retained(self, bus: "LocalBus", pattern: str) -> None:
        with self._news:
            self._queue += [(bus, m) for t, m in self._retained.items() if topic_matches_sub(pattern, t)]
            self._news.notify_all()


class LocalBus:
    """A client of a LocalNet; the same face as MqttBus. `cut` and `mend` break and repair its link."""

    def __init__(self, net: LocalNet, will: Callable[[], Message | None] = lambda: None) -> None:
        self._net = net
        self._will_of = will
        self._will: Message | None = None
        self._handlers: list[tuple[str, Handler]] = []
        self._links: list[LinkCallback] = []
        self._up = False

    @property
    def connected(self) -> bool:
        return self._up

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> bool:
        if not self._up:
            return False
        self._net.send(topic, payload, qos, retain)
        return True

    def subscribe(self, pattern: str, handler: Handler, qos: int = 1) -> None:
        self._handlers.append((pattern, handler))
        if self._up:
            self._net.give_retained(self, pattern)

    def on_link(self, callback: LinkCallback) -> None:
        self._links.append(callback)

    def start(self) -> None:
        self.mend()

    def close(self) -> None:
        self._will = None
        self.cut()

    def mend(self) -> None:
        """Connect, as after a pause of the network."""
        self._will = self._will_of()
        self._net.attach(self)
        self._up = True
        for pattern, _ in self._handlers:
            self._net.give_retained(self, pattern)
        for callback in self._links:
            callback(True)

    def cut(self) -> None:
        """Lose the link; the will is published."""
        if not self._up:
            return
        self._up = False
        self._net.detach(self)
        if self._will is not None:
            self._net.send(self._will.topic, self._will.payload, self._will.qos, self._will.retained)
        for callback in self._links:
            callback(False)

    def wants(self, topic: str) -> bool:
        return any(topic_matches_sub(pattern, topic) for pattern, _ in self._handlers)

    def deliver(self, message: Message) -> None:
        """Called by the net."""
        if self._up:
            dispatch(self._handlers, message)
