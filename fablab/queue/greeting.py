"""The handshake with an agent: which journal speaks, from which report on, and which machines it has.

A hello changes no run by itself. Its answer carries the nonce, so that a recorded one is no good.
"""

from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fablab import audit
from fablab.messages import VERSION, Hello, HelloAnswer, MachineSettings, Online, Report
from fablab.queue import applying, moves, road
from fablab.queue.incidents import note
from fablab.queue.tables import Agent, MachineClaim, Run, StoredReport
from fablab.space.tables import Machine

SUPPORTED = (VERSION,)


@dataclass(frozen=True)
class Greeted:
    """The answer to send, and the machines that look different now."""

    answer: HelloAnswer
    machines: frozenset[str]


def hello(session: Session, now: datetime, epoch: str, agent_id: str, report: Report, body: Hello) -> Greeted | None:
    """Take a hello. None where agent or version are unknown."""
    agent = session.get(Agent, agent_id, with_for_update=True, populate_existing=True)
    common = sorted(set(body.versions) & set(SUPPORTED))
    if agent is None or agent.revoked_at is not None or report.agent != agent_id:
        return None
    if not common:
        note(session, now, "agent_version", agent.site_id, data={"agent": agent_id, "versions": list(body.versions)})
        return None
    applied = _applied_of(session, report.journal_id)
    if agent.journal_id != report.journal_id:
        if not _newer_boot(session, report):
            # a recorded hello, or an old card: not followed; a live agent of an old card begins a new journal on this
            forced = max(applied, body.next_seq)
            answer = HelloAnswer(nonce=body.nonce, applied=forced, journal_id=report.journal_id, version=common[-1])
            return Greeted(answer, frozenset())
        audit.record(
            session, now, f"system:agent:{agent_id}", "new_journal", "agent", agent_id,
            before=agent.journal_id, after=report.journal_id,
        )  # fmt: skip
        agent.applied, agent.journal_id = applied, report.journal_id
        _lose_runs(session, now, agent, body)
    if _newer_boot(session, report):
        _prepare_anew(session, now, agent)
    _remember(session, now, agent_id, report)
    agent.hello_epoch, agent.hello_at, agent.seen_at, agent.absent_by = epoch, now, now, None
    agent.online = True
    touched = _adopt(session, now, agent, body.settings)
    _raise_numbers(session, agent, body)
    answer = HelloAnswer(nonce=body.nonce, applied=agent.applied, journal_id=report.journal_id, version=common[-1])
    return Greeted(answer, touched)


def presence(session: Session, now: datetime, agent_id: str, body: Online) -> bool:
    """Take an agent's presence, or its last will. Returns whether anything looks different."""
    agent = session.get(Agent, agent_id, with_for_update=True, populate_existing=True)
    if agent is None or agent.revoked_at is not None:
        return False
    if not body.online and agent.session not in (None, body.session):
        return False  # the last will of an older connection
    changed = agent.online != body.online
    agent.online, agent.session = body.online, body.session
    if body.online:
        agent.seen_at = now
    return changed


def _prepare_anew(session: Session, now: datetime, agent: Agent) -> None:
    """The agent began anew and forgot its start tokens: what was not started is made ready again, for a new go."""
    runs = session.scalars(
        select(Run.id)
        .join(Machine, Machine.id == Run.machine_id)
        .where(Machine.agent_id == agent.id, Run.live, Run.state.in_(("claimed", "preparing", "prepared")))
        .order_by(Run.id)
    ).all()
    for run_id in runs:
        run = moves.lock_run(session, run_id)
        if run.state == "prepared":
            moves.run(session, run, "token_lapsed", now)
        run.token = None
        moves.withdraw(session, now, run.id, ("prepare",))
        moves.prepare(session, now, "system:hub", run)


