"""Keeps the newest picture of each machine. Pictures may be lost or overwritten; nothing is ever billed from one."""

from datetime import datetime

import msgspec
from sqlalchemy.orm import Session

from fablab.messages import StateSnapshot
from fablab.queue.tables import Agent, MachineView
from fablab.space.tables import Machine


def newer(stored: tuple[str, int, int] | None, shown: tuple[str, int, int], current_journal: str | None) -> bool:
    """Whether `shown` replaces `stored`; both are (journal_id, boot_no, rev).

    Numbers only compare inside one journal. Another journal's picture counts when it is the journal that the agent
    said hello with, so that an old card's retained picture never hides the new card's.
    """
    if stored is None:
        return current_journal in (None, shown[0])
    if stored[0] == shown[0]:
        return shown[1:] > stored[1:]
    return shown[0] == current_journal


def keep(session: Session, now: datetime, agent_id: str, snapshot: StateSnapshot) -> bool:
    """Store the picture when it is newer, and its machine is this agent's. Returns whether anything looks different."""
    machine = session.get(Machine, snapshot.machine)
    agent = session.get(Agent, agent_id)
    if machine is None or agent is None or machine.agent_id != agent_id:
        return False
    row = session.get(MachineView, snapshot.machine)
    stored = None if row is None else (row.journal_id, row.boot_no, row.rev)
    shown = (snapshot.journal_id, snapshot.boot_no, snapshot.rev)
    if not newer(stored, shown, agent.journal_id):
        return False
    if row is None:
        row = MachineView(machine_id=snapshot.machine)
        session.add(row)
    row.journal_id, row.boot_no, row.rev = shown
    row.snapshot = msgspec.to_builtins(snapshot)
    row.received_at = now
    return True


def picture(row: MachineView | None) -> StateSnapshot | None:
    """The stored picture as a value; None where none has come yet."""
    return None if row is None else msgspec.convert(row.snapshot, StateSnapshot)
