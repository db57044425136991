"""The geometry of G2 and G3 in the XY plane: length, direction and the points where the arc reaches furthest. Pure."""

from dataclasses import dataclass
from math import atan2, ceil, cos, floor, hypot, pi, sin, sqrt, tau

Flat = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Arc:
    length: float  # mm, whole turns included
    direction: Flat  # unit vector from start to end; the tangent at the start for a full circle
    extremes: tuple[Flat, ...]  # points on the arc at 0, 90, 180 and 270 degrees


def arc(start: Flat, end: Flat, centre: Flat, clockwise: bool, turns: float = 0.0) -> Arc:
    """An arc around `centre` (mm). The same start and end mean a full circle; `turns` are further whole circles."""
    radius = hypot(start[0] - centre[0], start[1] - centre[1])
    begin = atan2(start[1] - centre[1], start[0] - centre[0])
    angle = atan2(end[1] - centre[1], end[0] - centre[0]) - begin
    sweep = -(-angle % tau or tau) if clockwise else (angle % tau or tau)
    first, last = sorted((begin, begin + sweep))
    quarter = pi / 2
    extremes = tuple(
        (centre[0] + radius * cos(n * quarter), centre[1] + radius * sin(n * quarter))
        for n in range(ceil(first / quarter), floor(last / quarter) + 1)
    )
    chord = hypot(end[0] - start[0], end[1] - start[1])
    direction = ((end[0] - start[0]) / chord, (end[1] - start[1]) / chord) if chord else (-sin(begin), cos(begin))
    return Arc(radius * (abs(sweep) + turns * tau), direction, extremes)


def centre_from_radius(start: Flat, end: Flat, radius: float, clockwise: bool) -> Flat | None:
    """The centre for the R form: the short way round for a positive radius. None where start and end are one point."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    chord = hypot(dx, dy)
    if chord == 0.0:
        return None
    height = sqrt(max(radius * radius - chord * chord / 4.0, 0.0))
    if clockwise == (radius > 0):
        height = -height
    return start[0] + dx / 2 - dy / chord * height, start[1] + dy / 2 + dx / chord * height
