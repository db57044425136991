"""Moves against the textbook: one trapezoid, corners, and entries that are no moves."""

from math import sqrt

import pytest

from fablab.gcode.timing import STOP, Dynamics, plan

PLAIN = Dynamics(
    print_a=1000, travel_a=1000, retract_a=1000, axis_a=(9e9,) * 4, axis_v=(500, 500, 12, 120), jerk=(8, 8, 0.4, 5)
)


def test_a_long_move_is_a_trapezoid() -> None:
    (seconds,) = plan([(100.0, 0.0, 0.0, 0.0, 50.0)], PLAIN)
    assert seconds == pytest.approx(100 / 50 + 50 / 1000)


def test_a_short_move_never_reaches_its_speed() -> None:
    (seconds,) = plan([(1.0, 0.0, 0.0, 0.0, 100.0)], PLAIN)
    assert seconds == pytest.approx(2 * sqrt(1 / 1000))


def test_a_line_cut_in_pieces_takes_no_longer() -> None:
    whole = sum(plan([(100.0, 0.0, 0.0, 1.0, 50.0)], PLAIN))
    pieces = sum(plan([(1.0, 0.0, 0.0, 0.01, 50.0)] * 100, PLAIN))
    assert pieces == pytest.approx(whole, rel=1e-6)


def test_a_corner_costs_time_and_a_stop_costs_more() -> None:
    east, north = (50.0, 0.0, 0.0, 1.0, 50.0), (0.0, 50.0, 0.0, 1.0, 50.0)
    straight, corner = sum(plan([east, east], PLAIN)), sum(plan([east, north], PLAIN))
    stop = sum(plan([east, STOP, north], PLAIN))
    assert straight < corner < stop
    assert corner == pytest.approx(straight + 2 * ((50 - 8) ** 2 / 2 / 1000 / 50), rel=0.02)


def test_axes_keep_their_limits() -> None:
    (lift,) = plan([(0.0, 0.0, 12.0, 0.0, 200.0)], PLAIN)
    assert lift == pytest.approx(1.0, rel=0.05)
    (retract,) = plan([(0.0, 0.0, 0.0, -6.0, 500.0)], PLAIN)
    assert retract == pytest.approx(2 * sqrt(6 / 1000), rel=0.01)


def test_every_entry_has_its_time() -> None:
    slow = Dynamics(print_a=100, travel_a=100, axis_a=PLAIN.axis_a, axis_v=PLAIN.axis_v, jerk=PLAIN.jerk)
    move = (1.0, 0.0, 0.0, 0.0, 100.0)
    times = plan([move, 2.5, slow, move, 0.0], PLAIN)
    assert times == pytest.approx([2 * sqrt(1 / 1000), 2.5, 0.0, 2 * sqrt(1 / 100), 0.0])
