"""Read models: what pages and the API show of jobs, runs and machines. Looks only; decides nothing, writes nothing."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fablab.billing.tables import Entry, Hold, Lot, Quote
from fablab.messages import StateSnapshot
from fablab.queue.candidates import Survey, load_yard, survey
from fablab.queue.machine_view import picture
from fablab.queue.planning import planned
from fablab.queue.tables import Agent, Job, JobFile, MachineClaim, MachineView, Run
from fablab.sentences import Refusal
from fablab.space.tables import Machine, Outage, Person

UNDECIDED = ("checking", "draft", "queued", "held")
"""States in which it is still open where a job goes, so that machines and reasons are worth showing."""


def job_summary(session: Session, now: datetime, job_id: str) -> dict[str, Any]:
    """One job with the keys of the public contract, and more: `file`, `asker`, `payer`, `choices`, `machines`.

    `reasons`: [{"machine", "code", "data"}]; the caller adds `text` in the reader's language.
    `machines`: per machine {"id", "name", "fits", "may_wait", "quote_cents", "ceiling_cents", "lines", "reasons"}.
    Raises Refusal unknown_job.
    """
    job = session.get(Job, job_id)
    if job is None:
        raise Refusal("unknown_job", job=job_id)
    found = survey(session, now, job) if job.state in UNDECIDED else []
    runs = _runs(session, job.id)
    siblings = session.scalars(select(Job.id).where(Job.batch_id == job.batch_id).order_by(Job.id)).all()
    return {
        **_head(session, job),
        "ids": list(siblings),
        "reasons": [*_own_reasons(job), *(reason for item in found for reason in _reasons(item))],
        "estimate": _estimate(session, job),
        "plan": _plan(session, now, job, runs),
        "price": _price(session, job, runs),
        "machines": [_machine_choice(item) for item in found],
        "runs": [_run(session, run) for run in runs],
    }


def job_list(
    session: Session,
    now: datetime,  # noqa: ARG001 — the same shape for every read model
    *,
    asker: str | None = None,
    site: str | None = None,
    states: tuple[str, ...] = (),
    after: str | None = None,
    limit: int = 50,
) -> tuple[list[dict[str, Any]], str | None]:
    """Newest first, without reasons and machines, and the cursor of the next page (None: this was the last)."""
    query = select(Job).order_by(Job.id.desc()).limit(limit + 1)
    if asker is not None:
        query = query.where(Job.asker_id == asker)
    if site is not None:
        query = query.where(Job.site_id == site)
    if states:
        query = query.where(Job.state.in_(states))
    if after is not None:
        query = query.where(Job.id < after)
    jobs = session.scalars(query).all()
    items = []
    for job in jobs[:limit]:
        runs = _runs(session, job.id)
        items.append(
            {
                **_head(session, job),
                "ids": [job.id],
                "reasons": _own_reasons(job),
                "estimate": _estimate(session, job),
                "plan": {},
                "price": _price(session, job, runs),
                "runs": [_run(session, run) for run in runs],
            }
        )
    return items, (jobs[limit - 1].id if len(jobs) > limit else None)


def machine_summary(session: Session, now: datetime, machine_id: str) -> dict[str, Any]:  # noqa: ARG001 — as above
    """One machine as pages, API and wall show it: its picture, plate, outage, spool, and the live run.

    `run` is None or {"id", "job", "state", "progress", "layer", "layers", "seconds", "remaining_s", "commanded_mm",
    "token", "token_until", "attempt", "asker", "file_name", "result", …}. `plate_run` is the run whose part lies on the
    plate, with the same keys, else None. A machine whose agent is gone is `offline`, with `seen_at`; never stale green.
    Raises Refusal unknown_machine.
    """
    machine = session.get(Machine, machine_id)
    if machine is None or machine.archived_at is not None:
        raise Refusal("unknown_machine", machine=machine_id)
    view_row = session.get(MachineView, machine_id)
    view = picture(view_row)
    claim = session.get(MachineClaim, machine_id) or MachineClaim(machine_id=machine_id, plate="free", stop_no=0)
    agent = session.get(Agent, machine.agent_id)
    online = agent is not None and agent.online and agent.revoked_at is None
    return {
        **_machine_head(session, machine),
        **_view_keys(view, online),
        "online": online,
        "seen_at": _stamp(view_row.received_at if view_row else agent.seen_at if agent else None),
        "plate": claim.plate,
        "plate_run": _live_run(session, claim.plate_run_id),
        "latched": bool(claim.latched) or (view is not None and view.latched),
        "frozen": bool(claim.frozen),
        "stop_no": claim.stop_no,
        "outage": _outage(session, machine_id),
        "run": _live_run(session, claim.run_id),
    }


def wall(session: Session, now: datetime, site_id: str) -> list[dict[str, Any]]:
    """All machines of a site as `machine_summary` gives them, by name."""
    ids = session.scalars(
        select(Machine.id)
        .where(Machine.site_id == site_id, Machine.archived_at.is_(None))
        .order_by(Machine.name, Machine.id)
    ).all()
    return [machine_summary(session, now, machine_id) for machine_id in ids]


def queue_list(session: Session, now: datetime, site_id: str) -> list[dict[str, Any]]:
    """What waits, in the order in which it will go: job, asker, state, why it waits, and the plan."""
    plans = {item.job_id: item for item in planned(session, now, site_id)}
    jobs = session.scalars(
        select(Job).where(Job.site_id == site_id, Job.state.in_(("queued", "held"))).order_by(Job.queued_at, Job.id)
    ).all()
    yard = load_yard(session, now, site_id, [job.id for job in jobs])
    items = []
    for job in jobs:
        plan = plans.get(job.id)
        found = survey(session, now, job, yard)
        items.append(
            {
                **_head(session, job),
                "reasons": [*_own_reasons(job), *(reason for item in found for reason in _reasons(item))],
                "machines": [_machine_choice(item) for item in found],
                "plan": {} if plan is None else _plan_keys(plan.machine_id, plan.start, plan.end),
            }
        )
    far = "9999"
    return sorted(items, key=lambda item: (item["state"] == "held", item["plan"].get("start", far)))


def _head(session: Session, job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "batch": job.batch_id,
        "state": job.state,
        "held_for": job.held_for,
        "site": job.site_id,
        "file": {"name": job.file_name, "sha256": job.sha256},
        "asker": _person(session, job.asker_id),
        "payer": _person(session, job.payer_id),
        "operator": _person(session, job.operator_id),
        "choices": {
            "machine": job.machine_id,
            "material": job.material_id,
            "colour": job.colour,
            "booking": job.booking_id,
            "due": _stamp(job.due_at),
            "note": job.note,
            "max_price_cents": job.max_price_cents,
        },
        "shelf": job.shelf,
        "created_at": _stamp(job.created_at),
        "confirmed_at": _stamp(job.confirmed_at),
        "queued_at": _stamp(job.queued_at),
        "ended_at": _stamp(job.ended_at),
    }


def _person(session: Session, person_id: str | None) -> dict[str, Any] | None:
    person = None if person_id is None else session.get(Person, person_id)
    return None if person is None else {"id": person.id, "name": person.name}


def _own_reasons(job: Job) -> list[dict[str, Any]]:
    if job.refusal is not None:
        return [{"machine": None, "code": job.refusal["code"], "data": job.refusal.get("data", {})}]
    if job.state == "held" and job.held_for:
        return [{"machine": None, "code": f"held_{job.held_for}", "data": {}}]
    return []


def _reasons(item: Survey) -> list[dict[str, Any]]:
    return [{"machine": item.machine_id, "code": why.code, "data": dict(why.data)} for why in item.reasons]


def _machine_choice(item: Survey) -> dict[str, Any]:
    quote = item.quote
    return {
        "id": item.machine_id,
        "name": item.name,
        "fits": not item.reasons,
        "may_wait": item.may_wait,
        "quote_cents": None if quote is None else quote.expected_cents,
        "ceiling_cents": None if quote is None else quote.ceiling_cents,
        "lines": [] if quote is None else list(quote.lines),
        "reasons": _reasons(item),
    }


def _estimate(session: Session, job: Job) -> dict[str, Any]:
    file = session.get(JobFile, job.sha256)
    if file is None or file.facts is None:
        return {}
    facts = file.facts
    measured, comments = facts["measured"], facts["comments"]
    return {
        "kind": "estimated",
        "seconds": round(comments.get("time_s") or measured["time_s"]),
        "filament_mm": measured["filament_mm"],
        "filament_g": comments.get("filament_g"),
        "layers": measured["layers"],
        "bbox_mm": measured["bbox_mm"],
        "max_temperatures": measured["max_temperatures"],
        "material": facts.get("material"),
        "printer_model": facts.get("printer_model"),
        "slicer": facts.get("slicer"),
        "hazards": facts.get("hazards", []),
        "lines": facts.get("lines"),
        "size": file.size,
    }


def _plan(session: Session, now: datetime, job: Job, runs: Sequence[Run]) -> dict[str, Any]:
    live = next((run for run in runs if run.live), None)
    if live is not None:
        return _plan_keys(live.machine_id, live.started_at, None)
    if job.state != "queued":
        return {}
    for item in planned(session, now, job.site_id):
        if item.job_id == job.id:
            return _plan_keys(item.machine_id, item.start, item.end)
    return {}


def _plan_keys(machine_id: str, start: datetime | None, end: datetime | None) -> dict[str, Any]:
    return {"machine": machine_id, "start": _stamp(start), "end": _stamp(end)}


def _price(session: Session, job: Job, runs: Sequence[Run]) -> dict[str, Any]:
    """`quote_cents` is that of the machine that has the job, else the lowest; `ceiling_cents` the one announced."""
    quotes = session.scalars(select(Quote).where(Quote.job_id == job.id).order_by(Quote.expected_cents)).all()
    at = next((run.machine_id for run in reversed(runs)), None)
    quote = next((item for item in quotes if item.machine_id == at), quotes[0] if quotes else None)
    hold = None if job.hold_id is None else session.get(Hold, job.hold_id)
    entries = _entries(session, [run.id for run in runs])
    return {
        "currency": quote.currency if quote else "EUR",
        "quote_cents": quote.expected_cents if quote else None,
        "ceiling_cents": job.ceiling_cents
        if job.ceiling_cents is not None
        else max((item.ceiling_cents for item in quotes), default=None),
        "held_cents": hold.amount_cents if hold is not None and hold.state == "open" else 0,
        "means": hold.means if hold is not None else None,
        "charged_cents": sum(int(entry.data.get("total_cents", 0)) for entry in entries) if entries else None,
        "lines": [line for entry in entries for line in entry.data.get("lines", [])]
        or (list(quote.lines) if quote else []),
        "receipts": [entry.id for entry in entries],
    }


def _entries(session: Session, run_ids: Sequence[str]) -> Sequence[Entry]:
    return session.scalars(
        select(Entry)
        .where(Entry.kind == "charge", Entry.source_kind == "run", Entry.source_id.in_(run_ids))
        .order_by(Entry.at)
    ).all()


def _runs(session: Session, job_id: str) -> Sequence[Run]:
    return session.scalars(select(Run).where(Run.job_id == job_id).order_by(Run.attempt)).all()


def _run(session: Session, run: Run) -> dict[str, Any]:
    facts = run.facts or {}
    view = picture(session.get(MachineView, run.machine_id)) if run.live else None
    live = view if view is not None and view.run == run.id else None
    progress = live.progress if live is not None else 1.0 if run.result == "succeeded" else None
    return {
        "id": run.id,
        "machine": run.machine_id,
        "state": run.state,
        "attempt": run.attempt,
        "progress": progress,
        "result": run.result,
        "code": run.code,
        "commanded_mm": list(facts.get("commanded_mm", live.commanded_mm if live is not None else ())),
        "declared_g": facts.get("declared_g"),
        "kind": facts.get("kind", "commanded"),
        "seconds": facts.get("seconds", live.seconds if live is not None else 0),
        "layer": live.layer if live is not None else None,
        "layers": live.layers if live is not None else None,
        "remaining_s": live.remaining_s if live is not None else None,
        "token": run.token if run.live and run.state == "prepared" else None,
        "token_until": _stamp(run.token_until) if run.live else None,
        "verdict": run.verdict,
        "judged_by": _person(session, run.judged_by),
        "shelf": run.shelf,
        "claimed_at": _stamp(run.claimed_at),
        "started_at": _stamp(run.started_at),
        "ended_at": _stamp(run.ended_at),
    }


def _live_run(session: Session, run_id: str | None) -> dict[str, Any] | None:
    run = None if run_id is None else session.get(Run, run_id)
    job = None if run is None else session.get(Job, run.job_id)
    if run is None or job is None:
        return None
    return {
        **_run(session, run),
        "job": job.id,
        "job_state": job.state,
        "file_name": job.file_name,
        "asker": _person(session, job.asker_id),
        "booked": job.booking_id is not None,
    }


def _machine_head(session: Session, machine: Machine) -> dict[str, Any]:
    lot = None if machine.loaded_lot_id is None else session.get(Lot, machine.loaded_lot_id)
    return {
        "id": machine.id,
        "name": machine.name,
        "site": machine.site_id,
        "kind": machine.kind,
        "driver": machine.driver,
        "profile": machine.profile,
        "start": machine.start,
        "use": list(machine.use),
        "source": machine.source,
        "volume_mm": machine.volume_mm,
        "lot": None
        if lot is None
        else {"id": lot.id, "number": lot.number, "material": lot.material_id, "colour": lot.colour},
    }


def _view_keys(view: StateSnapshot | None, online: bool) -> dict[str, Any]:
    if view is None:
        view = StateSnapshot(machine="", journal_id="", boot_no=0, rev=0, at="", state="offline")
    return {
        "state": view.state if online else "offline",
        "code": view.code if online else "agent_offline",
        "temperatures": {
            name: {"actual": value.actual, "target": value.target} for name, value in view.temperatures.items()
        }
        if online
        else {},
        "watts": view.watts if online else None,
        "relay_on": view.relay_on,
        "warnings": list(view.warnings),
        "prompt": view.prompt,
        "firmware": view.firmware,
        "host_death": view.host_death,
        "speed": view.speed,
        "foreign_run": view.run,
    }


def _outage(session: Session, machine_id: str) -> dict[str, Any] | None:
    row = session.scalars(select(Outage).where(Outage.machine_id == machine_id, Outage.ended_at.is_(None))).first()
    if row is None:
        return None
    return {"reason": row.reason, "by": _person(session, row.declared_by), "since": _stamp(row.declared_at)}


def _stamp(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")
