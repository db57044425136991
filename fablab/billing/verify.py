"""Whether the books are whole: every rule of the ledger, looked for in the rows as they are. Looks only."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fablab.billing.tables import Entry, EntrySeal, Hold, LedgerAccount, Posting


class Problem(Struct, frozen=True):
    """Something that does not add up. `code`: entry_not_zero | entry_without_seal | currency_mixed | below_limit |
    reversal_differs | hold_of_ended_job | two_open_holds | charge_lines_differ."""

    code: str
    object_id: str
    data: dict[str, Any] = {}


def verify(session: Session, open_jobs: Iterable[str] | None = None) -> list[Problem]:
    """Every problem found; empty: the books are whole.

    `open_jobs`: ids of the jobs that may still have an open hold (queue knows them); None: not looked at.
    """
    found = [*_sums(session), *_seals(session), *_limits(session), *_reversals(session), *_holds(session)]
    found.extend(_charges(session))
    if open_jobs is not None:
        allowed = set(open_jobs)
        rows = session.scalars(select(Hold).where(Hold.state == "open").order_by(Hold.id))
        found.extend(
            Problem("hold_of_ended_job", row.id, {"job": row.job_id}) for row in rows if row.job_id not in allowed
        )
    return found


def _sums(session: Session) -> list[Problem]:
    total = func.sum(Posting.amount_cents)
    rows = session.execute(
        select(Posting.entry_id, Posting.currency, total)
        .group_by(Posting.entry_id, Posting.currency)
        .having(total != 0)
    )
    found = [Problem("entry_not_zero", entry, {"currency": unit, "cents": int(sum_)}) for entry, unit, sum_ in rows]
    mixed = session.scalars(
        select(Posting.id)
        .join(LedgerAccount, LedgerAccount.id == Posting.account_id)
        .where(LedgerAccount.currency != Posting.currency)
    )
    return found + [Problem("currency_mixed", posting) for posting in mixed]


def _seals(session: Session) -> list[Problem]:
    sealed = select(EntrySeal.entry_id)
    rows = session.scalars(select(Entry.id).where(Entry.id.not_in(sealed)))
    return [Problem("entry_without_seal", entry) for entry in rows]


def _limits(session: Session) -> list[Problem]:
    """Nobody has spent or set aside more than her balance. A desk limit may be lowered below what is owed already."""
    balances = {
        account: int(cents)
        for account, cents in session.execute(
            select(Posting.account_id, func.sum(Posting.amount_cents)).group_by(Posting.account_id)
        )
    }
    held = {
        account: int(cents)
        for account, cents in session.execute(
            select(Hold.account_id, func.sum(Hold.amount_cents)).where(Hold.state == "open").group_by(Hold.account_id)
        )
    }
    found = []
    for account in session.scalars(select(LedgerAccount).where(LedgerAccount.kind == "member")):
        free = balances.get(account.id, 0) - held.get(account.id, 0)
        if free < 0:
            found.append(Problem("below_limit", account.id, {"owner": account.owner, "cents": free}))
    return found


def _reversals(session: Session) -> list[Problem]:
    """A reversal has the sides of what it reverses, negated, in any order."""
    found = []
    for entry in session.scalars(select(Entry).where(Entry.reverses_id.is_not(None))):
        mine = sorted((account, -cents) for account, cents in _sides(session, entry.id))
        if mine != sorted(_sides(session, entry.reverses_id or "")):
            found.append(Problem("reversal_differs", entry.id, {"reverses": entry.reverses_id}))
    return found


def _sides(session: Session, entry_id: str) -> list[tuple[str, int]]:
    rows = session.execute(select(Posting.account_id, Posting.amount_cents).where(Posting.entry_id == entry_id))
    return [(account, cents) for account, cents in rows]


def _holds(session: Session) -> list[Problem]:
    rows = session.execute(
        select(Hold.job_id, func.count()).where(Hold.state == "open").group_by(Hold.job_id).having(func.count() > 1)
    )
    return [Problem("two_open_holds", job, {"count": count}) for job, count in rows]


def _charges(session: Session) -> list[Problem]:
    """The lines of a receipt sum to what was taken, and only one charge of a run stands."""
    rows = session.execute(
        select(Posting.entry_id, func.sum(Posting.amount_cents))
        .join(LedgerAccount, LedgerAccount.id == Posting.account_id)
        .where(LedgerAccount.kind.in_(("member", "to_pay_at_desk")))
        .group_by(Posting.entry_id)
    )
    taken = {entry: -int(cents) for entry, cents in rows}
    found = []
    for entry in session.scalars(select(Entry).where(Entry.kind == "charge")):
        cents, lines = taken.get(entry.id, 0), sum(line["cents"] for line in entry.data.get("lines", []))
        if not cents == lines == entry.data.get("total_cents"):
            found.append(Problem("charge_lines_differ", entry.id, {"cents": cents, "lines_cents": lines}))
    return found
