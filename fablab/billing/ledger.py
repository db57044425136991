"""Holds and charges, and what a person has and owes. Knows no tariff and no job, only ids and cents.

Every verb takes the caller's open write session; each fact has a source key, so that applying it twice changes
nothing. Postings are never changed: a correction is a reversal. Signs as in tables.py: credit is positive.
The payments of desk.py and the checks of verify.py are named here too, so that callers know one module.
"""

from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from fablab import audit
from fablab.billing import accounts
from fablab.billing.desk import cash_out, desk_payment, refund, top_up
from fablab.billing.entries import (
    applied,
    organisation_of,
    refunded,
    require_cashier,
    require_free,
    sides_of,
    write_entry,
)
from fablab.billing.prices import Settled, revenue
from fablab.billing.tables import Entry, Hold, LedgerAccount
from fablab.billing.verify import Problem, verify
from fablab.ids import new_id
from fablab.sentences import Refusal
from fablab.space.tables import Person

ACCOUNT_OF_MEANS = {"balance": "member", "desk": "to_pay_at_desk"}

__all__ = [
    "PersonMoney", "Problem", "capture", "cash_out", "charge", "desk_payment", "open_hold", "person_money", "refund",
    "release", "reversal", "top_up", "verify",
]  # fmt: skip


@dataclass(frozen=True)
class PersonMoney:
    """What a person's page shows, in cents. `desk_free_cents` is what she may still owe.

    `desk_credit_cents`: she paid at the desk for what was given back since; it pays for what she prints next.
    """

    currency: str
    balance_cents: int
    balance_held_cents: int
    available_cents: int
    owed_cents: int
    desk_credit_cents: int
    desk_held_cents: int
    desk_limit_cents: int
    desk_free_cents: int


def person_money(session: Session, person_id: str, organisation_id: str | None = None) -> PersonMoney:
    """Balance, holds, what is owed and what may still be owed; zeros for who never had money here.

    `organisation_id` None: the only, or first, organisation.
    """
    person = session.get(Person, person_id)
    limit = 0 if person is None else person.desk_limit_cents
    organisation = organisation_of(session, organisation_id)
    sums = []
    for kind in accounts.OWNED:
        account = accounts.find(session, organisation.id, kind, person_id)
        sums.append(
            (0, 0) if account is None else (accounts.balance(session, account.id), accounts.held(session, account.id))
        )
    (balance, held), (desk, desk_held) = sums
    return PersonMoney(
        currency=organisation.currency, balance_cents=balance, balance_held_cents=held,
        available_cents=balance - held, owed_cents=max(0, -desk),
        desk_credit_cents=max(0, desk), desk_held_cents=desk_held, desk_limit_cents=limit,
        desk_free_cents=limit + desk - desk_held,
    )  # fmt: skip


def open_hold(
    session: Session,
    now: datetime,
    actor_id: str,
    *,
    job_id: str,
    payer_id: str,
    organisation_id: str,
    amount_cents: int,
) -> Hold:
    """Set `amount_cents` (≥ 0) aside for a job: on the payer's balance where it is enough, else to pay at the desk.

    Raises Refusal balance_too_low (nothing may be paid at the desk) or desk_limit (it would be more than the limit).
    A hold that is open for the job already is returned unchanged. Holds never lapse by themselves.
    """
    if amount_cents < 0:
        raise ValueError("a hold is not negative")
    person = session.get(Person, payer_id)
    if person is None:
        raise Refusal("unknown_person", person=payer_id)
    prepaid = accounts.lock(session, organisation_id, "member", payer_id)
    kept = session.scalars(select(Hold).where(Hold.job_id == job_id, Hold.state == "open")).first()
    if kept is not None:
        return kept
    available = accounts.available(session, prepaid.id)
    if available >= amount_cents:
        return _hold(session, now, actor_id, job_id, prepaid, "balance", amount_cents)
    desk = accounts.lock(session, organisation_id, "to_pay_at_desk", payer_id)
    session.refresh(person, ["desk_limit_cents"])
    owed, held = -accounts.balance(session, desk.id), accounts.held(session, desk.id)
    if owed + held + amount_cents <= person.desk_limit_cents:
        return _hold(session, now, actor_id, job_id, desk, "desk", amount_cents)
    numbers = {"needed_cents": amount_cents, "available_cents": available, "missing_cents": amount_cents - available}
    if person.desk_limit_cents == 0:
        raise Refusal("balance_too_low", **numbers)
    raise Refusal("desk_limit", **numbers, limit_cents=person.desk_limit_cents, owed_cents=owed, held_cents=held)


def capture(
    session: Session,
    now: datetime,
    actor_id: str,
    *,
    hold_id: str,
    run_id: str,
    settled: Settled,
    revision: int,
    keep_open: bool,
) -> Entry:
    """Charge a run to its job's hold. `keep_open`: the job is printed again, so the rest stays set aside.

    Idempotent by (run_id, revision). Raises Refusal hold_closed (captured or released before) and above_hold (the
    lines are more than what is set aside; prices.settle never gives such lines with the hold as its ceiling).
    """
    before = applied(session, "charge", "run", run_id, revision)
    if before is not None:
        return before
    hold, account = _lock_hold(session, hold_id)
    before = applied(session, "charge", "run", run_id, revision)
    if before is not None:
        return before
    if hold.state != "open":
        raise Refusal("hold_closed", hold=hold.id)
    if settled.total_cents > hold.amount_cents:
        raise Refusal("above_hold", charge_cents=settled.total_cents, held_cents=hold.amount_cents)
    if keep_open:
        hold.amount_cents -= settled.total_cents
    else:
        hold.state, hold.closed_at = "captured", now
    return _charge(session, now, actor_id, account, run_id, settled, revision, hold.job_id)


