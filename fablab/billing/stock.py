"""Lots of material: received, used once per run, corrected by a person who weighed, finished. Moves are only added."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fablab import audit
from fablab.billing.tables import Lot, Material, StockMove
from fablab.ids import new_id
from fablab.sentences import Refusal
from fablab.space import people
from fablab.space.tables import Person, Site


@dataclass(frozen=True)
class NewLot:
    """A spool, sheet or bag that came in. mg, cents for the whole, millicents per mg for members."""

    material_id: str
    colour: str
    initial_mg: int
    cost_cents: int
    price_millicents_per_mg: int
    brand: str = ""
    owner_person_id: str | None = None  # a member's own: she pays no material


def add_lot(session: Session, now: datetime, actor_id: str, *, site_id: str, new: NewLot) -> Lot:
    """Take a lot in; it gets the next number ("bobine n° 42").

    Raises Refusal not_allowed, unknown_site, unknown_material, unknown_person, bad_weight, bad_amount.
    """
    people.require(session, actor_id, "keep_stock", site_id=site_id)
    if session.get(Site, site_id) is None:
        raise Refusal("unknown_site", site=site_id)
    if session.get(Material, new.material_id) is None:
        raise Refusal("unknown_material", material=new.material_id)
    if new.owner_person_id is not None and session.get(Person, new.owner_person_id) is None:
        raise Refusal("unknown_person", person=new.owner_person_id)
    if new.initial_mg <= 0:
        raise Refusal("bad_weight", weight_mg=new.initial_mg)
    if new.cost_cents < 0 or new.price_millicents_per_mg < 0:
        raise Refusal("bad_amount", amount_cents=min(new.cost_cents, new.price_millicents_per_mg))
    lot = Lot(
        id=new_id(),
        number=int(session.scalar(select(func.max(Lot.number))) or 0) + 1,
        site_id=site_id,
        material_id=new.material_id,
        colour=new.colour.strip()[:60],
        brand=new.brand.strip()[:60],
        initial_mg=new.initial_mg,
        cost_cents=new.cost_cents,
        price_millicents_per_mg=0 if new.owner_person_id else new.price_millicents_per_mg,
        owner_person_id=new.owner_person_id,
        received_at=now,
    )
    session.add(lot)
    session.flush()
    _move(session, now, lot.id, new.initial_mg, "declared", "receipt", lot.id)
    audit.record(session, now, actor_id, "received", "lot", lot.id, number=lot.number, mg=new.initial_mg)
    return lot


def remaining_mg(session: Session, lot_id: str) -> int:
    """What should be left of the lot in milligrams; below zero where more was used than it held."""
    return int(session.scalar(select(func.sum(StockMove.amount_mg)).where(StockMove.lot_id == lot_id)) or 0)


def consume(session: Session, now: datetime, *, lot_id: str, amount_mg: int, kind: str, run_id: str) -> bool:
    """Take what a run used out of the lot, once per run; False where it was taken before. `amount_mg` ≥ 0.

    kind: measured | commanded | declared. A run that used nothing leaves no move.
    """
    if amount_mg < 0:
        raise ValueError("a run uses no less than nothing")
    if amount_mg == 0:
        return False
    return _move(session, now, lot_id, -amount_mg, kind, "run", run_id)


def adjust(session: Session, now: datetime, actor_id: str, *, lot_id: str, weighed_mg: int, source_id: str) -> int:
    """A person weighed the lot: a move over the difference, which is returned (mg; negative: there was less).

    Idempotent by `source_id`. Raises Refusal not_allowed, unknown_lot, bad_weight.
    """
    lot = _lot(session, lot_id)
    people.require(session, actor_id, "keep_stock", site_id=lot.site_id)
    if weighed_mg < 0:
        raise Refusal("bad_weight", weight_mg=weighed_mg)
    difference = weighed_mg - remaining_mg(session, lot_id)
    if difference == 0 or not _move(session, now, lot_id, difference, "measured", "weighing", source_id):
        return 0
    audit.record(session, now, actor_id, "weighed", "lot", lot_id, weighed_mg=weighed_mg, difference_mg=difference)
    return difference


def finish(session: Session, now: datetime, actor_id: str, lot_id: str) -> None:
    """The lot is used up or thrown away; it is offered no more. Raises Refusal not_allowed, unknown_lot."""
    lot = _lot(session, lot_id)
    people.require(session, actor_id, "keep_stock", site_id=lot.site_id)
    if lot.finished_at is None:
        lot.finished_at = now
        audit.record(session, now, actor_id, "finished", "lot", lot_id, left_mg=remaining_mg(session, lot_id))


def lots(session: Session, site_id: str, *, finished: bool = False) -> list[tuple[Lot, Material, int]]:
    """Lots of a site with their material and what is left (mg), by number."""
    query = select(Lot, Material).join(Material, Material.id == Lot.material_id).where(Lot.site_id == site_id)
    if not finished:
        query = query.where(Lot.finished_at.is_(None))
    return [
        (lot, material, remaining_mg(session, lot.id)) for lot, material in session.execute(query.order_by(Lot.number))
    ]


def _lot(session: Session, lot_id: str) -> Lot:
    lot = session.get(Lot, lot_id)
    if lot is None:
        raise Refusal("unknown_lot", lot=lot_id)
    return lot


def _move(
    session: Session, now: datetime, lot_id: str, amount_mg: int, kind: str, source_kind: str, source_id: str
) -> bool:
    before = session.scalars(
        select(StockMove.id).where(
            StockMove.lot_id == lot_id, StockMove.source_kind == source_kind, StockMove.source_id == source_id
        )
    ).first()
    if before is not None:
        return False
    session.add(
        StockMove(
            id=new_id(),
            lot_id=lot_id,
            amount_mg=amount_mg,
            kind=kind,
            source_kind=source_kind,
            source_id=source_id,
            at=now,
        )
    )
    session.flush()
    return True
