"""Real brokers for tests: the embedded one and a Mosquitto with the files that we generate."""

import signal
import socket
import subprocess
import time
from pathlib import Path

from fablab.broker import AgentAccess, DeviceAccess, EmbeddedBroker, MosquittoSetup, mosquitto_files
from fablab.bus import Address, MqttBus
from fablab.lifeline import tied

HUB, AGENT, DEVICES = ("fablab", "hub word"), ("agent-main", "agent:word"), ("devices", "plug word")
SECOND = ("agent-far", "far word")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """A Mosquitto as `fablab broker config` sets it up."""

    def __init__(self, folder: Path, port: int | None = None, more: str = "") -> None:
        self.port = port or free_port()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        setup = MosquittoSetup(
            folder=str(folder), hub_user=HUB[0], hub_password=HUB[1],
            agents=[AgentAccess(*AGENT, "nyons", "main"), AgentAccess(*SECOND, "far", "away", devices=())],
            devices=[DeviceAccess(*DEVICES)], listen="127.0.0.1", port=self.port, data_folder=f"{folder}/",
        )  # fmt: skip
        for name, text in mosquitto_files(setup).items():
            (folder / name).write_text(text, encoding="utf-8")
        conf = folder / "mosquitto.conf"
        conf.write_text(conf.read_text(encoding="utf-8") + "user root\nlog_dest none\n" + more, encoding="utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Mosquitto":
        self.process = subprocess.Popen(["mosquitto", "-c", str(self.folder / "mosquitto.conf")], env=tied())
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.02)
        raise TimeoutError("mosquitto")

    def kill(self) -> None:
        """As a power cut would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def reload(self, line: str, instead: str) -> None:
        """Change one line of the configuration for the next start."""
        conf = self.folder / "mosquitto.conf"
        conf.write_text(conf.read_text(encoding="utf-8").replace(line, instead), encoding="utf-8")


def embedded(port: int | None = None) -> EmbeddedBroker:
    return EmbeddedBroker(port or free_port(), dict([HUB, AGENT, DEVICES, SECOND]))


def client(port: int, who: tuple[str, str], name: str, **more: object) -> MqttBus:
    return MqttBus(Address("127.0.0.1", port, *who), name, **more)  # type: ignore[arg-type]
