"""Loads what matching wants to know of a job and of each machine of its site, and keeps the answers together."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from fablab.billing.prices import filament_mg
from fablab.billing.stock import remaining_mg
from fablab.billing.tables import Lot, Material, Quote
from fablab.gcode.facts import Facts
from fablab.profiles import find_profile
from fablab.queue.matching import Needs, Offer, Reason, Spool, may_wait_for, reasons
from fablab.queue.people import machine_access
from fablab.queue.pricing import tariff_for
from fablab.queue.tables import Job, JobFile, MachineClaim, NotTriedAgain
from fablab.sentences import Refusal
from fablab.space.tables import Machine, Outage


@dataclass(frozen=True)
class Survey:
    """One machine's answer to one job. `seconds`: what the file is estimated to take there."""

    machine_id: str
    name: str
    reasons: tuple[Reason, ...]
    quote: Quote | None
    seconds: int

    @property
    def may_wait(self) -> bool:
        return may_wait_for(self.reasons)


@dataclass
class Yard:
    """What many surveys share: the machines of a site as they stand, and what is known of the jobs in question."""

    machines: list[tuple[Machine, Offer]]
    quotes: dict[str, dict[str, Quote]]  # by job, by machine
    rejected: dict[tuple[str, str], NotTriedAgain]  # by job and machine
    facts: dict[str, Facts | None] = field(default_factory=dict)  # by content
    materials: dict[tuple[str | None, str | None], Material | None] = field(default_factory=dict)


def load_yard(session: Session, now: datetime, site_id: str, job_ids: Sequence[str]) -> Yard:
    """Load once what the surveys of these jobs need."""
    quotes: dict[str, dict[str, Quote]] = {}
    for quote in session.scalars(select(Quote).where(Quote.job_id.in_(job_ids))):
        quotes.setdefault(quote.job_id, {})[quote.machine_id] = quote
    rejected = session.scalars(select(NotTriedAgain).where(NotTriedAgain.job_id.in_(job_ids)))
    return Yard(
        [(machine, basis(session, now, machine)) for machine in site_machines(session, site_id)],
        quotes,
        {(row.job_id, row.machine_id): row for row in rejected},
    )


def survey(session: Session, now: datetime, job: Job, yard: Yard | None = None) -> list[Survey]:
    """Ask every machine of the job's site; empty while the file is not understood."""
    yard = load_yard(session, now, job.site_id, [job.id]) if yard is None else yard
    if job.sha256 not in yard.facts:
        yard.facts[job.sha256] = facts_of(session, job)
    facts = yard.facts[job.sha256]
    if facts is None:
        return []
    choice = (job.material_id, facts.material)
    if choice not in yard.materials:
        yard.materials[choice] = material_of(session, job, facts)
    wanted = needs(job, facts, yard.materials[choice])
    quotes, seconds = yard.quotes.get(job.id, {}), estimated_seconds(facts)
    found = []
    for machine, offer in yard.machines:
        row = yard.rejected.get((job.id, machine.id))
        for_this = replace(
            offer,
            not_again=None if row is None else (row.code, row.data),
            access=machine_access(session, now, machine, job),
        )
        found.append(Survey(machine.id, machine.name, reasons(wanted, for_this), quotes.get(machine.id), seconds))
    return found


def facts_of(session: Session, job: Job) -> Facts | None:
    """What is known about the job's file; None while it is measured, or where it was refused."""
    file = session.get(JobFile, job.sha256)
    if file is None or file.facts is None:
        return None
    return msgspec.convert(file.facts, Facts)


def estimated_seconds(facts: Facts) -> int:
    """The slicer's own estimate where it wrote one (it knows heating and acceleration), else what was measured."""
    return max(1, round(facts.comments.time_s or facts.measured.time_s))


def site_machines(session: Session, site_id: str) -> Sequence[Machine]:
    return session.scalars(
        select(Machine).where(Machine.site_id == site_id, Machine.archived_at.is_(None)).order_by(Machine.name)
    ).all()


