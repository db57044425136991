"""Carries orders from the table to the wire: which are due, sealed for their agent, and when to try again.

Writes only how often an order was sent. Publishing itself happens after the commit, in the hub. An order is repeated
under its own id until it is answered: the agent knows the id and never performs one twice.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import case, select, update
from sqlalchemy.orm import Session

from fablab import topics
from fablab.ids import new_id
from fablab.messages import Command, Nature, OrderBody, seal
from fablab.queue.envelopes import Directory
from fablab.queue.tables import CommandIntent, MachineClaim

PAUSES_S: dict[str, tuple[float, ...]] = {
    Nature.STOP: (0.5, 0.5, 1, 1, 2, 2, 5),
    Nature.START: (1, 2, 4, 8, 15, 30),
    Nature.PREPARE: (2, 4, 8, 15, 30, 60),
}
"""Seconds between tries, the last one for ever after."""
ANSWERED_PAUSE_S = 5.0
"""A stop that was accepted, but not confirmed yet, is repeated this often."""
BATCH = 200


@dataclass(frozen=True)
class Letter:
    """A sealed order on its way: QoS 1, never retained."""

    topic: str
    payload: bytes
    command_id: str
    urgent: bool


def due(session: Session, now: datetime, directory: Directory, term: int) -> list[Letter]:
    """Mark the orders that are due as sent, and return them sealed, stops first. The caller commits, then publishes."""
    stops_first = case((CommandIntent.nature == Nature.STOP, 0), else_=1)
    rows = session.scalars(
        select(CommandIntent)
        .where(CommandIntent.next_try_at <= now, CommandIntent.state.in_(("pending", "sent", "accepted")))
        .order_by(stops_first, CommandIntent.id)
        .limit(BATCH)
    ).all()
    letters = []
    for row in rows:
        site_key = next(((site, key) for (site, agent), key in directory.keys.items() if agent == row.agent_id), None)
        if site_key is None or _must_wait(session, row):
            row.next_try_at = now + timedelta(seconds=PAUSES_S[row.nature][-1])
            continue
        letters.append(_letter(row, *site_key, directory.epoch, term))
        row.next_try_at = now + timedelta(seconds=_pause(row))
        row.tries += 1
        if row.state == "pending":
            row.state = "sent"
    return letters


def press(session: Session, now: datetime, agent_id: str | None = None) -> None:
    """The wire, or an agent, is back: what has no answer yet is sent again at once, not after its growing pause."""
    query = update(CommandIntent).where(
        CommandIntent.next_try_at > now, CommandIntent.state.in_(("pending", "sent", "accepted"))
    )
    if agent_id is not None:
        query = query.where(CommandIntent.agent_id == agent_id)
    session.execute(query.values(next_try_at=now))


def next_due(session: Session) -> datetime | None:
    """When the next order is to be sent; None: nothing waits."""
    return session.scalar(
        select(CommandIntent.next_try_at)
        .where(CommandIntent.next_try_at.is_not(None), CommandIntent.state.in_(("pending", "sent", "accepted")))
        .order_by(CommandIntent.next_try_at)
        .limit(1)
    )


def to_agent(directory: Directory, site: str, agent_id: str, term: int, body: OrderBody) -> Letter:
    """An order to the agent itself that no table keeps, like the answer to a hello."""
    command = Command(id=new_id(), machine="", term=term, body=body)
    topic = topics.agent_order(site, agent_id)
    payload = seal(topic, directory.epoch, directory.keys[site, agent_id], command)
    return Letter(topic, payload, command.id, urgent=False)


def _must_wait(session: Session, row: CommandIntent) -> bool:
    """A machine that a person freed takes nothing but stops until its agent has answered."""
    if row.nature == Nature.STOP or not row.machine_id:
        return False
    claim = session.get(MachineClaim, row.machine_id)
    return claim is not None and claim.frozen


def _pause(row: CommandIntent) -> float:
    if row.state == "accepted":
        return ANSWERED_PAUSE_S
    pauses = PAUSES_S[row.nature]
    return pauses[min(row.tries, len(pauses) - 1)]


def _letter(row: CommandIntent, site: str, key: bytes, epoch: str, term: int) -> Letter:
    command = Command(
        id=row.id,
        machine=row.machine_id,
        run=row.run_id or "",
        claim_no=row.claim_no,
        stop_no=row.stop_no,
        term=term,
        body=msgspec.convert(row.body, OrderBody),
    )
    urgent = row.nature == Nature.STOP
    if not row.machine_id:
        topic = topics.agent_order(site, row.agent_id)
    elif urgent:
        topic = topics.stop(site, row.machine_id)
    else:
        topic = topics.order(site, row.machine_id)
    return Letter(topic, seal(topic, epoch, key, command), row.id, urgent)
