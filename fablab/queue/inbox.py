"""The only place that applies reports: each journal strictly in sequence, each report once, whatever the wire does.

A later report waits in the table until the gap is filled; one that cannot be applied is stored with its problem, its
run is put to a person, and the sequence goes on. What a report means is `applying`'s business.
"""

import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from fablab.failpoints import reach
from fablab.messages import Applied, Report
from fablab.queue import applying
from fablab.queue.incidents import note
from fablab.queue.tables import Agent, StoredReport
from fablab.sentences import Refusal

log = logging.getLogger(__name__)

MAX_WAITING = 2000
"""Reports of one journal that may wait for a gap; further ones are asked for again later."""

_report = msgspec.json.Decoder(Report)


@dataclass(frozen=True)
class Taken:
    """What looks different after a report."""

    jobs: frozenset[str] = frozenset()
    machines: frozenset[str] = frozenset()


def decode(raw: bytes) -> Report:
    """The report in an opened envelope. Raises msgspec.DecodeError or ValidationError for anything else."""
    return _report.decode(raw)


def take(session: Session, now: datetime, agent_id: str, report: Report, raw: bytes) -> Taken:
    """Store a report and apply it with all that waited for it, in the caller's transaction."""
    agent = session.get(Agent, agent_id, with_for_update=True, populate_existing=True)
    if agent is None or agent.revoked_at is not None or report.agent != agent_id or report.seq < 1:
        return Taken()
    if agent.journal_id != report.journal_id:
        return Taken()  # it has not said hello with this journal: it will, and sends the report again
    agent.seen_at = now
    digest = hashlib.sha256(raw).hexdigest()
    known = session.get(StoredReport, (report.journal_id, report.seq))
    if known is not None:
        if known.digest != digest:
            note(session, now, "report_changed", agent.site_id, data={"agent": agent_id, "seq": report.seq})
        return Taken()
    if report.seq > agent.applied + 1 and _waiting(session, report.journal_id) >= MAX_WAITING:
        return Taken()
    session.add(
        StoredReport(
            journal_id=report.journal_id,
            seq=report.seq,
            agent_id=agent_id,
            body=msgspec.json.decode(raw),
            digest=digest,
            received_at=now,
        )
    )
    session.flush()
    touched = _apply_in_order(session, now, agent)
    return Taken(touched.jobs, touched.machines)


def _apply_in_order(session: Session, now: datetime, agent: Agent) -> applying.Touched:
    touched = applying.Touched()
    while True:
        row = session.get(StoredReport, (agent.journal_id, agent.applied + 1))
        if row is None or row.applied_at is not None:
            return touched
        report = msgspec.convert(row.body, Report)
        try:
            with session.begin_nested():
                touched = touched | applying.apply(session, now, agent, report)
        except Refusal as error:
            row.problem = {"code": error.code, "data": error.data}
            touched = touched | applying.put_to_a_person(session, now, agent, report, row.problem)
        except OperationalError:  # the database, not the report: all of it is tried again
            raise
        except Exception as error:  # a mistake of ours must not stop a site: it is stored, and shown to staff
            log.exception("report %s/%s could not be applied", report.journal_id, report.seq)
            row.problem = {"code": "internal", "data": {"error": f"{type(error).__name__}: {error}"[:500]}}
            touched = touched | applying.put_to_a_person(session, now, agent, report, row.problem)
        row.applied_at = now
        reach("hub.12")
        _advance(session, agent)


def _advance(session: Session, agent: Agent) -> None:
    """N + 1, if it still is what we read: another hub may have been here."""
    result = session.execute(
        update(Agent).where(Agent.id == agent.id, Agent.applied == agent.applied).values(applied=Agent.applied + 1)
    )
    if result.rowcount != 1:  # type: ignore[attr-defined]
        raise RuntimeError("two hubs apply reports of one agent")
    session.refresh(agent)


def _waiting(session: Session, journal_id: str) -> int:
    return (
        session.scalar(
            select(func.count()).where(StoredReport.journal_id == journal_id, StoredReport.applied_at.is_(None))
        )
        or 0
    )


def applied(session: Session, agent_id: str, term: int) -> Applied | None:
    """How far the agent's journal is in the database; where later reports wait, from which number one is missing."""
    agent = session.get(Agent, agent_id)
    if agent is None or agent.journal_id is None:
        return None
    waits = _waiting(session, agent.journal_id) > 0
    return Applied(
        journal_id=agent.journal_id,
        up_to=agent.applied,
        term=term,
        missing_from=agent.applied + 1 if waits else None,
    )
