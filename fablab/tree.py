"""A tiny parent of several processes: starts them, restarts them with back-off, and outlives none of them.

Knows nothing of what they do. Logs once when one goes down and once when it is back.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from fablab.lifeline import tied

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 20.0
"""A child that ran this long is well again: the next fall starts at the first pause."""
PATIENCE_S = 25.0
"""How long a child may take to stop in order before it is killed."""


@dataclass(frozen=True)
class Role:
    """One process to keep alive. `argv` without the interpreter; `env` is added to ours."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    final: tuple[int, ...] = (2,)  # exit statuses that a restart would not mend: wrong configuration


@dataclass
class _Child:
    role: Role
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = FIRST_PAUSE_S
    due: float = 0.0
    down: bool = False


class Tree:
    """The children of one parent. Use from the main thread: the kernel ties children to a thread."""

    def __init__(self, roles: Sequence[Role]) -> None:
        self._children = [_Child(role) for role in roles]
        self._stopping = 0
        self._wake = threading.Event()

    def start(self, name: str) -> None:
        """Start one child by name; the others wait for their turn."""
        child = next(child for child in self._children if child.role.name == name)
        self._spawn(child)

    def pids(self) -> dict[str, int]:
        return {c.role.name: c.process.pid for c in self._children if c.process is not None}

    def watch_signals(self) -> None:
        """SIGTERM and SIGINT stop in order; the second one means now."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._stopping += 1
        self._wake.set()
        if self._stopping > 1:
            for child in self._children:
                if child.process is not None and child.process.poll() is None:
                    child.process.kill()

    def stop(self) -> None:
        self._stopping += 1
        self._wake.set()

    @property
    def stopping(self) -> bool:
        return self._stopping > 0

    def step(self) -> int | None:
        """Look after every child once. Returns an exit status where going on makes no sense, else None."""
        now = time.monotonic()
        for child in self._children:
            if child.process is None:
                if child.due and now >= child.due:
                    self._spawn(child)
                continue
            status = child.process.poll()
            if status is None:
                if child.down and now - child.started > STEADY_S:
                    log.info("%s is back", child.role.name)
                    child.down, child.pause = False, FIRST_PAUSE_S
                continue
            if status in child.role.final:
                return status
            self._fell(child, status, now)
        return None

    def _fell(self, child: _Child, status: int, now: float) -> None:
        if not child.down:
            log.warning("%s ended with status %s; it is started again until it stays", child.role.name, status)
        child.down = True
        child.process = None
        child.due = now + child.pause
        child.pause = min(child.pause * 2, LONGEST_PAUSE_S)

    def run(self) -> int:
        """Keep them alive until told to stop; returns the exit status."""
        status: int | None = None
        while not self._stopping:
            status = self.step()
            if status is not None:
                break
            self._wake.wait(0.2)
        self.end()
        return status or 0

    def end(self) -> None:
        """Stop the children in the reverse order of their start, each in its own time, then for good."""
        for child in reversed(self._children):
            if child.process is None or child.process.poll() is not None:
                continue
            child.process.terminate()
            try:
                child.process.wait(PATIENCE_S if self._stopping < 2 else 0.1)
            except subprocess.TimeoutExpired:
                log.warning("%s did not stop in time and was killed", child.role.name)
                child.process.kill()
                child.process.wait()

    def _spawn(self, child: _Child) -> None:
        environment = tied({**os.environ, **child.role.env})
        # A session of its own: Ctrl-C on the terminal reaches the parent alone, which then stops in order.
        child.process = subprocess.Popen(
            [sys.executable, *child.role.argv], env=environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
        child.started, child.due = time.monotonic(), 0.0
