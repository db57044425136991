"""Who may do what in the queue: loads grants, membership, authorisation and booking of a person, and asks the rules."""

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from fablab.queue.matching import Reason
from fablab.queue.tables import Job
from fablab.sentences import Refusal
from fablab.space import access
from fablab.space import people as space_people
from fablab.space.tables import Grant, Machine, Membership, Occupation, Person, Site

STAFF = frozenset({"volunteer", "technician", "manager", "coordinator", "administrator"})
DECIDERS = frozenset({"technician", "manager", "coordinator", "administrator"})


def roles(session: Session, person_id: str, site_id: str) -> frozenset[str]:
    """The person's roles at the site, those of its whole organisation included."""
    site = session.get(Site, site_id)
    if site is None:
        return frozenset()
    rows = session.scalars(
        select(Grant.role).where(
            Grant.person_id == person_id,
            Grant.revoked_at.is_(None),
            Grant.organisation_id == site.organisation_id,
            or_(Grant.site_id.is_(None), Grant.site_id == site_id),
        )
    ).all()
    return frozenset(rows)


def is_staff(session: Session, person_id: str, site_id: str) -> bool:
    """Whether the person runs the queue here: says go, judges, clears plates."""
    return bool(roles(session, person_id, site_id) & STAFF)


def require_staff(session: Session, person_id: str, site_id: str) -> None:
    if not is_staff(session, person_id, site_id):
        raise Refusal("not_allowed")


def require_decider(session: Session, person_id: str, site_id: str) -> None:
    """Outages, released stops, attested power-offs: more than a volunteer's word."""
    if not roles(session, person_id, site_id) & DECIDERS:
        raise Refusal("not_allowed")


def name(session: Session, person_id: str) -> str:
    person = session.get(Person, person_id)
    return person_id if person is None else person.name


def booking_now(session: Session, now: datetime, person_id: str, machine_id: str) -> Occupation | None:
    """The person's own booking of the machine that holds at this instant."""
    return session.scalars(
        select(Occupation).where(
            Occupation.person_id == person_id,
            Occupation.machine_id == machine_id,
            Occupation.kind == "booking",
            Occupation.starts_at <= now,
            Occupation.ends_at > now,
            Occupation.cancelled_at.is_(None),
        )
    ).first()


def membership_holds(session: Session, now: datetime, person_id: str, site: Site) -> bool:
    """Whether adhésion is up to date today, in the site's zone, and the house rules are signed."""
    if not site.membership_required:
        return True
    today = now.astimezone(ZoneInfo(site.timezone)).date()
    return (
        session.scalars(
            select(Membership.id).where(
                Membership.person_id == person_id,
                Membership.organisation_id == site.organisation_id,
                Membership.starts_on <= today,
                Membership.ends_on >= today,
                Membership.rules_signed_at.is_not(None),
            )
        ).first()
        is not None
    )


def level_on(session: Session, now: datetime, person_id: str, machine: Machine) -> str | None:
    """accompanied | alone | teach, the best that holds today; None: none."""
    return space_people.level_on(session, now, person_id, machine, session.get_one(Site, machine.site_id))


def machine_access(session: Session, now: datetime, machine: Machine, job: Job) -> tuple[Reason, ...]:
    """Why the operator may not use the machine for this job; in the queue nobody needs an authorisation of her own."""
    operator = job.operator_id or job.asker_id
    if job.booking_id is None or is_staff(session, operator, machine.site_id):
        return ()
    site = session.get_one(Site, machine.site_id)
    rules = access.Rules(machine.name, frozenset(machine.use), machine.minors, site.membership_required)
    found = access.reasons(
        space_people.standing(session, now, operator, site, machine), rules, access.Moment("self_service")
    )
    return tuple(Reason(why.code, why.data, lasting=True) for why in found)
