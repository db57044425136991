"""Real servers for tests: a private PostgreSQL, and a Mosquitto with a given configuration, on free loopback ports.

Each start proves that the listener is its own process, and each ends with the tests, however those end.
"""

import contextlib
import ctypes
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE_S = 30
PR_SET_PDEATHSIG = 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def owns_port(pid: int, port: int) -> bool:
    """Whether the process itself listens on the loopback port, by the kernel's own tables."""
    wanted = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        parts = line.split()
        if parts[3] == "0A" and int(parts[1].rsplit(":", 1)[1], 16) == port:
            wanted.add(f"socket:[{parts[9]}]")
    with contextlib.suppress(OSError):
        return any(str(link.readlink()) in wanted for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


def _end_with_tests(number: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


@dataclass
class PostgreSQL:
    """A running server, whose role `fablab` owns its databases and is no superuser, as deploy/postgres sets it up.

    `url` has no password; it is in `password_file`, as fablab.toml wants it.
    """

    process: subprocess.Popen[bytes]
    port: int
    password: str
    password_file: Path
    data: Path
    databases: int = field(default=0)

    @property
    def url(self) -> str:
        return self.url_of("fablab")

    def url_of(self, name: str) -> str:
        return f"postgresql+psycopg://fablab@127.0.0.1:{self.port}/{name}"

    def new_database(self) -> str:
        """An empty database of its own; returns its URL."""
        import psycopg

        self.databases += 1
        name = f"t{self.databases}"
        dsn = f"host=127.0.0.1 port={self.port} user=admin dbname=postgres"
        with psycopg.connect(dsn, password=self.password, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} OWNER fablab".encode())
        return self.url_of(name)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # fast shutdown
            self.process.wait(20)
        shutil.rmtree(self.data.parent, ignore_errors=True)


def start_postgresql(folder: Path) -> PostgreSQL:
    """A new cluster on a free port; its data lies where an ordinary user may go, the password file in `folder`."""
    home = Path(tempfile.mkdtemp(prefix="fablab-pg-"))
    folder.mkdir(parents=True, exist_ok=True)
    password_file, password = folder / "postgres.password", secrets.token_hex(16)
    password_file.write_text(password + "\n")
    password_file.chmod(0o600)
    as_user: dict[str, object] = {}
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        user = pwd.getpwnam("postgres")
        os.chown(home, user.pw_uid, user.pw_gid)
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    words = home / "pw"
    words.write_text(password)
    words.chmod(0o644)  # in a folder that only the user may enter
    data, programs = home / "data", _programs()
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "admin", "-A", "scram-sha-256", f"--pwfile={words}", "-E", "UTF8",
         "--no-sync", "--locale=C"],
        check=True, capture_output=True, cwd="/", **as_user,
    )  # fmt: skip
    words.unlink()
    port = free_port()
    process = subprocess.Popen(
        [programs / "postgres", "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1",
         "-c", f"unix_socket_directories={home}", "-c", "fsync=off", "-c", "max_connections=60"],
        cwd="/", stdout=subprocess.DEVNULL, stderr=(folder / "postgres.log").open("wb"),
        preexec_fn=lambda: _end_with_tests(signal.SIGINT), **as_user,
    )  # fmt: skip
    server = PostgreSQL(process, port, password, password_file, data)
    _wait(process, port, folder / "postgres.log")
    if int((data / "postmaster.pid").read_text().split()[0]) != process.pid:
        raise RuntimeError("another PostgreSQL answers")
    _create_first(server)
    return server


@dataclass
class Mosquitto:
    """A running broker on loopback."""

    process: subprocess.Popen[bytes]
    port: int

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)


def start_mosquitto(folder: Path, conf: str) -> Mosquitto:
    """Run Mosquitto with the configuration's text; a `listener` line in it counts, else a free port is added."""
    folder.mkdir(parents=True, exist_ok=True)
    named = re.search(r"^listener\s+(\d+)", conf, re.MULTILINE)
    port = int(named.group(1)) if named else free_port()
    text = conf if named else f"listener {port} 127.0.0.1\n{conf}"
    if os.getuid() == 0 and not re.search(r"^user\s", conf, re.MULTILINE):
        text += "\nuser root\n"  # it would drop to a user that cannot read the test's folder
    file = folder / "mosquitto.conf"
    file.write_text(text, encoding="utf-8")
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    log = folder / "mosquitto.log"
    process = subprocess.Popen(
        [program, "-c", str(file)], stdout=subprocess.DEVNULL, stderr=log.open("wb"),
        preexec_fn=lambda: _end_with_tests(signal.SIGTERM),
    )  # fmt: skip
    _wait(process, port, log)
    return Mosquitto(process, port)


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if found:
        return found[-1]
    program = shutil.which("postgres")
    if program is None:
        raise RuntimeError("PostgreSQL's server is not installed (apt install postgresql)")
    return Path(program).parent


def _create_first(server: PostgreSQL) -> None:
    import psycopg

    dsn = f"host=127.0.0.1 port={server.port} user=admin dbname=postgres"
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with psycopg.connect(dsn, password=server.password, autocommit=True) as connection:
                connection.execute(f"CREATE ROLE fablab LOGIN PASSWORD '{server.password}'".encode())
                connection.execute("CREATE DATABASE fablab OWNER fablab")
                return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not owns_port(process.pid, port):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)
