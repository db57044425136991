"""Whether an agent is there, and whether there are two of it: presence, last will, the hello and its answer."""

import logging
import secrets
from collections.abc import Callable

from fablab import topics
from fablab.bus import Message
from fablab.clock import Clock
from fablab.devices.wire import Wire
from fablab.messages import VERSION, HelloAnswer, Online

log = logging.getLogger(__name__)

HELLO_PAUSES_S = (2.0, 4.0, 8.0, 15.0, 30.0)
ANNOUNCE_S = 30.0
CLASH_S = 75.0
"""A second session that was not heard of for this long is gone."""


class Presence:
    """The session of one connection. Callbacks of the bus and the agent's own loop both come here."""

    def __init__(self, wire: Wire, clock: Clock, site: str, agent: str, say_hello: Callable[[str], bool]) -> None:
        self._wire = wire
        self._clock = clock
        self._topic = topics.agent_online(site, agent)
        self._say_hello = say_hello
        self.session = secrets.token_hex(8)
        self.greeted = False
        self._nonce = ""
        self._tries = 0
        self._hello_at: float | None = None
        self._announce_at: float | None = None
        self._other_at: float | None = None
        self._other = ""

    def will(self) -> Message:
        """What the broker says when we fall silent."""
        return Message(self._topic, self._wire.sealed(self._topic, self._online(False)), 1, True)

    @property
    def clash(self) -> bool:
        """Whether another live session goes by our name."""
        return self._other_at is not None and self._clock.monotonic() - self._other_at < CLASH_S

    def link(self, up: bool) -> None:
        """The bus has a broker, or lost it."""
        self.greeted = False
        now = self._clock.monotonic()
        self._hello_at = now if up else None
        self._announce_at = now if up else None
        self._tries = 0

    def greet_again(self) -> None:
        """The hub speaks for another database than the one we greeted."""
        if self.greeted or self._hello_at is None:
            self.greeted, self._tries = False, 0
            self._hello_at = self._clock.monotonic()

    def tick(self) -> None:
        """Say what is due."""
        now = self._clock.monotonic()
        if self._announce_at is not None and now >= self._announce_at:
            self._wire.publish(self._topic, self._online(True), retain=True)
            self._announce_at = now + ANNOUNCE_S
        if not self.greeted and self._hello_at is not None and now >= self._hello_at:
            self._nonce = secrets.token_hex(16)
            self._say_hello(self._nonce)
            self._hello_at = now + HELLO_PAUSES_S[min(self._tries, len(HELLO_PAUSES_S) - 1)]
            self._tries += 1

    def is_answer(self, answer: HelloAnswer) -> bool:
        """Whether this answers our latest hello, and is no replay; true once."""
        if not self._nonce or not secrets.compare_digest(answer.nonce, self._nonce) or answer.version > VERSION:
            return False
        self._nonce = ""
        return True

    def heard(self, message: Message) -> bool:
        """Somebody said something under our name; True where a second session was heard of for the first time."""
        opened = self._wire.open(message, Online)
        if opened is None or message.retained or opened[1].session == self.session:
            return False
        _, body = opened
        if not body.online:
            if body.session == self._other:
                self._other_at = None
            self._announce_at = self._clock.monotonic()  # an old will lies over our word
            return False
        first = not self.clash
        self._other, self._other_at = body.session, self._clock.monotonic()
        if first:
            log.error("another agent goes by our name: nothing is prepared or started until one of the two is gone")
            self._announce_at = self._clock.monotonic()
        return first

    def leave(self) -> None:
        """Say that we are gone, in order."""
        self._wire.publish(self._topic, self._online(False), retain=True)

    def _online(self, online: bool) -> Online:
        return Online(online=online, at=self._clock.now().isoformat(), session=self.session)
