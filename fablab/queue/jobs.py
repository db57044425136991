"""Verbs about jobs: from a file that was sent to a place in the queue, and out of it again. No bus, no HTML.

Each verb takes the caller's open write session, the time, and who acts; the caller commits, then wakes the hub.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from fablab import audit
from fablab.billing import ledger
from fablab.billing.tables import Hold, Material, Quote
from fablab.db import Meta
from fablab.ids import new_id
from fablab.queue import dispatcher, moves, pricing, runs
from fablab.queue.candidates import Survey, estimated_seconds, facts_of, material_of, survey
from fablab.queue.envelopes import EPOCH_KEY
from fablab.queue.job_states import JobEvent, JobState
from fablab.queue.people import is_staff, membership_holds, require_staff
from fablab.queue.tables import Agent, Job, JobFile, NotTriedAgain
from fablab.sentences import Refusal
from fablab.space.tables import Machine, Occupation, Person, Site

MAX_COPIES = 50
QUOTE_LIFE = timedelta(days=14)
"""A frozen quote lapses after this long in the queue, and the asker is asked again."""


@dataclass(frozen=True)
class SentFile:
    """A file that is already stored by content: hex SHA-256, size in bytes, and the name it came with."""

    sha256: str
    size: int
    name: str


@dataclass(frozen=True)
class Choices:
    """What the asker wishes. Ids of machine, material, people and booking; None: no wish."""

    machine: str | None = None
    material: str | None = None
    colour: str | None = None
    copies: int = 1  # 1 … 50
    payer: str | None = None  # None: the asker
    operator: str | None = None  # None: whoever says go
    booking: str | None = None
    due: datetime | None = None
    note: str = ""
    max_price_cents: int | None = None
    submit: bool = False  # confirm by itself once quoted, when the ceiling is within max_price_cents


def create_jobs(
    session: Session, now: datetime, actor: str, *, site_id: str, asker: str, file: SentFile, choices: Choices
) -> list[str]:
    """Make `copies` jobs of one batch in state `checking`, and return their ids.

    `actor` is who does it (staff may act for `asker`). Raises Refusal: copies_out_of_range, unknown_person,
    unknown_site, unknown_machine, unknown_material, unknown_booking, not_allowed.
    """
    if actor != asker:
        require_staff(session, actor, site_id)
    if not 1 <= choices.copies <= MAX_COPIES:
        raise Refusal("copies_out_of_range", copies=choices.copies, most=MAX_COPIES)
    if session.get(Site, site_id) is None:
        raise Refusal("unknown_site", site=site_id)
    if session.get(JobFile, file.sha256) is None:
        session.add(JobFile(sha256=file.sha256, size=file.size, stored_at=now))
        session.flush()
    batch = new_id()
    ids = []
    for _ in range(choices.copies):
        job = Job(
            id=new_id(), batch_id=batch, site_id=site_id, state="checking", asker_id=asker, payer_id=asker,
            sha256=file.sha256, file_name=file.name[:200], created_at=now, auto_submit=choices.submit, version=0,
        )  # fmt: skip
        _choose(session, now, job, choices)
        session.add(job)
        audit.record(session, now, actor, "sent", "job", job.id, file=file.name[:200], asker=asker)
        ids.append(job.id)
    session.flush()
    return ids


def change(session: Session, now: datetime, actor: str, job_id: str, choices: Choices) -> None:
    """Change the choices of a draft (copies excepted) and quote it again. Raises Refusal not_now, not_allowed."""
    job = _own(session, actor, job_id)
    if job.state not in {"draft", "checking"}:
        raise Refusal("not_now", state=job.state)
    _choose(session, now, job, choices)
    job.version += 1
    audit.record(session, now, actor, "changed", "job", job.id)
    if job.state == "draft":
        quote(session, now, job.id)


def checked(session: Session, now: datetime, job: Job, file: JobFile) -> None:
    """The file of a job in `checking` is understood or refused: quote it, and confirm it where that was asked for."""
    if file.refusal is not None:
        job.refusal = dict(file.refusal)
        moves.job(job, JobEvent.REFUSED, now)
        moves.tell(session, now, job, "job_refused", why=file.refusal["code"])
        audit.record(session, now, "system:hub", "refused", "job", job.id, **file.refusal)
        return
    moves.job(job, JobEvent.MEASURED, now)
    audit.record(session, now, "system:hub", "quoted", "job", job.id)
    quote(session, now, job.id)
    if not job.auto_submit:
        return
    job.auto_submit = False
    try:
        with session.begin_nested():
            confirm(session, now, job.asker_id, job.id, job.max_price_cents)
    except Refusal as error:  # it stays a draft; its page says why
        audit.record(session, now, "system:hub", "not_confirmed", "job", job.id, code=error.code)
        moves.tell(session, now, job, "job_waits_for_yes", why=error.code)


def quote(session: Session, now: datetime, job_id: str) -> None:
    """Write the job's quotes anew: one per machine that may make it. Lines, expected price and ceiling."""
    job = moves.lock_job(session, job_id)
    facts = facts_of(session, job)
    if facts is None:
        return
    session.execute(delete(Quote).where(Quote.job_id == job.id))
    session.flush()
    material, seconds = material_of(session, job, facts), estimated_seconds(facts)
    for item in survey(session, now, job):
        if item.may_wait:
            machine = session.get_one(Machine, item.machine_id)
            pricing.write_quote(session, now, job, machine, facts, seconds, material)
    session.flush()


