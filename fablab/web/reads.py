"""What pages show of people, money and material, read from the tables. Looks only: every change is a verb elsewhere."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fablab.billing.tables import Entry, LedgerAccount, Posting
from fablab.space.tables import Authorisation, Grant, Machine, Membership, Occupation, Person


def owing(session: Session) -> list[dict[str, Any]]:
    """Who has something to pay at the desk, most first."""
    rows = session.execute(
        select(Person.id, Person.name, func.sum(Posting.amount_cents).label("total"))
        .join(LedgerAccount, LedgerAccount.owner == Person.id)
        .join(Posting, Posting.account_id == LedgerAccount.id)
        .where(LedgerAccount.kind == "to_pay_at_desk")
        .group_by(Person.id, Person.name)
        .having(func.sum(Posting.amount_cents) < 0)
        .order_by(func.sum(Posting.amount_cents))
    )
    return [{"id": row.id, "name": row.name, "owed_cents": -int(row.total)} for row in rows]


def entries_of(session: Session, person_id: str, limit: int = 30) -> list[dict[str, Any]]:
    """Movements on a person's accounts, newest first; `cents` as she sees it: positive is in her favour."""
    rows = session.execute(
        select(Entry, func.sum(Posting.amount_cents), func.max(LedgerAccount.kind))
        .join(Posting, Posting.entry_id == Entry.id)
        .join(LedgerAccount, LedgerAccount.id == Posting.account_id)
        .where(LedgerAccount.owner == person_id)
        .group_by(Entry.id)
        .order_by(Entry.at.desc(), Entry.id.desc())
        .limit(limit)
    )
    return [
        {"id": entry.id, "at": entry.at, "kind": entry.kind, "cents": int(total), "account": kind, "data": entry.data}
        for entry, total, kind in rows
    ]


def receipt(session: Session, entry_id: str) -> tuple[Entry, list[tuple[LedgerAccount, Posting]]] | None:
    """An entry with its sides."""
    entry = session.get(Entry, entry_id)
    if entry is None:
        return None
    sides = session.execute(
        select(LedgerAccount, Posting)
        .join(Posting, Posting.account_id == LedgerAccount.id)
        .where(Posting.entry_id == entry_id)
        .order_by(Posting.line)
    )
    return entry, [(account, posting) for account, posting in sides]


def membership(session: Session, person_id: str, today: date) -> Membership | None:
    """The membership that holds today, else the latest one."""
    rows = session.scalars(
        select(Membership).where(Membership.person_id == person_id).order_by(Membership.ends_on.desc())
    ).all()
    return next((row for row in rows if row.starts_on <= today <= row.ends_on), rows[0] if rows else None)


def grants(session: Session, person_id: str) -> list[Grant]:
    query = select(Grant).where(Grant.person_id == person_id, Grant.revoked_at.is_(None)).order_by(Grant.granted_at)
    return list(session.scalars(query))


def authorisations(session: Session, person_id: str) -> list[tuple[Authorisation, str]]:
    """What a person may do on which machine."""
    rows = session.execute(
        select(Authorisation, Machine.name)
        .join(Machine, Machine.id == Authorisation.machine_id)
        .where(Authorisation.person_id == person_id, Authorisation.revoked_at.is_(None))
        .order_by(Machine.name)
    )
    return [(row, name) for row, name in rows]


def bookings_to_come(
    session: Session, now: datetime, site_id: str, *, person_id: str | None = None, machine_id: str | None = None
) -> list[dict[str, Any]]:
    """Bookings that have not ended, by time."""
    query = (
        select(Occupation, Machine.name, Person.name)
        .join(Machine, Machine.id == Occupation.machine_id)
        .outerjoin(Person, Person.id == Occupation.person_id)
        .where(
            Occupation.site_id == site_id,
            Occupation.kind == "booking",
            Occupation.cancelled_at.is_(None),
            Occupation.ends_at > now,
        )
        .order_by(Occupation.starts_at)
        .limit(200)
    )
    if person_id is not None:
        query = query.where(Occupation.person_id == person_id)
    if machine_id is not None:
        query = query.where(Occupation.machine_id == machine_id)
    return [{"booking": row, "machine": machine, "person": person} for row, machine, person in session.execute(query)]


def machines(session: Session, site_id: str) -> list[tuple[str, str]]:
    """Machines of a site, for choosing."""
    rows = session.execute(
        select(Machine.id, Machine.name)
        .where(Machine.site_id == site_id, Machine.archived_at.is_(None))
        .order_by(Machine.name)
    )
    return [(row.id, row.name) for row in rows]