def _lose_runs(session: Session, now: datetime, agent: Agent, body: Hello) -> None:
    """Another journal speaks: what was started under the old one, and is not in this one, is put to a person."""
    known = {item.started_run for item in body.machines}
    runs = session.scalars(
        select(Run.id)
        .join(Machine, Machine.id == Run.machine_id)
        .where(Machine.agent_id == agent.id, Run.live, Run.state.in_(("starting", "running", "paused", "lost")))
        .order_by(Run.id)
    ).all()
    for run_id in runs:
        if run_id in known:
            continue
        run = moves.lock_run(session, run_id)
        run.code = applying.JOURNAL_LOST
        change = road.on_new_journal(applying.attempt_of(session, run))
        applying.carry_out(session, now, f"system:agent:{agent.id}", run, change, code="new_journal")


def _newer_boot(session: Session, report: Report) -> bool:
    """Whether a journal that is not the current one may become it: a new one, or an old one after another boot."""
    known = session.get(StoredReport, (report.journal_id, 0))
    return known is None or report.boot_no > int(known.body["boot_no"])


def _remember(session: Session, now: datetime, agent_id: str, report: Report) -> None:
    """Number 0 of a journal is its last hello."""
    row = session.get(StoredReport, (report.journal_id, 0))
    if row is None:
        row = StoredReport(journal_id=report.journal_id, seq=0, agent_id=agent_id, digest="")
        session.add(row)
        row.body = {"boot_no": report.boot_no}
    row.body = {"boot_no": max(report.boot_no, int(row.body["boot_no"]))}
    row.received_at = row.applied_at = now


def _applied_of(session: Session, journal_id: str) -> int:
    """How far this journal is in the database: 0 for a new one, N for one that came back."""
    return (
        session.scalar(
            select(func.max(StoredReport.seq)).where(
                StoredReport.journal_id == journal_id, StoredReport.applied_at.is_not(None)
            )
        )
        or 0
    )


def _raise_numbers(session: Session, agent: Agent, body: Hello) -> None:
    """Claim and stop numbers never go back: after a restore the journal may know higher ones than the database."""
    for known in body.machines:
        machine = session.get(Machine, known.machine)
        if machine is None or machine.agent_id != agent.id:
            continue
        claim = session.get(MachineClaim, known.machine, with_for_update=True, populate_existing=True)
        if claim is None:
            continue
        claim.claim_no = max(claim.claim_no, known.highest_claim)
        claim.stop_no = max(claim.stop_no, known.stop_no)


def _adopt(session: Session, now: datetime, agent: Agent, settings: tuple[MachineSettings, ...]) -> frozenset[str]:
    """Write the machines of the agent's own fablab.toml; those that are gone from it are archived."""
    touched = set()
    for item in settings:
        machine = session.get(Machine, item.id)
        if machine is not None and machine.agent_id != agent.id:
            note(session, now, "machine_of_two_agents", agent.site_id, machine_id=item.id, data={"agent": agent.id})
            continue
        if machine is None:
            machine = Machine(id=item.id, site_id=agent.site_id, agent_id=agent.id, source="file", name="")
            session.add(machine)
            audit.record(session, now, f"system:agent:{agent.id}", "appeared", "machine", item.id)
        if machine.source == "file" and _write(machine, item):
            touched.add(item.id)
    session.flush()
    for item in settings:
        if session.get(MachineClaim, item.id) is None:
            session.add(MachineClaim(machine_id=item.id, plate="unsure"))
    if settings:
        named = {item.id for item in settings}
        gone = session.scalars(
            select(Machine).where(Machine.agent_id == agent.id, Machine.source == "file", Machine.archived_at.is_(None))
        ).all()
        for machine in gone:
            if machine.id not in named:
                machine.archived_at = now
                touched.add(machine.id)
    session.flush()
    return frozenset(touched)


def _write(machine: Machine, item: MachineSettings) -> bool:
    """Copy the settings that the database shows; True where anything changed."""
    settings = {key: value for key, value in msgspec.to_builtins(item).items() if key != "api_key_file"}
    if machine.archived_at is None and machine.settings == settings:
        return False
    machine.name = item.name or machine.name or item.id
    machine.kind, machine.driver, machine.profile = item.kind, item.driver, item.profile
    machine.start, machine.use, machine.minors = item.start, list(item.use), item.minors
    machine.settings, machine.archived_at = settings, None
    return True
