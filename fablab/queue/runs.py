"""Verbs of people about a run: go, pause, resume, cancel, judge, finish, and freeing one that was lost.

Each writes rows and order intents in the caller's session; the hub's outbox carries the orders. No bus, no HTML.
A run id that is no longer the live one is refused with `not_this_run`: the page was old.
"""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fablab import audit
from fablab.messages import Cancel, Cleared, Declare, Pause, Resume, Revoke
from fablab.queue import applying, dispatcher, moves, road
from fablab.queue.job_states import JobEvent, JobState
from fablab.queue.people import booking_now, is_staff, level_on, name, require_staff
from fablab.queue.run_states import RunState
from fablab.queue.tables import Job, NotTriedAgain, Run
from fablab.sentences import Refusal
from fablab.space.tables import Machine, Outage

MOST_MINUTES, MOST_GRAMS = 14_400, 20_000.0
MOVING = (RunState.STARTING, RunState.RUNNING, RunState.PAUSED, RunState.LOST)
VERDICTS = {
    "good": JobEvent.JUDGED_GOOD,
    "failed": JobEvent.JUDGED_FAILED,
    "unknown": JobEvent.JUDGED_UNKNOWN,
}
OUTCOMES = {
    "queued": JobEvent.DECIDED_QUEUED,
    "to_judge": JobEvent.DECIDED_TO_JUDGE,
    "failed": JobEvent.DECIDED_FAILED,
    "cancelled": JobEvent.DECIDED_CANCELLED,
}


def go(session: Session, now: datetime, actor: str, run_id: str, *, token: str | None = None) -> None:
    """The person at the machine confirms plate and material: prepared → starting, with a start order.

    `token`: the start token that the page showed (None: the run's current one). Raises Refusal not_this_run,
    not_ready, token_lapsed, plate_not_free, machine_out_of_order, latched, not_authorised, not_allowed.
    """
    job, run = moves.lock_live_run(session, run_id)
    machine = session.get_one(Machine, run.machine_id)
    _may_operate(session, now, actor, job, machine)
    _check_go(session, now, run, token)
    dispatcher.start(session, now, actor, run, by=name(session, actor))


def pause(session: Session, now: datetime, actor: str, run_id: str) -> None:
    """Ask the machine to pause; one by staff is not billed. Raises Refusal not_this_run, not_now, not_allowed."""
    job, run = moves.lock_live_run(session, run_id)
    machine = session.get_one(Machine, run.machine_id)
    _may_touch(session, actor, job)
    if run.state not in {RunState.RUNNING, RunState.STARTING}:
        raise Refusal("not_now", state=run.state)
    staff = actor != job.asker_id and is_staff(session, actor, job.site_id)
    moves.withdraw(session, now, run.id, ("resume",))
    moves.order(session, now, actor, machine, Pause(by=name(session, actor), staff=staff), run=run)
    audit.record(session, now, actor, "pause", "run", run.id)


def resume(session: Session, now: datetime, actor: str, run_id: str) -> None:
    """Ask the machine to go on. Raises Refusal not_this_run, not_now, not_allowed, latched."""
    job, run = moves.lock_live_run(session, run_id)
    machine = session.get_one(Machine, run.machine_id)
    _may_operate(session, now, actor, job, machine)
    if run.state != RunState.PAUSED:
        raise Refusal("not_now", state=run.state)
    if moves.lock_claim(session, machine.id).latched:
        raise Refusal("latched", machine=machine.name)
    moves.order(session, now, actor, machine, Resume(by=name(session, actor)), run=run)
    audit.record(session, now, actor, "resume", "run", run.id)


def cancel(session: Session, now: datetime, actor: str, run_id: str) -> None:
    """Stop this attempt. Where nothing had started the job waits again, for another machine or a new try; else it is
    judged. Raises Refusal not_this_run, not_allowed."""
    job, run = moves.lock_live_run(session, run_id)
    machine = session.get_one(Machine, run.machine_id)
    _may_touch(session, actor, job)
    if run.state in MOVING:
        stop_moving(session, now, actor, job, run, machine)
    else:
        dispatcher.give_up(session, now, actor, run, "given_up")
        session.merge(NotTriedAgain(job_id=job.id, machine_id=machine.id, code="stopped_by_person", data={}, at=now))
    audit.record(session, now, actor, "cancel", "run", run.id, job=job.id)


