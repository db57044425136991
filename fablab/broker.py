"""The embedded broker (iotcore, a rumqttd in a wheel), on loopback only, and the files that a Mosquitto needs instead.

iotcore has no access list: any client with a password may publish anything, which is why it never leaves loopback.
"""

import hashlib
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from fablab.lifeline import end_with_parent, tied
from fablab.messages import MAX_MESSAGE_BYTES
from fablab.refusals import Refusal
from fablab.topics import ROOT, check_name

log = logging.getLogger(__name__)

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
EMBEDDED_USER = "fablab"
DEVICE_USER, DEVICE_PASSWORD = "devices", "device.password"
"""Plugs and meters share one account at the embedded broker; its password lies beside fablab.toml."""
START_SECONDS = 10.0
ITERATIONS = 10_000
"""PBKDF2 rounds of a Mosquitto password: 64 random characters need no more, and each connect pays for them."""


def run_embedded(host: str, port: int, credentials: Mapping[str, str]) -> int:
    """Be the broker, in this process, until it is ended. `credentials` are passwords by user.

    Raises Refusal broker_not_loopback, whose sentence names Mosquitto.
    """
    text = rumqttd_toml(host, port, credentials)
    from iotcore.iotcore import IotCoreBroker

    for chatty in ("rumqttd", "tracing", "iotcore"):  # the first reports every packet as an error
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    handle, name = tempfile.mkstemp(suffix=".toml")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
        broker = IotCoreBroker(config_path=name)
    finally:
        Path(name).unlink()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # it remembers nothing that would need to be saved
    log.info("broker on %s:%d, for %d users", host, port, len(credentials))
    broker.run_forever()
    return 1


class Installation(Protocol):
    """What the broker needs of the configuration (`fablab.config.Config` is one)."""

    @property
    def broker(self) -> Any: ...

    @property
    def agent(self) -> Any: ...

    def resolve(self, path: str) -> Path: ...

    def secret(self, path: str | None) -> str | None: ...


def serve_embedded(config: Installation) -> int:
    """Run the embedded broker of an installation until it is ended."""
    return run_embedded(config.broker.host, config.broker.port, installation_credentials(config))


def installation_credentials(config: Installation) -> dict[str, str]:
    """Passwords by user: hub and web, the agent of agent.token, and `devices` where device.password is there."""
    credentials = {EMBEDDED_USER: config.secret(config.broker.password_file) or ""}
    token_file = config.resolve(config.agent.token_file)
    if token_file.exists():
        token = json.loads(token_file.read_text(encoding="utf-8"))
        credentials[token["mqtt_user"]] = token["mqtt_password"]
    devices = config.resolve(DEVICE_PASSWORD)
    if devices.exists():
        credentials[DEVICE_USER] = devices.read_text(encoding="utf-8").strip()
    return credentials


def rumqttd_toml(host: str, port: int, credentials: Mapping[str, str]) -> str:
    """The configuration that iotcore reads. Raises Refusal broker_not_loopback."""
    if host not in LOOPBACK:
        raise Refusal("broker_not_loopback", host=host)
    listen = f"[{host}]:{port}" if ":" in host else f"{'127.0.0.1' if host == 'localhost' else host}:{port}"
    users = "\n".join(f"{json.dumps(user)} = {json.dumps(password)}" for user, password in credentials.items())
    return f"""id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 1000
max_segment_size = 8388608
max_segment_count = 4
[v4.1]
name = "loopback"
listen = "{listen}"
next_connection_delay_ms = 1
[v4.1.connections]
connection_timeout_ms = 10000
max_payload_size = {MAX_MESSAGE_BYTES + 4096}
max_inflight_count = 1000
dynamic_filters = true
[v4.1.connections.auth]
{users}
"""


class EmbeddedBroker:
    """The broker as a child process that ends with its parent: for tests, and for whoever needs one for a while."""

    def __init__(self, port: int, credentials: Mapping[str, str], host: str = "127.0.0.1") -> None:
        rumqttd_toml(host, port, credentials)  # says what is wrong before a process is started
        self._setup = json.dumps({"host": host, "port": port, "credentials": dict(credentials)})
        self._where = (host, port)
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> "EmbeddedBroker":
        """Returns when it accepts connections. Raises TimeoutError where it does not. Call from a main thread."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fablab.broker"], env=tied(), stdin=subprocess.PIPE, text=True
        )
        assert self.process.stdin is not None  # noqa: S101 — asked for one line above
        self.process.stdin.write(self._setup)
        self.process.stdin.close()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(self._where, 0.2).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self
        self.kill()
        raise TimeoutError(f"no broker on {self._where}")

    def kill(self) -> None:
        """As the power cut would: nothing is kept."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> "EmbeddedBroker":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


