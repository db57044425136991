"""Slots: lengths, horizon, and the two nights a year on which local time is not what it seems."""

from datetime import UTC, datetime, timedelta

import pytest

from fablab.bookings.rules import AHEAD, Wish, instant, refusals

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def local(*parts: int) -> datetime:
    """A time as it is typed: without a zone."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001


def codes(start: timedelta, length: timedelta, **more: object) -> list[str]:
    wish = Wish(NOW + start, NOW + start + length, **more)  # type: ignore[arg-type]
    return [reason.code for reason in refusals(NOW, wish)]


@pytest.mark.parametrize(
    ("start", "length", "code"),
    [
        (HOUR, timedelta(0), "bad_times"),
        (HOUR, -HOUR, "bad_times"),
        (-3 * HOUR, HOUR, "booking_in_past"),
        (HOUR, timedelta(minutes=5), "booking_too_short"),
        (HOUR, timedelta(hours=25), "booking_too_long"),
        (AHEAD + HOUR, HOUR, "booking_too_far"),
    ],
)
def test_each_refusal(start: timedelta, length: timedelta, code: str) -> None:
    assert codes(start, length) == [code]


def test_a_plain_slot_and_one_that_has_begun() -> None:
    assert codes(HOUR, HOUR) == []
    assert codes(-HOUR, 2 * HOUR) == []


def test_too_many_bookings_but_not_for_staff() -> None:
    assert codes(HOUR, HOUR, coming=5) == ["too_many_bookings"]
    assert codes(HOUR, HOUR, coming=5, for_staff=True) == []


def test_an_hour_that_exists_twice_is_the_first_and_one_that_is_skipped_is_none() -> None:
    assert instant(local(2026, 10, 25, 2, 30), "Europe/Paris") == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert instant(local(2026, 3, 29, 2, 30), "Europe/Paris") is None
    assert instant(local(2026, 3, 29, 3, 0), "Europe/Paris") == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)


def test_a_slot_over_the_change_of_clocks_keeps_its_real_length() -> None:
    start = instant(local(2026, 10, 25, 1, 0), "Europe/Paris")
    end = instant(local(2026, 10, 25, 4, 0), "Europe/Paris")
    assert start is not None and end is not None
    assert end - start == timedelta(hours=4)
