"""What the commands of a file add up to: filament, time, box, layers, temperatures.

A `Meter` is told one command after another and keeps the state a firmware would keep. It judges nothing but the volume.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from math import pi, sqrt

from msgspec import Struct

from fablab.gcode.arcs import arc, centre_from_radius
from fablab.gcode.commands import Command
from fablab.gcode.limits import Limits
from fablab.gcode.timing import STOP, Dynamics, Entry

Point = tuple[float, float, float]

MAX_TOOLS = 64
NEW_LAYER_MM = 0.04
"""Without marks of the slicer, extruding this much above the highest layer so far begins a new one."""

_MARK = re.compile(r"; ?(LAYER_CHANGE|LAYER:|CHANGE_LAYER|layer [0-9]+,|BEGIN_LAYER_OBJECT)")
_INF = float("inf")


class Measured(Struct, frozen=True, kw_only=True):
    """Figures from the commands themselves.

    `time_s` is motion and dwell, without heating up, homing and levelling. `filament_mm` is, per tool, the furthest
    net extrusion reached: retraction and un-retraction cancel, a final unload does not reduce it.
    """

    time_s: float
    filament_mm: tuple[float, ...]
    bbox_mm: tuple[Point, Point] | None  # box of the extruding moves, purge line included; None: nothing is extruded
    travel_mm: tuple[Point, Point] | None  # box of all moves
    layers: int
    max_temperatures: dict[str, float]  # tool0, tool1 …, bed, chamber: highest °C asked for
    uncertain: bool = False  # macros or loops hide what really happens


class Box:
    """A growing box. `low` and `high` are corners in mm; empty as long as low is above high."""

    __slots__ = ("high", "low")

    def __init__(self) -> None:
        self.low, self.high = [_INF] * 3, [-_INF] * 3

    def grow(self, x: float, y: float, z: float) -> None:
        for axis, value in enumerate((x, y, z)):
            self.low[axis] = min(self.low[axis], value)
            self.high[axis] = max(self.high[axis], value)

    def corners(self) -> tuple[Point, Point] | None:
        if self.low[0] > self.high[0]:
            return None
        low, high = (tuple(round(value, 5) for value in corner) for corner in (self.low, self.high))
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])


class Meter:
    """The state of a machine that runs the file; rule for filament: per tool `used = max(used, net)`.

    `entries` collects one timing entry per command line; the owner takes them away and plans them in batches.
    """

    def __init__(self, limits: Limits) -> None:
        self.x = self.y = self.z = self.e = 0.0  # machine position, logical E
        self.net = self.used = 0.0  # of the tool in use
        self.speed = 25.0  # mm/s: Marlin's 1500 mm/min until the file says otherwise
        self.flow = 1.0  # E units → mm of filament: M221, and M200's mm³
        self.relative_e = False
        self.plain = True  # absolute millimetres without offset: the fast road is allowed
        self.layer = 0
        self.tool = 0
        self.entries: list[Entry] = []
        self.dynamics = Dynamics()
        self.temperatures: dict[str, float] = {}
        self.outside: dict[str, tuple[int, float]] = {}  # side → first line there, furthest coordinate
        self.motors_off: tuple[int, float] | None = None  # line of the last M84, filament used by then
        self._tools: dict[int, tuple[float, float]] = {}
        self._extruded, self._travelled = Box(), Box()
        self._printing = False
        self._printed_z = -_INF
        self._top = -_INF
        self._mark = ""
        self._homed = False
        self._relative = False
        self._unit = 1.0
        self._offset = [0.0, 0.0, 0.0]
        self._feed = 1.0
        self._percent, self._area = 1.0, 1.0
        self._limits = limits

    # -- moves

    def move(self, x: str, y: str, z: str, e: str, f: str, line: int) -> None:
        """A straight move to an absolute machine position in mm; an empty string leaves that axis alone.

        Raises ValueError, with nothing changed, for what is no number.
        """
        nx = float(x) if x else self.x
        ny = float(y) if y else self.y
        nz = float(z) if z else self.z
        de = 0.0
        ne = float(e) if e else 0.0
        if f:
            speed = float(f) * self._feed / 60.0
            if speed > 0.0:
                self.speed = speed
        if e:
            de = ne * self.flow if self.relative_e else (ne - self.e) * self.flow
            self.e = ne
            self.net += de
            if self.net > self.used:
                self.used = self.net
        dx, dy, dz = nx - self.x, ny - self.y, nz - self.z
        if dx or dy or dz:
            low, high = self._travelled.low, self._travelled.high
            if not (low[0] <= nx <= high[0] and low[1] <= ny <= high[1]) or dz:
                self._reach(nx, ny, nz, line)
            if de > 0.0:
                low, high = self._extruded.low, self._extruded.high
                if not self._printing or nz != self._printed_z:
                    self._begin_printing(nx, ny, nz)
                elif not (low[0] <= nx <= high[0] and low[1] <= ny <= high[1]):
                    self._extruded.grow(nx, ny, nz)
            else:
                self._printing = False
            self.x, self.y, self.z = nx, ny, nz
        elif not de:
            self.entries.append(0.0)
            return
        self.entries.append((dx, dy, dz, de, self.speed))

    def _begin_printing(self, nx: float, ny: float, nz: float) -> None:
        """First extruding move after a travel, or on another height: its start counts too."""
        self._extruded.grow(self.x, self.y, nz)
        self._extruded.grow(nx, ny, nz)
        self._printing, self._printed_z = True, nz
        if nz > self._top + NEW_LAYER_MM:
            self._top = nz
            if not self._mark:
                self.layer += 1

    def _reach(self, nx: float, ny: float, nz: float, line: int) -> None:
        """The head goes where it has not been yet: compare with the machine's volume."""
        self._travelled.grow(nx, ny, nz)
        volume = self._limits.volume_mm
        if volume is None:
            return
        margin = self._limits.margin_mm
        for axis, value in zip("xyz", (nx, ny, nz), strict=True):
            low, high = (corner["xyz".index(axis)] for corner in volume)
            if value < low - margin or value > high + margin:
                side = f"{axis}_{'low' if value < low else 'high'}"
                first, furthest = self.outside.get(side, (line, value))
                self.outside[side] = first, min(furthest, value) if value < low else max(furthest, value)

    def _straight(self, command: Command, line: int) -> None:
        """G0, G1 in any mode: relative, inches, shifted."""
        x, y, z = (repr(value) for value in self._target(command))
        e, f = command.value("E"), command.value("F")
        self.move(
            x,
            y,
            z,
            "" if e is None else repr(e * self._unit),
            "" if f is None else repr(f * self._unit),
            line,
        )

    def _target(self, command: Command) -> Point:
        found: list[float] = []
        for axis, (letter, here) in enumerate(zip("XYZ", (self.x, self.y, self.z), strict=True)):
            value = command.value(letter)
            if value is None:
                found.append(here)
            elif self._relative:
                found.append(here + value * self._unit)
            else:
                found.append(value * self._unit + self._offset[axis])
        return found[0], found[1], found[2]

    def _arc(self, command: Command, line: int) -> None:
        """G2, G3 in the XY plane: centre from I and J, or from R; the filament on the line is that of the whole arc."""
        x, y, z = self.x, self.y, self.z
        nx, ny, nz = self._target(command)
        clockwise = command.code == "G2"
        i, j, r = command.value("I"), command.value("J"), command.value("R")
        centre: tuple[float, float] | None = None
        if i is not None or j is not None:
            centre = x + (i or 0.0) * self._unit, y + (j or 0.0) * self._unit
        elif r is not None:
            centre = centre_from_radius((x, y), (nx, ny), r * self._unit, clockwise)
        self._straight(command, line)
        if centre is None:
            return
        curve = arc((x, y), (nx, ny), centre, clockwise, command.value("P") or 0.0)
        chord = self.entries.pop()
        de = chord[3] if isinstance(chord, tuple) else 0.0
        for px, py in curve.extremes:
            self._reach(px, py, nz, line)
            if de > 0.0:
                self._extruded.grow(px, py, nz)
        dx, dy = (part * curve.length for part in curve.direction)
        self.entries.append((dx, dy, nz - z, de, self.speed) if curve.length else 0.0)

    # -- everything else

    def comment(self, text: str) -> None:
        """A comment line: only marks of layers matter. The first kind of mark found is the one that counts."""
        found = _MARK.match(text)
        if found is None:
            return
        kind = found[1][:6]
        if not self._mark:
            self._mark, self.layer = kind, 0
        if kind == self._mark:
            self.layer += 1

    def command(self, command: Command, line: int) -> None:
        """Any parsed command; unknown ones change nothing."""
        handler = _HANDLERS.get(command.code)
        if handler is not None:
            handler(self, command, line)
        elif command.code[0] == "T" and command.code[1:].isdigit():
            self._select(int(command.code[1:]))

    def _select(self, tool: int) -> None:
        if tool == self.tool or tool >= MAX_TOOLS:
            return
        self._tools[self.tool] = self.net, self.used
        self.net, self.used = self._tools.get(tool, (0.0, 0.0))
        self.tool = tool
        self._printing = False
        self.entries.append(STOP)

    def totals(self) -> tuple[float, ...]:
        """Filament used so far, per tool in order of their numbers, mm."""
        used = {number: total for number, (_, total) in self._tools.items()} | {self.tool: self.used}
        return tuple(used.get(number, 0.0) for number in range(max(used) + 1))

    def measured(self, seconds: float, uncertain: bool) -> Measured:
        return Measured(
            time_s=round(seconds, 3),
            filament_mm=self.totals(),
            bbox_mm=self._extruded.corners(),
            travel_mm=self._travelled.corners(),
            layers=self.layer,
            max_temperatures=dict(sorted(self.temperatures.items())),
            uncertain=uncertain,
        )

    def _is_plain(self) -> None:
        self.plain = not self._relative and self._unit == 1.0 and not any(self._offset)

    def _modes(self, command: Command, _line: int) -> None:
        code = command.code
        if code in ("G20", "G21"):
            self._unit = 25.4 if code == "G20" else 1.0
        elif code in ("G90", "G91"):
            self._relative = code == "G91"
            if self._limits.g90_sets_e:
                self.relative_e = self._relative
        else:
            self.relative_e = code == "M83"
        self._is_plain()

    def _set_position(self, command: Command, _line: int) -> None:
        bare = not any(command.has(letter) for letter in "XYZE")
        if command.has("E") or bare:
            self.e = (command.value("E") or 0.0) * self._unit
        for axis, (letter, here) in enumerate(zip("XYZ", (self.x, self.y, self.z), strict=True)):
            if command.has(letter) or bare:
                self._offset[axis] = here - (command.value(letter) or 0.0) * self._unit
        self._is_plain()

    def _home(self, command: Command, _line: int) -> None:
        """Where the head was before the first homing nobody knows: what was seen until then does not count."""
        if not self._homed:
            self._homed = True
            self._extruded, self._travelled = Box(), Box()
            self.outside.clear()
        every = not any(command.has(letter) for letter in "XYZ")
        self.x = 0.0 if every or command.has("X") else self.x
        self.y = 0.0 if every or command.has("Y") else self.y
        self.z = 0.0 if every or command.has("Z") else self.z
        self._offset = [0.0, 0.0, 0.0]
        self._printing, self.motors_off = False, None
        self._is_plain()
        self.entries.append(STOP)

    def _stop(self, _command: Command, _line: int) -> None:
        self.entries.append(STOP)

    def _dwell(self, command: Command, _line: int) -> None:
        seconds = command.value("S")
        if seconds is None:
            seconds = (command.value("P") or 0.0) / 1000.0
        self.entries.append(min(max(seconds, STOP), 86_400.0))

    def _heat(self, command: Command, _line: int) -> None:
        code = command.code
        asked = max((value for letter in "SR" for value in command.values.get(letter, ())), default=0.0)
        if code in ("M140", "M190"):
            name = "bed"
        elif code in ("M141", "M191"):
            name = "chamber"
        else:
            stated = command.value("P" if code in ("G10", "M568") else "T")
            name = f"tool{self.tool if stated is None else int(stated)}"
        if asked > 0:
            self.temperatures[name] = max(asked, self.temperatures.get(name, 0.0))
        if code in ("M109", "M190", "M191"):
            self.entries.append(STOP)

    def _factors(self, command: Command, _line: int) -> None:
        code = command.code
        if code == "M220" and (command.value("S") or 0.0) > 0:
            before, self._feed = self._feed, (command.value("S") or 100.0) / 100.0
            self.speed *= self._feed / before
        elif code == "M221" and (command.value("S") or 0.0) > 0:
            self._percent = (command.value("S") or 100.0) / 100.0
        elif code == "M200":
            diameter = command.value("D") or 0.0
            self._area = pi * diameter * diameter / 4.0 if diameter > 0 else 1.0
        self.flow = self._percent / self._area

    def _motors(self, command: Command, line: int) -> None:
        if not any(command.has(letter) for letter in "SE"):
            self.motors_off = line, self.used
        self.entries.append(STOP)

    def _limits_of(self, command: Command, _line: int) -> None:
        """M201, M203 (mm/s as in Marlin), M204, M205."""
        now, code = self.dynamics, command.code
        axes = tuple(command.value(letter) for letter in "XYZE")
        if code == "M201":
            now = replace(now, axis_a=_merged(now.axis_a, axes))
        elif code == "M203":
            now = replace(now, axis_v=_merged(now.axis_v, axes))
        elif code == "M205":
            deviation = command.value("J")
            if deviation:  # the classic jerk that gives the same speed around a right angle
                same = sqrt(2.414 * deviation * min(now.print_a, now.axis_a[0]))
                axes = (same, same, *axes[2:])
            now = replace(now, jerk=_merged(now.jerk, axes))
        else:
            both = command.value("S")
            p, r, t = (command.value(letter) for letter in "PRT")
            now = replace(
                now,
                print_a=_positive(p if p is not None else both, now.print_a),
                retract_a=_positive(r, now.retract_a),
                travel_a=_positive(t if t is not None else both, now.travel_a),
            )
        self.dynamics = now
        self.entries.append(now)


