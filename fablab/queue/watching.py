"""What happens because time went by: offers lapse, prepares expire, starts stay unanswered, bookings and prices end.

Called by the hub at intervals, each case in a transaction of its own. Exclusivity never rests on these clocks: until a
start order exists nothing physical has happened, and afterwards only an answer or a person frees a machine.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fablab import audit
from fablab.db import Database
from fablab.queue import dispatcher, jobs, moves
from fablab.queue.applying import Touched
from fablab.queue.incidents import note
from fablab.queue.job_states import JobEvent
from fablab.queue.run_states import RunEvent, RunState
from fablab.queue.tables import CommandIntent, Job, NotTriedAgain, Run
from fablab.sentences import Refusal
from fablab.space.tables import Occupation

START_PATIENCE = timedelta(seconds=60)
"""A start without any answer after this long is shown as lost."""
RETRY_AFTER = timedelta(minutes=5)
PASSING_CODES = (
    "machine_busy", "not_connected", "latched", "claim_old", "claim_closed", "stopping", "disk_full", "journal_full",
    "two_sessions", "stop_overtook", "file_unreachable", "file_fetch_failed", "prepare_failed", "index_missing",
)  # fmt: skip
"""Rejections that say nothing about the job: tried again after RETRY_AFTER."""
OPEN = ("pending", "sent", "accepted")
EARLY = (RunState.CLAIMED, RunState.PREPARING, RunState.PREPARED)

ACTOR = "system:hub"

Step = Callable[[Session, datetime, str], Touched]


def look(database: Database, now: datetime) -> Touched:
    """Do all that is due. A case that fails by a refusal was overtaken by somebody and is left alone."""
    touched = Touched()
    with database.read() as session:
        work = list(_due(session, now))
    for step, row_id in work:
        try:
            with database.write() as session:
                touched = touched | step(session, now, row_id)
        except Refusal:
            continue
    with database.write() as session:
        lapsed = jobs.lapse_quotes(session, now)
        session.execute(
            delete(NotTriedAgain).where(NotTriedAgain.code.in_(PASSING_CODES), NotTriedAgain.at < now - RETRY_AFTER)
        )
    return touched | Touched(jobs=frozenset(lapsed))


def _due(session: Session, now: datetime) -> Iterator[tuple[Step, str]]:
    early = select(Run.id).where(Run.live, Run.state.in_([str(state) for state in EARLY]))
    for run_id in session.scalars(
        early.join(CommandIntent, CommandIntent.run_id == Run.id).where(
            CommandIntent.kind == "prepare", CommandIntent.state.in_(OPEN), CommandIntent.expires_at <= now
        )
    ):
        yield _expire, run_id
    for run_id in session.scalars(early.where(Run.state == "prepared", Run.token_until <= now)):
        yield _lapse, run_id
    for run_id in session.scalars(
        select(Run.id)
        .join(CommandIntent, CommandIntent.run_id == Run.id)
        .where(
            Run.state == "starting", CommandIntent.kind == "start", CommandIntent.state.in_(("pending", "sent")),
            CommandIntent.created_at <= now - START_PATIENCE,
        )
    ):  # fmt: skip
        yield _lose, run_id
    over = select(Occupation.id).where(Occupation.ends_at <= now)
    for job_id in session.scalars(
        select(Job.id).where(Job.state.in_(("queued", "assigned")), Job.booking_id.in_(over))
    ):
        yield _booking_over, job_id


def _expire(session: Session, now: datetime, run_id: str) -> Touched:
    """No offer came: the claim is given up and closed, the job waits again."""
    job, run = moves.lock_live_run(session, run_id)
    if run.state not in {RunState.CLAIMED, RunState.PREPARING}:
        return Touched()
    dispatcher.give_up(session, now, ACTOR, run, "prepare_expired")
    audit.record(session, now, ACTOR, "prepare_expired", "run", run.id)
    return Touched(frozenset({job.id}), frozenset({run.machine_id}))


def _lapse(session: Session, now: datetime, run_id: str) -> Touched:
    """The offer is too old: the agent is asked for a new one."""
    job, run = moves.lock_live_run(session, run_id)
    if run.token_until is None or run.token_until > now:
        return Touched()
    moves.run(session, run, RunEvent.TOKEN_LAPSED, now)
    run.token = None
    moves.withdraw(session, now, run.id, ("prepare",))
    moves.prepare(session, now, ACTOR, run)
    return Touched(frozenset({job.id}), frozenset({run.machine_id}))


def _lose(session: Session, now: datetime, run_id: str) -> Touched:
    job, run = moves.lock_live_run(session, run_id)
    if run.state != RunState.STARTING or not moves.open_orders(session, ("start",), run_id=run.id):
        return Touched()
    moves.run(session, run, RunEvent.LOST, now)
    note(session, now, "start_unanswered", job.site_id, machine_id=run.machine_id, run_id=run.id)
    return Touched(frozenset({job.id}), frozenset({run.machine_id}))


def _booking_over(session: Session, now: datetime, job_id: str) -> Touched:
    """Her hour is over and nothing has started: the machine is given up, and she is asked."""
    job = moves.lock_job(session, job_id)
    run = moves.live_run(session, job.id)
    if run is not None:
        _, run = moves.lock_live_run(session, run.id)
        if run.state not in EARLY:
            return Touched()
        dispatcher.give_up(session, now, ACTOR, run, "booking_over")
    moves.job(job, JobEvent.HELD, now)
    job.held_for = "booking_over"
    moves.tell(session, now, job, "booking_over")
    audit.record(session, now, ACTOR, "booking_over", "job", job.id)
    return Touched(frozenset({job.id}), frozenset() if run is None else frozenset({run.machine_id}))
