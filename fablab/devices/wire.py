"""Seals what leaves an agent and opens what comes to it. What does not fit is counted, logged once a kind, dropped."""

import logging
from collections import Counter
from typing import TypeVar

import msgspec
from msgspec import Struct

from fablab.bus import Bus, Message
from fablab.devices.journal import Journal
from fablab.messages import Forged, seal, unseal

log = logging.getLogger(__name__)

Kind = TypeVar("Kind")


class Wire:
    """One bus, one key."""

    def __init__(self, bus: Bus, key: bytes, journal: Journal) -> None:
        self.bus = bus
        self._key = key
        self._journal = journal
        self.dropped: Counter[str] = Counter()
        self.news: list[str] = []
        """Kinds of bad messages that nobody was told of yet."""

    def publish(self, topic: str, body: Struct, qos: int = 1, retain: bool = False) -> bool:
        """Seal and hand over; False where it did not leave."""
        return self.bus.publish(topic, self.sealed(topic, body), qos, retain)

    def sealed(self, topic: str, body: Struct) -> bytes:
        return seal(topic, self._journal.epoch, self._key, body)

    def open(self, message: Message, kind: type[Kind]) -> tuple[str, Kind] | None:
        """Epoch and body of a message; None where it was dropped."""
        try:
            epoch, raw = unseal(message.topic, self._key, message.payload)
            return epoch, msgspec.json.decode(raw, type=kind)
        except Forged as error:
            self.drop(f"message_{error}" if str(error) in {"oversized", "malformed"} else "message_forged")
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
            self.drop("message_malformed")
        return None

    def drop(self, code: str) -> None:
        """Count a bad message."""
        self.dropped[code] += 1
        if self.dropped[code] == 1:
            log.warning("dropped a message: %s (further ones are only counted)", code)
            self.news.append(code)
