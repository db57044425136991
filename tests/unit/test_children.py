"""A function in a limited child: results, refusals, and each limit; and that the child goes with its parent."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from fablab.children import run_limited
from fablab.gcode.facts import Limits, understand
from fablab.refusals import Refusal

FIXTURE = Path(__file__).parents[1] / "fixtures" / "gcode" / "cube-pla-mk3.gcode"
TASKS = """
import os, sys, time
from pathlib import Path
from fablab.refusals import Refusal

def refuse(word: str) -> int:
    raise Refusal("too_" + word, word=word)

def sleep(seconds: float) -> int:
    time.sleep(seconds)
    return 1

def spin() -> int:
    while True:
        pass

def fill(megabytes: int) -> int:
    return len(bytes(megabytes << 20))

def fail() -> int:
    print("chatter on standard output")
    raise KeyError("lost")

def chat() -> int:
    print("chatter on standard output")
    return 7

def descriptors() -> list[int]:
    return [fd for fd in range(3, 64) if os.path.exists(f"/proc/self/fd/{fd}")]

def modules() -> list[str]:
    return sorted(name for name in ("flask", "sqlalchemy", "paho", "fablab.config") if name in sys.modules)

def secret() -> str:
    return os.environ.get("FABLAB_SECRET", "")

def where(path: Path) -> Path:
    return path / "x"
"""


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    (tmp_path / "children_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("children_tasks", None)
    return __import__("children_tasks")


def test_the_result_is_the_same_as_without_a_child(tmp_path: Path) -> None:
    facts = run_limited(understand, FIXTURE, Limits(), tmp_path / "index", seconds=60, memory_mb=512)
    assert facts == understand(FIXTURE, Limits())
    assert (tmp_path / "index").stat().st_size > 0


def test_a_refusal_comes_back_as_it_was(tasks: object) -> None:
    with pytest.raises(Refusal) as refusal:
        run_limited(tasks.refuse, "late", seconds=30, memory_mb=512)  # type: ignore[attr-defined]
    assert (refusal.value.code, refusal.value.data) == ("too_late", {"word": "late"})


def test_time_on_the_wall_and_of_the_processor(tasks: object) -> None:
    for function, arguments in ((tasks.sleep, (30.0,)), (tasks.spin, ())):  # type: ignore[attr-defined]
        began = time.monotonic()
        with pytest.raises(Refusal) as refusal:
            run_limited(function, *arguments, seconds=0.5, memory_mb=512)
        assert refusal.value.code == "measuring_timeout"
        assert time.monotonic() - began < 10


def test_memory(tasks: object) -> None:
    assert run_limited(tasks.fill, 20, seconds=30, memory_mb=256) == 20 << 20  # type: ignore[attr-defined]
    with pytest.raises(Refusal) as refusal:
        run_limited(tasks.fill, 400, seconds=30, memory_mb=256)  # type: ignore[attr-defined]
    assert refusal.value.code == "measuring_memory"


def test_any_other_failure_is_named_and_chatter_is_no_answer(tasks: object) -> None:
    with pytest.raises(Refusal) as refusal:
        run_limited(tasks.fail, seconds=30, memory_mb=512)  # type: ignore[attr-defined]
    assert refusal.value.code == "measuring_failed"
    assert "KeyError" in refusal.value.data["error"]
    assert run_limited(tasks.chat, seconds=30, memory_mb=512) == 7  # type: ignore[attr-defined]


def test_the_child_inherits_nothing(tasks: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FABLAB_SECRET", "s3cret")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        os.set_inheritable(listener.fileno(), True)
        assert len(run_limited(tasks.descriptors, seconds=30, memory_mb=512)) <= 1  # type: ignore[attr-defined]
    assert run_limited(tasks.modules, seconds=30, memory_mb=512) == []  # type: ignore[attr-defined]
    assert run_limited(tasks.secret, seconds=30, memory_mb=512) == ""  # type: ignore[attr-defined]
    assert run_limited(tasks.where, Path("/a"), seconds=30, memory_mb=512) == Path("/a/x")  # type: ignore[attr-defined]


def test_the_child_goes_with_its_parent(tasks: object, tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import children_tasks; "
        "from fablab.children import run_limited; run_limited(children_tasks.sleep, 60.0, seconds=60, memory_mb=512)"
    )
    parent = subprocess.Popen((sys.executable, "-c", script))
    try:
        child = _until(lambda: next(iter(_children(parent.pid)), None))
        _until(lambda: _tied(child))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        _until(lambda: not _alive(child) or None)
    finally:
        parent.kill()
        parent.wait()


def _children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _tied(pid: int) -> bool:
    """The child has lowered its priority, which it does right after it tied itself to its parent."""
    return os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _until(condition, seconds: float = 10.0):  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "gave up waiting"
        time.sleep(0.02)
    return found


def test_facts_travel_as_json_too() -> None:
    facts = understand(FIXTURE, Limits())
    assert msgspec.convert(msgspec.to_builtins(facts), type(facts)) == facts
