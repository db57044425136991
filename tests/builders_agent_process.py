"""The agent as a process of its own, with a scripted hub on a real broker."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from fablab.bus import MqttBus
from fablab.devices.agent_token import AgentToken, save_token
from tests.builders_brokers import AGENT as ACCOUNT
from tests.builders_brokers import HUB, client
from tests.builders_scripted_hub import AGENT, KEY, SITE, ScriptedHub

MANUAL = """
[[machines]]
id = "bambu"
driver = "manual"
"""


class AgentProcess:
    """`fablab serve --role agent` in a folder; may be killed at a named failpoint and started again."""

    def __init__(self, folder: Path, broker_port: int, machines: str = MANUAL, more: str = "") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "fablab.toml").write_text(
            f"""
[site]
id = "{SITE}"
[broker]
port = {broker_port}
[agent]
id = "{AGENT}"
{more}
{machines}
""",
            encoding="utf-8",
        )
        token = AgentToken(
            agent=AGENT, mqtt_user=ACCOUNT[0], mqtt_password=ACCOUNT[1], http_token="h", hmac_key=KEY.hex()
        )
        save_token(folder / "agent.token", token)
        self.log = folder / "agent.log"
        self.marker = folder / "failpoint"
        self.process: subprocess.Popen[bytes] | None = None
        self.pids: list[int] = []

    def start(self, failpoint: str = "") -> "AgentProcess":
        environment = dict(os.environ)
        if failpoint:
            self.marker.unlink(missing_ok=True)
            environment["FABLAB_FAILPOINT"] = f"{failpoint}@{self.marker}"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "fablab",
                    "serve",
                    "--role",
                    "agent",
                    "--config",
                    str(self.folder / "fablab.toml"),
                ],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pids.append(self.process.pid)
        return self

    def reached(self) -> bool:
        return self.marker.exists()

    def kill(self) -> None:
        """SIGKILL: works on a process that stands still, too."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def stop(self, seconds: float = 40) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def words(self) -> str:
        return self.log.read_text(encoding="utf-8")


def hub_on(port: int) -> tuple[ScriptedHub, MqttBus]:
    """A scripted hub with a connection of its own."""
    bus = client(port, HUB, f"hub-{time.monotonic_ns()}")
    hub = ScriptedHub(bus)
    bus.start()
    assert bus.wait_connected(15)
    return hub, bus
