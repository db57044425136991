"""What the sent lines have set in the machine: modes, feed rate, tool, fan, targets. Written down to be restored."""

import re
from dataclasses import dataclass, field

_WORD = re.compile(rb"([A-Za-z])\s*([-+]?\d*\.?\d+)?")
HEATERS = {104: "tool", 109: "tool", 140: "bed", 190: "bed", 141: "chamber", 191: "chamber"}
WAITING = {109: b"M104", 190: b"M140", 191: b"M141"}


def words(text: bytes) -> list[tuple[str, float | None]]:
    """Letter and number pairs of one command; a letter without a number has None."""
    return [
        (letter.decode("ascii").upper(), float(number) if number else None) for letter, number in _WORD.findall(text)
    ]


@dataclass(frozen=True)
class HeatWait:
    """Wait until `sensor` has reached `target` °C; `both_ways`: also when it has to cool down."""

    sensor: str
    target: float
    both_ways: bool = False


@dataclass
class Modes:
    """State of the machine as far as the sent lines tell."""

    absolute: bool = True
    e_absolute: bool = True
    tool: int = 0
    fan: float = 0.0
    feed_line: bytes = b""
    homed: bool = False
    targets: dict[str, float] = field(default_factory=dict)

    def feed(self) -> float | None:
        """mm/min of the last line that named one."""
        return next((number for letter, number in words(self.feed_line) if letter == "F"), None)

    def note(self, text: bytes, g90_affects_e: bool) -> None:
        """Take in one command that is not a plain move."""
        parsed = words(text)
        if not parsed or parsed[0][1] is None:
            return
        letter, number = parsed[0][0], int(parsed[0][1])
        values = {key: value for key, value in parsed[1:] if value is not None}
        if letter == "T":
            self.tool = number
        elif letter == "G":
            self._note_g(number, values, text, g90_affects_e)
        elif letter == "M":
            self._note_m(number, values)

    def _note_g(self, number: int, values: dict[str, float], text: bytes, g90_affects_e: bool) -> None:
        if number in (90, 91):
            self.absolute = number == 90
            if g90_affects_e:
                self.e_absolute = self.absolute
        elif number == 28:
            self.homed = True
        elif number in (0, 1, 2, 3) and "F" in values:
            self.feed_line = text

    def _note_m(self, number: int, values: dict[str, float]) -> None:
        if number in (82, 83):
            self.e_absolute = number == 82
        elif number == 106:
            self.fan = values.get("S", 255.0)
        elif number == 107:
            self.fan = 0.0
        elif number in (18, 84) and not values:
            self.homed = False
        elif number in HEATERS:
            target = values.get("S", values.get("R"))
            if target is not None:
                self.targets[self.sensor(number, values)] = target

    def sensor(self, number: int, values: dict[str, float]) -> str:
        """The sensor that a heating command is about."""
        name = HEATERS[number]
        return f"tool{int(values.get('T', self.tool))}" if name == "tool" else name


def heat_and_wait(text: bytes, modes: Modes) -> tuple[bytes, HeatWait | None] | None:
    """A heat-and-wait command as the heat to send and the wait that the host does itself; None for other commands."""
    parsed = words(text)
    if not parsed or parsed[0][0] != "M" or parsed[0][1] is None or int(parsed[0][1]) not in WAITING:
        return None
    number = int(parsed[0][1])
    values = {key: value for key, value in parsed[1:] if value is not None}
    sensor = modes.sensor(number, values)
    cooling = "S" not in values and "R" in values
    target = values.get("R") if cooling else values.get("S", modes.targets.get(sensor))
    if target is None:
        return WAITING[number], None
    tool = b" T%d" % int(values["T"]) if "T" in values else b""
    wait = HeatWait(sensor, target, cooling) if target > 0 else None
    return b"%b%b S%b" % (WAITING[number], tool, _plain(target)), wait


def _plain(number: float) -> bytes:
    return b"%d" % number if number == int(number) else b"%.2f" % number
