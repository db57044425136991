"""The same print on PostgreSQL and Mosquitto: only the urls and the password files differ.

Mosquitto runs with the access list that `fablab broker config` writes; each server is private and on a free port.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fablab.config import load_config
from fablab.db import Database
from fablab.demo import awake, pages_answer, wishes
from fablab.demo_seed import furnish, seed
from fablab.installation import write_files
from tests.servers import Mosquitto, PostgreSQL, free_port, start_mosquitto, start_postgresql
from tests.system.lab import Lab


def write_installation(folder: Path, postgresql: PostgreSQL, web: int, broker: int) -> Path:
    """fablab.toml for PostgreSQL and Mosquitto, with one printer and one machine that is run by hand."""
    asked = replace(
        wishes(),
        database_url=postgresql.url,
        database_password_file=str(postgresql.password_file),
        broker_url=f"mqtt://hub@127.0.0.1:{broker}",
        web_port=web,
        speed=60,
    )
    return write_files(folder / "fablab.toml", asked)


def mosquitto_with_our_files(folder: Path, file: Path) -> Mosquitto:
    """Start Mosquitto with what `fablab broker config` writes for this installation."""
    data = folder / "mosquitto-data"
    data.mkdir()
    written = folder / "mosquitto"
    command = [sys.executable, "-m", "fablab", "broker", "config", str(written), "--config", str(file)]
    command += ["--listen", "127.0.0.1", "--data", f"{data}/"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return start_mosquitto(folder, (written / "mosquitto.conf").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("pair")
    with ExitStack() as stack:
        postgresql = start_postgresql(folder / "postgresql")
        stack.callback(postgresql.stop)
        web, broker = free_port(), free_port()
        file = write_installation(folder, postgresql, web, broker)
        config = load_config(file, {})
        seed(config, folder, datetime.now(UTC))
        mosquitto = mosquitto_with_our_files(folder, file)
        stack.callback(mosquitto.stop)
        (folder / "ports").mkdir()
        for printer in ("mk3", "mini", "big"):
            port = folder / "ports" / printer
            simulator = subprocess.Popen(
                [sys.executable, "-m", "fablab.devices.simulators.marlin", "--model", printer, "--speed", "60",
                 "--link", str(port), "--control", f"{port}.control"],
            )  # fmt: skip
            stack.callback(simulator.wait)
            stack.callback(simulator.terminate)
        log = (folder / "serve.log").open("wb")
        serve = subprocess.Popen([sys.executable, "-m", "fablab", "serve", "--config", str(file)], stderr=log)
        stack.callback(serve.wait, 60)
        stack.callback(serve.terminate)
        lab = make_lab(folder, serve, config.web.public_url)
        database = Database(config.database_url, config.secret(config.database.password_file))
        stack.callback(database.dispose)
        wanted = {"mk3", "mini", "big", "bambu"}
        lab.until(lambda: pages_answer(config) and wanted <= awake(database), "the machines never came", seconds=60)
        furnish(database, datetime.now(UTC))
        yield lab


def make_lab(folder: Path, serve: "subprocess.Popen[bytes]", url: str) -> Lab:
    people = json.loads((folder / "demo.json").read_text(encoding="utf-8"))["people"]
    return Lab(serve, folder, url, {p["role"]: p for p in people}, [], people)


def test_a_print_on_postgresql_and_mosquitto(lab: Lab) -> None:
    job = lab.send("manager", "tiny-pla-mk3.gcode", machine="mk3", submit="false")
    lab.until_state("manager", job["id"], "draft")
    job = lab.send("member", "tiny-pla-mk3.gcode", machine="mk3")
    run = lab.ready_run("member", job["id"])
    gone = lab.call("volunteer", "POST", f"/api/v1/runs/{run['id']}/go")
    assert gone.status_code == 200, gone.text
    ended = lab.until_state("member", job["id"], "to_judge", seconds=120)
    assert ended["runs"][-1]["result"] == "succeeded"
    stats = lab.simulator("mk3", "stats")
    assert stats["starts"] == 1
    judged = lab.call("volunteer", "POST", f"/api/v1/runs/{run['id']}/judge", json={"verdict": "good", "shelf": "A3"})
    assert judged.status_code == 200, judged.text
    done = lab.until(
        lambda: (j := lab.job("member", job["id"]))["price"]["charged_cents"] is not None and j, "it was never charged"
    )
    assert 0 < done["price"]["charged_cents"] <= done["price"]["ceiling_cents"]
    verified = subprocess.run(
        [sys.executable, "-m", "fablab", "ledger", "verify", "--config", str(lab.folder / "fablab.toml")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert verified.returncode == 0, verified.stdout + verified.stderr
