"""Values out of forms: what people type is understood, what cannot be meant is refused with the name of the field."""

from collections.abc import Callable
from datetime import date, time
from typing import Any

import pytest

from fablab.sentences import Refusal
from fablab.web import fields
from fablab.web.preview import thumbnail


@pytest.mark.parametrize(
    ("typed", "cents"),
    [("12", 1200), ("12,5", 1250), ("12.50", 1250), ("1 234,05 €", 123405), ("0,01", 1), ("", None), (" 7 ", 700)],
)
def test_money_is_read_without_a_float(typed: str, cents: int | None) -> None:
    assert fields.cents({"x": typed}, "x") == cents


@pytest.mark.parametrize("typed", ["1,234", "twelve", "1e3", "12,5,0", "--1", "0x10", "NaN", "inf"])
def test_what_is_no_money_is_refused(typed: str) -> None:
    with pytest.raises(Refusal) as refused:
        fields.cents({"x": typed}, "x")
    assert refused.value.code == "field_not_money" and refused.value.data["field"] == "x"


@pytest.mark.parametrize(
    ("read", "typed", "code"),
    [
        (lambda form: fields.whole(form, "x", low=1, high=5), "6", "field_range"),
        (lambda form: fields.whole(form, "x", low=1, high=5), "1.5", "field_not_number"),
        (lambda form: fields.decimal(form, "x", low=0, high=5), "nan", "field_not_number"),
        (lambda form: fields.cents(form, "x", low=0), "-1", "field_money_range"),
        (lambda form: fields.needed(form, "x"), "  ", "field_missing"),
        (lambda form: fields.text(form, "x", longest=3), "abcd", "field_too_long"),
        (lambda form: fields.day(form, "x"), "31/02/2026", "field_not_day"),
        (lambda form: fields.hour(form, "x"), "25:00", "field_not_hour"),
        (lambda form: fields.one_of(form, "x", ("a", "b")), "c", "field_choice"),
    ],
)
def test_refusals_name_what_is_wrong(read: Callable[[Any], Any], typed: str, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        read({"x": typed})
    assert refused.value.code == code


def test_days_and_hours_as_people_write_them() -> None:
    assert fields.day({"x": "24/11/2026"}, "x") == fields.day({"x": "2026-11-24"}, "x") == date(2026, 11, 24)
    assert fields.hour({"x": "14h30"}, "x") == fields.hour({"x": "14:30"}, "x") == time(14, 30)
    assert fields.hour({"x": "9"}, "x") == time(9)


def test_the_largest_sound_picture_is_taken() -> None:
    small, large = b"\x89PNG\r\n\x1a\n" + b"s", b"\x89PNG\r\n\x1a\n" + b"l" * 40

    def block(size: str, data: bytes) -> bytes:
        from base64 import b64encode

        text = b64encode(data)
        return b"; thumbnail begin " + size.encode() + b" %d\n; " % len(text) + text + b"\n; thumbnail end\n"

    head = block("16x16", small) + block("220x124", large) + block("999x999", b"<svg onload=alert(1)>")
    assert thumbnail(head) == ("image/png", large)
    assert thumbnail(b"; thumbnail begin 9x9 9\n; !!!!\n; thumbnail end\n") is None
    assert thumbnail(b"G28\n") is None
