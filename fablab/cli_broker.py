"""`fablab broker`: the files that a Mosquitto of one's own needs for this installation."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import click

from fablab.broker import (
    DEVICE_PASSWORD,
    DEVICE_USER,
    EMBEDDED_USER,
    AgentAccess,
    DeviceAccess,
    MosquittoSetup,
    mosquitto_files,
)
from fablab.config import Config, load_config
from fablab.devices.agent_token import load_token


@click.group()
def broker() -> None:
    """Mosquitto's configuration, access list and passwords for this installation."""


@broker.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--config", "file", type=click.Path(path_type=Path), default=None, help="fablab.toml (./fablab.toml).")
@click.option("--listen", default="0.0.0.0", show_default=True, help="The address that Mosquitto listens on.")  # noqa: S104
@click.option("--data", "data_folder", default="/var/lib/mosquitto/", show_default=True, help="Where it keeps its own.")
def config(folder: Path, file: Path | None, listen: str, data_folder: str) -> None:
    """Write mosquitto.conf, the access list and the password file into DIR."""
    folder.mkdir(parents=True, exist_ok=True)
    setup = setup_of(load_config(file), folder.resolve(), listen, data_folder)
    for name, text in mosquitto_files(setup).items():
        path = folder / name
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
        click.echo(str(path))


def setup_of(configuration: Config, folder: Path, listen: str, data_folder: str) -> MosquittoSetup:
    """What Mosquitto is to know of this installation: hub and web, its agent, and its plugs and meters."""
    address = urlsplit(configuration.broker.url)
    token = load_token(configuration.resolve(configuration.agent.token_file))
    devices = []
    topics = tuple(machine.topic for machine in configuration.machines if machine.topic)
    if configuration.resolve(DEVICE_PASSWORD).exists():
        devices = [DeviceAccess(DEVICE_USER, configuration.secret(DEVICE_PASSWORD) or "", topics)]
    return MosquittoSetup(
        folder=str(folder),
        hub_user=address.username or EMBEDDED_USER,
        hub_password=configuration.secret(configuration.broker.password_file) or "",
        agents=[AgentAccess(token.mqtt_user, token.mqtt_password, configuration.site.id, token.agent, topics)],
        devices=devices,
        listen=listen,
        port=address.port or configuration.broker.port,
        data_folder=data_folder,
    )
