"""A whole demo lab in real processes, as `fablab demo --json` starts it, and what tests do with it over the API."""

import json
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures/gcode"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Lab:
    """A running lab. `people` by role; `folder` holds its database and the control sockets of its simulators."""

    process: subprocess.Popen[bytes]
    folder: Path
    url: str
    people: dict[str, dict[str, str]]
    machines: list[dict[str, Any]]
    people_all: list[dict[str, str]]

    def call(self, who: str, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.people[who]['token']}"}
        return httpx.request(method, self.url + path, headers=headers, timeout=30, **more)

    def send(self, who: str, name: str, **fields: str) -> dict[str, Any]:
        """Upload a fixture as a job; returns the job as the API answers it."""
        with (FIXTURES / name).open("rb") as file:
            answer = self.call(who, "POST", "/api/v1/jobs", files={"file": (name, file)}, data=fields)
        assert answer.status_code in {201, 202}, answer.text
        return dict(answer.json())

    def job(self, who: str, job_id: str) -> dict[str, Any]:
        answer = self.call(who, "GET", f"/api/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def until(self, condition: Callable[[], Any], why: str, seconds: float = 60) -> Any:
        """Wait for a condition with a deadline."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, why
            assert self.process.poll() is None, "the lab is gone"
            time.sleep(0.1)
        return found

    def until_state(self, who: str, job_id: str, *states: str, seconds: float = 60) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            job = self.job(who, job_id)
            return job if job["state"] in states else None

        return dict(self.until(look, f"the job was not {' or '.join(states)}: {self.job(who, job_id)}", seconds))

    def ready_run(self, who: str, job_id: str, seconds: float = 60) -> dict[str, Any]:
        """The run that waits for a go."""

        def look() -> dict[str, Any] | None:
            runs = self.job(who, job_id)["runs"]
            return runs[-1] if runs and runs[-1]["state"] == "prepared" else None

        return dict(self.until(look, f"nothing was made ready: {self.job(who, job_id)}", seconds))

    def simulator(self, machine: str, command: str) -> dict[str, Any]:
        """Say something to a simulator's control socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as talk:
            talk.settimeout(10)
            talk.connect(str(self.folder / "ports" / f"{machine}.control"))
            talk.sendall(command.encode() + b"\n")
            return dict(json.loads(talk.makefile().readline()))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def start_lab(folder: Path, speed: int = 60) -> Lab:
    """Start a lab and wait until it says that all is ready."""
    port = free_port()
    log = (folder.parent / f"{folder.name}.log").open("ab")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "fablab",
            "demo",
            "--dir",
            str(folder),
            "--port",
            str(port),
            "--speed",
            str(speed),
            "--json",
        ],
        stdout=subprocess.PIPE,
        stderr=log,
    )
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 90)
    line = process.stdout.readline() if ready else b""
    if not line:
        process.kill()
        raise AssertionError("the lab did not start:\n" + Path(log.name).read_text(encoding="utf-8")[-4000:])
    told = json.loads(line)
    return Lab(process, folder, told["url"], {p["role"]: p for p in told["people"]}, told["machines"], told["people"])
