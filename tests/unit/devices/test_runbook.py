"""What a run's facts are made of: seconds, pauses and who bears them, lines, people's figures."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fablab.devices.protocols.contract import Progressed, RunEnded
from fablab.devices.runbook import RunBook, RunFacts

FACTS = RunFacts("run", "mk3", 4, "job", "Ada", "command", total_lines=100)


def book(speed: int = 1, **more: object) -> RunBook:
    return RunBook(FACTS, lambda accepted: (accepted * 2.5,), speed, **more)  # type: ignore[arg-type]


def test_lines_that_were_taken_are_what_is_commanded() -> None:
    run = book()
    run.begin(100)
    run.progress(Progressed(60, 40))
    ended = run.end(700, RunEnded("run", "stopped", accepted=42, code=""))
    assert (ended.seconds, ended.lines, ended.total_lines, ended.commanded_mm) == (600, 42, 100, (105.0,))
    assert (ended.kind, ended.touched, ended.claim_no, ended.payer) == ("commanded", True, 4, "Ada")


@pytest.mark.parametrize(("by_staff", "paused", "staff"), [(False, 60, 0), (True, 0, 60)])
def test_a_pause_is_told_apart_by_who_bears_it(by_staff: bool, paused: int, staff: int) -> None:
    run = book()
    run.begin(0)
    run.hold(10, by_staff)
    run.hold(20, not by_staff)  # the second word on the same pause changes nothing
    run.go_on(70)
    run.go_on(75)
    ended = run.end(100, RunEnded("run", "succeeded", 100))
    assert (ended.seconds, ended.paused_s, ended.staff_paused_s) == (100, paused, staff)


def test_a_pause_that_lasts_to_the_end_is_counted() -> None:
    run = book()
    run.begin(0)
    run.hold(40, True)
    assert run.end(100, RunEnded("run", "failed", 3, "power")).staff_paused_s == 60


def test_a_simulators_seconds_are_multiplied() -> None:
    run = book(speed=60)
    run.begin(0)
    run.hold(1, False)
    run.go_on(2)
    ended = run.end(10, RunEnded("run", "succeeded", 100))
    assert (ended.seconds, ended.paused_s) == (600, 60)


def test_a_persons_figures_count_and_say_so() -> None:
    run = book()
    run.begin(0)
    ended = run.end(5, RunEnded("run", "succeeded", 0, minutes=90, grams=12.5))
    assert (ended.kind, ended.seconds, ended.declared_g, ended.paused_s) == ("declared", 5400, 12.5, 0)


def test_what_was_counted_before_a_restart_is_carried() -> None:
    run = book(carried_s=500, carried_paused_s=20, carried_staff_s=30, accepted=40, adopted=True)
    run.count_from(0)
    ended = run.end(100, RunEnded("run", "succeeded", 100))
    assert (ended.seconds, ended.paused_s, ended.staff_paused_s, ended.touched) == (600, 20, 30, True)


def test_marks_never_go_back_and_shares_stay_within_bounds() -> None:
    run = book()
    run.progress(Progressed(50, 40))
    run.progress(Progressed(50, 10))
    assert run.share() == 0.4
    run.progress(Progressed(50, 50, fraction=1.7))
    assert run.share() == 1.0
    assert replace(FACTS, total_lines=0).total_lines == 0
    assert RunBook(replace(FACTS, total_lines=0), lambda _: ()).share() is None


@given(st.lists(st.tuples(st.sampled_from(["hold", "staff", "go"]), st.integers(0, 50)), max_size=30))
def test_pauses_are_never_longer_than_the_run(steps: list[tuple[str, int]]) -> None:
    run, now = book(), 0.0
    run.begin(0)
    for what, wait in steps:
        now += wait
        if what == "go":
            run.go_on(now)
        else:
            run.hold(now, what == "staff")
    ended = run.end(now, RunEnded("run", "stopped", 1))
    assert 0 <= ended.paused_s + ended.staff_paused_s <= ended.seconds
