"""Words on screens for states, plates, roles and lines of a price. One place, so that a lab can change them."""

from datetime import datetime
from typing import Any

from fablab import sentences
from fablab.web.i18n import clock_time, day, grams, language, length, number, say
from fablab.web.text import gettext


def job_word(state: str, held_for: str | None = None) -> str:
    """The state of a job as the places say it; a held one says for whom."""
    if state == "held" and held_for == "staff":
        return gettext("put aside")
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
        "commanded": gettext("commanded: what the lines that the machine accepted asked for"),
        "declared": gettext("declared by a person"),
        "estimated": gettext("estimated"),
    }
    return words.get(kind or "", kind or "")


def price_line(line: dict[str, Any]) -> str:
    """A line of a price or a receipt: what, and how much of it."""
    code, quantity, unit = str(line.get("code") or ""), line.get("quantity"), line.get("unit")
    words = {
        "material": gettext("Material"),
        "machine_time": gettext("Machine time"),
        "setup": gettext("Setting up"),
        "minimum": gettext("Up to the lowest price of this machine"),
        "over_ceiling": gettext("Borne by the place: never above the announced price"),
        "failed_part": gettext("Failed part: the rule of the house"),
    }
    name = words.get(code, code)
    if quantity is None or unit not in {"mg", "s"}:
        return name
    return f"{name}, {grams(float(quantity) / 1000) if unit == 'mg' else length(float(quantity))}"


def why_word(why: str, data: dict[str, Any] | None = None) -> str:
    """Why a line costs what it costs, where a sentence is known for it."""
    return say(f"why_{why}", data) if sentences.has_sentence(f"why_{why}", language()) else ""


def entry_word(kind: str) -> str:
    """What a movement of money was."""
    words = {
        "charge": gettext("Made for you"),
        "top_up": gettext("Wallet topped up"),
        "desk_payment": gettext("Paid at the desk"),
        "refund": gettext("Given back"),
        "cash_out": gettext("Paid out"),
        "adjustment": gettext("Correction"),
        "reversal": gettext("Undone"),
    }
    return words.get(kind, kind)


def money_account_word(kind: str) -> str:
    """An account of the place or of a person."""
    words = {
        "member": gettext("wallet"),
        "to_pay_at_desk": gettext("to pay at the desk"),
        "cash": gettext("cash box"),
        "card": gettext("card"),
        "bank": gettext("bank"),
        "revenue_machine": gettext("machine time"),
        "revenue_material": gettext("material"),
        "revenue_other": gettext("other"),
        "adjustment": gettext("correction"),
        "organisation": gettext("organisation"),
    }
    return words.get(kind, kind)


def heat(temperatures: dict[str, Any]) -> list[tuple[str, str]]:
    """Temperatures in words: nozzle, bed, chamber; with what is asked for."""
    names = {"tool0": gettext("nozzle"), "bed": gettext("bed"), "chamber": gettext("chamber")}
    shown = []
    for name, value in temperatures.items():
        actual = value["actual"] if isinstance(value, dict) else value.actual
        target = value["target"] if isinstance(value, dict) else value.target
        word = names.get(name) or gettext("nozzle %(n)s", n=name.removeprefix("tool"))
        shown.append((word, f"{actual:.0f}" + (f" / {target:.0f}" if target else "") + "\u00a0°C"))
    return shown


def size_of(box: list[list[float]] | None) -> str | None:
    """Width × depth × height of a box in millimetres."""
    if not box:
        return None
    return " × ".join(number(high - low, 0) for low, high in zip(box[0], box[1], strict=True)) + "\u00a0mm"


def hazard_line(hazard: dict[str, Any]) -> str:
    """A finding in a file, in words, with its line."""
    reason = str(hazard.get("reason") or "unknown_command")
    text = say(f"hazard_{reason}", {**hazard, **hazard.get("data", {})})
    line = hazard.get("line")
    return gettext("Line %(line)s: %(text)s", line=line, text=text) if line else text


def booking_span(starts_at: datetime, ends_at: datetime) -> str:
    """From when to when, in words."""
    return gettext(
        "%(day)s, from %(start)s to %(end)s", day=day(starts_at), start=clock_time(starts_at), end=clock_time(ends_at)
    )
