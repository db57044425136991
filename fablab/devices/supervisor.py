"""Starts, watches and restarts one worker per machine; logs once when one goes down and once when it is back."""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fablab.devices.drivers import Hosted, Surroundings, build
from fablab.devices.machine import Site
from fablab.devices.protocols.contract import Refused
from fablab.devices.protocols.manual import Manual
from fablab.devices.restart import settle_unfinished
from fablab.devices.transports.none import NoTransport
from fablab.devices.worker import Worker
from fablab.messages import MachineSettings
from fablab.refusals import Refusal

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
STEADY_S = 60.0
"""A worker that lived this long is well: its next fall starts at the first pause."""

Build = Callable[[MachineSettings, Surroundings], Hosted]


class _Unusable(NoTransport):
    """Stands where a driver could not be made, so that the machine's picture says why."""

    def __init__(self, code: str) -> None:
        self._code = code

    def open(self) -> None:
        raise OSError(self._code)


@dataclass
class _Post:
    worker: Worker
    started: float
    pause: float = FIRST_PAUSE_S
    due: float = 0.0
    down: bool = False


class Supervisor:
    """The workers of one agent, by machine id."""

    def __init__(self, site: Site, surroundings: Surroundings, make: Build = build) -> None:
        self._site = site
        self._surroundings = surroundings
        self._make = make
        self._posts: dict[str, _Post] = {}
        self._lock = threading.Lock()

    def worker(self, machine: str) -> Worker | None:
        """The worker of a machine; None for one that is not ours."""
        post = self._posts.get(machine)
        return None if post is None else post.worker

    def workers(self) -> list[Worker]:
        with self._lock:
            return [post.worker for post in self._posts.values()]

    def apply(self, wanted: Iterable[MachineSettings]) -> None:
        """Run exactly these machines. One whose settings changed starts anew, unless a run is on: then after it."""
        by_id = {settings.id: settings for settings in wanted}
        with self._lock:
            for machine, post in list(self._posts.items()):
                if by_id.get(machine) == post.worker.machine.settings or post.worker.machine.book is not None:
                    continue
                post.worker.halt("abort")
                post.worker.join(10)
                del self._posts[machine]
            for machine, settings in by_id.items():
                if machine not in self._posts:
                    self._posts[machine] = _Post(self._start(settings), self._site.clock.monotonic())

    def watch(self) -> None:
        """Call about once a second: restart what has fallen, with growing pauses."""
        now = self._site.clock.monotonic()
        with self._lock:
            for machine, post in self._posts.items():
                if post.worker.is_alive():
                    if post.down and now - post.started > STEADY_S:
                        post.down, post.pause = False, FIRST_PAUSE_S
                        log.info("%s: its worker is well again", machine)
                    continue
                if not post.down:
                    log.error("%s: its worker fell over and is started again", machine)
                if not post.due:
                    post.down, post.due = True, now + post.pause
                    post.pause = min(LONGEST_PAUSE_S, post.pause * 2)
                elif now >= post.due:
                    settle_unfinished(self._site.reporter, machine)
                    post.worker, post.started, post.due = self._start(post.worker.machine.settings), now, 0.0

    def halt(self, policy: str, patience: float) -> bool:
        """Bring all to a safe point; whether all came there within `patience` seconds."""
        workers = self.workers()
        for worker in workers:
            worker.halt(policy)
        limit = self._site.clock.monotonic() + patience
        for worker in workers:
            worker.join(max(0.0, limit - self._site.clock.monotonic()))
        return not any(worker.is_alive() for worker in workers)

    def _start(self, settings: MachineSettings) -> Worker:
        try:
            hosted = self._make(settings, self._surroundings)
        except (Refusal, Refused) as refusal:
            log.error("%s cannot be run: %s %s", settings.id, refusal.code, refusal.data)
            hosted = Hosted(Manual(), _Unusable(refusal.code))
        worker = Worker(self._site, settings, hosted)
        worker.start()
        return worker
