"""Refusals: a stable code with data, and the sentence for it in the reader's language. Knows gettext, not Flask.

Pages, mails, the API and the command line all take their sentences here, so that one code says one thing everywhere.
"""

import gettext
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fablab.refusals import Refusal as Refusal

DOMAIN = "sentences"
LANGUAGES = ("fr", "en")
FOLDER = Path(__file__).parent / "translations"


def sentence(code: str, language: str, /, *, zone: str = "Europe/Paris", **data: Any) -> str:
    """The sentence for a code of a refusal, reason, hazard, incident or notice, in `fr` or `en` (any other: `en`).

    Data whose key ends in `_cents` is written as money, `_s` as a duration, `_mg` as grams, `_at` or `_until` as an
    instant in time zone `zone`. A code nobody wrote a sentence for is named in a sentence that says so; never raises.
    """
    language = language if language in LANGUAGES else "en"
    pattern = _catalogue(language).gettext(code)
    if pattern == code:
        pattern = _catalogue(language).gettext("no_sentence")
        data = {"code": code}
    shown = _Data({key: _show(key, value, language, zone) for key, value in data.items()})
    try:
        return pattern.format_map(shown)
    except (ValueError, IndexError, AttributeError, KeyError, TypeError):
        return pattern


def has_sentence(code: str, language: str) -> bool:
    """Whether the catalogue of `language` has a sentence for the code."""
    return _catalogue(language).gettext(code) != code


def euros(cents: int, language: str, currency: str = "EUR") -> str:
    """An amount as people of the language write it: `12,50 €` or `€12.50`."""
    sign, whole, rest = "-" if cents < 0 else "", *divmod(abs(cents), 100)
    symbol = {"EUR": "€", "GBP": "£", "USD": "$"}.get(currency, currency)
    if language == "fr":
        grouped = f"{whole:,}".replace(",", "\u202f")
        return f"{sign}{grouped},{rest:02d}\u00a0{symbol}"
    gap = "" if len(symbol) == 1 else "\u00a0"
    return f"{sign}{symbol}{gap}{whole:,}.{rest:02d}"


def duration(seconds: float, language: str) -> str:
    """A length of time in whole minutes above a minute: `2 h 05`, `12 min`, `40 s`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds}\u00a0s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes}\u00a0min"
    hours, rest = divmod(minutes, 60)
    return f"{hours}\u00a0h\u00a0{rest:02d}" if language == "fr" else f"{hours}\u00a0h\u00a0{rest:02d}\u00a0min"


def decimal(value: float, language: str, digits: int = 1) -> str:
    """A number with at most `digits` decimals and the language's decimal sign."""
    text = f"{value:,.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:,.0f}"
    if language == "fr":
        return text.replace(",", "\u202f").replace(".", ",")
    return text


def instant(at: datetime, language: str, timezone: str) -> str:
    """An instant in the place's own time: `24/11/2026 à 14 h 02` or `24 Nov 2026 at 14:02`."""
    local = at.astimezone(ZoneInfo(timezone))
    if language == "fr":
        return f"{local:%d/%m/%Y} à {local.hour}\u00a0h\u00a0{local:%M}"
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return f"{local.day} {months[local.month - 1]} {local.year} at {local:%H:%M}"


class _Data(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def _show(key: str, value: Any, language: str, timezone: str) -> Any:
    if isinstance(value, bool) or value is None:
        return "?" if value is None else value
    if isinstance(value, int | float):
        if key.endswith("_cents"):
            return euros(round(value), language)
        if key.endswith("_mg"):
            return f"{decimal(value / 1000, language)}\u00a0g"
        if key.endswith("_s") or key == "seconds":
            return duration(value, language)
        return decimal(value, language, 3) if isinstance(value, float) else value
    if isinstance(value, str) and key.endswith(("_at", "_until")):
        try:
            return instant(datetime.fromisoformat(value), language, timezone)
        except ValueError:
            return value
    if isinstance(value, datetime):
        return instant(value, language, timezone)
    if isinstance(value, list | tuple):
        return ", ".join(str(_show(key, item, language, timezone)) for item in value)
    return value


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, localedir=FOLDER, languages=[language], fallback=True)