def confirm(session: Session, now: datetime, actor: str, job_id: str, limit_cents: int | None = None) -> None:
    """draft → queued | held. Freezes the quotes, and opens the hold over the highest ceiling of the fitting machines.

    `limit_cents`: what a key or a program may spend, above which the job stays a draft (Refusal above_limit); a person
    who says yes to the price needs none. Raises Refusal too:
    no_machine_fits (data: reasons), not_allowed, not_now, and the ledger's where neither balance nor desk allows it.
    """
    job = _own(session, actor, job_id)
    if job.state != "draft":
        raise Refusal("not_now", state=job.state)
    found = [item for item in survey(session, now, job) if item.may_wait and item.quote is not None]
    if not found:
        raise Refusal("no_machine_fits", reasons=_reasons(survey(session, now, job)))
    ceiling = max(item.quote.ceiling_cents for item in found if item.quote is not None)
    if limit_cents is not None and ceiling > limit_cents:
        raise Refusal("above_limit", ceiling_cents=ceiling, limit_cents=limit_cents)
    for item in found:
        if item.quote is not None:
            item.quote.frozen_at = now
    job.ceiling_cents, job.confirmed_at = ceiling, now
    why = _why_held(session, now, actor, job, ceiling)
    if why != "payer":
        open_hold(session, now, actor, job)
    if why is None:
        moves.job(job, JobEvent.CONFIRMED, now)
        job.queued_at = now
    else:
        moves.job(job, JobEvent.CONFIRMED_HELD, now)
        job.held_for = why
    audit.record(session, now, actor, "confirmed", "job", job.id, ceiling_cents=ceiling, held_for=why)


def open_hold(session: Session, now: datetime, actor: str, job: Job) -> None:
    """Set the ceiling aside, on the payer's balance or as to be paid at the desk; one that is open is kept."""
    current = None if job.hold_id is None else session.get(Hold, job.hold_id)
    if current is not None and current.state == "open":
        return
    site = session.get_one(Site, job.site_id)
    opened = ledger.open_hold(
        session, now, actor, job_id=job.id, payer_id=job.payer_id, organisation_id=site.organisation_id,
        amount_cents=job.ceiling_cents or 0,
    )  # fmt: skip
    job.hold_id = opened.id


def hold(session: Session, now: datetime, actor: str, job_id: str) -> None:
    """queued → held(staff or asker): the lab, or who asked, wants it to wait. Raises Refusal not_now, not_allowed."""
    job = _own(session, actor, job_id)
    moves.job(job, JobEvent.HELD, now)
    job.held_for = "staff" if is_staff(session, actor, job.site_id) else "asker"
    audit.record(session, now, actor, "held", "job", job.id)


