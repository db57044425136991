"""A place with people for tests of money and bookings: Ana and Bob are members, Max manages, Tom is technician."""

from datetime import UTC, date, datetime

from sqlalchemy.orm import Session

from fablab.billing.prices import Line, Settled
from fablab.billing.tables import Material
from fablab.ids import new_id
from fablab.space.tables import Grant, Machine, Membership, Organisation, Person, Site

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ORG, SITE = "asso", "nyons"


def make_place(session: Session) -> None:
    session.add(Organisation(id=ORG, name="Asso", currency="EUR"))
    session.flush()
    session.add(
        Site(
            id=SITE, organisation_id=ORG, name="Le Lab", timezone="Europe/Paris", locale="fr", phone="", rules_text="",
            margin_percent=20, claim_window_h=72, failed_part="free", unattended=False, membership_required=True,
        )
    )  # fmt: skip
    session.add(Material(id="pla", name="PLA", density_ug_mm3=1240, diameter_um=1750))
    session.flush()
    for person_id, role in (("ana", "member"), ("bob", "member"), ("max", "manager"), ("tom", "technician")):
        add_person(session, person_id, role)
    session.flush()


def add_person(session: Session, person_id: str, role: str, desk_limit_cents: int = 0) -> None:
    session.add(
        Person(
            id=person_id, name=person_id.title(), locale="fr", birth_date=date(1990, 1, 1),
            desk_limit_cents=desk_limit_cents, created_at=NOW,
        )
    )  # fmt: skip
    session.flush()
    session.add(
        Membership(
            id=f"m-{person_id}", person_id=person_id, organisation_id=ORG, starts_on=date(2026, 1, 1),
            ends_on=date(2026, 12, 31), rules_signed_at=NOW,
        )
    )  # fmt: skip
    session.add(
        Grant(
            id=f"g-{person_id}", person_id=person_id, role=role, site_id=None, organisation_id=ORG, granted_by="max",
            granted_at=NOW,
        )
    )  # fmt: skip


def add_machine(session: Session, machine_id: str = "mk3", use: tuple[str, ...] = ("self_service", "queue")) -> Machine:
    machine = Machine(
        id=machine_id, site_id=SITE, agent_id="main", name=machine_id.upper(), kind="printer", driver="marlin_serial",
        source="file", settings={}, start="person", use=list(use), minors="no",
    )  # fmt: skip
    session.add(machine)
    session.flush()
    return machine


def settled(cents: int, material_cents: int = 0) -> Settled:
    """A run that cost so much machine time and material."""
    lines = [
        Line(code=code, quantity=1, unit="piece", rate_millicents=value * 1000, cents=value, kind="measured")
        for code, value in (("machine_time", cents), ("material", material_cents))
        if value
    ]
    return Settled(tuple(lines), cents + material_cents, 0, 0, "commanded")


def once() -> str:
    return new_id()