# ---------------------------------------------------------------- Mosquitto


@dataclass(frozen=True)
class AgentAccess:
    """One agent's account: it may touch its site only. `devices`: the %topic% names of its plugs and meters."""

    user: str
    password: str
    site: str
    agent: str
    devices: tuple[str, ...] = ("+",)


@dataclass(frozen=True)
class DeviceAccess:
    """Plugs and meters that share an account. `topics`: their %topic% names; () means any."""

    user: str
    password: str
    topics: tuple[str, ...] = ()


@dataclass(frozen=True)
class MosquittoSetup:
    """What Mosquitto is to know. `folder` is where the files will lie; `ca` and the rest make a TLS listener."""

    folder: str
    hub_user: str
    hub_password: str
    agents: Sequence[AgentAccess] = ()
    devices: Sequence[DeviceAccess] = ()
    listen: str = "0.0.0.0"  # noqa: S104 — that other devices reach it is why Mosquitto is there
    port: int = 1883
    cert_file: str | None = None
    key_file: str | None = None
    data_folder: str = "/var/lib/mosquitto/"
    salt: Callable[[], bytes] = field(default=lambda: secrets.token_bytes(12))


def mosquitto_files(setup: MosquittoSetup) -> dict[str, str]:
    """Name → text of mosquitto.conf, its access list and its password file."""
    everyone = [(setup.hub_user, setup.hub_password)]
    everyone += [(agent.user, agent.password) for agent in setup.agents]
    everyone += [(device.user, device.password) for device in setup.devices]
    passwords = "".join(f"{_user(user)}:{mosquitto_hash(word, setup.salt())}\n" for user, word in everyone)
    return {"mosquitto.conf": _conf(setup), "fablab.acl": _access_list(setup), "fablab.passwords": passwords}


def mosquitto_hash(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """Mosquitto's `$7$` format: PBKDF2 with HMAC-SHA-512, 64 bytes (its source: password_mosq.c)."""
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations, 64)
    return f"$7${iterations}${b64encode(salt).decode()}${b64encode(digest).decode()}"


def _user(name: str) -> str:
    if not name or any(sign in name for sign in ":\n\r") or name[0] in "# ":
        raise ValueError(name)
    return name


def _conf(setup: MosquittoSetup) -> str:
    tls = ""
    if setup.cert_file and setup.key_file:
        tls = f"certfile {setup.cert_file}\nkeyfile {setup.key_file}\n"
    return f"""# Written by: fablab broker config. Mosquitto 2.0 or later.
listener {setup.port} {setup.listen}
{tls}allow_anonymous false
password_file {setup.folder}/fablab.passwords
acl_file {setup.folder}/fablab.acl
# With the usual 20, twenty messages that a client does not acknowledge block all others.
max_inflight_messages 1000
max_queued_messages 5000
max_packet_size {MAX_MESSAGE_BYTES + 65536}
persistence true
persistence_location {setup.data_folder}
autosave_interval 60
"""


def _access_list(setup: MosquittoSetup) -> str:
    hub = [
        f"read {ROOT}/#",
        f"readwrite {ROOT}/hub/#",
        *(f"write {ROOT}/+/m/+/{what}" for what in ("order", "stop")),
        *(f"write {ROOT}/+/agent/+/{what}" for what in ("order", "applied")),
    ]
    blocks = [_block(setup.hub_user, hub)]
    for agent in setup.agents:
        machines = f"{ROOT}/{check_name(agent.site)}/m/+"
        own = f"{ROOT}/{agent.site}/agent/{check_name(agent.agent)}"
        rules = [
            *(f"read {machines}/{what}" for what in ("order", "stop")),
            *(f"write {machines}/{what}" for what in ("state", "telemetry")),
            *(f"read {own}/{what}" for what in ("order", "applied")),
            f"write {own}/reports",
            f"readwrite {own}/online",
            *(rule for d in agent.devices for rule in (f"read stat/{d}/#", f"read tele/{d}/#", f"write cmnd/{d}/#")),
        ]
        blocks.append(_block(agent.user, rules))
    for device in setup.devices:
        names = [check_name(name) for name in device.topics] or ["+"]
        rules = [
            rule for name in names for rule in (f"write stat/{name}/#", f"write tele/{name}/#", f"read cmnd/{name}/#")
        ]
        blocks.append(_block(device.user, rules))
    return "\n".join(blocks)


def _block(user: str, rules: Sequence[str]) -> str:
    return "\n".join([f"user {_user(user)}", *(f"topic {rule}" for rule in rules), ""])


if __name__ == "__main__":
    end_with_parent()
    setup = json.loads(sys.stdin.read())
    sys.exit(run_embedded(setup["host"], setup["port"], setup["credentials"]))
