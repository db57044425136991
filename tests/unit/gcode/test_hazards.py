"""What must never pass, in whatever spelling; and what ordinary slicers write, which must pass without a word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fablab.gcode.hazards import check_line
from fablab.gcode.limits import Limits

LIMITS = Limits()


def severities(raw: bytes, limits: Limits = LIMITS) -> set[tuple[str, str]]:
    return {(hazard.code, hazard.severity) for hazard in check_line(raw, limits)}


FORBIDDEN = (92, 110, 112, 206, 301, 302, 303, 500, 501, 502, 504, 505, 851, 997, 999, 28, 29, 30, 42, 876, 85, 121)
JOIN = st.sampled_from(["", " ", "  ", "\t"])


@st.composite
def spellings(draw: st.DrawFn) -> tuple[int, bytes]:
    """A forbidden M-code as some firmware would still read it."""
    number = draw(st.sampled_from(FORBIDDEN))
    code = draw(st.sampled_from("Mm")) + draw(JOIN) + "0" * draw(st.integers(0, 3)) + str(number)
    code += draw(st.sampled_from(["", ".0", " ", " P1", "\tS0"]))
    before = draw(
        st.sampled_from(["", " ", "\t", "N7 ", "n12", "N1 N2 ", "G1 X10 ", "G1X10Y2E.5 ", "(note) ", "M105 "])
    )
    after = draw(st.sampled_from(["", " ; harmless", ";x", " *33", "*7 ; x", " (why not)", " G1 X5", "\r"]))
    return number, (before + code + after + "\n").encode()


@given(spellings())
def test_no_spelling_of_a_forbidden_command_passes(case: tuple[int, bytes]) -> None:
    number, raw = case
    assert (f"M{number}", "refuse") in severities(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"G28 W ; home",
        b"G80",
        b"M107",
        b"G92 E0.0",
        b"M204 P1250 R1250 T1250 ; sets acceleration",
        b"M201 X1000 Y1000 Z200 E5000",
        b"M205 X8.00 Y8.00 Z0.40 E4.50",
        b'M862.3 P "MK3S" ; printer model check',
        b"M221 S95",
        b"M900 K0.05",
        b"M73 P12 R34",
        b"M104 S215 T0",
        b"T0",
        b"Tx",
        b"M84 X Y E",
        b"G2 X10 Y10 I1 J0 E.2",
        b"M486 AM500_bracket",
        b"M117 Printing M30 nut",
        b"M117 Pi\xc3\xa8ce 2",
        b"M117 " + b"long " * 60,
        b"; M502 is only a comment",
        b"G1 X1 Y2 E3 F1800 ; M502",
        b"",
    ],
)
def test_ordinary_lines_pass(raw: bytes) -> None:
    assert check_line(raw, LIMITS) == ()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"M117 please use M110 here", "host_protocol"),
        (b"(a ; b) M502", "stores_settings"),
        (b"(M502)", "stores_settings"),
        (b"M118 A1 action:cancel", "host_action"),
        (b'RESPOND TYPE=command MSG="action:cancel"', "host_action"),
        (b"@pause", "host_command"),
        (b"$H", "settings"),
        (b"!", "realtime"),
        (b"G1 X{move.axes[0].max}", "meta_command"),
        (b"while true", "meta_command"),
        (b"RUN_SHELL_COMMAND CMD=x", "macro_forbidden"),
        (b"run_shell_command cmd=x", "macro_forbidden"),
        (b"SET_HEATER_TEMPERATURE HEATER=extruder TARGET=400", "macro_forbidden"),
        (b"PRUSA RESET", "macro_forbidden"),
        (b"D2 Ax0000", "debug"),
        (b"G28.1", "offsets"),
        (b"G10 L2 P1 X0", "offsets"),
        (b"M211 S0", "limits_off"),
        (b"M104 S301", "too_hot"),
        (b"m 0109 R 350", "too_hot"),
        (b"M104 S20 S400", "too_hot"),
        (b"G10 P0 S400", "too_hot"),
        (b"M140 S140", "too_hot"),
        (b"M104 S2e2", "odd_number"),
        (b"G1 X10 ;\rM502", "control_character"),
        (b"G1 X10 \xe9", "not_ascii"),
        (b"G1 X1*2 Y3", "odd_character"),
        (b"G1 " + b"X1.000000 " * 12, "line_too_long"),
    ],
)
def test_what_a_shared_machine_refuses(raw: bytes, reason: str) -> None:
    found = {hazard.reason: hazard.severity for hazard in check_line(raw, LIMITS)}
    assert found.get(reason) == "refuse"


@pytest.mark.parametrize(
    ("raw", "reason", "severity"),
    [
        (b"PRINT_START BED=60", "macro", "confirm"),
        (b"M1234", "unknown_command", "confirm"),
        (b"M906 X800", "motor_current", "confirm"),
        (b"M0 change the colour", "pauses", "warn"),
        (b"M600", "waits", "warn"),
        (b"M201 X90000", "fast_limits", "confirm"),
        (b"G92 X0", "shifts_position", "warn"),
        (b"M115 U3.13", "firmware_check", "warn"),
    ],
)
def test_what_needs_a_yes_or_a_word(raw: bytes, reason: str, severity: str) -> None:
    assert [(hazard.reason, hazard.severity) for hazard in check_line(raw, LIMITS)] == [(reason, severity)]


def test_a_technician_may_settle_what_a_member_may_not() -> None:
    technician = Limits(role="technician")
    assert severities(b"M500", technician) == {("M500", "confirm")}
    assert severities(b"PRINT_START", technician) == {("PRINT_START", "warn")}
    assert severities(b"M112", technician) == {("M112", "refuse")}


def test_a_profile_opens_and_closes() -> None:
    open_to = Limits(allow=("PRINT_START", "M851"), forbid=("M600",))
    assert check_line(b"PRINT_START BED=60", open_to) == ()
    assert check_line(b"M851 Z-1.2", open_to) == ()
    assert severities(b"M600", open_to) == {("M600", "refuse")}