def stop_moving(session: Session, now: datetime, actor: str, job: Job, run: Run, machine: Machine) -> None:
    """A start order exists: close it, ask the machine to stop, and let the agent's answer decide."""
    moves.withdraw(session, now, run.id, ("start", "resume"))
    if not moves.open_orders(session, ("cancel",), run_id=run.id):
        moves.order(session, now, actor, machine, Cancel(by=name(session, actor)), run=run)
    if job.state in {JobState.ASSIGNED, JobState.RUNNING}:
        moves.job(job, JobEvent.CANCEL_ASKED, now)


def judge(
    session: Session,
    now: datetime,
    actor: str,
    run_id: str,
    *,
    verdict: str,
    shelf: str | None = None,
    again: bool = False,
) -> None:
    """Say what became of the part, `good`, `failed` or `unknown`, and clear the plate.

    `again` (with failed): back to the queue under the same hold. Raises Refusal not_this_run, not_now, not_allowed,
    unknown_verdict.
    """
    run = moves.lock_run(session, run_id)
    job, machine = session.get_one(Job, run.job_id), session.get_one(Machine, run.machine_id)
    if verdict not in VERDICTS or (again and verdict != "failed"):
        raise Refusal("unknown_verdict", verdict=verdict)
    newest = session.scalars(select(Run.id).where(Run.job_id == job.id).order_by(Run.attempt.desc())).first()
    if run.live or newest != run.id or run.verdict in {"good", "failed"}:
        raise Refusal("not_this_run", run=run_id)
    _may_operate(session, now, actor, job, machine, over=True)
    moves.job(job, JobEvent.JUDGED_AGAIN if again else VERDICTS[verdict], now)
    run.verdict, run.judged_by, run.judged_at, run.again = verdict, actor, now, again
    run.shelf = job.shelf = (shelf or "").strip()[:60] or None
    if verdict != "unknown":
        moves.settle_later(session, run, "verdict", now)
    if again:
        job.queued_at = job.queued_at or now
    _free_plate(session, now, actor, run, machine)
    moves.tell(session, now, job, "job_judged", source=run.id, verdict=verdict, shelf=run.shelf or "", again=again)
    audit.record(session, now, actor, "judge", "run", run.id, verdict=verdict, shelf=run.shelf, again=again)


def begin(session: Session, now: datetime, actor: str, run_id: str) -> None:
    """Manual driver: the person tapped "started". The same as `go`."""
    go(session, now, actor, run_id)


def finish(
    session: Session,
    now: datetime,
    actor: str,
    run_id: str,
    *,
    minutes: int | None,
    grams: float | None,
    failed: bool = False,
) -> None:
    """Manual driver: the person declares the end, with minutes (0 … 14 400) or grams (0 … 20 000) or both.

    Raises Refusal not_this_run, not_now, not_allowed, not_manual, figures_missing, figure_out_of_range.
    """
    job, run = moves.lock_live_run(session, run_id)
    machine = session.get_one(Machine, run.machine_id)
    _may_operate(session, now, actor, job, machine)
    if machine.driver != "manual":
        raise Refusal("not_manual", machine=machine.name)
    if run.state not in {RunState.RUNNING, RunState.PAUSED}:
        raise Refusal("not_now", state=run.state)
    if minutes is None and grams is None:
        raise Refusal("figures_missing")
    if not 0 <= (minutes or 0) <= MOST_MINUTES or not 0 <= (grams or 0.0) <= MOST_GRAMS:
        raise Refusal("figure_out_of_range", minutes=minutes, grams=grams)
    body = Declare(what="failed" if failed else "finished", minutes=minutes, grams=grams, by=name(session, actor))
    moves.order(session, now, actor, machine, body, run=run)
    audit.record(session, now, actor, "finish", "run", run.id, minutes=minutes, grams=grams, failed=failed)


def attest_off(session: Session, now: datetime, actor: str, run_id: str) -> None:
    """Somebody at the machine says that it is off: ends a run whose fate is unknown.

    That machine takes no order until its agent has answered. Raises Refusal not_this_run, not_now, not_allowed.
    """
    job, run = moves.lock_live_run(session, run_id)
    require_staff(session, actor, job.site_id)
    if run.state not in MOVING:
        raise Refusal("not_now", state=run.state)
    _free(session, now, actor, job, run)
    audit.record(session, now, actor, "attest_off", "run", run.id, job=job.id)


