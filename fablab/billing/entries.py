"""Entries and postings: the only file that writes them. Knows neither holds nor tariffs nor why money moves."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Text, select, type_coerce
from sqlalchemy.orm import Session

from fablab.billing import accounts
from fablab.billing.tables import Entry, EntrySeal, LedgerAccount, Posting
from fablab.ids import new_id
from fablab.sentences import Refusal
from fablab.space import people
from fablab.space.tables import Organisation, Person

MEANS = ("cash", "card", "bank")
"""Ways in which a person pays."""


def write_entry(
    session: Session, now: datetime, actor_id: str, organisation_id: str, kind: str, source_kind: str, source_id: str,
    revision: int, sides: Sequence[tuple[str, int]], data: Mapping[str, Any], reverses_id: str | None = None,
) -> Entry:  # fmt: skip
    """Insert an entry with its postings, checked to sum to zero, and seal it."""
    if sum(cents for _, cents in sides) != 0 or any(cents == 0 for _, cents in sides):
        raise ValueError("the sides of an entry sum to zero, and none is nothing")
    currency = organisation_of(session, organisation_id).currency
    entry = Entry(
        id=new_id(), organisation_id=organisation_id, at=now, kind=kind, source_kind=source_kind, source_id=source_id,
        revision=revision, made_by=actor_id, data=dict(data), reverses_id=reverses_id,
    )  # fmt: skip
    session.add(entry)
    session.flush()
    for line, (account_id, cents) in enumerate(sides):
        session.add(
            Posting(
                id=new_id(),
                entry_id=entry.id,
                account_id=account_id,
                amount_cents=cents,
                currency=currency,
                source_kind=f"{kind}:{source_kind}",
                source_id=source_id,
                revision=revision,
                line=line,
            )
        )
    session.flush()
    session.add(EntrySeal(entry_id=entry.id))
    session.flush()
    return entry


def applied(session: Session, kind: str, source_kind: str, source_id: str, revision: int) -> Entry | None:
    """The entry that this fact made already, if it did."""
    return session.scalars(
        select(Entry).where(
            Entry.kind == kind,
            Entry.source_kind == source_kind,
            Entry.source_id == source_id,
            Entry.revision == revision,
        )
    ).first()


def sides_of(session: Session, entry_id: str) -> list[tuple[LedgerAccount, int]]:
    """Accounts and cents of an entry, in the order of its lines."""
    rows = session.execute(
        select(LedgerAccount, Posting.amount_cents)
        .join(Posting, Posting.account_id == LedgerAccount.id)
        .where(Posting.entry_id == entry_id)
        .order_by(Posting.line)
    )
    return [(account, cents) for account, cents in rows]


def is_reversed(session: Session, entry_id: str) -> bool:
    """Whether a reversal names the entry."""
    return session.scalars(select(Entry.id).where(Entry.reverses_id == entry_id)).first() is not None


def refunded(session: Session, charge_id: str) -> int:
    """Cents given back of a charge so far, refunds that were reversed left out."""
    named = type_coerce(Entry.data, Text).contains(charge_id)  # few rows; the data itself decides below
    total = 0
    for entry in session.scalars(select(Entry).where(Entry.kind == "refund", named)):
        if entry.data.get("of") == charge_id and not is_reversed(session, entry.id):
            total += sum(cents for _, cents in sides_of(session, entry.id) if cents > 0)
    return total


def organisation_of(session: Session, organisation_id: str | None) -> Organisation:
    """The organisation, or the first one. Raises Refusal unknown_organisation."""
    query = select(Organisation).order_by(Organisation.id)
    if organisation_id is not None:
        query = query.where(Organisation.id == organisation_id)
    found = session.scalars(query).first()
    if found is None:
        raise Refusal("unknown_organisation", organisation=organisation_id or "")
    return found


def require_free(session: Session, account: LedgerAccount, amount_cents: int) -> None:
    """Whether the account bears the amount: available − amount ≥ −limit. Raises Refusal balance_too_low, desk_limit."""
    free = accounts.available(session, account.id)
    if account.kind == "member":
        if amount_cents > free:
            raise Refusal(
                "balance_too_low", needed_cents=amount_cents, available_cents=free, missing_cents=amount_cents - free
            )
        return
    limit = session.get_one(Person, account.owner).desk_limit_cents
    if amount_cents > free + limit:
        raise Refusal(
            "desk_limit", needed_cents=amount_cents, available_cents=free + limit,
            missing_cents=amount_cents - free - limit, limit_cents=limit,
            owed_cents=-accounts.balance(session, account.id), held_cents=accounts.held(session, account.id),
        )  # fmt: skip


def require_cashier(session: Session, actor_id: str, person_id: str, organisation_id: str, amount_cents: int) -> None:
    if actor_id == person_id:
        raise Refusal("own_account")
    people.require(session, actor_id, "take_money", organisation_id=organisation_id)
    if amount_cents <= 0:
        raise Refusal("bad_amount", amount_cents=amount_cents)
