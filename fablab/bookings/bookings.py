"""Booking a machine, giving the booking back, and lists of them. Rules stand in rules.py, overlaps in space."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fablab.bookings import rules
from fablab.sentences import Refusal
from fablab.space import machines, occupation, people
from fablab.space.access import Reason, Rules
from fablab.space.tables import Machine, Occupation, Person, Site


@dataclass(frozen=True)
class Booking:
    """One booking as pages show it; instants in UTC."""

    id: str
    machine_id: str
    machine: str
    person_id: str
    person: str
    starts_at: datetime
    ends_at: datetime


def book(
    session: Session,
    now: datetime,
    actor_id: str,
    *,
    machine_id: str,
    person_id: str,
    starts_at: datetime,
    ends_at: datetime,
) -> Booking:
    """Keep a machine for a person. Staff may book for others.

    Raises Refusal: the first of rules.refusals and of rules.may_book (data: `more`, the further codes), not_allowed,
    unknown_machine, unknown_person, and already_booked with the next free time.
    """
    machine = machines.get(session, machine_id)
    if actor_id != person_id:
        people.require(session, actor_id, "book_for_others", site_id=machine.site_id)
    staff = people.may(session, person_id, "run_queue", site_id=machine.site_id)
    wish = rules.Wish(starts_at, ends_at, _count_coming(session, now, person_id), staff)
    _refuse((*rules.refusals(now, wish), *why_not(session, now, person_id=person_id, machine=machine)))
    row = occupation.occupy(
        session,
        now,
        actor_id,
        machine_id=machine_id,
        person_id=person_id,
        kind="booking",
        starts_at=starts_at,
        ends_at=ends_at,
    )
    return _booking(row, machine, session.get_one(Person, person_id))


def cancel(session: Session, now: datetime, actor_id: str, booking_id: str) -> None:
    """Give a booking back: its person or staff, until it is over. Raises Refusal unknown_booking, not_allowed,
    booking_over."""
    row = session.get(Occupation, booking_id)
    if row is None or row.kind != "booking":
        raise Refusal("unknown_booking", booking=booking_id)
    if actor_id != row.person_id:
        people.require(session, actor_id, "book_for_others", site_id=row.site_id)
    if row.ends_at <= now:
        raise Refusal("booking_over")
    occupation.free(session, now, actor_id, occupation_id=booking_id)


def why_not(session: Session, now: datetime, *, person_id: str, machine: Machine) -> tuple[Reason, ...]:
    """Every reason why the person may not book the machine; empty: she may."""
    site = session.get_one(Site, machine.site_id)
    who = people.standing(session, now, person_id, site, machine)
    return rules.may_book(who, Rules(machine.name, frozenset(machine.use), machine.minors, site.membership_required))


def coming(
    session: Session, now: datetime, *, site_id: str, person_id: str | None = None, limit: int = 100
) -> list[Booking]:
    """Bookings that are not over, by start; of one person, or of everybody."""
    query = (
        select(Occupation, Machine, Person)
        .join(Machine, Machine.id == Occupation.machine_id)
        .join(Person, Person.id == Occupation.person_id)
        .where(
            Occupation.site_id == site_id,
            Occupation.kind == "booking",
            Occupation.cancelled_at.is_(None),
            Occupation.ends_at > now,
        )
        .order_by(Occupation.starts_at, Occupation.id)
        .limit(limit)
    )
    if person_id is not None:
        query = query.where(Occupation.person_id == person_id)
    return [_booking(row, machine, person) for row, machine, person in session.execute(query)]


def between(session: Session, *, site_id: str, starts_at: datetime, ends_at: datetime) -> list[Booking]:
    """Bookings of all machines of a site that touch the time, by start: a day's or a week's calendar."""
    query = (
        select(Occupation, Machine, Person)
        .join(Machine, Machine.id == Occupation.machine_id)
        .join(Person, Person.id == Occupation.person_id)
        .where(
            Occupation.site_id == site_id,
            Occupation.kind == "booking",
            Occupation.cancelled_at.is_(None),
            Occupation.starts_at < ends_at,
            Occupation.ends_at > starts_at,
        )
        .order_by(Occupation.starts_at, Occupation.id)
    )
    return [_booking(row, machine, person) for row, machine, person in session.execute(query)]


def _refuse(found: tuple[Reason, ...]) -> None:
    if found:
        more = [reason.code for reason in found[1:]]
        raise Refusal(found[0].code, **found[0].data, more=more)


def _count_coming(session: Session, now: datetime, person_id: str) -> int:
    return int(
        session.scalar(
            select(func.count()).where(
                Occupation.person_id == person_id,
                Occupation.kind == "booking",
                Occupation.cancelled_at.is_(None),
                Occupation.ends_at > now,
            )
        )
        or 0
    )


def _booking(row: Occupation, machine: Machine, person: Person) -> Booking:
    return Booking(row.id, machine.id, machine.name, person.id, person.name, row.starts_at, row.ends_at)
