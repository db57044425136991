"""What the forms of a job say: choices from fields, and the options that the fields offer."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fablab.billing.tables import Lot, Material
from fablab.queue.jobs import Choices
from fablab.sentences import Refusal
from fablab.space.tables import Machine, Occupation, Person
from fablab.web import fields
from fablab.web.words import booking_span


def choices_of(form: Mapping[str, Any]) -> Choices:
    """The choices that a person made on the page, or a program sent. Raises Refusal field_…."""
    return Choices(
        machine=fields.optional(form, "machine"),
        material=fields.optional(form, "material"),
        colour=fields.optional(form, "colour"),
        copies=fields.whole(form, "copies", low=1, high=50) or 1,
        payer=fields.optional(form, "payer"),
        operator=fields.optional(form, "operator"),
        booking=fields.optional(form, "booking"),
        note=fields.text(form, "note", longest=500),
    )


def options(session: Session, site_id: str, person_id: str, now: Any) -> dict[str, Any]:
    """What can be chosen: machines, materials and colours in the house, and her own bookings to come."""
    machines = session.execute(
        select(Machine.id, Machine.name)
        .where(Machine.site_id == site_id, Machine.archived_at.is_(None), Machine.kind == "printer")
        .order_by(Machine.name)
    ).all()
    materials = session.execute(select(Material.id, Material.name).order_by(Material.name)).all()
    colours = session.scalars(
        select(Lot.colour).where(Lot.site_id == site_id, Lot.finished_at.is_(None)).distinct().order_by(Lot.colour)
    ).all()
    booked = session.execute(
        select(Occupation, Machine.name)
        .join(Machine, Machine.id == Occupation.machine_id)
        .where(
            Occupation.person_id == person_id,
            Occupation.kind == "booking",
            Occupation.cancelled_at.is_(None),
            Occupation.ends_at > now,
        )
        .order_by(Occupation.starts_at)
    ).all()
    return {
        "machines": [(row.id, row.name) for row in machines],
        "materials": [(row.id, row.name) for row in materials],
        "colours": [(colour, colour) for colour in colours if colour],
        "bookings": [(kept.id, f"{name}, {booking_span(kept.starts_at, kept.ends_at)}") for kept, name in booked],
    }


def person_of(session: Session, person_id: str) -> Person:
    """The person a job is made for. Raises Refusal unknown_person."""
    person = session.get(Person, person_id)
    if person is None or person.archived_at is not None:
        raise Refusal("unknown_person")
    return person
