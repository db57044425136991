"""The alarm clock, and the only file that imports APScheduler: it calls what it was handed, at intervals. No logic.

What is due is written in our tables; an alarm only wakes whoever looks there. Memory store: nothing to restore.
"""

import logging
from collections.abc import Callable, Mapping

from apscheduler.schedulers.background import BackgroundScheduler

log = logging.getLogger(__name__)


class AlarmClock:
    """Calls each function every so many seconds in its own thread, never twice at once, until stopped."""

    def __init__(self, calls: Mapping[Callable[[], None], float]) -> None:
        self._scheduler = BackgroundScheduler(timezone="UTC")
        for call, seconds in calls.items():
            self._scheduler.add_job(call, "interval", seconds=seconds, max_instances=1, coalesce=True)

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)
