"""Writes down what staff should see. An open incident of the same code, machine and run is not written twice."""

from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fablab.ids import new_id
from fablab.queue.tables import IncidentRow


def note(
    session: Session,
    now: datetime,
    code: str,
    site_id: str | None,
    *,
    machine_id: str | None = None,
    run_id: str | None = None,
    data: dict[str, Any] | None = None,
) -> None:
    """Append an incident to the session's transaction."""
    open_one = session.scalars(
        select(IncidentRow.id).where(
            IncidentRow.code == code,
            IncidentRow.machine_id.is_(machine_id) if machine_id is None else IncidentRow.machine_id == machine_id,
            IncidentRow.run_id.is_(run_id) if run_id is None else IncidentRow.run_id == run_id,
            IncidentRow.seen_at.is_(None),
        )
    ).first()
    if open_one is None:
        session.add(
            IncidentRow(
                id=new_id(), at=now, site_id=site_id, machine_id=machine_id, run_id=run_id, code=code, data=data or {}
            )
        )


def answered(session: Session, now: datetime, actor: str, machine_id: str, code: str) -> None:
    """What a machine's incidents of this kind asked for has been done by a named person."""
    session.execute(
        update(IncidentRow)
        .where(IncidentRow.machine_id == machine_id, IncidentRow.code == code, IncidentRow.seen_at.is_(None))
        .values(seen_by=actor, seen_at=now)
    )


def seen(session: Session, now: datetime, actor: str, incident_id: str) -> None:
    """A named person has seen it."""
    row = session.get(IncidentRow, incident_id)
    if row is not None and row.seen_at is None:
        row.seen_by, row.seen_at = actor, now
