"""Money that people bring and take at the desk: top-ups, payments of what is owed, refunds, balances paid out.

Every act is by a named person, and nobody does it for herself.
"""

from datetime import datetime

from sqlalchemy.orm import Session

from fablab import audit
from fablab.billing import accounts
from fablab.billing.entries import (
    MEANS,
    applied,
    is_reversed,
    refunded,
    require_cashier,
    require_free,
    sides_of,
    write_entry,
)
from fablab.billing.tables import Entry
from fablab.money import split
from fablab.sentences import Refusal
from fablab.space.tables import Person


def top_up(
    session: Session, now: datetime, actor_id: str, *, person_id: str, organisation_id: str, amount_cents: int,
    means: str, source_id: str,
) -> Entry:  # fmt: skip
    """Money for a person's balance, received by the actor (cash | card | bank). Idempotent by `source_id`.

    Raises Refusal own_account (nobody tops up her own), not_allowed, bad_amount, unknown_means, unknown_person.
    """
    return _payment(
        session, now, actor_id, "top_up", "member", person_id, organisation_id, amount_cents, means, source_id
    )


def desk_payment(
    session: Session, now: datetime, actor_id: str, *, person_id: str, organisation_id: str, amount_cents: int,
    means: str, source_id: str,
) -> Entry:  # fmt: skip
    """Money for what a person owes at the desk, received by the actor. Idempotent by `source_id`.

    Raises Refusal more_than_owed (owed_cents), and those of `top_up`.
    """
    return _payment(
        session, now, actor_id, "desk_payment", "to_pay_at_desk", person_id, organisation_id, amount_cents, means,
        source_id,
    )  # fmt: skip


def refund(
    session: Session, now: datetime, actor_id: str, *, charge_id: str, amount_cents: int, to: str, reason: str,
    source_id: str,
) -> Entry:  # fmt: skip
    """Give part of a charge back: `to` account (where it was taken from) or cash | card | bank. Idempotent.

    Raises Refusal own_account, not_allowed, bad_amount, unknown_entry, and more_than_charged where all refunds of
    the charge together would be more than it.
    """
    before = applied(session, "refund", "payment", source_id, 0)
    if before is not None:
        return before
    entry = session.get(Entry, charge_id)
    if entry is None or entry.kind != "charge" or is_reversed(session, charge_id):
        raise Refusal("unknown_entry", entry=charge_id)
    if to not in (*MEANS, "account"):
        raise Refusal("unknown_means", means=to)
    sides = sides_of(session, charge_id)
    payer = next((account for account, _ in sides if account.kind in accounts.OWNED), None)
    if payer is None:
        raise Refusal("more_than_charged", amount_cents=amount_cents, left_cents=0)
    require_cashier(session, actor_id, payer.owner, entry.organisation_id, amount_cents)
    accounts.lock(session, payer.organisation_id, payer.kind, payer.owner)
    left = -sum(cents for account, cents in sides if account.id == payer.id) - refunded(session, charge_id)
    if amount_cents > left:
        raise Refusal("more_than_charged", amount_cents=amount_cents, left_cents=left)
    given = payer if to == "account" else accounts.open_(session, entry.organisation_id, to)
    earned = {account.id: cents for account, cents in sides if cents > 0}
    shares = dict(zip(earned, split(amount_cents, list(earned.values())), strict=True))
    made = write_entry(
        session, now, actor_id, entry.organisation_id, "refund", "payment", source_id, 0,
        [(given.id, amount_cents), *((account_id, -cents) for account_id, cents in shares.items() if cents)],
        {"of": charge_id, "to": to, "reason": reason, "person": payer.owner},
    )  # fmt: skip
    audit.record(session, now, actor_id, "refunded", "entry", made.id, of=charge_id, amount_cents=amount_cents, to=to)
    return made


def cash_out(
    session: Session, now: datetime, actor_id: str, *, person_id: str, organisation_id: str, amount_cents: int,
    means: str, source_id: str,
) -> Entry:  # fmt: skip
    """Pay part of a person's own balance out to her (cash | card | bank). Idempotent by `source_id`.

    Raises Refusal balance_too_low where that much is not available, and those of `top_up`.
    """
    before = applied(session, "cash_out", "payment", source_id, 0)
    if before is not None:
        return before
    if means not in MEANS:
        raise Refusal("unknown_means", means=means)
    require_cashier(session, actor_id, person_id, organisation_id, amount_cents)
    account = accounts.lock(session, organisation_id, "member", person_id)
    require_free(session, account, amount_cents)
    given = accounts.open_(session, organisation_id, means)
    made = write_entry(
        session, now, actor_id, organisation_id, "cash_out", "payment", source_id, 0,
        [(account.id, -amount_cents), (given.id, amount_cents)], {"means": means, "person": person_id},
    )  # fmt: skip
    audit.record(session, now, actor_id, "cash_out", "entry", made.id, person=person_id, amount_cents=amount_cents)
    return made


def _payment(
    session: Session, now: datetime, actor_id: str, kind: str, account_kind: str, person_id: str,
    organisation_id: str, amount_cents: int, means: str, source_id: str,
) -> Entry:  # fmt: skip
    if means not in MEANS:
        raise Refusal("unknown_means", means=means)
    require_cashier(session, actor_id, person_id, organisation_id, amount_cents)
    if session.get(Person, person_id) is None:
        raise Refusal("unknown_person", person=person_id)
    account = accounts.lock(session, organisation_id, account_kind, person_id)
    before = applied(session, kind, "payment", source_id, 0)
    if before is not None:
        return before
    owed = -accounts.balance(session, account.id)
    if kind == "desk_payment" and amount_cents > owed:
        raise Refusal("more_than_owed", amount_cents=amount_cents, owed_cents=owed)
    box = accounts.open_(session, organisation_id, means)
    made = write_entry(
        session, now, actor_id, organisation_id, kind, "payment", source_id, 0,
        [(box.id, -amount_cents), (account.id, amount_cents)], {"means": means, "person": person_id},
    )  # fmt: skip
    audit.record(session, now, actor_id, kind, "person", person_id, amount_cents=amount_cents, means=means)
    return made
