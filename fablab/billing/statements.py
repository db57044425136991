"""What money looks like to people: receipts, a person's movements, the desk's list. Data and codes; no sentence."""

from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fablab.billing.entries import refunded
from fablab.billing.prices import Line
from fablab.billing.tables import Entry, Hold, LedgerAccount, Posting
from fablab.sentences import Refusal
from fablab.space.tables import Person


class Receipt(Struct, frozen=True, kw_only=True):
    """What one run cost, and why. `lines` carry kinds (measured …) and why-codes; cents of `currency`."""

    entry_id: str
    run_id: str
    job_id: str
    payer_id: str
    payer: str
    at: datetime
    means: str  # balance | desk
    currency: str
    lines: tuple[dict[str, Any], ...]
    total_cents: int
    borne_cents: int
    refunded_cents: int
    reversed: bool


class Movement(Struct, frozen=True, kw_only=True):
    """One line of a person's account page. `cents`: credit is positive. account: member | to_pay_at_desk."""

    entry_id: str
    at: datetime
    kind: str
    account: str
    cents: int
    source_kind: str
    source_id: str
    data: dict[str, Any]


class Owed(Struct, frozen=True, kw_only=True):
    """What a person is to pay at the desk now, and what is held there for jobs that are not done."""

    person_id: str
    name: str
    owed_cents: int
    held_cents: int


def receipt(session: Session, entry_id: str) -> Receipt:
    """The receipt of a charge. Raises Refusal unknown_entry."""
    entry = session.get(Entry, entry_id)
    if entry is None or entry.kind != "charge":
        raise Refusal("unknown_entry", entry=entry_id)
    payer = session.get(Person, entry.data["payer"])
    currency = session.scalar(select(Posting.currency).where(Posting.entry_id == entry_id).limit(1))
    undone = session.scalars(select(Entry.id).where(Entry.reverses_id == entry_id)).first()
    return Receipt(
        entry_id=entry.id,
        run_id=entry.source_id,
        job_id=entry.data["job"],
        payer_id=entry.data["payer"],
        payer="" if payer is None else payer.name,
        at=entry.at,
        means=entry.data["means"],
        currency=currency or "EUR",
        lines=tuple(entry.data["lines"]),
        total_cents=entry.data["total_cents"],
        borne_cents=entry.data["borne_cents"],
        refunded_cents=refunded(session, entry_id),
        reversed=undone is not None,
    )


def receipt_lines(found: Receipt) -> tuple[Line, ...]:
    """The lines of a receipt as values."""
    return tuple(Line(**line) for line in found.lines)


def charges_of_job(session: Session, run_ids: list[str]) -> list[Entry]:
    """Charges that stand (not reversed) for these runs, oldest first."""
    undone = select(Entry.reverses_id).where(Entry.reverses_id.is_not(None))
    query = select(Entry).where(
        Entry.kind == "charge", Entry.source_kind == "run", Entry.source_id.in_(run_ids), Entry.id.not_in(undone)
    )
    return list(session.scalars(query.order_by(Entry.at, Entry.id)))


def movements(session: Session, person_id: str, limit: int = 100) -> list[Movement]:
    """What happened on the person's accounts, newest first. A settlement that cost nothing is not a movement."""
    rows = session.execute(
        select(Entry, Posting, LedgerAccount.kind)
        .join(Posting, Posting.entry_id == Entry.id)
        .join(LedgerAccount, LedgerAccount.id == Posting.account_id)
        .where(LedgerAccount.owner == person_id)
        .order_by(Entry.at.desc(), Posting.id.desc())
        .limit(limit)
    )
    return [
        Movement(
            entry_id=entry.id,
            at=entry.at,
            kind=entry.kind,
            account=kind,
            cents=posting.amount_cents,
            source_kind=entry.source_kind,
            source_id=entry.source_id,
            data=entry.data,
        )
        for entry, posting, kind in rows
    ]


def open_holds(session: Session, person_id: str) -> list[Hold]:
    """What is set aside for the person's jobs, oldest first."""
    query = select(Hold).join(LedgerAccount, LedgerAccount.id == Hold.account_id)
    query = query.where(LedgerAccount.owner == person_id, Hold.state == "open").order_by(Hold.opened_at)
    return list(session.scalars(query))


def owed_at_desk(session: Session, organisation_id: str) -> list[Owed]:
    """Everybody who has something to pay, by name; who only has a hold is left out."""
    total = func.sum(Posting.amount_cents)
    rows = session.execute(
        select(Person.id, Person.name, LedgerAccount.id, total)
        .join(LedgerAccount, LedgerAccount.owner == Person.id)
        .join(Posting, Posting.account_id == LedgerAccount.id)
        .where(LedgerAccount.organisation_id == organisation_id, LedgerAccount.kind == "to_pay_at_desk")
        .group_by(Person.id, Person.name, LedgerAccount.id)
        .having(total < 0)
        .order_by(Person.name, Person.id)
    ).all()
    found = []
    for person_id, name, account_id, cents in rows:
        held = session.scalar(
            select(func.sum(Hold.amount_cents)).where(Hold.account_id == account_id, Hold.state == "open")
        )
        found.append(Owed(person_id=person_id, name=name, owed_cents=-int(cents), held_cents=int(held or 0)))
    return found


def count(session: Session) -> int:
    """How many entries the ledger has."""
    return int(session.scalar(select(func.count()).select_from(Entry)) or 0)
