"""The tree of processes, with real ones: what falls is started again, and nothing outlives the parent."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Wait for a condition with a deadline; what never comes true is a failure."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


CHILD = """
    import os, pathlib, signal, sys, time
    from fablab.lifeline import end_with_parent
    end_with_parent()
    folder = pathlib.Path(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda *_: ((folder / "stopped").write_text("yes"), sys.exit(0)))
    (folder / "pids").open("a").write(f"{os.getpid()}\\n")
    time.sleep(600)
"""
PARENT = """
    import sys
    from fablab.tree import Role, Tree
    tree = Tree([Role("child", ("-c", sys.argv[2], sys.argv[1]))])
    tree.watch_signals()
    tree.start("child")
    sys.exit(tree.run())
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(PARENT), str(folder), textwrap.dedent(CHILD)])


def pids(folder: Path) -> list[int]:
    file = folder / "pids"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def test_what_falls_is_started_again(tmp_path: Path) -> None:
    parent = start(tmp_path)
    try:
        until(lambda: len(pids(tmp_path)) == 1)
        os.kill(pids(tmp_path)[0], signal.SIGKILL)
        until(lambda: len(pids(tmp_path)) == 2)
        assert alive(pids(tmp_path)[1])
    finally:
        parent.terminate()
        assert parent.wait(15) == 0


def test_sigterm_lets_the_child_stop_in_order(tmp_path: Path) -> None:
    parent = start(tmp_path)
    until(lambda: len(pids(tmp_path)) == 1)
    parent.terminate()
    assert parent.wait(15) == 0
    assert (tmp_path / "stopped").read_text() == "yes"
    assert not alive(pids(tmp_path)[0])


def test_sigkill_of_the_parent_leaves_nothing_behind(tmp_path: Path) -> None:
    parent = start(tmp_path)
    until(lambda: len(pids(tmp_path)) == 1)
    parent.kill()
    parent.wait()
    until(lambda: not alive(pids(tmp_path)[0]))


def test_a_wrong_configuration_is_not_tried_again() -> None:
    code = """
        import sys
        from fablab.tree import Role, Tree
        tree = Tree([Role("x", ("-c", "raise SystemExit(2)"))])
        tree.start("x")
        sys.exit(tree.run())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=20, check=False)
    assert done.returncode == 2
