"""Reads values out of a posted form, and refuses what cannot be meant with the name of the field. No HTML."""

import re
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from fablab.sentences import Refusal

Form = Mapping[str, Any]


def text(form: Form, name: str, *, longest: int = 200) -> str:
    """The text of a field without white space around it; empty where it is missing. Raises Refusal field_too_long."""
    value = str(form.get(name) or "").strip()
    if len(value) > longest:
        raise Refusal("field_too_long", field=name, longest=longest)
    return value


def needed(form: Form, name: str, *, longest: int = 200) -> str:
    """A text that must be there. Raises Refusal field_missing, field_too_long."""
    value = text(form, name, longest=longest)
    if not value:
        raise Refusal("field_missing", field=name)
    return value


def optional(form: Form, name: str, *, longest: int = 200) -> str | None:
    return text(form, name, longest=longest) or None


def whole(form: Form, name: str, *, low: int, high: int) -> int | None:
    """A whole number within bounds, None where the field is empty. Raises Refusal field_not_number, field_range."""
    value = text(form, name, longest=20).replace("\u202f", "").replace(" ", "")
    if not value:
        return None
    if not re.fullmatch(r"[+-]?[0-9]{1,12}", value):
        raise Refusal("field_not_number", field=name)
    number = int(value)
    if not low <= number <= high:
        raise Refusal("field_range", field=name, low=low, high=high)
    return number


def decimal(form: Form, name: str, *, low: float, high: float) -> float | None:
    """A number with a comma or a point, None where empty. Raises Refusal field_not_number, field_range."""
    value = text(form, name, longest=20).replace(",", ".").replace(" ", "")
    if not value:
        return None
    if not re.fullmatch(r"[+-]?[0-9]{1,9}(\.[0-9]{1,6})?", value):
        raise Refusal("field_not_number", field=name)
    number = float(value)
    if not low <= number <= high:
        raise Refusal("field_range", field=name, low=low, high=high)
    return number


def cents(form: Form, name: str, *, low: int = 0, high: int = 10_000_00) -> int | None:
    """An amount typed in euros (`12`, `12,5`, `12.50 €`) as cents, None where empty; no float is in between.

    Raises Refusal field_not_money, field_money_range.
    """
    value = re.sub(r"[\s\u202f\u00a0€]", "", text(form, name, longest=20)).replace(",", ".")
    if not value:
        return None
    found = re.fullmatch(r"(-?)([0-9]{1,9})(?:\.([0-9]{1,2}))?", value)
    if found is None:
        raise Refusal("field_not_money", field=name)
    amount = int(found[2]) * 100 + int((found[3] or "").ljust(2, "0"))
    amount = -amount if found[1] else amount
    if not low <= amount <= high:
        raise Refusal("field_money_range", field=name, low_cents=low, high_cents=high)
    return amount


def needed_cents(form: Form, name: str, *, low: int = 1, high: int = 10_000_00) -> int:
    amount = cents(form, name, low=low, high=high)
    if amount is None:
        raise Refusal("field_missing", field=name)
    return amount


def day(form: Form, name: str) -> date | None:
    """A day as browsers send it (`2026-11-24`) or as people write it (`24/11/2026`). Raises Refusal field_not_day."""
    value = text(form, name, longest=20)
    if not value:
        return None
    for pattern in ("%Y-%m-%d", "%d/%m/%Y"):
        try:
            return datetime.strptime(value, pattern).date()  # noqa: DTZ007  (a day has no zone)
        except ValueError:
            continue
    raise Refusal("field_not_day", field=name)


def needed_day(form: Form, name: str) -> date:
    found = day(form, name)
    if found is None:
        raise Refusal("field_missing", field=name)
    return found


def hour(form: Form, name: str) -> time:
    """An hour of the day: `14:30`, `14h30`, `14`. Raises Refusal field_missing, field_not_hour."""
    value = needed(form, name, longest=10)
    found = re.fullmatch(r"([0-9]{1,2})(?:\s*[:hH]\s*([0-9]{2})?)?", value)
    if found is None or int(found[1]) > 23 or int(found[2] or 0) > 59:
        raise Refusal("field_not_hour", field=name)
    return time(int(found[1]), int(found[2] or 0))


def at(on: date, clock: time, zone: ZoneInfo) -> datetime:
    """The instant of a day and an hour at the place."""
    return datetime.combine(on, clock, tzinfo=zone)


def instant(form: Form, name: str, zone: ZoneInfo) -> datetime | None:
    """An ISO 8601 instant; one without a zone is the place's own. Raises Refusal field_not_day."""
    value = text(form, name, longest=40)
    if not value:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError as error:
        raise Refusal("field_not_day", field=name) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=zone)


def ticked(form: Form, name: str) -> bool:
    return str(form.get(name) or "").lower() in {"1", "on", "true", "yes"}


def one_of(form: Form, name: str, known: tuple[str, ...]) -> str:
    """One of the known words. Raises Refusal field_missing, field_choice."""
    value = needed(form, name, longest=60)
    if value not in known:
        raise Refusal("field_choice", field=name)
    return value
