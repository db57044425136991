"""One line of G-code: what is really sent of it, and which commands a firmware may read in it. Pure; judges nothing."""

import re
from dataclasses import dataclass, field

TEXT_COMMANDS = re.compile(rb"[Mm]\s*0*(?:117|118|486)(?![0-9])")
"""Display, echo and object names: what follows is text for people, so it may be shortened and stripped of accents."""

MAX_TEXT = 80  # bytes of such a command; with number and checksum it stays below Marlin's 96

_PARENTHESES = re.compile(rb"\([^)]*\)?")
_NUMBERED = re.compile(rb"(?:[Nn]\s*[0-9]+\s*)+")
_NOT_ASCII = bytes(range(128, 256))

_QUOTED = re.compile(r'"[^"]*"')
_WORD = re.compile(r"([A-Za-z])\s*([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*[A-Za-z_][A-Za-z0-9_]*|[A-Za-z]{2,}")
_STRINGS = frozenset({"M16", "M23", "M28", "M30", "M32", "M33", "M117", "M118", "M486", "M550", "M551", "M587", "M928"})


def clean(raw: bytes) -> bytes:
    """What is sent of a line: no comment, no line number or checksum of its own, no blanks around; b"" for nothing.

    Comments are `;…` and `(…)`. Text commands lose bytes above 127 and what is too long for a firmware's line buffer.
    """
    text = raw.split(b";", 1)[0]
    if b"(" in text:
        text = _PARENTHESES.sub(b" ", text)
    text = text.strip()
    if text[:1] in (b"N", b"n"):
        text = _NUMBERED.sub(b"", text, count=1) if _NUMBERED.match(text) else text
    if b"*" in text:
        before, _, checksum = text.rpartition(b"*")
        if not checksum.strip() or checksum.strip().isdigit():
            text = before.rstrip()
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    if (len(text) > MAX_TEXT or not text.isascii()) and TEXT_COMMANDS.match(text):
        text = text.translate(None, _NOT_ASCII)[:MAX_TEXT].rstrip()
    return text


@dataclass(frozen=True, slots=True)
class Command:
    """One command as a firmware may read it.

    `code` is canonical: `G1`, `M104`, `G28.1`, `T0`, `D2`; a macro's name in capitals; or a single character for
    what is neither (`$`, `@`, `{`, a bare `X`). `values` holds each parameter's numbers in the order of writing.
    """

    code: str
    values: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def value(self, letter: str) -> float | None:
        """The last number given for a parameter, or None."""
        found = self.values.get(letter)
        return found[-1] if found else None

    def has(self, letter: str) -> bool:
        return letter in self.values


def parse(text: str) -> tuple[Command, ...]:
    """The commands in a cleaned line, in any spelling: lower case, blanks, leading zeros, several on one line.

    An `E` right behind a number begins the parameter E, as Marlin reads it; there are no exponents. Never raises: a
    line that is no G-code gives one Command whose code is a macro's name or its first character.
    """
    if not text:
        return ()
    first = _WORD.match(text)
    if first is None:
        return (Command(text[0]),)
    if first[2] is None or _is_name(text):
        name = _NAME.match(text)
        return (Command((name[0] if name else text[0]).upper()),)
    code = _code(first[1], first[2])
    return (Command(code),) if code in _STRINGS else tuple(_commands(text))


def _is_name(text: str) -> bool:
    """True for `SET_PIN …` and `PRUSA …`: a letter or an underscore follows the first letter."""
    return text[1:2].isalpha() or text[1:2] == "_"


def _code(letter: str, number: str) -> str:
    """Canonical spelling: `m0104` → `M104`, `M502.0` → `M502`, `G28.1` keeps its sub-code; a bare `x10` is `X`."""
    letter = letter.upper()
    if letter not in "GMTD":
        return letter
    whole, _, sub = number.lstrip("+-").partition(".")
    return f"{letter}{whole.lstrip('0') or '0'}" + (f".{sub}" if sub.strip("0") else "")


def _number(text: str) -> float:
    return min(max(float(text), -1e12), 1e12)


def _commands(text: str) -> list[Command]:
    """Split words into commands: G and M always begin one, other letters only at the head of the line."""
    found: list[tuple[str, dict[str, tuple[float, ...]]]] = []
    for letter, number in _WORD.findall(_QUOTED.sub(" ", text)):
        letter = letter.upper()
        if number and (letter in "GM" or not found):
            values: dict[str, tuple[float, ...]] = {}
            found.append((_code(letter, number), values))
            if letter not in "GMTD":
                values[letter] = (_number(number),)
        elif found:
            values = found[-1][1]
            values[letter] = values.get(letter, ()) + ((_number(number),) if number else ())
    return [Command(code, values) for code, values in found]
