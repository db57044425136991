"""Applies one report of an agent to the rows it is about, in the caller's transaction. road.py says what it means."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from fablab import audit
from fablab.billing.tables import ReviewItem
from fablab.ids import new_id
from fablab.messages import (
    Answer,
    Ended,
    Incident,
    Paused,
    PlateUnsure,
    Prepared,
    Report,
    Resumed,
    Revoke,
    RunUnknown,
    Started,
    StopConfirmed,
)
from fablab.queue import moves, road
from fablab.queue.incidents import note
from fablab.queue.job_states import JobState
from fablab.queue.run_states import RunState
from fablab.queue.tables import Agent, CommandIntent, Job, MachineClaim, NotTriedAgain, Run, SettlementDue
from fablab.sentences import Refusal
from fablab.space.tables import Machine, Site

JOURNAL_LOST = "journal_lost"
"""`Run.code` of an attempt whose agent came back with another journal: only a person can say what became of it."""


@dataclass(frozen=True)
class Touched:
    """What looks different now, for the pages."""

    jobs: frozenset[str] = frozenset()
    machines: frozenset[str] = frozenset()

    def __or__(self, other: "Touched") -> "Touched":
        return Touched(self.jobs | other.jobs, self.machines | other.machines)


def apply(session: Session, now: datetime, agent: Agent, report: Report) -> Touched:
    """Apply a report. Raises Refusal where it fits no row: the caller stores why, and puts it to a person."""
    match report.body:
        case Answer():
            return _answer(session, now, agent, report.body)
        case Prepared() | Started() | Paused() | Resumed() | Ended() | RunUnknown():
            return _of_run(session, now, agent, report.body)
        case StopConfirmed():
            return _stop_confirmed(session, now, agent, report.body)
        case PlateUnsure():
            return _plate_unsure(session, now, agent, report.body)
        case Incident():
            _own_machine(session, agent, report.body.machine)
            note(
                session, now, report.body.code, agent.site_id, machine_id=report.body.machine or None,
                run_id=report.body.run or None, data=report.body.data,
            )  # fmt: skip
            return Touched(machines=frozenset({report.body.machine} - {""}))
    raise Refusal("report_kind", kind=type(report.body).__name__)


def put_to_a_person(session: Session, now: datetime, agent: Agent, report: Report, problem: dict[str, Any]) -> Touched:
    """A report that could not be applied: its run needs attention, and staff are told."""
    run_id = getattr(report.body, "run", "")
    machine_id = getattr(report.body, "machine", "")
    note(
        session, now, "report_not_applied", agent.site_id, machine_id=machine_id or None, run_id=run_id or None,
        data={"seq": report.seq, **problem},
    )  # fmt: skip
    run = session.get(Run, run_id) if run_id else None
    if run is None:
        return _of_no_run(session, now, agent, report.body)
    job = moves.lock_job(session, run.job_id)
    if job.state in {"assigned", "running", "cancelling", "to_judge"}:
        moves.job(job, "lost_track")
    return Touched(frozenset({job.id}), frozenset({run.machine_id}))


def _of_no_run(session: Session, now: datetime, agent: Agent, body: object) -> Touched:
    """A run that a restored database has never heard of: something lies there, and its job may have been made."""
    machine_id = str(getattr(body, "machine", ""))
    if not isinstance(body, Ended) or not body.touched:
        return Touched(machines=frozenset({machine_id} - {""}))
    _own_machine(session, agent, machine_id)
    claim = moves.lock_claim(session, machine_id)
    if claim.plate == "free":
        claim.plate, claim.plate_run_id = "unsure", None
    job = session.get(Job, body.job, with_for_update=True, populate_existing=True)
    if job is not None and job.state in {"queued", "assigned"}:
        moves.job(job, "restored")
        _hold_back(session, now, f"system:agent:{agent.id}", job)
    return Touched(frozenset({body.job} - {""}), frozenset({machine_id}))


def _answer(session: Session, now: datetime, agent: Agent, answer: Answer) -> Touched:
    seen = session.get(CommandIntent, answer.command)
    if seen is None or seen.agent_id != agent.id:
        return Touched()  # an order of a database that was restored since: nothing to change
    if seen.run_id is not None:
        moves.lock_run(session, seen.run_id)  # job and run first, as everywhere
    row = session.get_one(CommandIntent, answer.command, with_for_update=True, populate_existing=True)
    if not moves.answered(row, now, answer.state, answer.code, answer.data):
        return Touched()
    _answered_by(session, row)
    machines = frozenset({row.machine_id} - {""})
    run = None if row.run_id is None else moves.lock_run(session, row.run_id)
    if run is None:
        return Touched(machines=machines)
    attempt = attempt_of(session, run)
    change = road.NOTHING
    if row.kind == "prepare":
        change = road.on_prepare_answer(attempt, answer.state, answer.code)
    elif row.kind == "start":
        change = road.on_start_answer(attempt, answer.state, answer.code)
    elif row.kind in {"cancel", "revoke"}:
        change = road.on_close_answer(attempt, answer.state, str(answer.data.get("became", "")))
    carry_out(session, now, f"system:agent:{agent.id}", run, change, code=answer.code, data=answer.data)
    return Touched(frozenset({run.job_id}), machines)


def _answered_by(session: Session, row: CommandIntent) -> None:
    """Its agent has spoken about this machine: what a person froze may take orders again."""
    claim = session.get(MachineClaim, row.machine_id) if row.machine_id else None
    if claim is not None and claim.frozen and row.nature == "stop":
        claim.frozen = False


def _of_run(
    session: Session,
    now: datetime,
    agent: Agent,
    body: Prepared | Started | Paused | Resumed | Ended | RunUnknown,
) -> Touched:
    run = moves.lock_run(session, body.run)
    machine = session.get_one(Machine, run.machine_id)
    if machine.agent_id != agent.id or body.machine != machine.id or body.claim_no != run.claim_no:
        raise Refusal("report_of_another_claim", run=run.id, claim_no=body.claim_no)
    attempt = attempt_of(session, run)
    ended: Ended | None = None
    match body:
        case Prepared():
            change = road.on_prepared(attempt)
            if change.run is not None:
                run.token, run.token_until = body.token, now + timedelta(seconds=body.valid_s)
        case Started():
            change = road.on_started(attempt)
        case Paused():
            change = road.on_paused(attempt)
        case Resumed():
            change = road.on_resumed(attempt)
        case RunUnknown():
            change = road.on_unknown(attempt)
        case Ended():
            change = road.on_ended(attempt, body)
            ended = body
    carry_out(session, now, f"system:agent:{agent.id}", run, change, code=getattr(body, "code", ""), ended=ended)
    return Touched(frozenset({run.job_id}), frozenset({run.machine_id}))


def carry_out(
    session: Session,
    now: datetime,
    actor: str,
    run: Run,
    change: road.Change,
    *,
    code: str = "",
    data: dict[str, Any] | None = None,
    ended: Ended | None = None,
) -> None:
    """Write what a decision changes. The caller holds the locks of job and run."""
    job = moves.lock_job(session, run.job_id)
    if change.keep_facts and ended is not None:
        run.facts, run.result, run.code = msgspec.to_builtins(ended), ended.result, ended.code or None
    if change.run is not None:
        if code and change.run in {"rejected", "given_up", "expired"}:
            run.code = code
        moves.run(session, run, change.run, now)
    if change.plate is not None:
        claim = moves.lock_claim(session, run.machine_id)
        if change.plate != "unsure" or claim.plate == "free":
            claim.plate, claim.plate_run_id = change.plate, run.id
    if change.job is not None:
        moves.job(job, change.job, now)
        if job.state == "cancelled":
            moves.give_money_back(session, now, job)
        if change.job == "restored":
            _hold_back(session, now, actor, job)
        if change.job == "ended":
            site = session.get_one(Site, job.site_id)
            moves.settle_later(session, run, "claim_window", now + timedelta(hours=site.claim_window_h))
            moves.tell(session, now, job, "print_ended", result=run.result or "stopped")
    if change.not_here is not None:
        _not_here(session, now, run, change.not_here, data or {})
    if change.prepare_again:
        moves.prepare(session, now, actor, run)
    if change.incident is not None:
        note(session, now, change.incident, job.site_id, machine_id=run.machine_id, run_id=run.id, data={"code": code})
    if change.review is not None:
        _review(session, now, run, change.review)
    if change != road.NOTHING:
        audit.record(session, now, actor, f"run.{change.run or 'note'}", "run", run.id, code=code)


def attempt_of(session: Session, run: Run) -> road.Attempt:
    """The run and its job as road.py sees them."""
    job = moves.lock_job(session, run.job_id)
    return road.Attempt(RunState(run.state), JobState(job.state), run.facts is not None, run.code == JOURNAL_LOST)


def _hold_back(session: Session, now: datetime, actor: str, job: Job) -> None:
    """The job waits for a person again; an attempt that was being made ready is given up."""
    job.held_for = "restored"
    rows = session.scalars(
        select(Run.id).where(Run.job_id == job.id, Run.live, Run.state.in_(("claimed", "preparing", "prepared")))
    ).all()
    for run_id in rows:
        run = moves.lock_run(session, run_id)
        moves.withdraw(session, now, run.id, ("prepare",))
        moves.order(session, now, actor, session.get_one(Machine, run.machine_id), Revoke(), run=run)
        moves.run(session, run, "given_up", now)


def _not_here(session: Session, now: datetime, run: Run, code: str, data: dict[str, Any]) -> None:
    row = session.get(NotTriedAgain, (run.job_id, run.machine_id))
    if row is None:
        session.add(NotTriedAgain(job_id=run.job_id, machine_id=run.machine_id, code=code, data=data, at=now))
    else:
        row.code, row.data, row.at = code, data, now


def _review(session: Session, now: datetime, run: Run, code: str) -> None:
    """A fact that came after a person had ended the run: settled ones are looked at by a person, never posted again."""
    settled = session.get(SettlementDue, run.id)
    if settled is None or settled.done_at is None:
        return  # not settled yet: it will be, with these facts
    session.add(ReviewItem(id=new_id(), source=f"{code}:{run.id}", code=code, data={"run": run.id}, at=now))


def _stop_confirmed(session: Session, now: datetime, agent: Agent, body: StopConfirmed) -> Touched:
    _own_machine(session, agent, body.machine)
    if body.how == "none":
        note(session, now, "stop_not_confirmed", agent.site_id, machine_id=body.machine)
    return Touched(machines=frozenset({body.machine}))


def _plate_unsure(session: Session, now: datetime, agent: Agent, body: PlateUnsure) -> Touched:
    _own_machine(session, agent, body.machine)
    claim = moves.lock_claim(session, body.machine)
    if claim.plate == "free":
        claim.plate, claim.plate_run_id = "unsure", None
    note(session, now, "plate_unsure", agent.site_id, machine_id=body.machine, data={"why": body.why})
    return Touched(machines=frozenset({body.machine}))


def _own_machine(session: Session, agent: Agent, machine_id: str) -> None:
    """An agent speaks about its own machines only."""
    if not machine_id:
        return
    machine = session.get(Machine, machine_id)
    if machine is None or machine.agent_id != agent.id:
        raise Refusal("unknown_machine", machine=machine_id)
