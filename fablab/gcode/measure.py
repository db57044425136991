"""What the commands of a file add up to: filament, time, box, layers, temperatures."""

from msgspec import Struct

Point = tuple[float, float, float]


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
