"""Reads what firmwares of the Marlin family say: one line of bytes → plain values. Keeps no state."""

import re
from dataclasses import dataclass

_OK = re.compile(rb"^ok(?:\b|$)")
_OK_NUMBER = re.compile(rb"^ok\s+N?(\d+)\b")
_OK_ROOM = re.compile(rb"\bB(\d+)\b")
_RESEND = re.compile(rb"^(?:resend|rs)\W*N?:?\s*(\d+)", re.IGNORECASE)
_LAST_LINE = re.compile(rb"last line:?\s*(\d+)", re.IGNORECASE)
_TEMPERATURE = re.compile(rb"(?:^|\s)(T\d*|B|C):\s*(-?\d+(?:\.\d+)?)(?:\s*/\s*(-?\d+(?:\.\d+)?))?")
_POSITION = re.compile(rb"(?:^|\s)([XYZE]):\s*(-?\d+(?:\.\d+)?)")
_KEY = re.compile(r"(?:^|\s)([A-Z][A-Z0-9_]*):")
_ACTION = re.compile(rb"^//\s*action:\s*(\S+)\s*(.*)$")
_UNKNOWN = re.compile(rb'unknown command:?\s*"?([^"]*)"?', re.IGNORECASE)


@dataclass(frozen=True)
class Ok:
    """`number`: the line it names; `room`: free command slots; `carries_t`: a temperature report is glued to it."""

    number: int | None = None
    room: int | None = None
    carries_t: bool = False


PLAIN_OK = Ok()


def read_ok(line: bytes) -> Ok | None:
    """`ok`, `ok N123 P15 B3`, `ok 123`, `ok T:…`; None for anything else."""
    if line == b"ok":
        return PLAIN_OK
    if not _OK.match(line):
        return None
    if re.match(rb"^ok\s+(?:T\d*|B|C):", line):
        return Ok(carries_t=True)
    number = _OK_NUMBER.match(line)
    room = _OK_ROOM.search(line)
    return Ok(int(number[1]) if number else None, int(room[1]) if room else None)


def read_resend(line: bytes) -> int | None:
    """The line number that is asked for again."""
    found = _RESEND.match(line)
    return int(found[1]) if found else None


def read_last_line(line: bytes) -> int | None:
    """The `Last Line: n` of a transmission error."""
    found = _LAST_LINE.search(line)
    return int(found[1]) if found else None


def is_noise(line: bytes) -> bool:
    """An error about a damaged or misplaced line: a resend request follows, nothing is wrong with the machine."""
    low = line.lower()
    return any(
        word in low
        for word in (
            b"line number is not last",
            b"checksum mismatch",
            b"no checksum with line",
            b"no line number with checksum",
            b"expected line",
            b"wrong checksum",
            b"missing checksum",
            b"format error",
        )
    )


_FATAL = (
    (b"thermal runaway", "thermal_runaway"),
    (b"thermal malfunction", "thermal_runaway"),
    (b"heating failed", "heating_failed"),
    (b"maxtemp", "max_temperature"),
    (b"mintemp", "min_temperature"),
    (b"homing failed", "homing_failed"),
    (b"kill caused by", "killed"),
    (b"m112 shutdown", "emergency_stop"),
    (b"printer stopped", "stopped"),
    (b"stop called because of", "stopped"),
    (b"printer halted", "killed"),
    (b"kill() called", "killed"),
)
_CARD = (
    b"volume.init",
    b"openroot",
    b"workdir",
    b"open failed",
    b"cannot open",
    b"sd read",
    b"error writing",
    b"sd init",
)


def read_fatal(line: bytes) -> str | None:
    """The stable code of a line after which the firmware has stopped itself or is about to."""
    if not line.startswith((b"Error:", b"!!", b"fatal:", b"echo:Homing Failed", b"echo:M112", b": ")):
        return None
    low = line.lower()
    for word, code in _FATAL:
        if word in low:
            return code
    return "stopped" if line.startswith((b"fatal:", b"!!")) else None


def is_final(line: bytes) -> bool:
    """The last word of a firmware that has halted."""
    return b"kill() called" in line or b"M999" in line or line.startswith((b"fatal:", b"!!"))


def is_card_error(line: bytes) -> bool:
    """About the memory card only: no business of a streamed print."""
    low = line.lower()
    return any(word in low for word in _CARD)


def read_temperatures(line: bytes) -> dict[str, tuple[float, float | None]]:
    """Sensor → (°C, target °C or None). `T:` is the active tool and is dropped where `T0:` is there as well."""
    found: dict[str, tuple[float, float | None]] = {}
    for key, actual, target in _TEMPERATURE.findall(line.partition(b"@")[0]):
        name = {b"T": "tool", b"B": "bed", b"C": "chamber"}.get(key) or f"tool{int(key[1:])}"
        found[name] = (float(actual), float(target) if target else None)
    active = found.pop("tool", None)
    if active is not None and "tool0" not in found:
        found["tool0"] = active
    return found


def read_position(line: bytes) -> dict[str, float] | None:
    """Planned X, Y, Z, E of an M114 answer; None where the line is not one."""
    if b"X:" not in line or b"Y:" not in line or b"Z:" not in line:
        return None
    return {key.decode(): float(value) for key, value in _POSITION.findall(line.partition(b"Count")[0])}


def read_firmware(line: bytes) -> dict[str, str] | None:
    """The keys of an M115 line (FIRMWARE_NAME, MACHINE_TYPE, UUID …); values may hold blanks."""
    at = line.find(b"FIRMWARE_NAME:")
    if at < 0:
        return None
    text = line[at:].decode("ascii", errors="replace")
    marks = list(_KEY.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return {mark[1]: text[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)}


def read_capability(line: bytes) -> tuple[str, bool] | None:
    """`Cap:NAME:0|1`; lines that do not have exactly three parts are no capability."""
    parts = line.split(b":")
    if len(parts) != 3 or parts[0] != b"Cap" or parts[2].strip() not in (b"0", b"1"):
        return None
    return parts[1].decode("ascii", errors="replace"), parts[2].strip() == b"1"


def read_action(line: bytes) -> tuple[str, str] | None:
    """`//action:name rest` → (name, rest)."""
    found = _ACTION.match(line)
    return (found[1].decode("ascii", "replace"), found[2].decode("ascii", "replace").strip()) if found else None


def read_busy(line: bytes) -> str | None:
    """What keeps the firmware busy: processing, paused for user, paused for input, heating …"""
    for start in (b"echo:busy:", b"busy:"):
        if line.startswith(start):
            return line[len(start) :].strip().decode("ascii", "replace")
    return None


def read_unknown(line: bytes) -> bytes | None:
    """The text that the firmware did not understand."""
    found = _UNKNOWN.search(line)
    return found[1] if found else None
