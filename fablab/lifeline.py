"""Ties a child process to its parent: whatever way the parent goes, the child goes too. Linux only, by prctl(2)."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
PARENT = "FABLAB_PARENT"
"""Environment variable with the process id of the parent that a child is tied to."""


def end_with_parent(parent: int | None = None) -> None:
    """Ask the kernel for SIGKILL when the parent dies; leave at once where it is dead already.

    `parent` is who should be the parent; None takes FABLAB_PARENT, and does nothing where that is not set. The kernel
    watches the parent's *thread*: start children from a main thread only.
    """
    if parent is None:
        text = os.environ.pop(PARENT, "")
        if not text.isdigit():
            return
        parent = int(text)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)


def tied(environment: dict[str, str] | None = None) -> dict[str, str]:
    """The environment for a child that calls `end_with_parent` first thing."""
    return {**(os.environ if environment is None else environment), PARENT: str(os.getpid())}
