"""Opens what agents send: whose key, which epoch. What does not fit is counted, logged once a kind and sender, dropped.

Looks keys up in a directory that the hub loads from the database; touches no row itself.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fablab.db import Meta
from fablab.messages import Forged, unseal
from fablab.queue.tables import Agent
from fablab.space.tables import Machine
from fablab.topics import Parsed, parse

log = logging.getLogger(__name__)

EPOCH_KEY = "db_epoch"


@dataclass(frozen=True)
class Directory:
    """Who is known: the key of each agent by (site, agent), whose each machine is by (site, machine), the epoch."""

    epoch: str
    keys: Mapping[tuple[str, str], bytes]
    machines: Mapping[tuple[str, str], str]

    def agent_of(self, parsed: Parsed) -> str | None:
        """The agent that may speak on this topic."""
        if parsed.agent is not None:
            return parsed.agent
        return self.machines.get((parsed.site, parsed.machine or ""))


def load_directory(session: Session) -> Directory:
    """The directory as the database has it; revoked agents are not in it."""
    agents = session.scalars(select(Agent).where(Agent.revoked_at.is_(None))).all()
    machines = session.scalars(select(Machine).where(Machine.archived_at.is_(None))).all()
    epoch = session.get(Meta, EPOCH_KEY)
    return Directory(
        epoch="" if epoch is None else epoch.value,
        keys={(agent.site_id, agent.id): bytes.fromhex(agent.hmac_key) for agent in agents},
        machines={(machine.site_id, machine.id): machine.agent_id for machine in machines},
    )


@dataclass(frozen=True)
class Opened:
    """A message whose seal holds: where it came in, whose it is, and its body still encoded."""

    topic: Parsed
    agent_id: str
    epoch: str
    raw: bytes


class Opener:
    """Opens messages and counts the bad ones, by (why, who)."""

    def __init__(self) -> None:
        self.dropped: Counter[tuple[str, str]] = Counter()

    def open(self, directory: Directory, topic: str, payload: bytes) -> Opened | None:
        """The message, or None where it was dropped."""
        parsed = parse(topic)
        if parsed is None:
            self.drop("topic", topic[:80])
            return None
        agent_id = directory.agent_of(parsed)
        key = None if agent_id is None else directory.keys.get((parsed.site, agent_id))
        if agent_id is None or key is None:
            self.drop("unknown_sender", f"{parsed.site}/{parsed.agent or parsed.machine}")
            return None
        try:
            epoch, raw = unseal(topic, key, payload)
        except Forged as error:
            self.drop(str(error), agent_id)
            return None
        return Opened(parsed, agent_id, epoch, raw)

    def drop(self, why: str, who: str) -> None:
        """Count a bad message; the first of its kind is logged."""
        self.dropped[why, who] += 1
        if self.dropped[why, who] == 1:
            log.warning("dropped a message from %s: %s (further ones are only counted)", who, why)
