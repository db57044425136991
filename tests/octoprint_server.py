"""Starts a real OctoPrint with its Virtual Printer on a free loopback port, for tests and demonstrations.

It lives in a scratch folder, without wizard, tracking or look-ups on the net, and ends with its parent process.
"""

import json
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fablab.lifeline import tied

PROGRAM = Path(__file__).parent.parent / ".octoprint" / "bin" / "octoprint"
START_SECONDS = 60.0

CONFIG = """\
server:
  firstRun: false
  seenWizards: {{corewizard: 4, backup: null, softwareupdate: null, tracking: null, virtual_printer: null}}
  onlineCheck: {{enabled: false}}
  pluginBlacklist: {{enabled: false}}
plugins:
  _disabled: [tracking, errortracking, announcements, softwareupdate, discovery, achievements, health_check]
  virtual_printer: {{enabled: true, throttle: 0, sendWait: false, simulated_errors: []}}
serial:
  port: {port}
  baudrate: 115200
  additionalPorts: {ports}
  autoconnect: false
  timeout: {{detectionFirst: 3.0, positionLogWait: 1.0}}
gcodeAnalysis:
  runAt: never
webcam: {{webcamEnabled: false, timelapseEnabled: false}}
"""

PERMISSIONS = ["STATUS", "CONNECTION", "FILES_LIST", "FILES_UPLOAD", "FILES_SELECT", "FILES_DELETE", "PRINT", "CONTROL"]
"""What docs/how-to/connect-octoprint.md asks for."""

# The child ties itself to this process before it becomes OctoPrint; the kernel keeps that over exec.
TIE = "import os, sys, fablab.lifeline as line; line.end_with_parent(); os.execv(sys.argv[1], sys.argv[1:])"


@dataclass
class OctoPrint:
    """A running server: where it answers, a key with the rights that the how-to names, one with all, the process."""

    url: str
    api_key: str
    admin_key: str
    base_dir: Path
    process: "subprocess.Popen[bytes]" = field(repr=False)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request, past the code under test: (status, decoded JSON or None)."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-Api-Key": self.admin_key, "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
                raw, status = answer.read(), answer.status
        except urllib.error.HTTPError as error:
            raw, status = error.read(), error.code
        try:
            return status, json.loads(raw)
        except ValueError:
            return status, None

    def connect(self, port: str = "VIRTUAL", baudrate: int = 115200) -> None:
        """Have it open its printer, and wait until that answers."""
        body = {"command": "connect", "port": port, "baudrate": baudrate, "printerProfile": "_default"}
        status, _ = self.call("POST", "/api/connection", body)
        assert status == 204, status
        self.until(lambda: self.call("GET", "/api/printer")[0] == 200, "the printer is operational")

    def disconnect(self) -> None:
        """Let go of the printer, as if somebody pressed "Disconnect"."""
        self.call("POST", "/api/connection", {"command": "disconnect"})
        self.until(lambda: self.call("GET", "/api/printer")[0] == 409, "the printer is gone")

    def until(self, condition: Any, what: str, seconds: float = 30.0) -> None:
        """Wait on a condition; the text says what did not come true."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not within {seconds} s: {what}; {self.call('GET', '/api/job')}"
            time.sleep(0.1)


@contextmanager
def start_octoprint(
    base_dir: Path, extra_ports: Sequence[str] = (), port: str = "VIRTUAL", key: str = ""
) -> Iterator[OctoPrint]:
    """A server in `base_dir` (made where missing); `extra_ports` are globs of serial devices beside VIRTUAL.

    `port` is the device that it opens when it is told to connect without a name; `key` is made where none is given.
    """
    assert PROGRAM.exists(), "OctoPrint is missing: run `sh tests/setup/octoprint_env.sh`"
    base_dir.mkdir(parents=True, exist_ok=True)
    (base_dir / "config.yaml").write_text(CONFIG.format(ports=json.dumps(list(extra_ports)), port=port))
    key, admin_key = key or secrets.token_hex(16), secrets.token_hex(16)
    _write_users(base_dir, key, admin_key)
    listen = _free_port()
    command = [str(PROGRAM), "serve", "-b", str(base_dir), "--host", "127.0.0.1", "--port", str(listen)]
    command.append("--iknowwhatimdoing")
    with (base_dir / "output.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", TIE, *command], stdout=log, stderr=subprocess.STDOUT, env=tied()
        )
    server = OctoPrint(f"http://127.0.0.1:{listen}", key, admin_key, base_dir, process)
    try:
        _await(server, listen)
        yield server
    finally:
        process.kill()  # a server that is asked kindly takes ten seconds and keeps nothing that a test needs
        process.wait(10)


def _write_users(base_dir: Path, api_key: str, admin_key: str) -> None:
    """Nobody signs in with a password: both have none that fits."""
    fablab = {"active": True, "apikey": api_key, "groups": [], "password": "!", "permissions": PERMISSIONS, "roles": []}
    admin = fablab | {"apikey": admin_key, "groups": ["admins"], "permissions": [], "roles": ["user", "admin"]}
    users = {"_version": 2, "fablab": fablab | {"roles": ["user"]}, "admin": admin}
    (base_dir / "users.yaml").write_text(json.dumps(users))  # JSON is YAML


def _await(server: OctoPrint, port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        log = server.base_dir / "output.log"
        assert server.process.poll() is None, log.read_text(errors="replace")[-2000:]
        assert time.monotonic() < end, log.read_text(errors="replace")[-2000:]
        try:
            # while it starts, the port answers a bare "Not found" without a status line
            if server.call("GET", "/api/version")[0] == 200 and server.call("GET", "/api/job")[0] == 200:
                break
        except (OSError, urllib.error.URLError, ValueError):
            pass
        except Exception as error:  # http.client's own errors share no base with OSError
            if type(error).__module__ != "http.client":
                raise
        time.sleep(0.1)
    assert _listens(server.process.pid, port), f"somebody else listens on port {port}"


def _listens(pid: int, port: int) -> bool:
    """Whether the listening socket of `port` is one of this process' own."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
            inodes.add(f"socket:[{fields[9]}]")
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if str(entry.readlink()) in inodes:
                return True
        except OSError:
            continue
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
