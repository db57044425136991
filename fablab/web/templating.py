"""What every template may use: the viewer, the site, menus, words for states. Shows; decides nothing."""

from typing import Any

from flask import Flask, request, url_for

from fablab.web import words
from fablab.web.context import parts, viewer
from fablab.web.pages.machines.show import big_state
from fablab.web.permissions import ENDPOINTS
from fablab.web.text import gettext

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
        amount_kind=words.amount_kind,
        booking_span=words.booking_span,
        entry_word=words.entry_word,
        hazard_line=words.hazard_line,
        heat=words.heat,
        job_word=words.job_word,
        level_word=words.level_word,
        machine_state=big_state,
        machine_word=words.machine_word,
        may_open=may_open,
        money_account_word=words.money_account_word,
        price_line=words.price_line,
        role_word=words.role_word,
        run_word=words.run_word,
        size_of=words.size_of,
        why_word=words.why_word,
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
                endpoint.endswith(".index") and here == endpoint.split(".")[0] and request.endpoint not in MENU
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
