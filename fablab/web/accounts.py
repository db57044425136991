"""Verbs of signing in: make an account, check a password, slow down who guesses. Knows no request and no page."""

import secrets
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from fablab import audit
from fablab.ids import new_id
from fablab.sentences import Refusal
from fablab.space.tables import Person
from fablab.web.tables import Account, SignInFailure

MIN_PASSWORD = 10
"""Shortest password, in characters: long and easy to say beats short and odd."""
FREE_TRIES = 5
"""Wrong passwords before a login has to wait; an address, with a class behind it, four times as many."""
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(minutes=15)
FORGET_AFTER = timedelta(hours=1)

_hasher = PasswordHasher()
_NOBODY = _hasher.hash(secrets.token_hex(8))


def create_account(
    session: Session, now: datetime, actor: str, *, person_id: str, login: str, password: str, email: str | None = None
) -> str:
    """Give a person a way to sign in, and return the account's id.

    Raises Refusal: unknown_person, account_exists, login_missing, login_taken, password_too_short.
    """
    login, email = login.strip().lower(), (email or "").strip().lower() or None
    person = session.get(Person, person_id)
    if person is None:
        raise Refusal("unknown_person")
    if not login:
        raise Refusal("login_missing")
    if session.scalar(select(Account.id).where(Account.person_id == person_id)) is not None:
        raise Refusal("account_exists", name=person.name)
    names = [name for name in (login, email) if name]
    if session.scalar(select(Account.id).where(or_(Account.login.in_(names), Account.email.in_(names)))) is not None:
        raise Refusal("login_taken", login=login)
    account = Account(
        id=new_id(),
        person_id=person_id,
        login=login,
        email=email,
        password_hash=hash_password(password),
        uniquifier=secrets.token_hex(16),
        created_at=now,
    )
    session.add(account)
    audit.record(session, now, actor, "account.create", "account", account.id, person=person_id)
    return account.id


def hash_password(password: str) -> str:
    """The argon2id hash of a password that is long enough. Raises Refusal password_too_short."""
    if len(password) < MIN_PASSWORD:
        raise Refusal("password_too_short", minimum=MIN_PASSWORD)
    return _hasher.hash(password)


def check_sign_in(session: Session, now: datetime, name: str, password: str, address: str) -> Account | None:
    """The account that `name` (login or e-mail) and `password` open, else None, which is counted against both.

    The caller commits also when the answer is None. Raises Refusal sign_in_later (data: seconds) for who must wait.
    """
    name = name.strip().lower()[:200]
    keys = {f"login:{name}": FREE_TRIES, f"address:{address}": FREE_TRIES * 4}
    for key in keys:
        row = session.get(SignInFailure, key)
        if row is not None and row.locked_until is not None and row.locked_until > now:
            raise Refusal("sign_in_later", seconds=int((row.locked_until - now).total_seconds()) + 1)
    account = session.scalar(select(Account).where(or_(Account.login == name, Account.email == name)))
    good = _fits(account.password_hash if account is not None else _NOBODY, password)
    if account is None or not good or not account.active:
        for key, free in keys.items():
            _count_failure(session, now, key, free)
        return None
    session.execute(delete(SignInFailure).where(SignInFailure.key == f"login:{name}"))
    account.signed_in_at = now
    if _hasher.check_needs_rehash(account.password_hash):
        account.password_hash = _hasher.hash(password)
    return account


def change_password(session: Session, now: datetime, account_id: str, old: str, new: str) -> str:
    """Change the password of who knows the old one; ends all other sessions. Returns the new uniquifier.

    Raises Refusal: wrong_password, password_too_short.
    """
    account = session.get(Account, account_id)
    if account is None or not _fits(account.password_hash, old):
        raise Refusal("wrong_password")
    return _set_password(session, now, account.person_id, account, new)


def reset_password(session: Session, now: datetime, actor: str, person_id: str, new: str) -> str:
    """Give a person a new password, by staff. Raises Refusal no_account, password_too_short."""
    account = session.scalar(select(Account).where(Account.person_id == person_id))
    if account is None:
        raise Refusal("no_account")
    return _set_password(session, now, actor, account, new)


def _set_password(session: Session, now: datetime, actor: str, account: Account, new: str) -> str:
    account.password_hash = hash_password(new)
    account.uniquifier = secrets.token_hex(16)
    session.execute(delete(SignInFailure).where(SignInFailure.key == f"login:{account.login}"))
    audit.record(session, now, actor, "account.password", "account", account.id)
    return account.uniquifier


def _fits(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def _count_failure(session: Session, now: datetime, key: str, free: int) -> None:
    row = session.get(SignInFailure, key)
    if row is None:
        row = SignInFailure(key=key, count=0, last_at=now)
        session.add(row)
    if now - row.last_at > FORGET_AFTER:
        row.count = 0
    row.count += 1
    row.last_at = now
    over = row.count - free
    row.locked_until = now + min(FIRST_WAIT * 2 ** min(over, 10), LONGEST_WAIT) if over >= 0 else None
