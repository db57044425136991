"""The only place where rows of jobs, runs and machines change their state, and where an order is written down."""

import secrets
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fablab import notices
from fablab.billing import ledger
from fablab.billing.tables import Hold
from fablab.ids import new_id
from fablab.messages import NATURE, Nature, OrderBody, Prepare
from fablab.queue.command_states import CommandEvent, command_after
from fablab.queue.job_states import ENDED, job_after
from fablab.queue.run_states import LIVE, run_after
from fablab.queue.tables import CommandIntent, Job, JobFile, MachineClaim, Run, SettlementDue
from fablab.sentences import Refusal
from fablab.space.tables import Machine, Person

PREPARE_LIFE = timedelta(minutes=10)
"""A prepare that brought no offer by then is given up, and the job waits again."""


def lock_job(session: Session, job_id: str) -> Job:
    """The job, locked and read anew. Raises Refusal unknown_job."""
    found = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if found is None:
        raise Refusal("unknown_job", job=job_id)
    return found


def lock_run(session: Session, run_id: str) -> Run:
    """The run, locked and read anew, its job first. Raises Refusal unknown_run."""
    job_id = session.scalar(select(Run.job_id).where(Run.id == run_id))
    if job_id is None:
        raise Refusal("unknown_run", run=run_id)
    lock_job(session, job_id)
    return session.get_one(Run, run_id, with_for_update=True, populate_existing=True)


def lock_live_run(session: Session, run_id: str) -> tuple[Job, Run]:
    """Job and run, locked, while the run is live. Raises Refusal not_this_run: the page was old."""
    try:
        found = lock_run(session, run_id)
    except Refusal as refusal:
        raise Refusal("not_this_run", run=run_id) from refusal
    if not found.live:
        raise Refusal("not_this_run", run=run_id)
    return session.get_one(Job, found.job_id), found


def live_run(session: Session, job_id: str) -> Run | None:
    """The one live run of a job, if it has one."""
    return session.scalars(select(Run).where(Run.job_id == job_id, Run.live)).first()


def lock_claim(session: Session, machine_id: str) -> MachineClaim:
    """The row that decides about a machine, made where it is missing. Raises Refusal unknown_machine."""
    found = session.get(MachineClaim, machine_id, with_for_update=True, populate_existing=True)
    if found is None:
        if session.get(Machine, machine_id) is None:
            raise Refusal("unknown_machine", machine=machine_id)
        found = MachineClaim(machine_id=machine_id, claim_no=0, stop_no=0, plate="unsure", frozen=False, latched=False)
        session.add(found)
        session.flush()
    return found


def job(row: Job, event: str, now: datetime | None = None) -> None:
    """Follow the table. Raises IllegalTransition (a Refusal `not_now`)."""
    row.state = job_after(row.state, event)
    row.version += 1
    if now is not None and row.state in ENDED:
        row.ended_at = now
    if row.state != "held":
        row.held_for = None


def run(session: Session, row: Run, event: str, now: datetime) -> None:
    """Follow the table; a run that is no longer live gives its machine back."""
    row.state = run_after(row.state, event)
    row.live = row.state in LIVE
    if row.state == "running" and row.started_at is None:
        row.started_at = now
    if row.live:
        return
    row.ended_at = row.ended_at or now
    row.token = row.token_until = row.file_token_hash = None
    session.flush()
    session.execute(
        update(MachineClaim)
        .where(MachineClaim.machine_id == row.machine_id, MachineClaim.run_id == row.id)
        .values(run_id=None)
        .execution_options(synchronize_session="fetch")
    )


