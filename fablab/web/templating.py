"""What every template may use: the viewer, the site, menus, words for states. Shows; decides nothing."""

from typing import Any

from flask import Flask, request, url_for
from flask_babel import gettext

from fablab.web.context import parts, viewer
from fablab.web.permissions import ENDPOINTS
from fablab.web.words import (
    amount_kind,
    booking_span,
    hazard_line,
    job_word,
    machine_word,
    plate_word,
    price_line,
    role_word,
    run_word,
)

MENU = (
    "home.index",
    "jobs.index",
    "machines.index",
    "bookings.index",
    "jobs.queue",
    "people.index",
    "stock.index",
    "desk.index",
    "account.index",
)


def set_up(app: Flask) -> None:
    """Give the templates their globals."""
    app.context_processor(_about)
    app.jinja_env.globals.update(
        amount_kind=amount_kind,
        booking_span=booking_span,
        hazard_line=hazard_line,
        job_word=job_word,
        machine_word=machine_word,
        may_open=may_open,
        plate_word=plate_word,
        price_line=price_line,
        role_word=role_word,
        run_word=run_word,
    )
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True


def may_open(endpoint: str) -> bool:
    """Whether the viewer passes the outer door of an endpoint: what she may not open is not offered."""
    rule = ENDPOINTS.get(endpoint)
    if rule is None:
        return False
    return not rule.roles or viewer().has(*rule.roles)


def menu() -> list[dict[str, Any]]:
    """The places of the viewer, in the order in which she needs them."""
    here = request.blueprint
    items = []
    for endpoint in MENU:
        if may_open(endpoint):
            on = request.endpoint == endpoint or (
                endpoint.endswith(".index")
                and here == endpoint.split(".")[0]
                and request.endpoint not in MENU
            )
            items.append({"url": url_for(endpoint), "name": _menu_name(endpoint), "on": on})
    return items


def _menu_name(endpoint: str) -> str:
    names = {
        "home.index": gettext("Today"),
        "jobs.index": gettext("My work"),
        "machines.index": gettext("Machines"),
        "bookings.index": gettext("Bookings"),
        "jobs.queue": gettext("To do"),
        "people.index": gettext("People"),
        "stock.index": gettext("Material"),
        "desk.index": gettext("Desk"),
        "account.index": gettext("My account"),
    }
    return names[endpoint]


def _about() -> dict[str, Any]:
    site = parts().config.site
    return {"viewer": viewer(), "site": site, "menu": menu() if viewer().signed_in else []}
