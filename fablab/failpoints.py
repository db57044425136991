"""Named points at which a test may stop this very process: proof that it was reached, then a standstill until SIGKILL.

Does nothing unless FABLAB_FAILPOINT says `name[:n]@FILE`: at the n-th time that `name` is reached (the first, unless
said otherwise) FILE is written to disk and the whole process stops, all its threads. SIGCONT lets it go on.
"""

import os
import signal
import threading
import time
from pathlib import Path

VARIABLE = "FABLAB_FAILPOINT"
SETTLE_S = 0.5
"""Another thread may take the signal: until it has stopped the process, this one must not go on."""

_seen = 0
_lock = threading.Lock()


def reach(name: str) -> None:
    """Say that the process has come to this point."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    point, _, marker = wanted.partition("@")
    point, _, count = point.partition(":")
    if point == name and marker and _is_turn(int(count or 1)):
        _leave_marker(Path(marker), name)
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(SETTLE_S)


def _is_turn(count: int) -> bool:
    global _seen
    with _lock:
        _seen += 1
        return _seen == count


def _leave_marker(file: Path, name: str) -> None:
    """Written under another name first, so that whoever waits for FILE finds it whole."""
    draft = file.with_name(file.name + ".part")
    with draft.open("w", encoding="utf-8") as out:
        out.write(f"{name} {os.getpid()}\n")
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