def release(session: Session, now: datetime, actor_id: str, hold_id: str) -> None:
    """Give back what is set aside. A hold that is closed already stays as it is."""
    hold, _ = _lock_hold(session, hold_id)
    if hold.state != "open":
        return
    hold.state, hold.closed_at = "released", now
    audit.record(session, now, actor_id, "released", "hold", hold.id, job=hold.job_id, amount_cents=hold.amount_cents)


def charge(
    session: Session,
    now: datetime,
    actor_id: str,
    *,
    payer_id: str,
    organisation_id: str,
    means: str,
    job_id: str,
    run_id: str,
    settled: Settled,
    revision: int,
) -> Entry:
    """Charge a run without a hold: after a reversal, with a higher `revision`. means: balance | desk.

    Idempotent by (run_id, revision). Raises Refusal balance_too_low or desk_limit, and charged_already where a lower
    revision of the run was not reversed.
    """
    account = accounts.lock(session, organisation_id, ACCOUNT_OF_MEANS[means], payer_id)
    before = applied(session, "charge", "run", run_id, revision)
    if before is not None:
        return before
    reversed_ids = select(Entry.reverses_id).where(Entry.reverses_id.is_not(None))
    standing = session.scalars(
        select(Entry.id).where(
            Entry.kind == "charge", Entry.source_kind == "run", Entry.source_id == run_id, Entry.id.not_in(reversed_ids)
        )
    ).first()
    if standing is not None:
        raise Refusal("charged_already", run=run_id)
    require_free(session, account, settled.total_cents)
    return _charge(session, now, actor_id, account, run_id, settled, revision, job_id)


def reversal(session: Session, now: datetime, actor_id: str, *, entry_id: str, reason: str) -> Entry:
    """Undo an entry whole: copies its cents, negated, and names it. Reversing twice gives the first reversal.

    Raises Refusal unknown_entry (none, or itself a reversal), refunded_already, own_account, not_allowed, and
    balance_too_low where a top-up that was spent is to be taken back.
    """
    entry = session.get(Entry, entry_id)
    if entry is None or entry.kind == "reversal":
        raise Refusal("unknown_entry", entry=entry_id)
    sides = sorted(sides_of(session, entry_id), key=lambda side: (side[0].kind, side[0].owner))
    for account, _ in sides:
        if account.kind in accounts.OWNED:
            require_cashier(session, actor_id, account.owner, entry.organisation_id, 1)
            accounts.lock(session, account.organisation_id, account.kind, account.owner)
    before = session.scalars(select(Entry).where(Entry.reverses_id == entry_id)).first()
    if before is not None:
        return before
    if refunded(session, entry_id):
        raise Refusal("refunded_already", entry=entry_id)
    for account, cents in sides:
        if account.kind in accounts.OWNED and cents > 0:
            require_free(session, account, cents)
    made = write_entry(
        session, now, actor_id, entry.organisation_id, "reversal", "entry", entry_id, 0,
        [(account.id, -cents) for account, cents in sides], {"reason": reason}, reverses_id=entry_id,
    )  # fmt: skip
    audit.record(session, now, actor_id, "reversed", "entry", entry_id, reason=reason)
    return made


def _charge(
    session: Session, now: datetime, actor_id: str, account: LedgerAccount, run_id: str, settled: Settled,
    revision: int, job_id: str,
) -> Entry:  # fmt: skip
    earned = revenue(settled.lines)
    sides = [(accounts.open_(session, account.organisation_id, kind).id, cents) for kind, cents in earned.items()]
    if settled.total_cents:
        sides.insert(0, (account.id, -settled.total_cents))
    data = {
        "lines": msgspec.to_builtins(settled.lines), "total_cents": settled.total_cents,
        "borne_cents": settled.borne_cents, "payer": account.owner, "job": job_id, "run": run_id,
        "means": "desk" if account.kind == "to_pay_at_desk" else "balance",
    }  # fmt: skip
    made = write_entry(session, now, actor_id, account.organisation_id, "charge", "run", run_id, revision, sides, data)
    audit.record(session, now, actor_id, "charged", "run", run_id, cents=settled.total_cents, payer=account.owner)
    return made


def _hold(
    session: Session, now: datetime, actor_id: str, job_id: str, account: LedgerAccount, means: str, cents: int
) -> Hold:
    hold = Hold(
        id=new_id(), job_id=job_id, account_id=account.id, means=means, amount_cents=cents, currency=account.currency,
        state="open", opened_at=now,
    )  # fmt: skip
    session.add(hold)
    session.flush()
    audit.record(session, now, actor_id, "held", "hold", hold.id, job=job_id, amount_cents=cents, means=means)
    return hold


def _lock_hold(session: Session, hold_id: str) -> tuple[Hold, LedgerAccount]:
    """The hold with its account, both locked: the account first, as every writer does."""
    hold = session.get(Hold, hold_id)
    if hold is None:
        raise Refusal("unknown_hold", hold=hold_id)
    owner = session.get_one(LedgerAccount, hold.account_id)
    account = accounts.lock(session, owner.organisation_id, owner.kind, owner.owner)
    session.refresh(hold, with_for_update=True)
    return hold, account
