"""What in a G-code file is forbidden, needs somebody's yes, or deserves a word. Judges commands, not spellings."""

import re
from typing import Any

from msgspec import Struct

from fablab.gcode.commands import TEXT_COMMANDS, Command, clean, parse
from fablab.gcode.limits import Limits
from fablab.gcode.policy import ALLOWED, MACROS_ALLOWED, MACROS_REFUSED, POLICY, TECHNICIAN_MAY

_MCODE = re.compile(r"[Mm]\s*0*([0-9]{1,4})(?![0-9])")
_CONTROL = re.compile("[\\x00-\\x08\\x0a-\\x1f\\x7f]")
_EXPONENT = re.compile("[0-9.][eE][-+]?[0-9]")
_TO_HOST = re.compile("(?<![A-Za-z])A *0*1(?![0-9])", re.IGNORECASE)
_HIDDEN_FILES = frozenset({"files"})  # a part may be called M30; only a first word is a command of the card
_ALWAYS_PROTOCOL = frozenset({"M110", "M112"})
_BOUNDS = {"M201": 20_000.0, "M203": 1_000.0, "M204": 20_000.0, "M205": 60.0}  # mm/s², mm/s, mm/s², mm/s
FRAME = 13
"""Bytes that `N1234567 ` and `*255` add to a line on the wire."""
_HEATERS = {"M104": "hotend", "M109": "hotend", "M140": "bed", "M190": "bed", "M141": "chamber", "M191": "chamber"}


class Hazard(Struct, frozen=True, kw_only=True):
    """One finding. `code` is the command in canonical spelling (`M502`), `reason` a stable word with a sentence."""

    line: int  # 1-based line of the file; 0: the file as a whole
    code: str
    reason: str
    severity: str  # refuse | confirm | warn
    data: dict[str, Any] = {}


def check_line(raw: bytes, limits: Limits, line: int = 1) -> tuple[Hazard, ...]:
    """Judge one line as it stands in a file or as a technician typed it; an empty answer means: nothing to say.

    The same judgement is used for whole files, for the console, and once more where a line is about to be sent.
    """
    text = clean(raw)
    found = judge(text.decode("latin-1"), raw.decode("latin-1"), limits)
    return tuple(Hazard(line=line, code=c, reason=r, severity=s, data=d) for c, r, s, d in found)


Finding = tuple[str, str, str, dict[str, Any]]
"""code, reason, severity, data: a hazard without its line."""


def judge(text: str, raw: str, limits: Limits) -> tuple[Finding, ...]:
    """Findings about a cleaned line `text` that stands as `raw` in the file."""
    found: list[Finding] = []
    commands = parse(text)
    for command in commands:
        found += _by_policy(command, text, limits)
        found += _by_value(command, limits)
    head = commands[0].code if commands else ""
    found += _characters(head, text, raw, limits)
    found += _hidden(
        head,
        text,
        raw if "(" in raw.split(";", 1)[0] else text,
        frozenset(finding[0] for finding in found).union(limits.allow),
    )
    return tuple(_for_role(finding, limits) for finding in dict.fromkeys(map(_key, found)))


def _key(finding: Finding) -> Any:
    return (*finding[:3], tuple(sorted(finding[3].items())))


def _for_role(key: Any, limits: Limits) -> Finding:
    code, reason, severity, data = key
    if limits.role == "technician":
        if severity == "confirm":
            severity = "warn"
        elif severity == "refuse" and reason in TECHNICIAN_MAY:
            severity = "confirm"
    return code, reason, severity, dict(data)


def _by_policy(command: Command, text: str, limits: Limits) -> list[Finding]:
    code = command.code
    if code in limits.forbid:
        return [(code, "profile_forbids", "refuse", {})]
    if code in limits.allow:
        return []
    if code in POLICY:
        severity, reason = POLICY[code]
        return [(code, reason, severity, {})]
    if code in ALLOWED or (code[0] == "T" and code[1:].isdigit()):
        return []
    if len(code) > 1 and not code[1:2].isdigit():
        return _macro(code, text)
    return [(code, "unknown_command", "confirm", {})]


def _macro(name: str, text: str) -> list[Finding]:
    if name.startswith(MACROS_REFUSED):
        return [(name, "macro_forbidden", "refuse", {})]
    return [] if name in MACROS_ALLOWED else [(name, "macro", "confirm", {"macro": text[:60]})]


def _by_value(command: Command, limits: Limits) -> list[Finding]:
    """Commands that are harmless or not by what stands behind them."""
    code, values = command.code, command.values
    if code in limits.allow:
        return []
    heater = _HEATERS.get(code) or {"G10": "hotend", "M568": "hotend"}.get(code)
    if heater:
        return _too_hot(command, heater, limits)
    if code in _BOUNDS and any(value > _BOUNDS[code] for letter in "XYPRTS" for value in values.get(letter, ())):
        return [(code, "fast_limits", "confirm", {})]
    if code == "M115" and command.has("U"):
        return [(code, "firmware_check", "warn", {})]
    if code == "M211" and 0.0 in values.get("S", ()):
        return [(code, "limits_off", "refuse", {})]
    if code == "G92" and any(command.has(axis) for axis in "XYZ"):
        return [(code, "shifts_position", "warn", {})]
    if code in ("M113", "M154", "M155"):
        return [(code, "reports_changed", "warn", {})]
    return []


def _too_hot(command: Command, heater: str, limits: Limits) -> list[Finding]:
    if command.code == "G10" and any(command.has(letter) for letter in "LXYZ"):
        return [("G10", "offsets", "refuse", {})]
    limit = {"hotend": limits.hotend_max_c, "bed": limits.bed_max_c, "chamber": limits.chamber_max_c}[heater]
    asked = max((value for letter in "SRB" for value in command.values.get(letter, ())), default=0.0)
    if asked <= limit:
        return []
    return [(command.code, "too_hot", "refuse", {"heater": heater, "celsius": asked, "limit": limit})]


def _characters(head: str, text: str, raw: str, limits: Limits) -> list[Finding]:
    """Bytes that a firmware reads in another way than the file's author, or that break the line's checksum."""
    found: list[Finding] = []
    if not text.isascii():
        found.append((head, "not_ascii", "refuse", {}))
    if _CONTROL.search(raw.rstrip("\r\n")):
        found.append((head, "control_character", "refuse", {}))
    if "*" in text:
        found.append((head, "odd_character", "refuse", {"character": "*"}))
    if "{" in text and head != "{":
        found.append((head, "meta_command", "refuse", {}))
    if len(text) > limits.max_line - FRAME:
        found.append((head, "line_too_long", "refuse", {"bytes": len(text), "limit": limits.max_line - FRAME}))
    if head in _HEATERS and _EXPONENT.search(text):
        found.append((head, "odd_number", "refuse", {}))
    return found


def _hidden(head: str, text: str, raw: str, known: frozenset[str]) -> list[Finding]:
    """Commands in places where only some firmware looks: behind other words, in brackets, in a text for the display."""
    found: list[Finding] = []
    texts = bool(TEXT_COMMANDS.match(text.encode("latin-1")))
    if (head and "action:" in raw.lower()) or (head == "M118" and _TO_HOST.search(text)):
        found.append((head, "host_action", "refuse", {}))
    for number in _MCODE.findall(raw):
        code = f"M{number}"
        severity, reason = POLICY.get(code, ("", ""))
        if severity != "refuse" or code in known:
            continue
        if code in _ALWAYS_PROTOCOL or not (texts or reason in _HIDDEN_FILES or head[1:].isalpha()):
            found.append((code, reason, severity, {}))
    return found
