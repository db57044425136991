"""Gives a waiting job a machine: steps 1 to 3 of an order's road, in one transaction in which every guard must hold."""

import logging
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fablab import audit
from fablab.billing.tables import Hold
from fablab.clock import Clock
from fablab.db import Database, Meta
from fablab.failpoints import reach
from fablab.ids import new_id
from fablab.messages import Revoke, Start
from fablab.queue import applying, moves, road
from fablab.queue.envelopes import EPOCH_KEY
from fablab.queue.job_states import JobState
from fablab.queue.lease import Lease, LeaseLost
from fablab.queue.planning import to_claim
from fablab.queue.run_states import RunState
from fablab.queue.tables import Agent, Job, Run
from fablab.space.tables import Machine, Outage, Site

log = logging.getLogger(__name__)


def dispatch(database: Database, clock: Clock, lease: Lease) -> applying.Touched:
    """Claim every machine that can be claimed now. Returns what looks different."""
    with database.read() as session:
        sites = session.scalars(select(Site.id)).all()
        wishes = [(w.job_id, w.machine_id) for site in sites for w in to_claim(session, clock.now(), site)]
    touched = applying.Touched()
    for job_id, machine_id in wishes:
        try:
            with database.write() as session:
                claimed = claim(session, clock.now(), lease, job_id, machine_id)
        except IntegrityError:
            continue  # the unique index: somebody else did, in the same instant
        if claimed:
            touched = touched | applying.Touched(frozenset({job_id}), frozenset({machine_id}))
    return touched


def claim(session: Session, now: datetime, lease: Lease, job_id: str, machine_id: str) -> bool:
    """One job, one machine: run, claim number and prepare order, or nothing at all. Raises LeaseLost."""
    lease.guard(session)
    reach("hub.1")
    job = moves.lock_job(session, job_id)
    row = moves.lock_claim(session, machine_id)
    machine = session.get_one(Machine, machine_id)
    seen = road.Claimable(
        job=JobState(job.state),
        job_has_live_run=session.scalar(select(Run.id).where(Run.job_id == job_id, Run.live)) is not None,
        money_held=_money_held(session, job),
        machine_run=row.run_id,
        plate=row.plate,
        outage=_outage(session, machine_id),
        latched=row.latched,
        frozen=row.frozen,
        agent_greeted=_greeted(session, machine),
        lease_mine=lease.held,
    )
    why = road.why_not_claim(seen)
    if why is not None:
        log.debug("%s does not claim %s: %s", job_id, machine_id, why)
        return False
    attempts = session.scalars(select(Run.attempt).where(Run.job_id == job_id)).all()
    row.claim_no += 1
    run = Run(
        id=new_id(), job_id=job_id, machine_id=machine_id, attempt=max(attempts, default=0) + 1,
        claim_no=row.claim_no, state=RunState.CLAIMED, live=True, claimed_at=now, again=False,
    )  # fmt: skip
    session.add(run)
    session.flush()
    row.run_id = run.id
    moves.job(job, "claimed")
    reach("hub.2")
    moves.prepare(session, now, "system:hub", run)
    audit.record(session, now, "system:hub", "claimed", "run", run.id, machine=machine_id, job=job_id)
    reach("hub.3")
    return True


def let_unattended_go(session: Session, now: datetime, lease: Lease) -> list[str]:
    """Start what is ready on machines set to unattended, where the house allows that nobody is there."""
    rows = session.scalars(
        select(Run)
        .join(Machine, Machine.id == Run.machine_id)
        .join(Site, Site.id == Machine.site_id)
        .where(Run.state == "prepared", Run.live, Machine.start == "unattended", Site.unattended)
    ).all()
    started = []
    for found in rows:
        lease.guard(session)
        run = moves.lock_run(session, found.id)
        job = moves.lock_job(session, run.job_id)
        row = moves.lock_claim(session, run.machine_id)
        current = run.token is not None and run.token_until is not None and run.token_until > now
        ready = run.state == "prepared" and current and row.plate == "free" and not (row.latched or row.frozen)
        if not ready or job.booking_id is not None or _outage(session, run.machine_id):
            continue
        start(session, now, "system:hub", run, by="")
        started.append(job.id)
    return started


def start(session: Session, now: datetime, actor: str, run: Run, by: str) -> None:
    """Step 8: the start order with the token that the go belongs to. The caller has looked at every guard."""
    machine = session.get_one(Machine, run.machine_id)
    token = run.token or ""
    moves.run(session, run, "go", now)
    run.go_by, run.go_at, run.token = actor, now, None
    run.lot_id = machine.loaded_lot_id
    moves.withdraw(session, now, run.id, ("prepare",))
    moves.order(session, now, actor, machine, Start(token=token, by=by), run=run)
    reach("hub.8")
    audit.record(session, now, actor, "go", "run", run.id)


def give_up(session: Session, now: datetime, actor: str, run: Run, code: str) -> None:
    """End a claim for which no start order exists, and close it at the agent for ever."""
    job = moves.lock_job(session, run.job_id)
    change = road.on_give_up(road.Attempt(RunState(run.state), JobState(job.state)))
    moves.withdraw(session, now, run.id, ("prepare",))
    machine = session.get_one(Machine, run.machine_id)
    moves.order(session, now, actor, machine, Revoke(), run=run)
    applying.carry_out(session, now, actor, run, change, code=code)


def _money_held(session: Session, job: Job) -> bool:
    hold = None if job.hold_id is None else session.get(Hold, job.hold_id)
    return hold is not None and hold.state == "open"


def _outage(session: Session, machine_id: str) -> bool:
    return (
        session.scalar(select(Outage.id).where(Outage.machine_id == machine_id, Outage.ended_at.is_(None))) is not None
    )


def _greeted(session: Session, machine: Machine) -> bool:
    agent = session.get(Agent, machine.agent_id)
    epoch = session.get(Meta, EPOCH_KEY)
    if agent is None or epoch is None or agent.revoked_at is not None:
        return False
    return agent.hello_epoch == epoch.value or agent.absent_by is not None


__all__ = ["LeaseLost", "claim", "dispatch", "give_up", "let_unattended_go", "start"]
