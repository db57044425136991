"""Connects the pages of one process to the bus. The only file of the web that opens a connection."""

import logging
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from fablab import bus, topics
from fablab.clock import Clock
from fablab.config import Config
from fablab.db import Database
from fablab.ids import new_id
from fablab.queue.tables import Agent
from fablab.space.tables import Machine
from fablab.web.live import Live

log = logging.getLogger(__name__)

KEYS_LAST = timedelta(seconds=30)
"""How long a looked-up key is used: an agent that was revoked is no longer shown after that."""


class Keys:
    """Machine id → key of its agent, looked up in the database and remembered for a short while."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, tuple[datetime, bytes | None]] = {}

    def __call__(self, machine: str) -> bytes | None:
        now = self._clock.now()
        known = self._known.get(machine)
        if known is not None and now - known[0] < KEYS_LAST:
            return known[1]
        with self._database.read() as session:
            key = _key(session, machine)
        if len(self._known) > 10_000:
            self._known.clear()  # names that nobody has come from outside
        self._known[machine] = (now, key)
        return key


def connect(config: Config, database: Database, clock: Clock) -> Live:
    """A `Live` that is fed by the broker of the configuration, from now on; it waits for a broker that is down."""
    address = bus.address(
        config.broker.url,
        host=config.broker.host,
        port=config.broker.port,
        password=config.secret(config.broker.password_file) or "",
        ca_file=None if config.broker.ca_file is None else str(config.resolve(config.broker.ca_file)),
    )
    wire = bus.MqttBus(address, f"web-{new_id()}")
    live = Live(clock, Keys(database, clock), lambda topic, payload: _send(wire, topic, payload))
    for pattern, qos in ((topics.ALL_STATES, 1), (topics.ALL_TELEMETRY, 0), (topics.changed(), 0)):
        wire.subscribe(pattern, lambda message: live.feed(message.topic, message.payload), qos)
    wire.on_link(live.link)
    wire.start()
    return live


def _send(wire: bus.Bus, topic: str, payload: bytes) -> None:
    wire.publish(topic, payload, qos=0)


def _key(session: Session, machine_id: str) -> bytes | None:
    machine = session.get(Machine, machine_id)
    agent = None if machine is None else session.get(Agent, machine.agent_id)
    if agent is None or agent.revoked_at is not None:
        return None
    return bytes.fromhex(agent.hmac_key)
