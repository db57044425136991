"""Who is asking, and the headers of every answer: sessions (Flask-Security), bearer tokens, CSRF, content policy.

What each endpoint asks for is a table in permissions.py; here it is enforced, and an endpoint without entry is closed.
"""

import hashlib
from datetime import timedelta
from typing import Any

from flask import Flask, Response, g, redirect, request
from flask_login import current_user
from flask_security import Security, UserDatastore
from flask_security.core import RoleMixin, UserMixin
from flask_wtf.csrf import CSRFProtect
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from fablab.config import Config
from fablab.db import Database
from fablab.sentences import Refusal
from fablab.space.tables import ApiToken
from fablab.web.context import NOBODY, Viewer, find_viewer, parts, viewer
from fablab.web.permissions import ENDPOINTS, Rule, Who
from fablab.web.tables import Account

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; manifest-src 'self'"
)
TOKEN_USE_NOTED_EVERY = timedelta(minutes=1)


class SignedIn(UserMixin):
    """The account of this session as Flask-Security wants to see it: values, no row."""

    fs_uniquifier = ""

    def __init__(self, account: Account) -> None:
        self.account_id = account.id
        self.person_id = account.person_id
        self.fs_uniquifier = account.uniquifier
        self.email = account.email or ""
        self.active = account.active
        self.roles: list[Any] = []  # roles are grants to the person, not to her account

    @property
    def is_active(self) -> bool:
        return self.active


class NoRole(RoleMixin):
    """Flask-Security's roles are not used."""

    name = ""


class AccountStore(UserDatastore):
    """Finds accounts for Flask-Security, with a short session each time."""

    def __init__(self, database: Database) -> None:
        super().__init__(SignedIn, NoRole)
        self._database = database

    def find_user(self, case_insensitive: bool = False, **by: Any) -> SignedIn | None:
        if set(by) != {"fs_uniquifier"}:
            return None
        with self._database.read() as session:
            account = session.scalar(select(Account).where(Account.uniquifier == by["fs_uniquifier"]))
            return None if account is None else SignedIn(account)

    def find_role(self, role: str) -> None:
        return None

    def put(self, model: object) -> object:
        return model

    def commit(self) -> None:
        """Nothing is written through this store."""


def set_up(app: Flask, config: Config, database: Database) -> None:
    """Sessions, CSRF, the permission check before each request, and the headers after it."""
    https = config.web.public_url.startswith("https://")
    app.config.update(
        SESSION_COOKIE_NAME="fablab",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=https,
        PERMANENT_SESSION_LIFETIME=timedelta(days=14),
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session: a form left open over lunch still works
        WTF_CSRF_SSL_STRICT=False,
        SECURITY_PASSWORD_SALT="",
        SECURITY_PASSWORD_HASH="argon2",  # noqa: S106  (the name of a method)
        SECURITY_PASSWORD_SINGLE_HASH=True,
        SECURITY_USE_REGISTER_V2=True,
        SECURITY_CSRF_IGNORE_UNAUTH_ENDPOINTS=False,
        REMEMBER_COOKIE_SECURE=https,
        REMEMBER_COOKIE_SAMESITE="Lax",
    )
    app.extensions["fablab_csrf"] = csrf = CSRFProtect()
    app.before_request(check)
    csrf.init_app(app)
    Security(app, AccountStore(database), register_blueprint=False)
    app.after_request(lambda response: headers(response, https))


def check() -> AnyResponse | None:
    """Find out who asks, and whether she may. Raises Refusal not_signed_in, not_allowed, bad_token, scope_too_small."""
    endpoint = request.endpoint
    if endpoint is None:
        g.viewer = _from_session()
        return None  # no such page: 404, told in the reader's language
    rule = ENDPOINTS.get(endpoint)
    if rule is None:
        raise Refusal("not_allowed")
    g.viewer = _from_token(rule) if rule.who in {Who.TOKEN, Who.SUBMIT_TOKEN} else _from_session()
    if rule.who in {Who.ANYONE, Who.AGENT}:
        return None
    if not viewer().signed_in:
        if (
            request.method == "GET"
            and rule.who not in {Who.TOKEN, Who.SUBMIT_TOKEN}
            and not request.headers.get("HX-Request")
        ):
            return redirect(f"/login?next={request.full_path.rstrip('?')}", 303)
        raise Refusal("not_signed_in")
    if rule.roles and not viewer().has(*rule.roles):
        raise Refusal("not_allowed")
    return None


def headers(response: Response, https: bool) -> Response:
    """The headers of every answer; what a page itself set stays."""
    response.headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=()"
    if https:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def hash_token(token: str) -> str:
    """How a token is kept: SHA-256, hex. Tokens are 256 random bits, so that no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def bearer() -> str:
    """The token of the request, from `Authorization: Bearer` or `X-Api-Key`; empty where there is none."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return request.headers.get("X-Api-Key", "").strip()


def _from_session() -> Viewer:
    user = current_user._get_current_object() if current_user else None
    if not isinstance(user, SignedIn):
        return NOBODY
    with parts().database.read() as session:
        return find_viewer(session, parts().config.site.id, user.person_id, user.account_id)


def _from_token(rule: Rule) -> Viewer:
    token = bearer()
    if not token:
        raise Refusal("not_signed_in")
    with parts().database.read() as session:
        row = session.scalar(select(ApiToken).where(ApiToken.token_hash == hash_token(token)))
        if row is None or row.revoked_at is not None:
            raise Refusal("bad_token")
        if row.scope != "full" and rule.who is not Who.SUBMIT_TOKEN:
            raise Refusal("scope_too_small")
        found = find_viewer(session, parts().config.site.id, row.person_id)
    if not found.signed_in:
        raise Refusal("bad_token")
    _note_use(row)
    return Viewer(
        person_id=found.person_id,
        name=found.name,
        roles=found.roles,
        locale=found.locale,
        token_id=row.id,
        token_scope=row.scope,
        limit_cents=row.limit_cents,
    )


def _note_use(row: ApiToken) -> None:
    moment = parts().clock.now()
    if row.last_used_at is None or moment - row.last_used_at > TOKEN_USE_NOTED_EVERY:
        with parts().database.write() as session:
            _touch(session, row.id)


def _touch(session: Session, token_id: str) -> None:
    token = session.get(ApiToken, token_id)
    if token is not None:
        token.last_used_at = parts().clock.now()
