"""Writes the order that makes a run ready: which file, with a token that opens this file for this run only."""

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from fablab.messages import Prepare
from fablab.queue import moves
from fablab.queue.candidates import facts_of, material_of
from fablab.queue.people import name
from fablab.queue.tables import Job, JobFile, Run
from fablab.space.tables import Machine

PREPARE_LIFE = timedelta(minutes=10)
"""A prepare that brought no offer by then is given up, and the job waits again."""
ACTOR = "system:hub"


def file_path(run_id: str) -> str:
    """Where the agent fetches the run's file, below the hub's URL."""
    return f"/api/v1/runs/{run_id}/file"


def token_hash(token: str) -> str:
    """What is stored of a file token: it has 256 random bits, so a plain SHA-256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def prepare(session: Session, now: datetime, job: Job, run: Run) -> None:
    """Order the agent to make the run ready. The token is new each time; only its hash is kept."""
    machine = session.get_one(Machine, run.machine_id)
    file = session.get_one(JobFile, job.sha256)
    facts = facts_of(session, job)
    material = None if facts is None else material_of(session, job, facts)
    token = secrets.token_urlsafe(32)
    run.file_token_hash = token_hash(token)
    body = Prepare(
        job=job.id,
        sha256=file.sha256,
        size=file.size,
        file_name=job.file_name,
        file_path=file_path(run.id),
        file_token=token,
        printer_model=None if facts is None else facts.printer_model,
        material=None if material is None else material.id,
        payer=name(session, job.payer_id),
    )
    intent = moves.order(session, now, ACTOR, machine, body, run_row=run)
    intent.expires_at = now + PREPARE_LIFE


def prepare_again(session: Session, now: datetime, job: Job, run: Run) -> None:
    """The token is void (the agent restarted, a stop overtook the start, time went by): the same run, a new order."""
    moves.withdraw(session, now, run.id, ("prepare",))
    run.token, run.token_until, run.go_by, run.go_at = None, None, None, None
    prepare(session, now, job, run)
