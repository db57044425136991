"""Seeds and starts the simulated lab: real processes, a real broker, simulated machines behind real ports.

The people are invented; their passwords are random, made once per folder, and kept in demo.json (0600) beside it.
"""

import json
import socket
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import click
from sqlalchemy import select

from fablab.clock import SystemClock
from fablab.config import Config, load_config
from fablab.database import upgrade
from fablab.db import Database
from fablab.demo_seed import furnish, furnished, seed
from fablab.installation import Wishes, write_files
from fablab.queue.tables import MachineView
from fablab.serve import run_tree
from fablab.tree import Role, Tree

READY_PATIENCE_S = 90.0


@dataclass(frozen=True)
class Printer:
    """A simulated printer: our id, its name, the model that the simulator plays, and the profile that fits."""

    id: str
    name: str
    model: str
    profile: str


PRINTERS = (
    Printer("mk3", "Prusa MK3", "mk3", "prusa-mk3"),
    Printer("mini", "Petite Marlin", "mini", "marlin-mini"),
    Printer("big", "Grande Marlin", "big", "marlin-big"),
)


@dataclass
class Lab:
    """A running demo."""

    folder: Path
    config: Config
    tree: Tree
    people: list[dict[str, str]]


def start_demo(folder: Path, port: int, speed: int) -> Lab:
    """Make the lab in `folder` on the first start, then run it; returns while it is still coming up."""
    folder = folder.resolve()
    file = folder / "fablab.toml"
    overrides = {
        "FABLAB_WEB_PORT": str(port),
        "FABLAB_WEB_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "FABLAB_AGENT_HUB_URL": f"http://127.0.0.1:{port}",
        "FABLAB_AGENT_SPEED": str(speed),
        "FABLAB_BROKER_PORT": str(free_port()),
    }
    if not file.exists():
        write_files(file, wishes())
        seed(load_config(file, overrides), folder, SystemClock().now())
    config = load_config(file, overrides)
    database = Database(config.database_url, config.secret(config.database.password_file))
    upgrade(database)
    database.dispose()
    people = json.loads((folder / "demo.json").read_text(encoding="utf-8"))["people"]
    tree = run_tree(config, file, config.serve.roles, simulators(folder, speed, config), overrides)
    return Lab(folder, config, tree, people)


def simulators(folder: Path, speed: int, config: Config) -> tuple[Role, ...]:
    """The simulated machines as further children: printers behind pseudo-terminals, and a laser behind a plug."""
    ports = folder / "ports"
    ports.mkdir(exist_ok=True)
    printers = [
        Role(
            f"simulator-{printer.id}",
            (
                *("-m", "fablab.devices.simulators.marlin", "--model", printer.model, "--speed", str(speed)),
                *("--link", str(ports / printer.id), "--control", str(ports / f"{printer.id}.control")),
                *("--log", str(ports / f"{printer.id}.log")),
            ),
        )
        for printer in PRINTERS
    ]
    plug = Role(
        "simulator-laser",
        (
            *("-m", "fablab.devices.simulators.relay", "--topic", "laser", "--port", str(config.broker.port)),
            *("--user", "devices", "--password-file", str(folder / "device.password")),
        ),
    )
    return (*printers, plug)


def wishes() -> Wishes:
    """fablab.toml of the demo lab."""
    machines = "".join(
        f"""
[[machines]]
id = "{printer.id}"
name = "{printer.name}"
driver = "marlin_serial"
port = "ports/{printer.id}"
profile = "{printer.profile}"
use = ["queue", "self_service"]
"""
        for printer in PRINTERS
    )
    machines += """
[[machines]]
id = "laser"
name = "Découpe laser"
kind = "laser"
driver = "mqtt_relay"
topic = "laser"
profile = "tasmota-plug"
use = ["self_service", "accompanied"]

[[machines]]
id = "bambu"
name = "Bambu de l'entrée"
driver = "manual"
use = ["queue"]
"""
    return Wishes(site_id="nyons", site_name="Le Fablab de Nyons", phone="04 75 00 00 00", machines=machines)


def announce(lab: Lab, as_json: bool) -> None:
    """Say where the lab is and who may sign in: a table, or one line of JSON."""
    url = lab.config.web.public_url
    machines = [
        {"id": m.id, "driver": m.driver, "port": str(lab.config.resolve(m.port)) if m.port else None}
        for m in lab.config.machines
    ]
    if as_json:
        click.echo(json.dumps({"url": url, "people": lab.people, "machines": machines}, ensure_ascii=False))
        return
    click.echo(f"\n  The lab is open: {url}\n")
    for person in lab.people:
        click.echo(f"  {person['name']:<18} {person['role']:<14} {person['login']:<9} {person['password']}")
    click.echo("\n  Ctrl-C closes it; `make demo` opens the same lab again.\n")


def wait_until_ready(lab: Lab, seconds: float = READY_PATIENCE_S) -> bool:
    """Wait until the pages answer and every machine has shown a picture that is not offline; False when stopped."""
    database = Database(lab.config.database_url)
    deadline = time.monotonic() + seconds
    wanted = {machine.id for machine in lab.config.machines}
    try:
        while not lab.tree.stopping:
            if lab.tree.step() is not None:
                return False
            if pages_answer(lab.config) and wanted <= awake(database):
                if not furnished(database):
                    furnish(database, SystemClock().now())
                return True
            if time.monotonic() > deadline:
                missing = ", ".join(sorted(wanted - awake(database))) or "web"
                click.echo(f"The lab is slow to start; still missing: {missing}", err=True)
                deadline += seconds
            time.sleep(0.1)
    finally:
        database.dispose()
    return False


def awake(database: Database) -> set[str]:
    """Machines whose newest picture is of a machine that answers."""
    with database.read() as session:
        views = session.scalars(select(MachineView)).all()
        return {v.machine_id for v in views if v.snapshot.get("state") not in {None, "offline", "connecting"}}


def pages_answer(config: Config) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{config.web.port}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
