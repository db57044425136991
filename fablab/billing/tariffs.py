"""Tariff versions: dated, never changed, only followed. Which one holds for a machine now; prices.py uses the rates."""

from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from fablab import audit
from fablab.billing.prices import TariffRates
from fablab.billing.tables import Tariff
from fablab.ids import new_id
from fablab.sentences import Refusal
from fablab.space import people


def tariff_of(session: Session, now: datetime, organisation_id: str, machine_id: str) -> Tariff | None:
    """The newest version that holds now: the machine's own before the general one. None: nothing is priced."""
    rows = session.scalars(
        select(Tariff)
        .where(
            Tariff.organisation_id == organisation_id,
            or_(Tariff.machine_id == machine_id, Tariff.machine_id.is_(None)),
            Tariff.valid_from <= now,
        )
        .order_by(Tariff.valid_from.desc(), Tariff.version.desc())
    ).all()
    own = [row for row in rows if row.machine_id is not None]
    return next(iter([*own, *rows]), None)


def rates(tariff: Tariff) -> TariffRates:
    """The version's figures as prices.py takes them."""
    return TariffRates(tariff.millicents_per_s, tariff.setup_cents, tariff.minimum_cents)


def set_tariff(
    session: Session,
    now: datetime,
    actor_id: str,
    *,
    organisation_id: str,
    machine_id: str | None,
    new: TariffRates,
    valid_from: datetime,
) -> Tariff:
    """A new version from `valid_from` on. Raises Refusal not_allowed, bad_amount, tariff_in_past."""
    people.require(session, actor_id, "set_prices", organisation_id=organisation_id)
    lowest = min(new.millicents_per_s, new.setup_cents, new.minimum_cents)
    if lowest < 0:
        raise Refusal("bad_amount", amount_cents=lowest)
    if valid_from < now:
        raise Refusal("tariff_in_past", valid_from_at=valid_from.isoformat())
    same = Tariff.machine_id.is_(None) if machine_id is None else Tariff.machine_id == machine_id
    newest = session.scalar(select(func.max(Tariff.version)).where(Tariff.organisation_id == organisation_id, same))
    row = Tariff(
        id=new_id(),
        organisation_id=organisation_id,
        machine_id=machine_id,
        version=int(newest or 0) + 1,
        valid_from=valid_from,
        millicents_per_s=new.millicents_per_s,
        setup_cents=new.setup_cents,
        minimum_cents=new.minimum_cents,
        made_by=actor_id,
    )
    session.add(row)
    session.flush()
    audit.record(session, now, actor_id, "priced", "machine", machine_id or "", version=row.version)
    return row
