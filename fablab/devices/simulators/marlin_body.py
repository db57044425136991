"""The physical half of a simulated printer: first-order heaters, a planner of timed moves, filament. Told the time."""

import math
from collections import deque
from dataclasses import dataclass, field

AMBIENT_C = 21.0


@dataclass
class Heater:
    """Heats at `rate` °C/s at full power, cools towards ambient with time constant `tau` seconds."""

    rate: float
    tau: float
    celsius: float = AMBIENT_C
    target: float = 0.0
    hottest: float = AMBIENT_C

    def pass_time(self, seconds: float) -> None:
        """Let `seconds` of the simulated time go by."""
        while seconds > 0:
            step = min(seconds, 0.25)
            seconds -= step
            loss = (self.celsius - AMBIENT_C) / self.tau
            wanted = (self.target - self.celsius) / 3.0 + loss
            power = min(self.rate + loss, max(0.0, wanted))
            self.celsius += (power - loss) * step
        self.hottest = max(self.hottest, self.celsius)

    def arrived(self, cooling: bool) -> bool:
        if cooling:
            return abs(self.celsius - self.target) <= 2
        return self.celsius >= self.target - 1


@dataclass
class Body:
    """Axes, planner, filament. `e_total` is net filament per tool, `furthest` its highest value so far."""

    planner_size: int
    heaters: dict[str, Heater]
    at: dict[str, float] = field(default_factory=lambda: dict.fromkeys("XYZE", 0.0))
    absolute: bool = True
    e_absolute: bool = True
    feed: float = 1500.0
    tool: int = 0
    fan: float = 0.0
    homed: bool = False
    blocks: deque[float] = field(default_factory=deque)
    ends: float = 0.0
    e_total: dict[int, float] = field(default_factory=dict)
    furthest: dict[int, float] = field(default_factory=dict)
    moved_at: float = 0.0

    def retire(self, now: float) -> None:
        """Forget the blocks that are done at simulated second `now`."""
        while self.blocks and self.blocks[0] <= now:
            self.blocks.popleft()

    def has_block(self, now: float) -> bool:
        self.retire(now)
        return len(self.blocks) < self.planner_size

    def move(self, words: dict[str, float], now: float, arc: bool) -> None:
        """Queue one move; `words` has its letters in upper case."""
        if "F" in words:
            self.feed = max(1.0, words["F"])
        deltas = {}
        for axis in "XYZE":
            if axis in words:
                absolute = self.e_absolute if axis == "E" else self.absolute
                deltas[axis] = words[axis] - self.at[axis] if absolute else words[axis]
                self.at[axis] += deltas[axis]
        length = math.sqrt(sum(deltas.get(axis, 0.0) ** 2 for axis in "XYZ")) or abs(deltas.get("E", 0.0))
        length *= math.pi / 2 if arc else 1.0
        self.extrude(deltas.get("E", 0.0))
        if length > 0:
            self.occupy(length / self.feed * 60.0, now)

    def extrude(self, mm: float) -> None:
        if self.heaters["tool0"].celsius < 170 and mm > 0:
            return  # cold extrusion is prevented
        total = self.e_total.get(self.tool, 0.0) + mm
        self.e_total[self.tool] = total
        self.furthest[self.tool] = max(self.furthest.get(self.tool, 0.0), total)

    def occupy(self, seconds: float, now: float) -> None:
        """Put a block of `seconds` behind what is planned."""
        self.ends = max(self.ends, now) + seconds
        self.blocks.append(self.ends)
        self.moved_at = self.ends

    def drop(self, now: float) -> None:
        """Everything planned is given up."""
        self.blocks.clear()
        self.ends = now
