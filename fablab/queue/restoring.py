"""What a restored database means for jobs, runs and machines: nothing goes on by itself, and nothing is made twice.

Reports since the backup come again from the agents' journals and find their runs; until an agent has said hello in the
new epoch the hub claims nothing of its machines.
"""

from datetime import datetime

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from fablab import audit
from fablab.queue import moves
from fablab.queue.job_states import ENDED, JobEvent, JobState
from fablab.queue.run_states import RunEvent, RunState
from fablab.queue.tables import Agent, Job, MachineClaim, Run, SettlementDue

ACTOR = "system:restore"
NOT_STARTED = (RunState.CLAIMED, RunState.PREPARING, RunState.PREPARED)
MAY_RUN = (RunState.STARTING, RunState.RUNNING, RunState.PAUSED)
NOT_REPEATED = ("prepare", "start", "resume", "switch_on")
"""Orders of yesterday that must not be sent today; stops stay in the outbox."""


def after_restore(session: Session, now: datetime) -> None:
    """Hold every open job, call every started run lost, ask for every plate, forget which agents were there."""
    for run_id in session.scalars(select(Run.id).where(Run.live).order_by(Run.id)).all():
        _run(session, now, run_id)
    waiting = (JobState.QUEUED, JobState.ASSIGNED)
    for job_id in session.scalars(select(Job.id).where(Job.state.in_(waiting)).order_by(Job.id)).all():
        job = moves.lock_job(session, job_id)
        moves.job(job, JobEvent.RESTORED)
        job.held_for = "restored"
        audit.record(session, now, ACTOR, "held", "job", job.id, held_for="restored")
    session.execute(update(MachineClaim).where(MachineClaim.plate == "free").values(plate="unsure"))
    session.execute(update(Agent).values(online=False, absent_by=None))


def jobs_with_money(session: Session) -> list[str]:
    """Jobs that may have an open hold: those that are not over, and those whose last run is not settled yet."""
    due = select(Run.job_id).join(SettlementDue, SettlementDue.run_id == Run.id).where(SettlementDue.done_at.is_(None))
    return list(session.scalars(select(Job.id).where(or_(Job.state.not_in(ENDED), Job.id.in_(due)))))


def _run(session: Session, now: datetime, run_id: str) -> None:
    run = moves.lock_run(session, run_id)
    job = session.get_one(Job, run.job_id)
    moves.withdraw(session, now, run.id, NOT_REPEATED)
    if run.state in NOT_STARTED:
        moves.run(session, run, RunEvent.GIVEN_UP, now)
        if job.state == JobState.CANCELLING:
            moves.job(job, JobEvent.NOTHING_RAN, now)
            moves.give_money_back(session, now, job)
        return
    if run.state in MAY_RUN:
        moves.run(session, run, RunEvent.LOST, now)
    if job.state in {JobState.ASSIGNED, JobState.RUNNING, JobState.CANCELLING}:
        moves.job(job, JobEvent.LOST_TRACK, now)
    audit.record(session, now, ACTOR, "run.lost", "run", run.id)