def release(session: Session, now: datetime, actor: str, job_id: str) -> None:
    """held → queued; where no money is held yet, it is now. Raises Refusal not_now, not_allowed, and the ledger's.

    After a restore it waits for every agent's hello (Refusal waits_for_agent): only then it is known what was made
    since, and no order of before can still arrive. tests/model finds a second print without this guard.

    Who asked may release what she held herself or what a new price waits for; the rest needs staff, or the payer.
    """
    job = moves.lock_job(session, job_id)
    if job.state != "held":
        raise Refusal("not_now", state=job.state)
    _require_release(session, actor, job)
    if job.held_for == "restored":
        _require_hello(session, job)
    if job.held_for == "booking_over":
        job.booking_id, job.operator_id = None, None  # from now on it waits like any other
    if job.held_for == "quote_lapsed":
        _freeze_again(session, now, job)
    open_hold(session, now, actor, job)
    audit.record(session, now, actor, "released", "job", job.id, held_for=job.held_for)
    moves.job(job, JobEvent.RELEASED, now)
    job.queued_at = job.queued_at or now


def approve(session: Session, now: datetime, actor: str, job_id: str) -> None:
    """held → queued, by staff, whatever it was held for. Raises Refusal not_now, not_allowed, and the ledger's."""
    job = moves.lock_job(session, job_id)
    require_staff(session, actor, job.site_id)
    release(session, now, actor, job_id)


def reject(session: Session, now: datetime, actor: str, job_id: str, reason: str = "") -> None:
    """held → refused, by staff, with a reason in the staff's words; money is given back."""
    job = moves.lock_job(session, job_id)
    require_staff(session, actor, job.site_id)
    moves.job(job, JobEvent.REJECTED, now)
    job.refusal = {"code": "rejected_by_staff", "data": {"reason": reason[:500]}}
    moves.give_money_back(session, now, job)
    moves.tell(session, now, job, "job_refused", why="rejected_by_staff", reason=reason[:500])
    audit.record(session, now, actor, "rejected", "job", job.id, reason=reason[:500])


def cancel(session: Session, now: datetime, actor: str, job_id: str) -> None:
    """End the job, whatever its state; a live run is stopped, or its claim closed, first.

    Raises Refusal not_now where it is over or waits for a verdict, not_allowed.
    """
    job = _own(session, actor, job_id)
    run = moves.live_run(session, job.id)
    if run is not None and job.state in {JobState.ASSIGNED, JobState.RUNNING, JobState.CANCELLING}:
        _, run = moves.lock_live_run(session, run.id)
        machine = session.get_one(Machine, run.machine_id)
        if run.state in runs.MOVING:
            runs.stop_moving(session, now, actor, job, run, machine)
        else:
            dispatcher.give_up(session, now, actor, run, "given_up")
            moves.job(job, JobEvent.CANCELLED, now)
    else:
        moves.job(job, JobEvent.CANCELLED, now)
    if job.state == JobState.CANCELLED:
        moves.give_money_back(session, now, job)
    audit.record(session, now, actor, "cancelled", "job", job.id, state=job.state)


def delete_drafts(session: Session, now: datetime, actor: str, job_ids: Sequence[str]) -> None:
    """Cancel drafts, or jobs that are still checked: what a person does who changes her mind before confirming."""
    for job_id in job_ids:
        job = _own(session, actor, job_id)
        if job.state not in {"draft", "checking"}:
            raise Refusal("not_now", state=job.state)
        moves.job(job, JobEvent.CANCELLED, now)
        audit.record(session, now, actor, "cancelled", "job", job.id)


def lapse_quotes(session: Session, now: datetime) -> list[str]:
    """Hold the jobs whose frozen price is older than QUOTE_LIFE; the asker is asked again. Returns their ids."""
    rows = session.scalars(
        select(Job).where(Job.state == "queued", Job.confirmed_at < now - QUOTE_LIFE).with_for_update()
    ).all()
    for job in rows:
        moves.job(job, JobEvent.HELD, now)
        job.held_for = "quote_lapsed"
        moves.tell(session, now, job, "quote_lapsed")
        audit.record(session, now, "system:hub", "quote_lapsed", "job", job.id)
    return [job.id for job in rows]


def try_again(session: Session, machine_id: str) -> None:
    """Something about the machine changed: jobs that it rejected may be tried there once more."""
    session.execute(delete(NotTriedAgain).where(NotTriedAgain.machine_id == machine_id))


