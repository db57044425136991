"""The first page: the place for who is not signed in, and today for who is. Language, and the word on accessibility."""

from typing import Any

from flask import Blueprint, make_response, redirect, render_template, request
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from fablab.billing import ledger
from fablab.notices import Notice
from fablab.queue import summaries
from fablab.sentences import LANGUAGES
from fablab.space.tables import Person
from fablab.web import reads
from fablab.web.context import acting, now, parts, reading, site_id, viewer
from fablab.web.i18n import COOKIE
from fablab.web.overlay import machine_now
from fablab.web.pages.jobs.todo import waits_for_hands
from fablab.web.pages.login.routes import safe_path

blueprint = Blueprint("home", __name__, template_folder="templates")

UNFINISHED = ("checking", "draft", "queued", "held", "assigned", "running", "cancelling", "to_judge", "needs_attention")
A_YEAR_S = 365 * 24 * 3600


@blueprint.get("/")
def index() -> str:
    """Today, or a welcome."""
    if not viewer().signed_in:
        return render_template("home/welcome.html")
    with reading() as session:
        jobs, _ = summaries.job_list(session, now(), asker=viewer().person_id, states=UNFINISHED, limit=20)
        return render_template(
            "home/today.html",
            jobs=jobs,
            money=ledger.person_money(session, viewer().person_id),
            booked=reads.bookings_to_come(session, now(), site_id(), person_id=viewer().person_id),
            notices=unread(session),
            hands=_hands(session) if viewer().staff else [],
        )


@blueprint.post("/language")
def language() -> Response:
    """Remember the language that was chosen, in a cookie and for the person."""
    wanted = request.form.get("language", "")
    response = make_response(redirect(safe_path(request.form.get("next")), 303))
    if wanted in LANGUAGES:
        secure = parts().config.web.public_url.startswith("https://")
        response.set_cookie(COOKIE, wanted, max_age=A_YEAR_S, samesite="Lax", secure=secure, httponly=True)
        if viewer().signed_in:
            with acting() as session:
                person = session.get(Person, viewer().person_id)
                if person is not None:
                    person.locale = wanted
    return response


@blueprint.get("/accessibility")
def accessibility() -> str:
    """The statement that the law asks for."""
    return render_template("home/accessibility.html")


def unread(session: Session) -> list[Notice]:
    """What the viewer was told and has not yet marked as read, newest first."""
    query = select(Notice).where(Notice.person_id == viewer().person_id, Notice.read_at.is_(None))
    return list(session.scalars(query.order_by(Notice.created_at.desc()).limit(10)))


def _hands(session: Session) -> list[dict[str, Any]]:
    """Machines that wait for somebody's hands: a go, a plate, a decision."""
    wall = summaries.wall(session, now(), site_id())
    return [machine for machine in map(machine_now, wall) if waits_for_hands(machine)]