def needs(job: Job, facts: Facts, material: Material | None) -> Needs:
    """What file and choices ask for."""
    heat = facts.measured.max_temperatures
    tools = [index for index, mm in enumerate(facts.measured.filament_mm) if mm > 0]
    return Needs(
        mode="queue" if job.booking_id is None else "self_service",
        wished_machine=job.machine_id,
        printer_model=facts.printer_model,
        dialect=facts.dialect,
        nozzle_mm_x100=None if facts.nozzle_mm is None else round(facts.nozzle_mm * 100),
        bbox_mm=facts.measured.bbox_mm,
        tool_c=max((value for name, value in heat.items() if name.startswith("tool")), default=None),
        bed_c=heat.get("bed"),
        tools=max(tools, default=0) + 1,
        material_id=None if material is None else material.id,
        colour=job.colour or None,
        filament_mg=_mg(facts, material),
        hazards=tuple(sorted({hazard.code for hazard in facts.hazards if hazard.severity == "refuse"})),
    )


def material_of(session: Session, job: Job, facts: Facts) -> Material | None:
    """The material of the job: chosen, else the one whose id or name the file gives, else None."""
    if job.material_id is not None:
        return session.get(Material, job.material_id)
    word = (facts.material or "").split(";")[0].strip().casefold()
    if not word:
        return None
    return session.scalars(
        select(Material).where(or_(func.lower(Material.id) == word, func.lower(Material.name) == word))
    ).first()


def _mg(facts: Facts, material: Material | None) -> int:
    if material is None:
        return 0
    return sum(
        filament_mg(mm, material.density_ug_mm3, material.diameter_um) for mm in facts.measured.filament_mm if mm > 0
    )


def basis(session: Session, now: datetime, machine: Machine) -> Offer:
    """One machine as it stands, whatever the job."""
    claim = session.get(MachineClaim, machine.id)
    plain = Offer(
        machine_id=machine.id,
        kind=machine.kind,
        prints_files=machine.kind == "printer",
        modes=frozenset(machine.use),
        nozzle_mm_x100=machine.nozzle_mm_x100,
        volume_mm=_volume(machine),
        spool=_spool(session, machine),
        spool_asked=machine.driver != "manual",
        priced=tariff_for(session, now, machine) is not None,
        outage=session.scalars(
            select(Outage.reason).where(Outage.machine_id == machine.id, Outage.ended_at.is_(None))
        ).first(),
        latched=claim is not None and claim.latched,
        frozen=claim is not None and claim.frozen,
    )
    return replace(plain, **_profile_keys(machine))


def _volume(machine: Machine) -> tuple[float, float, float] | None:
    if machine.volume_mm is None:
        return None
    x, y, z = machine.volume_mm
    return float(x), float(y), float(z)


def _spool(session: Session, machine: Machine) -> Spool | None:
    lot = None if machine.loaded_lot_id is None else session.get(Lot, machine.loaded_lot_id)
    if lot is None or lot.finished_at is not None:
        return None
    return Spool(lot.id, lot.material_id, lot.colour, remaining_mg(session, lot.id))


def _profile_keys(machine: Machine) -> dict[str, Any]:
    """What the machine's profile says of its body and its files; nothing where it has none, or an unknown one."""
    try:
        profile = find_profile(machine.profile or "")
    except Refusal:
        return {}
    keys: dict[str, Any] = {
        "printer_models": frozenset(profile.models),
        "dialects": profile.dialects,
        "allowed_hazards": frozenset(profile.gcode.allow),
    }
    body = profile.printer
    if body is not None:
        low, high = body.volume_mm
        keys["volume_mm"] = _volume(machine) or (high[0], high[1], high[2])
        keys["lowest_mm"] = low
        keys["nozzle_mm_x100"] = machine.nozzle_mm_x100 or round(body.nozzle_mm * 100)
        keys["max_tool_c"], keys["max_bed_c"], keys["tools"] = body.hotend_max_c, body.bed_max_c, body.tools
    return keys
