"""What a person sees and changes about herself: money, receipts, keys for programs, password, messages."""

import secrets

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask import session as cookie
from flask_security import login_user
from sqlalchemy import ColumnElement, select, update
from werkzeug.wrappers import Response

from fablab import audit
from fablab.billing import ledger
from fablab.ids import new_id
from fablab.notices import Notice
from fablab.sentences import Refusal
from fablab.space.tables import ApiToken
from fablab.web import accounts, fields, reads
from fablab.web.context import acting, now, parts, reading, viewer, zone
from fablab.web.security import SignedIn, hash_token
from fablab.web.tables import Account
from fablab.web.text import gettext

blueprint = Blueprint("account", __name__, template_folder="templates")

SCOPES = ("submit", "full")
MOST_KEYS = 20


@blueprint.get("/account")
def index() -> str:
    """Her page."""
    return _page(None)


@blueprint.get("/account/receipts/<entry_id>")
def receipt(entry_id: str) -> str:
    """One movement of money in words; hers, or anybody's for who may see the books."""
    with reading() as session:
        found = reads.receipt(session, entry_id)
        owners = set() if found is None else {account.owner for account, _ in found[1]}
        if found is None or not (viewer().person_id in owners or viewer().has("manager", "treasurer", "coordinator")):
            raise Refusal("unknown_receipt")
        return render_template("account/receipt.html", entry=found[0], sides=found[1])


@blueprint.post("/account/password")
def password() -> Response | tuple[str, int]:
    """A new password; every other session of hers ends."""
    old, new = str(request.form.get("old") or ""), str(request.form.get("new") or "")
    try:
        with acting() as session:
            accounts.change_password(session, now(), viewer().account_id, old, new)
    except Refusal as refusal:
        return _page(refusal), 400
    with reading() as session:
        account = session.get_one(Account, viewer().account_id)
    cookie.clear()
    cookie.permanent = True
    login_user(SignedIn(account), remember=False)
    flash(gettext("Your password is changed. Other devices were signed out."))
    return redirect(url_for("account.index"), 303)


@blueprint.post("/account/keys")
def create_key() -> Response | tuple[str, int]:
    """A key for a slicer or a program; it is shown once, now."""
    form = request.form
    try:
        scope = fields.one_of(form, "scope", SCOPES)
        limit = fields.cents(form, "limit", high=1_000_00)
        name = fields.needed(form, "name", longest=80)
    except Refusal as refusal:
        return _page(refusal), 400
    token = f"fablab_{secrets.token_urlsafe(32)}"
    if scope == "submit" and limit is None:
        limit = 0
    with acting() as session:
        key = ApiToken(
            id=new_id(), person_id=viewer().person_id, name=name, scope=scope, token_hash=hash_token(token),
            limit_cents=limit, created_at=now(),
        )  # fmt: skip
        count = len(session.scalars(select(ApiToken.id).where(*_live_keys())).all())
        if count >= MOST_KEYS:
            raise Refusal("too_many_keys", most=MOST_KEYS)
        session.add(key)
        audit.record(session, now(), viewer().person_id, "key.create", "key", key.id, scope=scope)
    page = render_template("account/key.html", token=token, name=name, scope=scope, limit=limit, url=_public_url())
    return make_response(page)


@blueprint.post("/account/keys/<key_id>/revoke")
def revoke_key(key_id: str) -> Response:
    """The key opens nothing from now on."""
    with acting() as session:
        key = session.get(ApiToken, key_id)
        if key is None or key.person_id != viewer().person_id:
            raise Refusal("unknown_key")
        key.revoked_at = key.revoked_at or now()
        audit.record(session, now(), viewer().person_id, "key.revoke", "key", key_id)
    flash(gettext("The key is revoked."))
    return redirect(url_for("account.index"), 303)


@blueprint.post("/account/read")
def read() -> Response:
    """She has read her messages."""
    with acting() as session:
        session.execute(
            update(Notice).where(Notice.person_id == viewer().person_id, Notice.read_at.is_(None)).values(read_at=now())
        )
    return redirect(url_for("home.index"), 303)


def _public_url() -> str:
    return parts().config.web.public_url.rstrip("/")


def _live_keys() -> tuple[ColumnElement[bool], ...]:
    return (ApiToken.person_id == viewer().person_id, ApiToken.revoked_at.is_(None))


def _page(problem: Refusal | None) -> str:
    with reading() as session:
        today = now().astimezone(zone()).date()
        keys = session.scalars(select(ApiToken).where(*_live_keys()).order_by(ApiToken.created_at)).all()
        return render_template(
            "account/index.html",
            problem=problem,
            money=ledger.person_money(session, viewer().person_id),
            entries=reads.entries_of(session, viewer().person_id),
            membership=reads.membership(session, viewer().person_id, today),
            authorisations=reads.authorisations(session, viewer().person_id),
            keys=keys,
            today=today,
            url=_public_url(),
        )
