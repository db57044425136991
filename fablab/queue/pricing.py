"""Between jobs and prices: which tariff, which lot, what was quoted; then the pure prices decide. Moves no money."""

from datetime import datetime

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from fablab.billing import prices
from fablab.billing.tables import Lot, Material, Quote, Tariff
from fablab.billing.tariffs import rates, tariff_of
from fablab.gcode.facts import Facts
from fablab.ids import new_id
from fablab.queue.tables import Job
from fablab.space.tables import Machine, Organisation, Site


def tariff_for(session: Session, now: datetime, machine: Machine) -> Tariff | None:
    """The tariff that holds for the machine now; None: nothing is priced."""
    return tariff_of(session, now, session.get_one(Site, machine.site_id).organisation_id, machine.id)


def lot_for(session: Session, job: Job, machine: Machine, material: Material | None) -> Lot | None:
    """The lot that the job would be made of there: the one that is in, else the dearest on the site that would do."""
    loaded = None if machine.loaded_lot_id is None else session.get(Lot, machine.loaded_lot_id)
    if loaded is not None and (material is None or loaded.material_id == material.id):
        return loaded
    if material is None:
        return None
    rows = session.scalars(
        select(Lot)
        .where(Lot.site_id == job.site_id, Lot.material_id == material.id, Lot.finished_at.is_(None))
        .order_by(Lot.price_millicents_per_mg.desc(), Lot.id)
    ).all()
    wanted = (job.colour or "").casefold()
    return next((row for row in rows if not wanted or row.colour.casefold() == wanted), rows[0] if rows else None)


def write_quote(
    session: Session, now: datetime, job: Job, machine: Machine, facts: Facts, seconds: int, material: Material | None
) -> None:
    """Price the job on one machine and keep the quote. Nothing where no tariff is valid."""
    tariff = tariff_for(session, now, machine)
    if tariff is None:
        return
    site = session.get_one(Site, job.site_id)
    lot = lot_for(session, job, machine, material)
    priced = prices.quote(
        seconds, facts.measured.filament_mm, rates(tariff), _filament(session, job, lot), site.margin_percent
    )
    session.add(
        Quote(
            id=new_id(),
            job_id=job.id,
            machine_id=machine.id,
            tariff_id=tariff.id,
            lot_id=None if lot is None else lot.id,
            lines=msgspec.to_builtins(priced.lines),
            expected_cents=priced.expected_cents,
            ceiling_cents=priced.ceiling_cents,
            currency=session.get_one(Organisation, site.organisation_id).currency,
            made_at=now,
        )
    )


def _filament(session: Session, job: Job, lot: Lot | None) -> prices.Filament | None:
    """The material as it is sold; a spool of the asker's own costs her nothing."""
    if lot is None:
        return None
    material = session.get_one(Material, lot.material_id)
    own = lot.owner_person_id is not None and lot.owner_person_id in (job.asker_id, job.payer_id)
    price = 0 if own else lot.price_millicents_per_mg
    return prices.Filament(material.id, material.density_ug_mm3, material.diameter_um, price)