def resolve(
    session: Session, now: datetime, actor: str, job_id: str, *, outcome: str, shelf: str | None = None
) -> None:
    """A person decides about a job in needs_attention: `queued`, `to_judge`, `failed` or `cancelled`.

    A run that is still live is freed first, as by `attest_off`. Raises Refusal unknown_outcome, not_now, not_allowed.
    """
    job = moves.lock_job(session, job_id)
    require_staff(session, actor, job.site_id)
    if outcome not in OUTCOMES:
        raise Refusal("unknown_outcome", outcome=outcome)
    if job.state != JobState.NEEDS_ATTENTION:
        raise Refusal("not_now", state=job.state)
    run = moves.live_run(session, job.id)
    if run is not None:
        _, run = moves.lock_live_run(session, run.id)
        if run.state in MOVING:
            _free(session, now, actor, job, run, event=OUTCOMES[outcome])
        else:
            dispatcher.give_up(session, now, actor, run, "given_up")
            if job.state == JobState.NEEDS_ATTENTION:
                moves.job(job, OUTCOMES[outcome], now)
    else:
        moves.job(job, OUTCOMES[outcome], now)
    if shelf:
        job.shelf = shelf.strip()[:60]
    _money_of_outcome(session, now, job, outcome)
    audit.record(session, now, actor, "resolve", "job", job.id, outcome=outcome)


def _money_of_outcome(session: Session, now: datetime, job: Job, outcome: str) -> None:
    """Failed and cancelled cost nothing here: nobody knows what ran. The rest is settled or kept as usual."""
    if outcome in {"failed", "cancelled"}:
        moves.give_money_back(session, now, job)
    if outcome == "queued":
        job.queued_at = job.queued_at or now


def _free(session: Session, now: datetime, actor: str, job: Job, run: Run, event: JobEvent = JobEvent.ENDED) -> None:
    """End the run on a person's word; the agent must close it, and say so, before its machine gets another order."""
    machine = session.get_one(Machine, run.machine_id)
    change = road.on_freed(road.Attempt(RunState(run.state), JobState(job.state)))
    if change == road.NOTHING:
        raise Refusal("not_now", state=run.state)
    run.result = "failed"
    moves.withdraw(session, now, run.id, ("prepare", "start", "resume"))
    moves.order(session, now, actor, machine, Revoke(), run=run)
    moves.lock_claim(session, machine.id).frozen = True
    applying.carry_out(session, now, actor, run, replace(change, job=event), code="freed_by_person")
    run.code = "freed_by_person"


def _check_go(session: Session, now: datetime, run: Run, token: str | None) -> None:
    machine = session.get_one(Machine, run.machine_id)
    if run.state != RunState.PREPARED or run.token is None:
        raise Refusal("not_ready", state=run.state)
    if run.token_until is None or run.token_until <= now or token not in (None, "", run.token):
        raise Refusal("token_lapsed")
    claim = moves.lock_claim(session, machine.id)
    if claim.run_id != run.id:
        raise Refusal("not_this_run", run=run.id)
    if claim.latched:
        raise Refusal("latched", machine=machine.name)
    if claim.plate != "free" or claim.frozen:
        raise Refusal("plate_not_free", machine=machine.name)
    outage = session.scalars(select(Outage).where(Outage.machine_id == machine.id, Outage.ended_at.is_(None))).first()
    if outage is not None:
        raise Refusal("machine_out_of_order", machine=machine.name, reason=outage.reason)


def _may_operate(
    session: Session, now: datetime, actor: str, job: Job, machine: Machine, *, over: bool = False
) -> None:
    """Staff, or the member at the machine she booked with her own job (`over`: also after the booking's end)."""
    if is_staff(session, actor, job.site_id):
        return
    own = job.booking_id is not None and actor == (job.operator_id or job.asker_id)
    if not own or (not over and booking_now(session, now, actor, machine.id) is None):
        raise Refusal("not_allowed")
    if level_on(session, now, actor, machine) is None:
        raise Refusal("not_authorised", machine=machine.name)


def _may_touch(session: Session, actor: str, job: Job) -> None:
    """Stopping and pausing her own work is anybody's right."""
    if actor not in (job.asker_id, job.operator_id):
        require_staff(session, actor, job.site_id)


def _free_plate(session: Session, now: datetime, actor: str, run: Run, machine: Machine) -> None:
    claim = moves.lock_claim(session, machine.id)
    if claim.plate_run_id != run.id:
        return
    claim.plate, claim.plate_run_id = "free", None
    moves.order(session, now, actor, machine, Cleared(by=name(session, actor)))
