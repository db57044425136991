"""The only place that reads a clock. Everything else is told the time.

Wall time is UTC and for display, lateness and the ledger; monotonic seconds measure durations.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What a shell needs to tell the pure parts the time."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; the zero is arbitrary."""
        ...


class SystemClock:
    """The machine's clocks, kept from going behind an instant that was already written down.

    A small board without a battery starts in the past; `not_before` is the last time found in its journal.
    """

    def __init__(self, not_before: datetime | None = None) -> None:
        self._not_before = not_before

    def now(self) -> datetime:
        now = datetime.now(UTC)
        if self._not_before is not None and now < self._not_before:
            return self._not_before
        return now

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that only moves when told to: for tests and for replaying transcripts."""

    def __init__(self, now: datetime, monotonic: float = 0.0) -> None:
        if now.tzinfo is None:
            raise ValueError("a naive datetime has no place here")
        self._now = now
        self._monotonic = monotonic

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds
