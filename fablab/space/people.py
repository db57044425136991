"""People and what they may do: adding them, memberships, signed rules, authorisations, roles, desk limits.

Verbs on rows; the rules themselves stand in access.py. Signing in is web's, money is billing's.
"""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from fablab import audit
from fablab.ids import new_id
from fablab.sentences import Refusal
from fablab.space.access import LEVELS, PERMISSIONS, ROLES, Standing, permitted
from fablab.space.tables import Authorisation, Grant, Machine, Membership, Person, Site

SYSTEM = "system:"
"""Prefix of actors behind whom no person stands: the hub, the command line at the first start, the demo's seed."""


@dataclass(frozen=True)
class NewPerson:
    """Somebody the place gets to know. Only the name is needed."""

    name: str
    email: str | None = None
    phone: str | None = None
    locale: str = "fr"
    birth_date: date | None = None


def roles_of(
    session: Session, person_id: str, site_id: str | None = None, organisation_id: str | None = None
) -> frozenset[str]:
    """Roles that hold at the site, its organisation's included; without a site, anywhere in the organisation."""
    query = select(Grant.role).where(Grant.person_id == person_id, Grant.revoked_at.is_(None))
    if site_id is not None:
        site = session.get(Site, site_id)
        if site is None:
            return frozenset()
        query = query.where(
            Grant.organisation_id == site.organisation_id, or_(Grant.site_id.is_(None), Grant.site_id == site_id)
        )
    if organisation_id is not None:
        query = query.where(Grant.organisation_id == organisation_id)
    person = session.get(Person, person_id)
    if person is None or person.archived_at is not None:
        return frozenset()
    return frozenset(session.scalars(query))


def may(
    session: Session, actor_id: str, permission: str, *, site_id: str | None = None, organisation_id: str | None = None
) -> bool:
    """Whether the actor's roles there contain the permission (access.PERMISSIONS); a system actor has them all."""
    return actor_id.startswith(SYSTEM) or permitted(permission, roles_of(session, actor_id, site_id, organisation_id))


def require(
    session: Session, actor_id: str, permission: str, *, site_id: str | None = None, organisation_id: str | None = None
) -> None:
    """Raises Refusal not_allowed (permission, roles: who could) where the actor may not."""
    if not may(session, actor_id, permission, site_id=site_id, organisation_id=organisation_id):
        raise Refusal("not_allowed", permission=permission, roles=sorted(PERMISSIONS[permission]))


def add_person(session: Session, now: datetime, actor_id: str, new: NewPerson, *, organisation_id: str) -> Person:
    """Raises Refusal name_missing, not_allowed, born_in_future."""
    require(session, actor_id, "welcome", organisation_id=organisation_id)
    name = " ".join(new.name.split())
    if not name:
        raise Refusal("name_missing")
    if new.birth_date is not None and new.birth_date > now.date():
        raise Refusal("born_in_future")
    person = Person(
        id=new_id(), name=name[:200], email=(new.email or "").strip().lower() or None,
        phone=(new.phone or "").strip() or None, locale=new.locale, birth_date=new.birth_date, desk_limit_cents=0,
        created_at=now,
    )  # fmt: skip
    session.add(person)
    session.flush()
    audit.record(session, now, actor_id, "added", "person", person.id, name=person.name)
    return person


def find_people(session: Session, text: str, limit: int = 50) -> list[Person]:
    """People whose name, e-mail or phone contains the text, by name; archived ones are left out."""
    query = select(Person).where(Person.archived_at.is_(None)).order_by(Person.name, Person.id).limit(limit)
    if text.strip():
        part = "%" + text.strip().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        query = query.where(
            or_(*(column.ilike(part, escape="\\") for column in (Person.name, Person.email, Person.phone)))
        )
    return list(session.scalars(query))


def add_membership(
    session: Session, now: datetime, actor_id: str, *, person_id: str, organisation_id: str, starts_on: date,
    ends_on: date, rules_signed: bool,
) -> Membership:  # fmt: skip
    """Adhésion from `starts_on` to `ends_on`, both included. `rules_signed`: the rules were signed before the actor.

    Raises Refusal not_allowed, unknown_person, bad_dates.
    """
    require(session, actor_id, "welcome", organisation_id=organisation_id)
    _person(session, person_id)
    if ends_on < starts_on:
        raise Refusal("bad_dates", starts_on=starts_on.isoformat(), ends_on=ends_on.isoformat())
    row = Membership(
        id=new_id(), person_id=person_id, organisation_id=organisation_id, starts_on=starts_on, ends_on=ends_on,
        rules_signed_at=now if rules_signed else None,
    )  # fmt: skip
    session.add(row)
    session.flush()
    audit.record(session, now, actor_id, "membership", "person", person_id, until=ends_on.isoformat())
    return row


def sign_rules(session: Session, now: datetime, actor_id: str, *, person_id: str, organisation_id: str) -> None:
    """The person signed the house rules: herself, or before staff. Raises Refusal not_allowed, no_membership."""
    if actor_id != person_id:
        require(session, actor_id, "welcome", organisation_id=organisation_id)
    rows = session.scalars(
        select(Membership).where(
            Membership.person_id == person_id,
            Membership.organisation_id == organisation_id,
            Membership.ends_on >= now.date(),
            Membership.rules_signed_at.is_(None),
        )
    ).all()
    signed = _latest_signature(session, person_id, organisation_id)
    if not rows and signed is None:
        raise Refusal("no_membership", name=_person(session, person_id).name)
    for row in rows:
        row.rules_signed_at = now
    audit.record(session, now, actor_id, "signed_rules", "person", person_id)


def authorise(
    session: Session, now: datetime, actor_id: str, *, person_id: str, machine_id: str, level: str, until: date | None
) -> Authorisation:
    """Let a person use a machine: accompanied | alone | teach; an earlier level ends. `until` None: for good.

    Whoever may `train`, or teaches on this very machine, may do it. Raises Refusal not_allowed, own_authorisation,
    unknown_machine, unknown_person, unknown_level.
    """
    machine = session.get(Machine, machine_id)
    if machine is None:
        raise Refusal("unknown_machine", machine=machine_id)
    _require_trainer(session, now, actor_id, machine)
    if actor_id == person_id:
        raise Refusal("own_authorisation")
    _person(session, person_id)
    if level not in LEVELS:
        raise Refusal("unknown_level", level=level, known=", ".join(LEVELS))
    for old in _authorisations(session, person_id, machine_id):
        old.revoked_at = now
    row = Authorisation(
        id=new_id(), person_id=person_id, machine_id=machine_id, level=level, given_by=actor_id, given_at=now,
        until=until,
    )  # fmt: skip
    session.add(row)
    session.flush()
    audit.record(session, now, actor_id, "authorised", "person", person_id, machine=machine_id, level=level)
    return row


def withdraw(session: Session, now: datetime, actor_id: str, *, person_id: str, machine_id: str) -> None:
    """Take an authorisation back. Raises Refusal not_allowed, unknown_machine."""
    machine = session.get(Machine, machine_id)
    if machine is None:
        raise Refusal("unknown_machine", machine=machine_id)
    _require_trainer(session, now, actor_id, machine)
    for row in _authorisations(session, person_id, machine_id):
        row.revoked_at = now
    audit.record(session, now, actor_id, "withdrew", "person", person_id, machine=machine_id)


def grant(
    session: Session, now: datetime, actor_id: str, *, person_id: str, role: str, organisation_id: str,
    site_id: str | None,
) -> Grant:  # fmt: skip
    """Give a role at a site, or in the whole organisation. The same grant twice is one.

    Raises Refusal not_allowed, own_role, unknown_role, unknown_person; only an administrator makes administrators.
    """
    if actor_id == person_id:
        raise Refusal("own_role")
    if role not in ROLES:
        raise Refusal("unknown_role", role=role, known=", ".join(ROLES))
    wanted = "make_administrators" if role == "administrator" else "grant_roles"
    require(session, actor_id, wanted, organisation_id=organisation_id)
    _person(session, person_id)
    for row in _grants(session, person_id, organisation_id):
        if row.role == role and row.site_id == site_id:
            return row
    row = Grant(
        id=new_id(), person_id=person_id, role=role, site_id=site_id, organisation_id=organisation_id,
        granted_by=actor_id, granted_at=now,
    )  # fmt: skip
    session.add(row)
    session.flush()
    audit.record(session, now, actor_id, "granted", "person", person_id, role=role, site=site_id)
    return row


def ungrant(session: Session, now: datetime, actor_id: str, *, grant_id: str) -> None:
    """Take a role back. Raises Refusal not_allowed, unknown_grant, last_administrator."""
    row = session.get(Grant, grant_id)
    if row is None or row.revoked_at is not None:
        raise Refusal("unknown_grant", grant=grant_id)
    wanted = "make_administrators" if row.role == "administrator" else "grant_roles"
    require(session, actor_id, wanted, organisation_id=row.organisation_id)
    if row.role == "administrator":
        others = select(Grant.id).where(
            Grant.role == "administrator", Grant.revoked_at.is_(None), Grant.id != row.id,
            Grant.organisation_id == row.organisation_id,
        )  # fmt: skip
        if session.scalars(others).first() is None:
            raise Refusal("last_administrator")
    row.revoked_at = now
    audit.record(session, now, actor_id, "ungranted", "person", row.person_id, role=row.role, site=row.site_id)


def set_desk_limit(
    session: Session, now: datetime, actor_id: str, *, person_id: str, organisation_id: str, limit_cents: int
) -> None:
    """How much the person may owe at the desk, cents ≥ 0. Raises Refusal not_allowed, own_account, bad_amount."""
    if actor_id == person_id:
        raise Refusal("own_account")
    require(session, actor_id, "take_money", organisation_id=organisation_id)
    if limit_cents < 0:
        raise Refusal("bad_amount", amount_cents=limit_cents)
    person = _person(session, person_id)
    audit.record(
        session, now, actor_id, "desk_limit", "person", person_id, was_cents=person.desk_limit_cents,
        limit_cents=limit_cents,
    )  # fmt: skip
    person.desk_limit_cents = limit_cents
    session.flush()


def standing(session: Session, now: datetime, person_id: str, site: Site, machine: Machine | None) -> Standing:
    """Everything that access.py wants to know of a person at a site, for a machine, today in the site's zone."""
    today = now.astimezone(ZoneInfo(site.timezone)).date()
    memberships = session.scalars(
        select(Membership).where(Membership.person_id == person_id, Membership.organisation_id == site.organisation_id)
    ).all()
    holding = [row for row in memberships if row.starts_on <= today <= row.ends_on]
    person = _person(session, person_id)
    return Standing(
        day=today,
        birth_date=person.birth_date,
        archived=person.archived_at is not None,
        roles=roles_of(session, person_id, site.id),
        member_until=max((row.ends_on for row in holding), default=None),
        last_membership_ended=max((row.ends_on for row in memberships if row.ends_on < today), default=None),
        rules_signed=any(row.rules_signed_at is not None for row in holding),
        level=None if machine is None else level_on(session, now, person_id, machine, site),
    )


def level_on(session: Session, now: datetime, person_id: str, machine: Machine, site: Site) -> str | None:
    """The best level that holds today: teach | alone | accompanied; None: none."""
    today = now.astimezone(ZoneInfo(site.timezone)).date()
    rows = _authorisations(session, person_id, machine.id)
    held = {row.level for row in rows if row.until is None or row.until >= today}
    return next((level for level in reversed(LEVELS) if level in held), None)


def site_of(session: Session, machine: Machine) -> Site:
    """The site where the machine stands."""
    return session.get_one(Site, machine.site_id)


def _require_trainer(session: Session, now: datetime, actor_id: str, machine: Machine) -> None:
    site = session.get_one(Site, machine.site_id)
    if not actor_id.startswith(SYSTEM) and level_on(session, now, actor_id, machine, site) == "teach":
        return
    require(session, actor_id, "train", site_id=machine.site_id)


def _authorisations(session: Session, person_id: str, machine_id: str) -> list[Authorisation]:
    query = select(Authorisation).where(
        Authorisation.person_id == person_id, Authorisation.machine_id == machine_id,
        Authorisation.revoked_at.is_(None),
    )  # fmt: skip
    return list(session.scalars(query))


def _grants(session: Session, person_id: str, organisation_id: str) -> list[Grant]:
    query = select(Grant).where(
        Grant.person_id == person_id, Grant.organisation_id == organisation_id, Grant.revoked_at.is_(None)
    )
    return list(session.scalars(query))


def _latest_signature(session: Session, person_id: str, organisation_id: str) -> datetime | None:
    return session.scalars(
        select(Membership.rules_signed_at)
        .where(
            Membership.person_id == person_id, Membership.organisation_id == organisation_id,
            Membership.rules_signed_at.is_not(None),
        )
        .order_by(Membership.ends_on.desc())
    ).first()  # fmt: skip


def _person(session: Session, person_id: str) -> Person:
    person = session.get(Person, person_id)
    if person is None:
        raise Refusal("unknown_person", person=person_id)
    return person
