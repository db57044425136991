"""How long moves take: trapezoids with look-ahead, as the firmware's planner does it. Pure; units mm, s, mm/s, mm/s².

Junctions follow Marlin's classic jerk: the highest speed at which no axis changes its speed at once by more than its
jerk. A batch begins and ends at rest. Not modelled: heating, homing, levelling, and the planner running dry.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import hypot, sqrt

Move = tuple[float, float, float, float, float]
"""dx, dy, dz, de (mm) and the speed asked for (mm/s)."""

STOP = 1e-9
"""An entry that takes no time but lets the machine come to rest."""


@dataclass(frozen=True, slots=True)
class Dynamics:
    """What the machine is allowed: axes in the order X, Y, Z, E. The defaults are those of a Prusa MK3."""

    print_a: float = 1250.0
    retract_a: float = 1250.0
    travel_a: float = 1250.0
    axis_a: tuple[float, float, float, float] = (1000.0, 1000.0, 200.0, 5000.0)
    axis_v: tuple[float, float, float, float] = (200.0, 200.0, 12.0, 120.0)
    jerk: tuple[float, float, float, float] = (8.0, 8.0, 0.4, 4.5)


Entry = Move | float | Dynamics
"""A move; a fixed time in seconds, above 0 a stop; or new dynamics that take no time."""


def plan(entries: Sequence[Entry], dynamics: Dynamics) -> list[float]:
    """Seconds for each entry, in order."""
    lengths, speeds, accelerations, joints = _junctions(entries, dynamics)
    entry_squares = _backward(lengths, accelerations, joints)
    times = iter(_forward(lengths, speeds, accelerations, entry_squares))
    return [
        next(times) if isinstance(entry, tuple) else entry if isinstance(entry, float) else 0.0 for entry in entries
    ]


def last_dynamics(entries: Iterable[Entry], dynamics: Dynamics) -> Dynamics:
    """The dynamics in force after these entries."""
    for entry in entries:
        if isinstance(entry, Dynamics):
            dynamics = entry
    return dynamics


Columns = tuple[list[float], list[float], list[float], list[float]]


def _junctions(entries: Sequence[Entry], dynamics: Dynamics) -> Columns:
    """Length, speed, acceleration and squared highest entry speed of each move."""
    lengths: list[float] = []
    speeds: list[float] = []
    accelerations: list[float] = []
    joints: list[float] = []
    ux = uy = uz = last = 0.0  # direction and speed of the move before; last 0: at rest
    print_a, travel_a, top_v, jerk, z_weight = _flat(dynamics)
    for entry in entries:
        if not isinstance(entry, tuple):
            if isinstance(entry, Dynamics):
                dynamics = entry
                print_a, travel_a, top_v, jerk, z_weight = _flat(dynamics)
            elif entry > 0.0:
                last = 0.0
            continue
        dx, dy, dz, de, v = entry
        wz = 0.0
        if dz == 0.0 and (dx or dy):  # nearly every move
            length = hypot(dx, dy)
            wx, wy = dx / length, dy / length
            a = print_a if de else travel_a
            if v > top_v:
                v = top_v
        else:
            length, wx, wy, wz, v, a = _other(dx, dy, dz, de, v, dynamics)
        joint = 0.0
        if last:
            joint = v if v < last else last
            gap = max(abs(wx - ux), abs(wy - uy), abs(wz - uz) * z_weight)
            if gap * joint > jerk:
                joint = jerk / gap
        lengths.append(length)
        speeds.append(v)
        accelerations.append(a)
        joints.append(joint * joint)
        ux, uy, uz, last = wx, wy, wz, v
    return lengths, speeds, accelerations, joints


def _flat(dynamics: Dynamics) -> tuple[float, float, float, float, float]:
    """What a move in the XY plane needs, cautiously the same for both axes; the weight makes Z's jerk comparable."""
    axis = min(dynamics.axis_a[:2])
    jerk = max(min(dynamics.jerk[:2]), 0.1)
    return (
        min(dynamics.print_a, axis),
        min(dynamics.travel_a, axis),
        min(dynamics.axis_v[:2]),
        jerk,
        jerk / max(dynamics.jerk[2], 0.05),
    )


def _other(dx: float, dy: float, dz: float, de: float, v: float, dynamics: Dynamics) -> tuple[float, ...]:
    """Length, direction, speed and acceleration of a move with Z in it, or of the extruder alone."""
    length = hypot(dx, dy, dz)
    if length == 0.0:
        a = min(dynamics.retract_a, dynamics.axis_a[3])
        return abs(de), 0.0, 0.0, 0.0, min(v, dynamics.axis_v[3]), a
    unit = (dx / length, dy / length, dz / length)
    a = dynamics.print_a if de else dynamics.travel_a
    for share, most_v, most_a in zip(unit, dynamics.axis_v, dynamics.axis_a, strict=False):
        if share:
            v, a = min(v, most_v / abs(share)), min(a, most_a / abs(share))
    return length, *unit, v, a


def _backward(lengths: list[float], accelerations: list[float], joints: list[float]) -> list[float]:
    """Squared entry speeds from which each move can still brake for what follows; one more at the end: rest."""
    squares = [0.0]
    follows = 0.0
    for length, a, joint in zip(reversed(lengths), reversed(accelerations), reversed(joints), strict=True):
        follows += 2.0 * a * length
        if joint < follows:
            follows = joint
        squares.append(follows)
    squares.reverse()
    return squares


def _forward(
    lengths: list[float], speeds: list[float], accelerations: list[float], squares: list[float]
) -> list[float]:
    """Seconds per move: what was planned backwards is now also held to what can be reached."""
    times: list[float] = []
    enter = v0 = 0.0
    for length, v, a, leave in zip(lengths, speeds, accelerations, squares[1:], strict=True):
        reach = enter + 2.0 * a * length
        if leave > reach:
            leave = reach
        v1 = sqrt(leave)
        ramps = (2.0 * v * v - enter - leave) / (2.0 * a)
        if ramps <= length:
            times.append((v + v - v0 - v1) / a + (length - ramps) / v)
        else:
            times.append((2.0 * sqrt(a * length + (enter + leave) / 2.0) - v0 - v1) / a)
        enter, v0 = leave, v1
    return times