def order(
    session: Session,
    now: datetime,
    actor: str,
    machine: Machine,
    body: OrderBody,
    *,
    run: Run | None = None,
    expires_at: datetime | None = None,
) -> CommandIntent:
    """Write an order into the outbox. A stop raises the machine's stop number; a start carries the one it has seen."""
    claim = lock_claim(session, machine.id)
    nature = NATURE[type(body)]
    if nature is Nature.STOP:
        claim.stop_no += 1
    row = CommandIntent(
        id=new_id(),
        agent_id=machine.agent_id,
        machine_id=machine.id,
        run_id=None if run is None else run.id,
        kind=str(type(body).__struct_config__.tag),
        nature=nature,
        claim_no=claim.claim_no if run is None else run.claim_no,
        stop_no=claim.stop_no,
        body=msgspec.to_builtins(body),
        state="pending",
        created_at=now,
        created_by=actor,
        next_try_at=now,
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    return row


def prepare(session: Session, now: datetime, actor: str, run: Run) -> CommandIntent:
    """Order the agent to make a run ready, with a token of its own for the file."""
    job = session.get_one(Job, run.job_id)
    file = session.get_one(JobFile, job.sha256)
    machine = session.get_one(Machine, run.machine_id)
    payer = session.get_one(Person, job.payer_id)
    facts = file.facts or {}
    token = secrets.token_urlsafe(24)
    run.file_token_hash = sha256(token.encode()).hexdigest()
    body = Prepare(
        job=job.id,
        sha256=file.sha256,
        size=file.size,
        file_name=job.file_name,
        file_path=f"/api/agent/files/{run.id}",
        file_token=token,
        printer_model=facts.get("printer_model"),
        material=facts.get("material"),
        payer=payer.name,
    )
    return order(session, now, actor, machine, body, run=run, expires_at=now + PREPARE_LIFE)


def open_orders(
    session: Session, kinds: tuple[str, ...], *, run_id: str = "", machine_id: str = ""
) -> list[CommandIntent]:
    """Orders of a run, or of a machine, that have no last word yet, locked."""
    whose = CommandIntent.run_id == run_id if run_id else CommandIntent.machine_id == machine_id
    return list(
        session.scalars(
            select(CommandIntent)
            .where(whose, CommandIntent.kind.in_(kinds), CommandIntent.state.in_(("pending", "sent", "accepted")))
            .with_for_update()
        )
    )


def withdraw(session: Session, now: datetime, run_id: str, kinds: tuple[str, ...]) -> None:
    """Take back the orders of a run that no agent has answered; the outbox never sends them again."""
    rows = session.scalars(
        select(CommandIntent)
        .where(
            CommandIntent.run_id == run_id,
            CommandIntent.kind.in_(kinds),
            CommandIntent.state.in_(("pending", "sent")),
        )
        .with_for_update()
    ).all()
    for row in rows:
        row.state = command_after(row.state, CommandEvent.WITHDRAWN)
        row.next_try_at, row.answered_at = None, now


def answered(row: CommandIntent, now: datetime, state: str, code: str, data: dict[str, Any]) -> bool:
    """Write an agent's answer down. False where the order had its last word already."""
    if row.state not in {"pending", "sent", "accepted"}:
        return False
    row.state = command_after(row.state, state)
    row.answered_at, row.answer = now, {"code": code, "data": data}
    if row.state != "accepted":
        row.next_try_at = None
    elif row.nature != Nature.STOP:
        row.next_try_at = None  # it is the agent's now; its result comes as a report
    return True


def settle_later(session: Session, row: Run, cause: str, due_at: datetime) -> None:
    """A run is settled once: its line is made or moved, and left alone once it is done."""
    due = session.get(SettlementDue, row.id)
    if due is None:
        session.add(SettlementDue(run_id=row.id, cause=cause, due_at=due_at, tries=0))
    elif due.done_at is None:
        due.cause, due.due_at, due.tries = cause, due_at, 0
    session.flush()


def give_money_back(session: Session, now: datetime, row: Job) -> None:
    """Release what is held for a job, if anything still is."""
    hold = None if row.hold_id is None else session.get(Hold, row.hold_id)
    if hold is not None and hold.state == "open":
        ledger.release(session, now, "system:hub", hold.id)


def tell(session: Session, now: datetime, row: Job, code: str, *, source: str = "", **data: Any) -> None:
    """A message to who asked, once per state of the job."""
    person = session.get(Person, row.asker_id)
    if person is None:
        return
    notices.tell(
        session,
        now,
        f"{code}:{source or row.id}:{row.version}",
        code,
        person_id=person.id,
        address=person.email,
        language=person.locale,
        job=row.id,
        file=row.file_name,
        **data,
    )
