"""The language of a page: the reader's choice, else her person's, else the browser's, else the site's.

Holds the filters that write money, hours and weights in that language; sentences for codes are fablab.sentences.
"""

from datetime import date, datetime
from pathlib import Path
from typing import Any

from flask import Flask, g, request
from flask_babel import Babel, get_locale

from fablab import sentences
from fablab.web.context import parts, viewer, zone
from fablab.web.text import gettext

COOKIE = "language"
TRANSLATIONS = Path(sentences.FOLDER)


def set_up(app: Flask) -> None:
    """Give the app its languages and the templates their filters."""
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(TRANSLATIONS)
    app.config["BABEL_DEFAULT_LOCALE"] = "en"
    Babel(app, locale_selector=choose)
    app.add_template_filter(money, "money")
    app.add_template_filter(length, "length_of_time")
    app.add_template_filter(grams, "grams")
    app.add_template_filter(clock_time, "clock_time")
    app.add_template_filter(day, "day")
    app.add_template_filter(date_of, "date")
    app.add_template_filter(amount, "amount")
    app.add_template_filter(day_and_time, "day_and_time")
    app.add_template_filter(number, "number")
    app.add_template_filter(percent, "percent")
    app.jinja_env.globals.update(say=say, language=language)


def choose() -> str:
    """`fr` or `en` for this request."""
    cookie = request.cookies.get(COOKIE)
    if cookie in sentences.LANGUAGES:
        return str(cookie)
    own = g.get("viewer").locale if g.get("viewer") is not None else None
    if own in sentences.LANGUAGES:
        return str(own)
    site = parts().config.site.locale if parts().config.site.locale in sentences.LANGUAGES else "fr"
    preferred = [site, *(code for code in sentences.LANGUAGES if code != site)]
    return request.accept_languages.best_match(preferred) or site


def language() -> str:
    """The language of the current request; outside of one the site's."""
    locale = get_locale()
    return "en" if locale is None or locale.language not in sentences.LANGUAGES else str(locale.language)


def say(code: str, data: dict[str, Any] | None = None) -> str:
    """The sentence for a code, in the reader's language and the site's time zone."""
    known = {key: value for key, value in (data or {}).items() if key not in {"zone"}}
    return sentences.sentence(code, language(), zone=parts().config.site.timezone, **known)


def money(cents: int | None, currency: str = "EUR") -> str:
    return "–" if cents is None else sentences.euros(cents, language(), currency)


def length(seconds: float | None) -> str:
    return "–" if seconds is None else sentences.duration(seconds, language())


def grams(value: float | None) -> str:
    return "–" if value is None else f"{sentences.decimal(value, language())}\u00a0g"


def number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else sentences.decimal(value, language(), digits)


def percent(value: float | None) -> str:
    """A share of 0 … 1 in whole per cent, never 100 before the end."""
    if value is None:
        return "–"
    whole = 100 if value >= 1 else min(99, int(value * 100))
    return f"{whole}\u00a0%" if language() == "fr" else f"{whole}%"


def _local(at: datetime | str | None) -> datetime | None:
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    return None if at is None else at.astimezone(zone())


def clock_time(at: datetime | str | None) -> str:
    """The hour in the place's own time: `14 h 02` or `14:02`."""
    local = _local(at)
    if local is None:
        return "–"
    return f"{local.hour}\u00a0h\u00a0{local:%M}" if language() == "fr" else f"{local:%H:%M}"


def day(on: date | datetime | str | None) -> str:
    """A day in words: `mardi 24 novembre 2026`."""
    if on is None:
        return "–"
    if isinstance(on, str):
        on = date.fromisoformat(on[:10]) if len(on) == 10 else datetime.fromisoformat(on)
    if isinstance(on, datetime):
        on = on.astimezone(zone()).date()
    days, months = gettext("Monday Tuesday Wednesday Thursday Friday Saturday Sunday").split(), _months()
    if language() == "fr":
        first = "1er" if on.day == 1 else str(on.day)
        return f"{days[on.weekday()]} {first} {months[on.month - 1]} {on.year}"
    return f"{days[on.weekday()]} {on.day} {months[on.month - 1]} {on.year}"


def date_of(on: date) -> str:
    """A day without its weekday: `24 novembre 2026`."""
    return day(on).split(" ", 1)[1]


def amount(cents: int) -> str:
    """An amount as it is typed into a field: `12,50` or `12.50`."""
    whole, rest = divmod(cents, 100)
    return f"{whole}{',' if language() == 'fr' else '.'}{rest:02d}"


def day_and_time(at: datetime | str | None) -> str:
    """`aujourd'hui à 14 h 02`, or the day in words and the hour."""
    local = _local(at)
    if local is None:
        return "–"
    today = parts().clock.now().astimezone(zone()).date()
    word = gettext("today") if local.date() == today else day(local.date())
    return gettext("%(day)s at %(time)s", day=word, time=clock_time(local))


def _months() -> list[str]:
    return gettext("January February March April May June July August September October November December").split()


def person_language() -> str:
    """What a new person's language is set to: that of the one who writes her down."""
    return viewer().locale or language()
