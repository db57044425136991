"""The wall of all machines, and the page of one: what it does now, and what a person standing there can say to it."""

from collections.abc import Callable
from datetime import datetime
from io import BytesIO

import segno
from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from fablab.queue import claims, runs, summaries
from fablab.web import fields
from fablab.web.context import acting, now, parts, reading, site_id, viewer
from fablab.web.fragments import fragment
from fablab.web.overlay import machine_now
from fablab.web.pages.machines.show import card_version, lots_for, machine_page
from fablab.web.text import gettext

blueprint = Blueprint("machines", __name__, template_folder="templates")

LONGEST_ON_MIN = 240


@blueprint.get("/machines")
def index() -> str:
    """All machines, live."""
    with reading() as session:
        wall = [machine_now(machine) for machine in summaries.wall(session, now(), site_id())]
        waiting = summaries.queue_list(session, now(), site_id()) if viewer().staff else []
    return render_template("machines/index.html", machines=wall, waiting=waiting, card_version=card_version)


@blueprint.get("/machines/<machine_id>/card")
def card(machine_id: str) -> Response:
    """One card of the wall."""
    with reading() as session:
        machine = machine_now(summaries.machine_summary(session, now(), machine_id))
    return fragment("machines/live_card.html", card_version(machine), machine=machine)


@blueprint.get("/machines/<machine_id>")
def show(machine_id: str) -> str:
    """One machine: what to do here and now, and what happens when the host dies."""
    with reading() as session:
        return render_template(
            "machines/show.html", **machine_page(session, machine_id), lots=lots_for(session, site_id())
        )


@blueprint.get("/machines/<machine_id>/live")
def live(machine_id: str) -> Response:
    """The parts of the machine's page that move."""
    acts = request.args.get("part") == "acts"
    with reading() as session:
        page = machine_page(session, machine_id)
    name = "machines/part_acts.html" if acts else "machines/part_live.html"
    return fragment(name, page["acts_version"] if acts else page["live_version"], **page)


@blueprint.get("/machines/<machine_id>/qr.svg")
def qr(machine_id: str) -> Response:
    """The code to be stuck on the machine: it leads to this page."""
    with reading() as session:
        summaries.machine_summary(session, now(), machine_id)
    address = parts().config.web.public_url.rstrip("/") + url_for("machines.show", machine_id=machine_id)
    picture = BytesIO()
    segno.make(address, error="m").save(picture, kind="svg", scale=6, border=2)
    response = make_response(picture.getvalue())
    response.headers["Content-Type"] = "image/svg+xml"
    return response


@blueprint.post(
    "/machines/<machine_id>/runs/<run_id>/<any(go, pause, resume, cancel, judge, begin, finish, attest_off):act>"
)
def run(machine_id: str, run_id: str, act: str) -> Response:
    """What a person says about the attempt on this machine."""
    form, actor = request.form, viewer().person_id
    with acting() as session:
        if act == "go":
            runs.go(session, now(), actor, run_id, token=fields.optional(form, "token"))
        elif act == "judge":
            verdict = fields.one_of(form, "verdict", ("good", "failed", "unknown"))
            shelf, again = fields.optional(form, "shelf", longest=40), fields.ticked(form, "again")
            runs.judge(session, now(), actor, run_id, verdict=verdict, shelf=shelf, again=again)
        elif act == "finish":
            minutes = fields.whole(form, "minutes", low=0, high=14_400)
            grams = fields.decimal(form, "grams", low=0, high=20_000)
            failed = fields.ticked(form, "failed")
            runs.finish(session, now(), actor, run_id, minutes=minutes, grams=grams, failed=failed)
        else:
            _plain_verb(act)(session, now(), actor, run_id)
    flash(said(act))
    return _back(machine_id)


@blueprint.post("/machines/<machine_id>/cleared")
def cleared(machine_id: str) -> Response:
    """A named person says that the plate is free."""
    with acting() as session:
        claims.cleared(session, now(), viewer().person_id, machine_id, run_id=fields.optional(request.form, "run"))
    flash(gettext("Noted: the plate is free."))
    return _back(machine_id)


@blueprint.post("/machines/<machine_id>/emergency-stop")
def emergency_stop(machine_id: str) -> Response:
    """Stop at once. Whether the machine obeyed is shown on its page."""
    with acting() as session:
        claims.emergency_stop(session, now(), viewer().person_id, machine_id)
    return _back(machine_id)


@blueprint.post("/machines/<machine_id>/release")
def release(machine_id: str) -> Response:
    """Take the stop off again."""
    with acting() as session:
        claims.release_stop(session, now(), viewer().person_id, machine_id)
    flash(gettext("The stop is taken off."))
    return _back(machine_id)


@blueprint.post("/machines/<machine_id>/outage")
def outage(machine_id: str) -> Response:
    """Out of order, or usable again."""
    with acting() as session:
        if fields.ticked(request.form, "over"):
            claims.end_outage(session, now(), viewer().person_id, machine_id)
        else:
            reason = fields.needed(request.form, "reason", longest=300)
            claims.declare_outage(session, now(), viewer().person_id, machine_id, reason)
    flash(gettext("Noted."))
    return _back(machine_id)


@blueprint.post("/machines/<machine_id>/lot")
def lot(machine_id: str) -> Response:
    """Which spool is in."""
    with acting() as session:
        claims.load_lot(session, now(), viewer().person_id, machine_id, fields.optional(request.form, "lot"))
    flash(gettext("Noted."))
    return _back(machine_id)


@blueprint.post("/machines/<machine_id>/power")
def power(machine_id: str) -> Response:
    """On for some minutes, or off."""
    with acting() as session:
        if fields.one_of(request.form, "power", ("on", "off")) == "on":
            minutes = fields.whole(request.form, "minutes", low=1, high=LONGEST_ON_MIN) or 30
            claims.switch_on(session, now(), viewer().person_id, machine_id, minutes * 60)
        else:
            claims.switch_off(session, now(), viewer().person_id, machine_id)
    return _back(machine_id)


def said(act: str) -> str:
    """What the page answers to an act."""
    words = {
        "go": gettext("It starts."),
        "begin": gettext("Noted: it has started."),
        "pause": gettext("The machine is asked to pause."),
        "resume": gettext("The machine is asked to go on."),
        "cancel": gettext("The machine is asked to stop."),
        "judge": gettext("Thank you. The plate is free."),
        "finish": gettext("Noted: it has ended."),
        "attest_off": gettext("Noted: the machine is off."),
    }
    return words[act]


def _plain_verb(act: str) -> Callable[[Session, datetime, str, str], None]:
    return {
        "begin": runs.begin,
        "pause": runs.pause,
        "resume": runs.resume,
        "cancel": runs.cancel,
        "attest_off": runs.attest_off,
    }[act]


def _back(machine_id: str) -> Response:
    """To the page that the person came from: the job's, where she is, else the machine's."""
    back = request.form.get("back", "")
    if back.startswith("/jobs/"):
        return redirect(back, 303)
    return redirect(url_for("machines.show", machine_id=machine_id), 303)