def _positive(value: float | None, otherwise: float) -> float:
    return value if value is not None and value > 0 else otherwise


Axes = tuple[float, float, float, float]


def _merged(old: Axes, new: tuple[float | None, ...]) -> Axes:
    x, y, z, e = (_positive(value, before) for value, before in zip(new, old, strict=True))
    return x, y, z, e


_Handler = Callable[[Meter, Command, int], None]
_GROUPS: tuple[tuple[_Handler, tuple[str, ...]], ...] = (
    (Meter._straight, ("G0", "G1")),
    (Meter._arc, ("G2", "G3")),
    (Meter._modes, ("G20", "G21", "G90", "G91", "M82", "M83")),
    (Meter._heat, ("M104", "M109", "M140", "M190", "M141", "M191", "G10", "M568")),
    (Meter._factors, ("M200", "M220", "M221")),
    (Meter._limits_of, ("M201", "M203", "M204", "M205")),
    (Meter._motors, ("M18", "M84")),
    (Meter._stop, ("G29", "G80", "M400", "M600", "M0", "M1", "M25", "M226", "M601")),
    (Meter._dwell, ("G4",)),
    (Meter._home, ("G28",)),
    (Meter._set_position, ("G92",)),
)
_HANDLERS: dict[str, _Handler] = {code: handler for handler, codes in _GROUPS for code in codes}
