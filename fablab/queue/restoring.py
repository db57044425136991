"""What a restored database means for jobs, runs and machines: nothing goes on by itself, and nothing is made twice.

Reports since the backup come again from the agents' journals: facts of a run that is over here are kept, and open a
review item. Until an agent has said hello in the new epoch, or is marked absent, nothing of its machines is claimed.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from fablab import audit
from fablab.queue import moves
from fablab.queue.command_states import CommandEvent, command_after
from fablab.queue.job_states import ENDED, JobEvent, JobState
from fablab.queue.people import require_decider
from fablab.queue.run_states import RunEvent, RunState
from fablab.queue.tables import Agent, CommandIntent, Job, MachineClaim, Run, SettlementDue
from fablab.sentences import Refusal

ACTOR = "system:restore"
NOT_STARTED = (RunState.CLAIMED, RunState.PREPARING, RunState.PREPARED)
HELD_BACK = (
    JobState.QUEUED, JobState.ASSIGNED, JobState.RUNNING, JobState.CANCELLING, JobState.NEEDS_ATTENTION,
)  # fmt: skip


def after_restore(session: Session, now: datetime) -> None:
    """Hold every open job for `restored`, end every attempt, take back every order, ask for every plate."""
    for run_id in session.scalars(select(Run.id).where(Run.live).order_by(Run.id)).all():
        run = moves.lock_run(session, run_id)
        moves.run(session, run, RunEvent.GIVEN_UP if run.state in NOT_STARTED else RunEvent.FREED, now)
        run.code = run.code or "restored"
        audit.record(session, now, ACTOR, f"run.{run.state}", "run", run.id, code="restored")
    for job_id in session.scalars(select(Job.id).where(Job.state.in_(HELD_BACK)).order_by(Job.id)).all():
        job = moves.lock_job(session, job_id)
        moves.job(job, JobEvent.RESTORED)
        job.held_for = "restored"
        audit.record(session, now, ACTOR, "held", "job", job.id, held_for="restored")
    _take_back_orders(session, now)
    session.execute(update(MachineClaim).where(MachineClaim.plate == "free").values(plate="unsure"))
    session.execute(update(Agent).values(online=False, absent_by=None))


def maybe_printed(session: Session, site_id: str) -> Sequence[str]:
    """Jobs that may have been printed since the backup: a person looks at each before it is released. Oldest first."""
    return session.scalars(
        select(Job.id)
        .where(Job.site_id == site_id, Job.state == JobState.HELD, Job.held_for == "restored")
        .order_by(Job.created_at, Job.id)
    ).all()


def jobs_with_money(session: Session) -> list[str]:
    """Jobs that may have an open hold: those that are not over, and those whose last run is not settled yet."""
    due = select(Run.job_id).join(SettlementDue, SettlementDue.run_id == Run.id).where(SettlementDue.done_at.is_(None))
    return list(session.scalars(select(Job.id).where(or_(Job.state.not_in(ENDED), Job.id.in_(due)))))


def _take_back_orders(session: Session, now: datetime) -> None:
    """No order of yesterday is sent today; what an agent took already is its journal's business."""
    rows = session.scalars(select(CommandIntent).where(CommandIntent.next_try_at.is_not(None))).all()
    for row in rows:
        row.next_try_at = None
        if row.state in {"pending", "sent"}:
            row.state, row.answered_at = command_after(row.state, CommandEvent.WITHDRAWN), now


def mark_absent(session: Session, now: datetime, actor: str, agent_id: str) -> None:
    """A named person says that this agent will not come, and is not waited for. Raises Refusal unknown_agent."""
    agent = session.get(Agent, agent_id)
    if agent is None:
        raise Refusal("unknown_agent", agent=agent_id)
    require_decider(session, actor, agent.site_id)
    agent.absent_by = actor
    audit.record(session, now, actor, "marked_absent", "agent", agent_id)
