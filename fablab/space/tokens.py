"""A person's own keys for programs: made, shown once, verified, revoked. Only their hashes are kept."""

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from fablab import audit
from fablab.ids import new_id
from fablab.sentences import Refusal
from fablab.space.tables import ApiToken, Person

SCOPES = ("full", "submit")
USE_NOTED_EVERY = timedelta(minutes=1)


def create(
    session: Session, now: datetime, actor_id: str, *, person_id: str, name: str, scope: str, limit_cents: int | None
) -> tuple[ApiToken, str]:
    """A new key and its secret, which nobody sees again. `limit_cents` None: no limit; a submit key needs a number.

    A key is only made by its person, or by the system. Raises Refusal not_allowed, unknown_person, unknown_scope,
    bad_amount, name_missing.
    """
    _own(actor_id, person_id)
    if session.get(Person, person_id) is None:
        raise Refusal("unknown_person", person=person_id)
    if scope not in SCOPES:
        raise Refusal("unknown_scope", scope=scope, known=", ".join(SCOPES))
    if not name.strip():
        raise Refusal("name_missing")
    limit = 0 if scope == "submit" and limit_cents is None else limit_cents
    if limit is not None and limit < 0:
        raise Refusal("bad_amount", amount_cents=limit)
    secret = secrets.token_urlsafe(32)
    row = ApiToken(
        id=new_id(),
        person_id=person_id,
        name=name.strip()[:60],
        scope=scope,
        token_hash=hash_token(secret),
        limit_cents=limit,
        created_at=now,
    )
    session.add(row)
    session.flush()
    audit.record(session, now, actor_id, "made_key", "person", person_id, key=row.id, scope=scope)
    return row, secret


def verify(session: Session, secret: str) -> ApiToken:
    """The key of a secret. Raises Refusal bad_token for an unknown or revoked one, or one of an archived person."""
    row = session.scalars(select(ApiToken).where(ApiToken.token_hash == hash_token(secret))).first()
    if row is None or row.revoked_at is not None:
        raise Refusal("bad_token")
    person = session.get(Person, row.person_id)
    if person is None or person.archived_at is not None:
        raise Refusal("bad_token")
    return row


def note_use(session: Session, now: datetime, token_id: str) -> None:
    """Remember when the key was last used, to the minute."""
    row = session.get(ApiToken, token_id)
    if row is not None and (row.last_used_at is None or now - row.last_used_at > USE_NOTED_EVERY):
        row.last_used_at = now


def revoke(session: Session, now: datetime, actor_id: str, *, token_id: str) -> None:
    """End a key. Raises Refusal not_allowed, unknown_token."""
    row = session.get(ApiToken, token_id)
    if row is None:
        raise Refusal("unknown_token")
    _own(actor_id, row.person_id)
    if row.revoked_at is None:
        row.revoked_at = now
        audit.record(session, now, actor_id, "revoked_key", "person", row.person_id, key=row.id)


def of_person(session: Session, person_id: str) -> list[ApiToken]:
    """The person's keys that are not revoked, oldest first."""
    query = select(ApiToken).where(ApiToken.person_id == person_id, ApiToken.revoked_at.is_(None))
    return list(session.scalars(query.order_by(ApiToken.created_at)))


def hash_token(secret: str) -> str:
    """SHA-256, hex: a secret is 256 random bits, so that no salt is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _own(actor_id: str, person_id: str) -> None:
    if actor_id != person_id and not actor_id.startswith("system:"):
        raise Refusal("not_allowed")
