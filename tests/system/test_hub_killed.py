"""Hub and agent as real processes on a real broker; the hub is killed at each step in which it takes part."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from fablab import files, topics
from fablab.billing.tables import Entry, Tariff
from fablab.clock import SystemClock
from fablab.queue import claims, jobs, runs
from fablab.queue.tables import (
    Agent,
    CommandIntent,
    Job,
    MachineClaim,
    MachineView,
    Run,
    SettlementDue,
    StoredReport,
)
from fablab.sentences import Refusal
from fablab.space.tables import Machine, Site
from tests.builders_agent_process import AgentProcess
from tests.builders_brokers import HUB, Mosquitto, client, free_port
from tests.builders_hub import make_database
from tests.builders_scripted_hub import AGENT, KEY, SITE

GCODE = b"G21\nG90\nM83\nM104 S210\nM109 S210\nG28\nG1 Z0.2 F600\n" + b"".join(
    b"G1 X%d Y%d E0.5 F1200\n" % (20 + n % 50, 20 + n % 40) for n in range(200)
)


class Lab:
    """A database, Mosquitto, a hub process, an agent process with one machine that a person runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.clock = folder, free_port(), SystemClock()
        self.database = make_database(f"sqlite:///{folder / 'lab.db'}")
        with self.database.write() as session:
            session.get_one(Agent, AGENT).hmac_key = KEY.hex()
            session.add(
                Tariff(
                    id="all", organisation_id="asso", version=1, valid_from=self.clock.now().replace(year=2020),
                    millicents_per_s=28, made_by="max",
                )
            )  # fmt: skip
        (folder / "broker.password").write_text(HUB[1])
        (folder / "fablab.toml").write_text(
            f'[site]\nid = "{SITE}"\n[database]\nurl = "sqlite:///lab.db"\n'
            f'[broker]\nurl = "mqtt://{HUB[0]}@127.0.0.1:{self.port}"\n'
        )
        self.broker = Mosquitto(folder / "mosquitto", self.port).start()
        self.agent = AgentProcess(folder / "agent", self.port).start()
        self.wire = client(self.port, HUB, "pages")
        self.wire.start()
        self.marker = folder / "reached"
        self.hub: subprocess.Popen[bytes] | None = None

    def start_hub(self, failpoint: str = "") -> None:
        environment = dict(os.environ)
        if failpoint:
            environment["FABLAB_FAILPOINT"] = f"{failpoint}@{self.marker}"
        command = [
            sys.executable,
            "-m",
            "fablab",
            "serve",
            "--role",
            "hub",
            "--config",
            str(self.folder / "fablab.toml"),
        ]
        with (self.folder / "hub.log").open("ab") as log:
            self.hub = subprocess.Popen(command, env=environment, stderr=log)

    def kill_hub(self) -> None:
        if self.hub is not None:
            self.hub.kill()
            self.hub.wait(10)

    def close(self) -> None:
        self.kill_hub()
        self.agent.kill()
        self.wire.close()
        self.broker.kill()
        self.database.dispose()

    def do(self, verb, *arguments, actor: str = "max", **named):
        with self.database.write() as session:
            done = verb(session, self.clock.now(), actor, *arguments, **named)
        self.wire.publish(topics.wake(), b"", 0, False)
        return done

    def one(self, statement):
        with self.database.read() as session:
            return session.scalars(statement).first()

    def send(self) -> str:
        kept = files.store(self.folder / "files", io.BytesIO(GCODE), 10**6)
        sent = jobs.SentFile(kept.sha256, kept.size, "cube.gcode")
        choices = jobs.Choices(machine="bambu")
        return self.do(jobs.create_jobs, site_id=SITE, asker="ana", file=sent, choices=choices, actor="ana")[0]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


