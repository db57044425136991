"""Machines as rows: kept in step with an agent's fablab.toml, outages, the lot that is in. No order, no run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from fablab import audit
from fablab.ids import new_id
from fablab.messages import MachineSettings
from fablab.sentences import Refusal
from fablab.space import people
from fablab.space.tables import Machine, Outage


@dataclass(frozen=True)
class Size:
    """What a profile says of the machine's body: volume in mm, nozzle in hundredths of a mm."""

    volume_mm: tuple[float, float, float] | None
    nozzle_mm_x100: int | None


def sync(
    session: Session,
    now: datetime,
    *,
    site_id: str,
    agent_id: str,
    settings: Iterable[MachineSettings],
    sizes: Mapping[str, Size],
) -> list[str]:
    """Make the agent's file machines what its settings say; one that is gone is archived. Returns ids that changed.

    `sizes`: by machine id, from its profile; one that is missing keeps what it had. Machines of the database, and
    those of other agents, stay. Raises Refusal machine_of_other_agent where an id is taken.
    """
    rows = {row.id: row for row in session.scalars(select(Machine).where(Machine.site_id == site_id))}
    changed, named = [], set()
    for item in settings:
        named.add(item.id)
        row = rows.get(item.id) or session.get(Machine, item.id)
        if row is not None and (row.agent_id != agent_id or row.site_id != site_id) and row.archived_at is None:
            raise Refusal("machine_of_other_agent", machine=item.id, agent=row.agent_id)
        if row is None:
            row = Machine(id=item.id, source="file")
            session.add(row)
        if _bring(row, site_id, agent_id, item, sizes.get(item.id)):
            changed.append(item.id)
            audit.record(session, now, "system:hub", "configured", "machine", item.id, driver=item.driver)
    for row in rows.values():
        if row.agent_id == agent_id and row.source == "file" and row.id not in named and row.archived_at is None:
            row.archived_at = now
            changed.append(row.id)
            audit.record(session, now, "system:hub", "archived", "machine", row.id)
    session.flush()
    return changed


def _bring(row: Machine, site_id: str, agent_id: str, item: MachineSettings, size: Size | None) -> bool:
    plain = msgspec.json.decode(msgspec.json.encode(item))
    plain["api_key_file"] = None  # a path on the agent's box: nobody's business here
    wanted = {
        "site_id": site_id,
        "agent_id": agent_id,
        "source": "file",
        "name": item.name or item.id,
        "kind": item.kind,
        "driver": item.driver,
        "profile": item.profile,
        "settings": plain,
        "start": item.start,
        "use": list(item.use),
        "minors": item.minors,
        "archived_at": None,
    }
    if size is not None:
        wanted["volume_mm"] = None if size.volume_mm is None else list(size.volume_mm)
        wanted["nozzle_mm_x100"] = size.nozzle_mm_x100
    different = {key: value for key, value in wanted.items() if getattr(row, key) != value}
    for key, value in different.items():
        setattr(row, key, value)
    return bool(different)


def get(session: Session, machine_id: str) -> Machine:
    """The machine. Raises Refusal unknown_machine."""
    machine = session.get(Machine, machine_id)
    if machine is None or machine.archived_at is not None:
        raise Refusal("unknown_machine", machine=machine_id)
    return machine


def of_site(session: Session, site_id: str) -> list[Machine]:
    """Machines of a site that are not archived, by name."""
    query = select(Machine).where(Machine.site_id == site_id, Machine.archived_at.is_(None))
    return list(session.scalars(query.order_by(Machine.name, Machine.id)))


def outage_of(session: Session, machine_id: str) -> Outage | None:
    """The outage that holds now; None: the machine works."""
    return session.scalars(select(Outage).where(Outage.machine_id == machine_id, Outage.ended_at.is_(None))).first()


def declare_outage(session: Session, now: datetime, actor_id: str, *, machine_id: str, reason: str) -> Outage:
    """Declare a machine unusable, with the reason in the actor's words. One that is out of order stays so.

    Raises Refusal not_allowed, unknown_machine, reason_missing.
    """
    machine = get(session, machine_id)
    people.require(session, actor_id, "declare_outage", site_id=machine.site_id)
    if not reason.strip():
        raise Refusal("reason_missing")
    current = outage_of(session, machine_id)
    if current is not None:
        return current
    row = Outage(id=new_id(), machine_id=machine_id, reason=reason.strip()[:300], declared_by=actor_id, declared_at=now)
    session.add(row)
    session.flush()
    audit.record(session, now, actor_id, "outage", "machine", machine_id, reason=row.reason)
    return row


def end_outage(session: Session, now: datetime, actor_id: str, *, machine_id: str) -> None:
    """The machine works again. Raises Refusal not_allowed, unknown_machine."""
    machine = get(session, machine_id)
    people.require(session, actor_id, "end_outage", site_id=machine.site_id)
    current = outage_of(session, machine_id)
    if current is not None:
        current.ended_by, current.ended_at = actor_id, now
        audit.record(session, now, actor_id, "works_again", "machine", machine_id)


def load_lot(session: Session, now: datetime, actor_id: str, *, machine_id: str, lot_id: str | None) -> None:
    """A person says which lot is in the machine (None: none). The caller has checked that the lot exists.

    Staff may, and who may use the machine alone. Raises Refusal not_allowed, unknown_machine.
    """
    machine = get(session, machine_id)
    site = people.site_of(session, machine)
    if people.level_on(session, now, actor_id, machine, site) not in {"alone", "teach"}:
        people.require(session, actor_id, "run_queue", site_id=machine.site_id)
    machine.loaded_lot_id = lot_id
    session.flush()
    audit.record(session, now, actor_id, "loaded", "machine", machine_id, lot=lot_id)
