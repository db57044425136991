"""From a fresh clone to an open page, a second start, and the memory of each process with three printers.

    python benchmarks/first_start.py

Clones this checkout into a temporary folder and runs `make demo` there, twice. Prints one line of JSON.
"""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(folder: Path, port: int) -> tuple[subprocess.Popen[bytes], float]:
    """Run `make demo` until it says that all is ready; returns it and the seconds it took."""
    began = time.monotonic()
    process = subprocess.Popen(
        ["make", "--no-print-directory", "demo", f"DEMO=--json --port {port}"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    while True:
        line = process.stdout.readline()
        if not line:
            raise SystemExit("the demo did not start")
        if line.startswith(b"{"):
            return process, time.monotonic() - began


def resident_mb(group: int) -> dict[str, float]:
    """Resident memory in MB of every process of the session, by what it runs."""
    found: dict[str, float] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            pid = int(status.parent.name)
            words = (status.parent / "cmdline").read_bytes().decode().split("\0")
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except (OSError, ValueError):
            continue
        if str(group) not in words and not any(word.endswith("/fablab") or word == "fablab" for word in words):
            continue
        name = next((words[i + 1] for i, word in enumerate(words) if word == "--role"), "")
        name = name or ("simulator" if any("simulators" in word for word in words) else "parent")
        found[f"{name} {pid}"] = round(int(lines["VmRSS"].split()[0]) / 1024, 1)
    return found


def descendants(pid: int) -> set[int]:
    """The process and all that came from it."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def alive(pid: int) -> bool:
    """Whether it still runs; one that waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "fablab"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
        first, first_s = start(folder, free_port())
        family = descendants(first.pid)
        memory = {name: mb for name, mb in resident_mb(0).items() if int(name.rsplit(" ", 1)[1]) in family}
        os.kill(first.pid, signal.SIGTERM)
        first.wait(60)
        second, second_s = start(folder, free_port())
        family = descendants(second.pid)
        second.kill()
        time.sleep(1.0)
        left = [pid for pid in family if alive(pid) and pid != second.pid]
        print(
            json.dumps(
                {
                    "clone_to_page_s": round(first_s, 1),
                    "second_start_s": round(second_s, 1),
                    "resident_mb": memory,
                    "left_after_sigkill": left,
                }
            )
        )


if __name__ == "__main__":
    main()
