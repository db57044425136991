"""Words on screens for states, plates, roles and lines of a price. One place, so that a lab can change them."""

from datetime import datetime
from typing import Any

from flask_babel import gettext, ngettext, pgettext

from fablab import sentences
from fablab.web.i18n import clock_time, day, grams, language, length, money, number, say


def job_word(state: str, held_for: str | None = None) -> str:
    """The state of a job as the places say it."""
    words = {
        "checking": gettext("being checked"),
        "draft": gettext("draft"),
        "refused": gettext("refused"),
        "queued": gettext("waiting"),
        "held": gettext("to be decided"),
        "assigned": gettext("ready to start"),
        "running": gettext("in progress"),
        "cancelling": gettext("being cancelled"),
        "to_judge": gettext("to be looked at"),
        "needs_attention": gettext("needs a person"),
        "done": gettext("finished"),
        "failed": gettext("went wrong"),
        "cancelled": gettext("cancelled"),
    }
    return words.get(state, state)


def held_word(held_for: str | None) -> str:
    """What a held job waits for."""
    words = {
        "approval": gettext("somebody of the place must agree first"),
        "payer": gettext("the person who pays must agree first"),
        "stock": gettext("there is not enough material"),
        "membership": gettext("the membership must be brought up to date"),
        "quote_lapsed": gettext("the price is too old and must be made again"),
        "staff": gettext("put aside by the place"),
        "restored": gettext("after a restored backup somebody must look first"),
    }
    return words.get(held_for or "", gettext("somebody of the place must decide"))


def run_word(state: str, result: str | None = None) -> str:
    """The state of one attempt."""
    if state == "ended":
        results = {
            "succeeded": gettext("ran to its end"),
            "failed": gettext("stopped by a fault"),
            "stopped": gettext("stopped by a person"),
        }
        return results.get(result or "", gettext("ended"))
    words = {
        "claimed": gettext("machine found"),
        "preparing": gettext("getting ready"),
        "prepared": gettext("ready to start"),
        "starting": gettext("starting"),
        "running": gettext("in progress"),
        "paused": gettext("paused"),
        "lost": gettext("no news"),
        "released": gettext("did not start"),
    }
    return words.get(state, state)


def machine_word(state: str) -> str:
    """The state of a machine, big on its card."""
    words = {
        "offline": gettext("Out of reach"),
        "connecting": gettext("Connecting"),
        "idle": gettext("Free"),
        "preparing": gettext("Getting ready"),
        "prepared": gettext("Ready to start"),
        "running": gettext("At work"),
        "paused": gettext("Paused"),
        "stopping": gettext("Stopping"),
        "halted": gettext("Halted"),
        "outage": gettext("Out of order"),
        "latched": gettext("Stopped"),
        "to_clear": gettext("Plate to be emptied"),
        "unsure": gettext("Plate to be looked at"),
        "on": gettext("On"),
        "off": gettext("Off"),
        "unknown": gettext("No news yet"),
    }
    return words.get(state, state)


def plate_word(plate: str) -> str:
    words = {
        "free": gettext("plate free"),
        "to_clear": gettext("plate to be emptied"),
        "unsure": gettext("plate to be looked at"),
    }
    return words.get(plate, plate)


def role_word(role: str) -> str:
    words = {
        "visitor": gettext("visitor"),
        "member": gettext("member"),
        "volunteer": gettext("volunteer"),
        "technician": gettext("technician"),
        "manager": gettext("fablab manager"),
        "treasurer": gettext("treasurer"),
        "coordinator": gettext("network coordinator"),
        "administrator": gettext("administrator"),
    }
    return words.get(role, role)


def level_word(level: str) -> str:
    """What somebody may do on a machine."""
    words = {
        "accompanied": gettext("accompanied on"),
        "alone": gettext("on her own on"),
        "teach": gettext("may teach on"),
    }
    return words.get(level, level)


def amount_kind(kind: str | None) -> str:
    """Where a figure comes from."""
    words = {
        "measured": gettext("measured"),
        "commanded": gettext("commanded by the lines that the machine accepted"),
        "declared": gettext("declared by a person"),
        "estimated": gettext("estimated"),
    }
    return words.get(kind or "", kind or "")


def plate_question(state: str) -> bool:
    return state in {"to_clear", "unsure"}


def price_line(line: dict[str, Any]) -> str:
    """A line of a price or a receipt: what, how much of it, at which rate, and why."""
    code = str(line.get("code") or line.get("kind") or "")
    quantity, unit = line.get("quantity"), line.get("unit")
    shown = ""
    if quantity is not None:
        if unit in {"mg", "milligram"}:
            shown = grams(float(quantity) / 1000)
        elif unit in {"s", "second"}:
            shown = length(float(quantity))
        else:
            shown = number(float(quantity))
    words = {
        "material": gettext("Material"),
        "machine": gettext("Machine time"),
        "time": gettext("Machine time"),
        "setup": gettext("Setting up"),
        "minimum": gettext("Minimum price"),
        "ceiling": gettext("Borne by the place: never above the announced price"),
        "failed_part": gettext("Failed part: the place's rule"),
    }
    name = words.get(code, code)
    return f"{name}, {shown}" if shown else name


def hazard_line(hazard: dict[str, Any]) -> str:
    """A finding in a file, in words, with its line."""
    text = say(str(hazard.get("reason") or hazard.get("code")), {**hazard.get("data", {}), **hazard})
    line = hazard.get("line")
    return gettext("Line %(line)s: %(text)s", line=line, text=text) if line else text


def booking_span(starts_at: datetime, ends_at: datetime) -> str:
    """From when to when, in words."""
    return gettext(
        "%(day)s, from %(start)s to %(end)s", day=day(starts_at), start=clock_time(starts_at), end=clock_time(ends_at)
    )


def copies(count: int) -> str:
    return ngettext("%(num)s piece", "%(num)s pieces", count)


__all__ = [
    "amount_kind",
    "booking_span",
    "copies",
    "hazard_line",
    "held_word",
    "job_word",
    "language",
    "level_word",
    "machine_word",
    "money",
    "pgettext",
    "plate_question",
    "plate_word",
    "price_line",
    "role_word",
    "run_word",
    "sentences",
]
