"""What a request knows: the parts the app was built with, who is looking, and short sessions. No rule of the house."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

from flask import current_app, g
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from fablab.clock import Clock
from fablab.config import Config
from fablab.db import Database
from fablab.sentences import Refusal
from fablab.space.tables import Grant, Person
from fablab.web.live import Live

STAFF = frozenset({"volunteer", "technician", "manager", "treasurer", "coordinator", "administrator"})
"""Every role that sees more than her own things."""


@dataclass(frozen=True)
class Parts:
    """What the app was composed of. `drivers`: kind of driver → its capabilities, as `serve` hands them over."""

    config: Config
    database: Database
    live: Live
    drivers: Mapping[str, Any]
    clock: Clock


@dataclass(frozen=True)
class Viewer:
    """Who is looking: a person, or nobody (`person_id` empty). `token`: the key an API request came with."""

    person_id: str = ""
    name: str = ""
    roles: frozenset[str] = field(default_factory=frozenset)
    locale: str | None = None
    account_id: str = ""
    token_id: str = ""
    token_scope: str = ""
    limit_cents: int | None = None

    @property
    def signed_in(self) -> bool:
        return bool(self.person_id)

    @property
    def full_token(self) -> bool:
        """Whether the request came with a key that may do everything its person may."""
        return self.token_scope == "full"  # noqa: S105

    @property
    def staff(self) -> bool:
        return bool(self.roles & STAFF)

    def has(self, *roles: str) -> bool:
        """Whether she has one of these roles; an administrator has them all."""
        return bool(self.roles & {*roles, "administrator"})


NOBODY = Viewer()


def parts() -> Parts:
    """The parts of the running app."""
    return cast(Parts, current_app.extensions["fablab"])


def viewer() -> Viewer:
    """Who is looking, as the permission check of this request found out."""
    return cast(Viewer, g.get("viewer", NOBODY))


def now() -> datetime:
    return parts().clock.now()


def site_id() -> str:
    return parts().config.site.id


def zone() -> ZoneInfo:
    return ZoneInfo(parts().config.site.timezone)


@contextmanager
def reading() -> Iterator[Session]:
    """A session for looking only."""
    with parts().database.read() as session:
        yield session


@contextmanager
def acting() -> Iterator[Session]:
    """A session for one verb: committed whole or not at all; then the hub is told to look."""
    with parts().database.write() as session:
        yield session
    parts().live.wake()


def find_viewer(session: Session, site: str, person_id: str, account_id: str = "") -> Viewer:
    """The person with the roles she has at this site; nobody where she is archived or unknown."""
    person = session.get(Person, person_id)
    if person is None or person.archived_at is not None:
        return NOBODY
    roles = session.scalars(
        select(Grant.role).where(
            Grant.person_id == person_id,
            Grant.revoked_at.is_(None),
            or_(Grant.site_id.is_(None), Grant.site_id == site),
        )
    )
    return Viewer(
        person_id=person_id, name=person.name, roles=frozenset(roles), locale=person.locale, account_id=account_id
    )


def only_own_or_staff(person_id: str | None, *others: str | None) -> None:
    """Whoever looks at another person's thing must be staff. Raises Refusal not_allowed."""
    if not viewer().staff and viewer().person_id not in {person_id, *others}:
        raise Refusal("not_allowed")