def _choose(session: Session, now: datetime, job: Job, choices: Choices) -> None:
    for person in (choices.payer, choices.operator, job.asker_id):
        if person is not None and session.get(Person, person) is None:
            raise Refusal("unknown_person", person=person)
    machine = None if choices.machine is None else session.get(Machine, choices.machine)
    if choices.machine is not None and (machine is None or machine.site_id != job.site_id):
        raise Refusal("unknown_machine", machine=choices.machine)
    if choices.material is not None and session.get(Material, choices.material) is None:
        raise Refusal("unknown_material", material=choices.material)
    job.machine_id = choices.machine
    if choices.booking is not None:
        job.machine_id = _booked_machine(session, now, job, choices)
    job.booking_id = choices.booking
    job.payer_id = choices.payer or job.asker_id
    job.operator_id = choices.operator or (job.asker_id if choices.booking is not None else None)
    job.material_id, job.colour, job.due_at = choices.material, choices.colour, choices.due
    job.note, job.max_price_cents = choices.note[:1000], choices.max_price_cents


def _booked_machine(session: Session, now: datetime, job: Job, choices: Choices) -> str:
    """The machine of the asker's own booking, which must not be over."""
    slot = session.get(Occupation, choices.booking)
    owner = choices.operator or job.asker_id
    usable = slot is not None and slot.kind == "booking" and slot.cancelled_at is None and slot.ends_at > now
    if slot is None or not usable or slot.person_id != owner or slot.machine_id is None:
        raise Refusal("unknown_booking", booking=choices.booking)
    if choices.machine not in (None, slot.machine_id):
        raise Refusal("booking_of_other_machine", machine=choices.machine)
    return slot.machine_id


def _why_held(session: Session, now: datetime, actor: str, job: Job, ceiling: int) -> str | None:
    site = session.get_one(Site, job.site_id)
    staff = is_staff(session, actor, job.site_id)
    if job.payer_id not in (job.asker_id, actor) and not staff:
        return "payer"
    if not membership_holds(session, now, job.asker_id, site) and not is_staff(session, job.asker_id, job.site_id):
        return "membership"
    if site.approval_above_cents is not None and ceiling > site.approval_above_cents and not staff:
        return "approval"
    facts = facts_of(session, job)
    if facts is not None and any(hazard.severity == "confirm" for hazard in facts.hazards) and not staff:
        return "approval"
    return None


def _require_release(session: Session, actor: str, job: Job) -> None:
    own = actor == job.asker_id and job.held_for in {"quote_lapsed", "stock", "asker", "booking_over"}
    if own or (actor == job.payer_id and job.held_for == "payer"):
        return
    require_staff(session, actor, job.site_id)


def _require_hello(session: Session, job: Job) -> None:
    epoch = session.get_one(Meta, EPOCH_KEY).value
    silent = select(Agent.id).where(
        Agent.site_id == job.site_id,
        Agent.revoked_at.is_(None),
        Agent.absent_by.is_(None),
        or_(Agent.hello_epoch.is_(None), Agent.hello_epoch != epoch),
    )
    if session.scalar(silent.limit(1)) is not None:
        raise Refusal("waits_for_agent")


def _freeze_again(session: Session, now: datetime, job: Job) -> None:
    """The asker says yes to today's price: new quotes, new ceiling, new hold."""
    moves.give_money_back(session, now, job)
    quote(session, now, job.id)
    quotes = session.scalars(select(Quote).where(Quote.job_id == job.id)).all()
    if not quotes:
        raise Refusal("no_machine_fits", reasons=_reasons(survey(session, now, job)))
    for item in quotes:
        item.frozen_at = now
    job.ceiling_cents, job.confirmed_at = max(item.ceiling_cents for item in quotes), now


def _own(session: Session, actor: str, job_id: str) -> Job:
    """The job, locked, if it is the actor's business: asker, payer, or staff."""
    job = moves.lock_job(session, job_id)
    if actor not in (job.asker_id, job.payer_id):
        require_staff(session, actor, job.site_id)
    return job


def _reasons(found: Sequence[Survey]) -> list[dict[str, object]]:
    return [
        {"machine": item.machine_id, "code": why.code, "data": dict(why.data)} for item in found for why in item.reasons
    ]
