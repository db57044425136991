"""Ledger accounts: found or made, locked by whoever writes, and what is on them. Moves no money."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from fablab.billing.tables import Hold, LedgerAccount, Posting
from fablab.ids import new_id
from fablab.sentences import Refusal
from fablab.space.tables import Organisation

OWNED = ("member", "to_pay_at_desk")
"""Kinds of account that belong to one person."""


def find(session: Session, organisation_id: str, kind: str, owner: str = "") -> LedgerAccount | None:
    """The account, unlocked; None where no money ever touched it."""
    return session.scalars(_query(organisation_id, kind, owner)).first()


def lock(session: Session, organisation_id: str, kind: str, owner: str = "") -> LedgerAccount:
    """The account, made where it was missing, locked until the transaction ends, its version raised.

    Lock `member` before `to_pay_at_desk` where both are needed. On SQLite the write session is the lock.
    """
    organisation = session.get(Organisation, organisation_id)
    if organisation is None:
        raise Refusal("unknown_organisation", organisation=organisation_id)
    values = {
        "id": new_id(), "organisation_id": organisation_id, "kind": kind, "owner": owner,
        "currency": organisation.currency, "version": 0,
    }  # fmt: skip
    dialect: Any = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    session.execute(dialect.insert(LedgerAccount).values(**values).on_conflict_do_nothing())
    query = _query(organisation_id, kind, owner).with_for_update().execution_options(populate_existing=True)
    account: LedgerAccount = session.scalars(query).one()
    account.version += 1
    session.flush()
    return account


def open_(session: Session, organisation_id: str, kind: str) -> LedgerAccount:
    """An account of the place itself (revenue, cash …): made where missing, not locked, for nothing limits it."""
    return find(session, organisation_id, kind) or lock(session, organisation_id, kind)


def balance(session: Session, account_id: str) -> int:
    """Sum of the account's postings in cents; credit is positive."""
    return int(session.scalar(select(func.sum(Posting.amount_cents)).where(Posting.account_id == account_id)) or 0)


def held(session: Session, account_id: str) -> int:
    """Cents that open holds set aside on the account."""
    query = select(func.sum(Hold.amount_cents)).where(Hold.account_id == account_id, Hold.state == "open")
    return int(session.scalar(query) or 0)


def available(session: Session, account_id: str) -> int:
    """balance − open holds, in cents. Never below −limit of the person."""
    return balance(session, account_id) - held(session, account_id)


def _query(organisation_id: str, kind: str, owner: str) -> Any:
    return select(LedgerAccount).where(
        LedgerAccount.organisation_id == organisation_id, LedgerAccount.kind == kind, LedgerAccount.owner == owner
    )
