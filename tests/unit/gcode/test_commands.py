"""Cleaning a line for the wire, and reading commands in any spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fablab.gcode.commands import clean, parse


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        (b"G1 X1 ; move\r\n", b"G1 X1"),
        (b"  G1 X1\t\n", b"G1 X1"),
        (b"N12 G1 X1*55\n", b"G1 X1"),
        (b"n 3N4G28\n", b"G28"),
        (b"M105*5", b"M105"),
        (b"G1 X1 (inline) Y2\n", b"G1 X1   Y2"),
        (b"G1 X1 (open Y2\n", b"G1 X1"),
        (b"; only a comment\n", b""),
        (b"(only a comment)\n", b""),
        (b"\r\n", b""),
        ("M117 Pièce n° 2\n".encode(), b"M117 Pice n 2"),
        (b"G1\tX1", b"G1 X1"),
    ],
)
def test_what_is_sent_of_a_line(raw: bytes, sent: bytes) -> None:
    assert clean(raw) == sent


@given(st.binary(max_size=200))
def test_cleaning_twice_changes_nothing_and_parsing_never_fails(raw: bytes) -> None:
    once = clean(raw)
    assert once == once.strip()
    parse(once.decode("latin-1"))


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("G1 X1", ["G1"]),
        ("g01x1", ["G1"]),
        ("M0104 S200", ["M104"]),
        ("m 104s200", ["M104"]),
        ("M502.0", ["M502"]),
        ("G28.1", ["G28.1"]),
        ("G1 X1 M502 G28", ["G1", "M502", "G28"]),
        ("T1", ["T1"]),
        ("M104 T1 S200", ["M104"]),
        ("SET_PIN PIN=x VALUE=1", ["SET_PIN"]),
        ("X10 Y10", ["X"]),
        ("$H", ["$"]),
        ("", []),
    ],
)
def test_commands_of_a_line(text: str, codes: list[str]) -> None:
    assert [command.code for command in parse(text)] == codes


def test_an_e_behind_a_number_is_the_extruder() -> None:
    (command,) = parse("G1X10E5")
    assert command.value("X") == 10
    assert command.value("E") == 5