def push(lab: Lab, job_id: str) -> bool:
    """Do what a person would do next; True when the job is done and settled."""
    with lab.database.read() as session:
        job = session.get_one(Job, job_id)
        run = session.scalars(select(Run).where(Run.job_id == job_id).order_by(Run.attempt.desc())).first()
        due = None if run is None else session.get(SettlementDue, run.id)
        claim = session.get_one(MachineClaim, "bambu")
    if claim.plate == "unsure":
        lab.do(claims.cleared, "bambu")
    elif job.state == "draft":
        lab.do(jobs.confirm, job_id, actor="ana")
    elif run is not None and run.state == "prepared" and run.token is not None:
        lab.do(runs.go, run.id)
    elif run is not None and run.state == "running" and not _declared(lab, run.id):
        lab.do(runs.finish, run.id, minutes=20, grams=6.5)
    elif run is not None and job.state == "to_judge" and run.verdict is None:
        lab.do(runs.judge, run.id, verdict="good", shelf="A1")
    return job.state == "done" and due is not None and due.done_at is not None


def _declared(lab: Lab, run_id: str) -> bool:
    return lab.one(select(CommandIntent.id).where(CommandIntent.run_id == run_id, CommandIntent.kind == "declare"))


def whole_journey(lab: Lab, failpoint: str) -> str:
    lab.start_hub(failpoint)
    deadline, job_id, killed = time.monotonic() + 30, "", False
    while time.monotonic() < deadline:
        if not killed and lab.marker.exists():
            lab.kill_hub()
            lab.start_hub()
            killed = True
        try:
            if not job_id and lab.one(select(Machine.id).where(Machine.id == "bambu")):
                job_id = lab.send()
            if job_id and push(lab, job_id):
                assert killed or not failpoint, f"{failpoint} was never reached"
                return job_id
        except Refusal:
            pass  # the state moved between the look and the tap
        time.sleep(0.1)
    raise AssertionError(where_it_stands(lab) + (lab.folder / "hub.log").read_text() + lab.agent.words())


def where_it_stands(lab: Lab) -> str:
    """For whoever reads a failure: the rows that matter."""
    with lab.database.read() as session:
        rows = [
            *session.execute(select(Job.state, Job.held_for)),
            *session.execute(select(Run.state, Run.claim_no, Run.code)),
            *session.execute(select(CommandIntent.kind, CommandIntent.state, CommandIntent.tries)),
            *session.execute(select(StoredReport.seq, StoredReport.applied_at, StoredReport.problem)),
            *session.execute(select(Agent.applied, Agent.online, Agent.hello_epoch)),
            *session.execute(select(MachineView.machine_id, MachineView.rev, MachineView.snapshot)),
            *session.execute(select(MachineClaim.machine_id, MachineClaim.plate, MachineClaim.run_id)),
        ]
    return "".join(f"{row}\n" for row in rows)


@pytest.mark.parametrize("step", ["", "hub.1", "hub.2", "hub.3", "hub.4", "hub.4:2", "hub.12", "hub.12:4", "hub.13"])
def test_killed_at_a_step_it_ends_as_without(lab: Lab, step: str) -> None:
    job_id = whole_journey(lab, step)
    started = [row for row in _reports(lab) if row["body"]["type"] == "started"]
    assert len(started) == 1
    assert lab.one(select(func.count()).select_from(Entry).where(Entry.kind == "charge")) == 1
    assert lab.one(select(func.count()).select_from(Run).where(Run.job_id == job_id)) == 1
    charged = lab.one(select(Entry.data).where(Entry.kind == "charge"))["total_cents"]
    assert charged == lab.one(select(Job.ceiling_cents)) > 0  # 20 minutes were declared: the rest is the lab's


def test_killed_at_its_own_go_it_ends_as_without(lab: Lab) -> None:
    with lab.database.write() as session:
        session.get_one(Site, SITE).unattended = True
    lab.agent.kill()
    lab.agent = AgentProcess(
        lab.folder / "agent", lab.port, machines='[[machines]]\nid = "bambu"\ndriver = "manual"\nstart = "unattended"\n'
    ).start()
    whole_journey(lab, "hub.8")
    assert len([row for row in _reports(lab) if row["body"]["type"] == "started"]) == 1


def test_two_hub_processes_and_one_job(lab: Lab) -> None:
    lab.start_hub()
    first = lab.hub
    lab.start_hub()
    try:
        job_id = whole_journey(lab, "")
    finally:
        assert first is not None
        first.kill()
        first.wait(10)
    assert lab.one(select(func.count()).select_from(Run).where(Run.job_id == job_id)) == 1


def _reports(lab: Lab) -> list[dict]:
    with lab.database.read() as session:
        return list(session.scalars(select(StoredReport.body).where(StoredReport.seq > 0)))
