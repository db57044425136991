"""Runs a pure function in a child process with limits on time and memory. Knows nothing of what the function does.

The child is a fresh interpreter, `python -m fablab.children`: it inherits no socket, no database connection and no
thread, is killed with its parent, and gets a lower priority, so that a long measurement never makes a print stutter.
Arguments and results travel as msgpack, decoded by the function's own annotations: nothing is unpickled.
"""

import gc
import importlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from fablab.lifeline import end_with_parent
from fablab.refusals import Refusal

Result = TypeVar("Result")

NICENESS = 10
_MIB = 1024 * 1024


class Task(msgspec.Struct, frozen=True):
    """What the parent asks for; `arguments` is one msgpack array."""

    module: str
    function: str
    arguments: msgspec.Raw
    cpu_s: int
    memory_mb: int
    parent: int


class Outcome(msgspec.Struct, frozen=True):
    """What the child answers: a result, or the code and data of a refusal."""

    result: msgspec.Raw = msgspec.Raw(b"\xc0")
    refused: str = ""
    data: dict[str, Any] = {}


def run_limited(function: Callable[..., Result], *arguments: Any, seconds: float, memory_mb: int) -> Result:
    """Call `function(*arguments)` in a child with at most `seconds` of wall and processor time and `memory_mb` MiB.

    `function` stands at the top of an importable module and is fully annotated with types that msgspec knows, and
    `Path`. A `Refusal` raised there is raised here. Others: `Refusal("measuring_timeout", seconds)`,
    `Refusal("measuring_memory", memory_mb)` and `Refusal("measuring_failed", error)`.
    """
    task = Task(
        function.__module__,
        function.__qualname__,
        msgspec.Raw(msgspec.msgpack.encode(arguments, enc_hook=_to_wire)),
        int(seconds) + 1,
        memory_mb,
        os.getpid(),
    )
    try:
        done = subprocess.run(
            (sys.executable, "-m", "fablab.children"),
            input=msgspec.msgpack.encode(task),
            capture_output=True,
            timeout=seconds,
            env=_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Refusal("measuring_timeout", seconds=seconds) from error
    return _result(function, done, seconds, memory_mb)


def _environment() -> dict[str, str]:
    """Enough to import this package again, and nothing of the secrets that may stand in the parent's environment."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "HOME", "VIRTUAL_ENV") if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONSAFEPATH": "1"}


def _result(
    function: Callable[..., Result], done: "subprocess.CompletedProcess[bytes]", seconds: float, memory_mb: int
) -> Result:
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise Refusal("measuring_timeout", seconds=seconds)
    try:
        outcome = msgspec.msgpack.decode(done.stdout, type=Outcome)
    except msgspec.DecodeError as error:
        memory = b"MemoryError" in done.stderr
        if memory:
            raise Refusal("measuring_memory", memory_mb=memory_mb) from error
        raise Refusal("measuring_failed", error=_last_line(done)) from error
    if outcome.refused == "measuring_memory":
        raise Refusal("measuring_memory", memory_mb=memory_mb)
    if outcome.refused:
        raise Refusal(outcome.refused, **outcome.data)
    returns = get_type_hints(function)["return"]
    decoded: Result = msgspec.msgpack.decode(outcome.result, type=returns, dec_hook=_from_wire)
    return decoded


def _last_line(done: "subprocess.CompletedProcess[bytes]") -> str:
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else f"exit status {done.returncode}"


def _to_wire(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value))


def _from_wire(kind: type, value: Any) -> Any:
    if issubclass(kind, Path):
        return Path(value)
    raise NotImplementedError(kind)


# ---------------------------------------------------------------- in the child


def main() -> None:
    """Read a task from standard input, do it, write the outcome to standard output."""
    task = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Task)
    end_with_parent(task.parent)
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the function prints is no part of the answer
    os.nice(NICENESS)
    gc.disable()  # a short life without cycles: looking for them only costs time
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (task.cpu_s, task.cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (task.memory_mb * _MIB, task.memory_mb * _MIB))
    try:
        outcome = Outcome(msgspec.Raw(_perform(task)))
    except Refusal as refusal:
        outcome = Outcome(refused=refusal.code, data=refusal.data)
    except MemoryError:
        outcome = Outcome(refused="measuring_memory")
    except Exception as error:  # whatever it was, the parent gets a code and not a traceback
        outcome = Outcome(refused="measuring_failed", data={"error": f"{type(error).__name__}: {error}"[:200]})
    answer.write(msgspec.msgpack.encode(outcome))
    answer.close()


def _perform(task: Task) -> bytes:
    function = getattr(importlib.import_module(task.module), task.function)
    hints = get_type_hints(function)
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    raw = msgspec.msgpack.decode(task.arguments, type=list[msgspec.Raw])
    arguments = [
        msgspec.msgpack.decode(value, type=hints[name], dec_hook=_from_wire)
        for name, value in zip(names, raw, strict=False)
    ]
    return msgspec.msgpack.encode(function(*arguments), enc_hook=_to_wire)


if __name__ == "__main__":
    main()
