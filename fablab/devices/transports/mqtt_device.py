"""Carries (topic, payload) items between an engine and one device on the site's broker. Knows no device's words.

What lay retained at the broker may be of any age and is dropped, but for presence: topics that end in `/LWT`.
"""

import contextlib
import os
import queue
import select
from collections.abc import Sequence

from fablab.bus import Bus, Message

Item = tuple[str, bytes]
PRESENCE = "/LWT"
MAX_WAITING = 1000
"""Items that may wait for the worker; a device that says more is cut short."""


class MqttDevice:
    """One device's topics. `patterns` are what it publishes; orders go out at QoS 1, never retained."""

    def __init__(self, bus: Bus, patterns: Sequence[str]) -> None:
        self._bus = bus
        self._patterns = tuple(patterns)
        self._subscribed = False
        self._open = False
        self._lost = False
        self._presence: Item | None = None
        self._items: queue.Queue[Item] = queue.Queue(MAX_WAITING)
        self._readable, self._signal = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def open(self) -> None:
        """Raises OSError while there is no broker."""
        if not self._subscribed:
            self._subscribed = True
            self._bus.on_link(self._on_link)
            for pattern in self._patterns:
                self._bus.subscribe(pattern, self._on_message)
        if not self._bus.connected:
            raise OSError("no_broker")
        self._items = queue.Queue(MAX_WAITING)
        self._lost, self._open = False, True
        if self._presence is not None:
            self._put(self._presence)

    def wait(self, timeout: float | None, wake_fd: int, writing: bool) -> None:
        """Block until an item is there, `wake_fd` is readable, or the timeout is over."""
        select.select([self._readable, *([wake_fd] if wake_fd >= 0 else [])], [], [], timeout)

    def read(self) -> Sequence[Item]:
        """What has come. Raises OSError when the broker is gone."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._readable, 4096):
                pass
        if self._lost:
            raise OSError("no_broker")
        items: list[Item] = []
        with contextlib.suppress(queue.Empty):
            while True:
                items.append(self._items.get_nowait())
        return items

    def write(self, items: Sequence[Item]) -> bool:
        """Raises OSError when the broker is gone."""
        for topic, payload in items:
            if not self._bus.publish(topic, payload, 1, False):
                raise OSError("no_broker")
        return False

    def drop_pending(self) -> None:
        """Nothing waits in here: the bus took it, or there was none."""

    def reset_board(self) -> bool:
        return False

    def close(self) -> None:
        self._open = False

    def _on_message(self, message: Message) -> None:
        item = (message.topic, message.payload)
        if message.topic.endswith(PRESENCE):
            self._presence = item
        elif message.retained:
            return
        if self._open:
            self._put(item)

    def _on_link(self, up: bool) -> None:
        if not up:
            self._lost = True
            self._notify()

    def _put(self, item: Item) -> None:
        with contextlib.suppress(queue.Full):
            self._items.put_nowait(item)
        self._notify()

    def _notify(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._signal, b"!")
