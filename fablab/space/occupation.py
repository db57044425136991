"""One table of who or what occupies a machine, and when: two never overlap. Knows no rule of who may book.

Instants are UTC; a slot ends where the next may begin. The machine's row is locked, so that of two people who want
the same hour at the same instant one gets it, and the other is told the next free time.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from fablab import audit
from fablab.ids import new_id
from fablab.sentences import Refusal
from fablab.space.tables import Machine, Occupation

HORIZON = timedelta(days=60)
"""How far ahead a free time is looked for."""


def occupy(
    session: Session,
    now: datetime,
    actor_id: str,
    *,
    machine_id: str,
    person_id: str | None,
    kind: str,
    starts_at: datetime,
    ends_at: datetime,
) -> Occupation:
    """Keep a machine between two instants. kind: booking | outage.

    Raises Refusal unknown_machine, bad_times, and already_booked (machine, free_at: ISO instant from which the same
    length is free, or None).
    """
    if ends_at <= starts_at:
        raise Refusal("bad_times")
    query = select(Machine).where(Machine.id == machine_id).with_for_update()
    machine = session.scalars(query.execution_options(populate_existing=True)).first()
    if machine is None or machine.archived_at is not None:
        raise Refusal("unknown_machine", machine=machine_id)
    if overlapping(session, machine_id, starts_at, ends_at):
        free = next_free(session, machine_id, starts_at, ends_at - starts_at)
        raise Refusal("already_booked", machine=machine.name, free_at=None if free is None else free.isoformat())
    row = Occupation(
        id=new_id(),
        site_id=machine.site_id,
        machine_id=machine_id,
        person_id=person_id,
        kind=kind,
        starts_at=starts_at,
        ends_at=ends_at,
        made_by=actor_id,
        made_at=now,
    )
    session.add(row)
    session.flush()
    audit.record(session, now, actor_id, "booked", "machine", machine_id, occupation=row.id, person=person_id)
    return row


def free(session: Session, now: datetime, actor_id: str, *, occupation_id: str) -> Occupation:
    """Give the time back; what is cancelled stays cancelled. Raises Refusal unknown_booking."""
    row = session.get(Occupation, occupation_id)
    if row is None:
        raise Refusal("unknown_booking", booking=occupation_id)
    if row.cancelled_at is None:
        row.cancelled_at = now
        session.flush()
        audit.record(session, now, actor_id, "unbooked", "machine", row.machine_id or "", occupation=row.id)
    return row


def overlapping(session: Session, machine_id: str, starts_at: datetime, ends_at: datetime) -> Sequence[Occupation]:
    """What stands between the two instants, by start."""
    return session.scalars(
        select(Occupation)
        .where(
            Occupation.machine_id == machine_id,
            Occupation.cancelled_at.is_(None),
            Occupation.starts_at < ends_at,
            Occupation.ends_at > starts_at,
        )
        .order_by(Occupation.starts_at)
    ).all()


def next_free(session: Session, machine_id: str, after: datetime, length: timedelta) -> datetime | None:
    """The first instant from `after` on at which the machine is free for `length`; None: not within HORIZON."""
    at = after
    for row in overlapping(session, machine_id, after, after + HORIZON):
        if row.starts_at - at >= length:
            return at
        at = max(at, row.ends_at)
    return at if at <= after + HORIZON else None
