"""Verbs of people about a machine: plate, outage, emergency stop, power, spool. Rows and orders; no bus, no HTML."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fablab import audit
from fablab.billing.tables import Lot
from fablab.ids import new_id
from fablab.messages import Cleared, EmergencyStop, ReleaseStop, SwitchOff, SwitchOn
from fablab.queue import incidents, moves
from fablab.queue.jobs import try_again
from fablab.queue.people import is_staff, level_on, name, require_decider, require_staff
from fablab.queue.tables import Run
from fablab.sentences import Refusal
from fablab.space.tables import Machine, Outage

SHORTEST_S, LONGEST_S = 60, 14_400
SWITCHABLE = frozenset({"mqtt_relay"})


def cleared(session: Session, now: datetime, actor: str, machine_id: str, *, run_id: str | None = None) -> None:
    """A named person says that the plate is free. Where a part of a run lies on it, it must be judged first.

    Raises Refusal not_this_run (another run's part lies there by now), judge_first, plate_already_free, not_allowed.
    """
    machine = _machine(session, machine_id)
    require_staff(session, actor, machine.site_id)
    claim = moves.lock_claim(session, machine_id)
    if claim.plate == "free":
        raise Refusal("plate_already_free", machine=machine.name)
    if run_id is not None and run_id != claim.plate_run_id:
        raise Refusal("not_this_run", run=run_id)
    lying = None if claim.plate_run_id is None else session.get(Run, claim.plate_run_id)
    if lying is not None and lying.verdict is None and moves.lock_job(session, lying.job_id).state == "to_judge":
        raise Refusal("judge_first", run=lying.id, job=lying.job_id)
    claim.plate, claim.plate_run_id = "free", None
    moves.order(session, now, actor, machine, Cleared(by=name(session, actor)))
    incidents.answered(session, now, actor, machine_id, "plate_unsure")
    try_again(session, machine_id)
    audit.record(session, now, actor, "cleared", "machine", machine_id)


def emergency_stop(session: Session, now: datetime, actor: str, machine_id: str) -> None:
    """Any person signed in may stop a machine: stop_no + 1, latched until released. Raises Refusal unknown_machine."""
    machine = _machine(session, machine_id)
    claim = moves.lock_claim(session, machine_id)
    claim.latched = True
    run = None if claim.run_id is None else session.get(Run, claim.run_id)
    moves.order(session, now, actor, machine, EmergencyStop(by=name(session, actor)), run=run)
    audit.record(session, now, actor, "emergency_stop", "machine", machine_id, run=claim.run_id)


def release_stop(session: Session, now: datetime, actor: str, machine_id: str) -> None:
    """Take the latch off, by a named person of the staff. Raises Refusal not_latched, not_allowed."""
    machine = _machine(session, machine_id)
    require_staff(session, actor, machine.site_id)
    claim = moves.lock_claim(session, machine_id)
    if not claim.latched:
        raise Refusal("not_latched", machine=machine.name)
    claim.latched = False
    for intent in moves.open_orders(session, ("emergency_stop",), machine_id=machine_id):
        intent.next_try_at = None
    moves.order(session, now, actor, machine, ReleaseStop(by=name(session, actor)))
    try_again(session, machine_id)
    audit.record(session, now, actor, "release_stop", "machine", machine_id)


def declare_outage(session: Session, now: datetime, actor: str, machine_id: str, reason: str) -> None:
    """Put the machine out of order: nothing new is claimed on it.

    Raises Refusal already_out, reason_missing, not_allowed.
    """
    machine = _machine(session, machine_id)
    require_staff(session, actor, machine.site_id)
    if not reason.strip():
        raise Refusal("reason_missing")
    moves.lock_claim(session, machine_id)
    if _outage(session, machine_id) is not None:
        raise Refusal("already_out", machine=machine.name)
    session.add(
        Outage(id=new_id(), machine_id=machine_id, reason=reason.strip()[:500], declared_by=actor, declared_at=now)
    )
    audit.record(session, now, actor, "outage", "machine", machine_id, reason=reason.strip()[:500])


def end_outage(session: Session, now: datetime, actor: str, machine_id: str) -> None:
    """The machine is usable again. Raises Refusal not_out, not_allowed."""
    machine = _machine(session, machine_id)
    require_staff(session, actor, machine.site_id)
    moves.lock_claim(session, machine_id)
    outage = _outage(session, machine_id)
    if outage is None:
        raise Refusal("not_out", machine=machine.name)
    outage.ended_by, outage.ended_at = actor, now
    try_again(session, machine_id)
    audit.record(session, now, actor, "outage_ended", "machine", machine_id)


def switch_on(session: Session, now: datetime, actor: str, machine_id: str, seconds: int) -> None:
    """Power on a machine behind a relay for 60 … 14 400 s.

    Raises Refusal not_switchable, latched, machine_out_of_order, not_authorised, figure_out_of_range.
    """
    machine = _machine(session, machine_id)
    if machine.driver not in SWITCHABLE:
        raise Refusal("not_switchable", machine=machine.name)
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise Refusal("figure_out_of_range", seconds=seconds)
    alone = level_on(session, now, actor, machine) in {"alone", "teach"}
    if not alone and not is_staff(session, actor, machine.site_id):
        raise Refusal("not_authorised", machine=machine.name)
    if moves.lock_claim(session, machine_id).latched:
        raise Refusal("latched", machine=machine.name)
    outage = _outage(session, machine_id)
    if outage is not None:
        raise Refusal("machine_out_of_order", machine=machine.name, reason=outage.reason)
    moves.order(session, now, actor, machine, SwitchOn(seconds=seconds, by=name(session, actor)))
    audit.record(session, now, actor, "switch_on", "machine", machine_id, seconds=seconds)


def switch_off(session: Session, now: datetime, actor: str, machine_id: str) -> None:
    """Power off. Anybody signed in may make a machine safer. Raises Refusal not_switchable."""
    machine = _machine(session, machine_id)
    if machine.driver not in SWITCHABLE:
        raise Refusal("not_switchable", machine=machine.name)
    moves.order(session, now, actor, machine, SwitchOff(by=name(session, actor)))
    audit.record(session, now, actor, "switch_off", "machine", machine_id)


def unfreeze(session: Session, now: datetime, actor: str, machine_id: str) -> None:
    """After a new box: a technician says that the old agent is gone for good, so that its answer is not waited for."""
    machine = _machine(session, machine_id)
    require_decider(session, actor, machine.site_id)
    moves.lock_claim(session, machine_id).frozen = False
    audit.record(session, now, actor, "unfreeze", "machine", machine_id)


def load_lot(session: Session, now: datetime, actor: str, machine_id: str, lot_id: str | None) -> None:
    """Say which spool is in (None: none). Jobs that wait for it are tried again. Raises Refusal unknown_lot."""
    machine = _machine(session, machine_id)
    require_staff(session, actor, machine.site_id)
    lot = None if lot_id is None else session.get(Lot, lot_id)
    if lot_id is not None and (lot is None or lot.site_id != machine.site_id or lot.finished_at is not None):
        raise Refusal("unknown_lot", lot=lot_id)
    machine.loaded_lot_id = lot_id
    try_again(session, machine_id)
    audit.record(session, now, actor, "load_lot", "machine", machine_id, lot=lot_id)


def _machine(session: Session, machine_id: str) -> Machine:
    machine = session.get(Machine, machine_id)
    if machine is None or machine.archived_at is not None:
        raise Refusal("unknown_machine", machine=machine_id)
    return machine


def _outage(session: Session, machine_id: str) -> Outage | None:
    return session.scalars(select(Outage).where(Outage.machine_id == machine_id, Outage.ended_at.is_(None))).first()
