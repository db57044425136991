"""Bookings: a list first, then a form to keep a machine for oneself."""

from datetime import timedelta

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from fablab.bookings import bookings
from fablab.sentences import Refusal
from fablab.web import fields, reads
from fablab.web.context import acting, now, reading, site_id, viewer, zone
from fablab.web.text import gettext

blueprint = Blueprint("bookings", __name__, template_folder="templates")


@blueprint.get("/bookings")
def index() -> str:
    """Hers, then everybody's by time."""
    return _page(None)


@blueprint.post("/bookings")
def book() -> Response | tuple[str, int]:
    """Keep a machine from one hour to another."""
    form = request.form
    try:
        on, start, end = fields.needed_day(form, "day"), fields.hour(form, "start"), fields.hour(form, "end")
        starts_at, ends_at = fields.at(on, start, zone()), fields.at(on, end, zone())
        if ends_at <= starts_at:
            ends_at += timedelta(days=1)  # over midnight
        with acting() as session:
            bookings.book(
                session, now(), viewer().person_id, machine_id=fields.needed(form, "machine"),
                person_id=_for_whom(), starts_at=starts_at, ends_at=ends_at,
            )  # fmt: skip
    except Refusal as refusal:
        return _page(refusal), 409
    flash(gettext("Booked."))
    return redirect(url_for("bookings.index"), 303)


@blueprint.post("/bookings/<booking_id>/cancel")
def cancel(booking_id: str) -> Response:
    """Give the time back."""
    with acting() as session:
        bookings.cancel(session, now(), viewer().person_id, booking_id)
    flash(gettext("Cancelled."))
    return redirect(url_for("bookings.index"), 303)


def _for_whom() -> str:
    wanted = fields.optional(request.values, "for")
    if wanted and wanted != viewer().person_id and not viewer().staff:
        raise Refusal("not_allowed")
    return wanted or viewer().person_id


def _page(problem: Refusal | None) -> str:
    with reading() as session:
        return render_template(
            "bookings/index.html",
            problem=problem,
            mine=reads.bookings_to_come(session, now(), site_id(), person_id=viewer().person_id),
            every=reads.bookings_to_come(session, now(), site_id()),
            machines=reads.machines(session, site_id()),
            values=request.form if request.method == "POST" else request.args,
            today=now().astimezone(zone()).date(),
        )
