"""The dozen lines that host any engine on any transport: the loop of a worker, of `fablab print` and of the tests.

Knows no journal, no bus, no file. One thread owns it; only `wake` may be called from others.
"""

import contextlib
import os
from collections.abc import Sequence

from fablab.clock import Clock
from fablab.devices.protocols.contract import Connect, Engine, Event, Intent, StopSeen, Transport


class Hosting:
    """Feeds an engine from a transport and back. Time comes from `clock`; a pipe wakes the wait."""

    def __init__(self, engine: Engine, transport: Transport, clock: Clock) -> None:
        self.engine = engine
        self.transport = transport
        self._clock = clock
        self._waiting = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def open(self) -> Sequence[Event]:
        """Open the transport and say hello. Raises OSError where the machine cannot be reached."""
        self.transport.open()
        self._waiting = False
        return self.ask(Connect())

    def ask(self, intent: Intent) -> list[Event]:
        """Hand over an order and write what it causes. Raises `Refused` from the engine, OSError from the line."""
        events = list(self.engine.tick(self._clock.monotonic()))
        events += self.engine.ask(intent)
        self._write()
        return events

    def stop_now(self, intent: Intent) -> list[Event]:
        """As `ask`, but what was handed over and has not left is forgotten first: for emergency stops."""
        self.transport.drop_pending()
        return self.ask(intent)

    def step(self, timeout: float) -> list[Event]:
        """Wait for input, a wake-up, the engine's deadline or `timeout` seconds; then do what is due.

        Raises OSError when the line is dead.
        """
        deadline = self.engine.deadline()
        if deadline is not None:
            timeout = min(timeout, max(0.0, deadline - self._clock.monotonic()))
        self.transport.wait(timeout, self._wake_read, self._waiting)
        self._drain_wake()
        events = list(self.engine.tick(self._clock.monotonic()))
        for item in self.transport.read():
            events += self.engine.receive(item)
        if any(isinstance(event, StopSeen) and event.how == "none" for event in events):
            self.transport.reset_board()
        self._write()
        return events

    def wake(self) -> None:
        """End a wait from another thread."""
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._wake_write, b"!")

    def close(self) -> None:
        """Close the transport; the hosting may be opened again."""
        self.transport.close()

    def dispose(self) -> None:
        """Close everything for good."""
        self.close()
        for fd in (self._wake_read, self._wake_write):
            os.close(fd)

    def _write(self) -> None:
        self._waiting = self.transport.write(self.engine.to_write())

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 4096):
                pass
