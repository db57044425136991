"""Signing in by login or e-mail, and out again. Guessing is slowed down by fablab.web.accounts."""

from urllib.parse import urlsplit

from flask import Blueprint, make_response, redirect, render_template, request, session, url_for
from flask_security import login_user, logout_user
from werkzeug.wrappers import Response

from fablab.sentences import Refusal
from fablab.web import accounts
from fablab.web.context import acting, now, viewer
from fablab.web.network import client_address
from fablab.web.security import SignedIn

blueprint = Blueprint("login", __name__, template_folder="templates")


@blueprint.get("/login")
def form() -> Response:
    """The form; who is signed in already is taken to the first page."""
    if viewer().signed_in:
        return redirect(url_for("home.index"), 303)
    return _page(None, 200)


@blueprint.post("/login")
def submit() -> Response:
    """Check login and password. A wrong one answers 401 with the form again, and never says which of both was wrong."""
    name, password = request.form.get("login", ""), request.form.get("password", "")
    try:
        with acting() as write:
            account = accounts.check_sign_in(write, now(), name, password, client_address())
    except Refusal as refusal:
        return _page(refusal, 429)
    if account is None:
        return _page(Refusal("wrong_sign_in"), 401)
    session.clear()  # nothing of the anonymous session survives: no fixation
    session.permanent = True
    login_user(SignedIn(account), remember=False)
    return redirect(safe_path(request.form.get("next")), 303)


@blueprint.post("/login/leave")
def leave() -> Response:
    """Sign out."""
    logout_user()
    session.clear()
    return redirect(url_for("home.index"), 303)


def safe_path(wanted: str | None) -> str:
    """A path of ours to go on to; anything else, another host above all, becomes the first page."""
    wanted = wanted or "/"
    parsed = urlsplit(wanted)
    ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and not parsed.netloc and not parsed.scheme
    return wanted if ours and "\n" not in wanted and "\r" not in wanted else "/"


def _page(problem: Refusal | None, status: int) -> Response:
    wanted = safe_path(request.values.get("next"))
    page = render_template("login/form.html", problem=problem, next=wanted, login=request.form.get("login", ""))
    return make_response(page, status)
