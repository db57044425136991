"""The state tables: drawn as they are, every state reachable, every end final, and the promises of the road held."""

from pathlib import Path

import pytest

from fablab.cli_dev import pages
from fablab.queue.command_states import COMMAND_TABLE, CommandState
from fablab.queue.job_states import ENDED, JOB_TABLE, JobEvent, JobState, job_after
from fablab.queue.run_states import LIVE, RUN_TABLE, RunEvent, RunState, run_after
from fablab.queue.states import IllegalTransition

STATES = Path(__file__).resolve().parents[3] / "docs/states"


@pytest.mark.parametrize("name", ["job", "run", "command"])
def test_drawing_and_table_are_equal(name: str) -> None:
    assert (STATES / f"{name}.md").read_text(encoding="utf-8") == pages()[name]


@pytest.mark.parametrize(
    ("table", "first", "states"),
    [
        (JOB_TABLE, JobState.CHECKING, JobState),
        (RUN_TABLE, RunState.CLAIMED, RunState),
        (COMMAND_TABLE, CommandState.PENDING, CommandState),
    ],
)
def test_every_state_can_be_reached(table: dict, first: str, states: type) -> None:  # type: ignore[type-arg]
    reached = {first}
    while more := {after for (state, _), after in table.items() if state in reached} - reached:
        reached |= more
    assert reached == set(states)


def test_nothing_leaves_an_end() -> None:
    assert not {state for state, _ in JOB_TABLE} & ENDED
    assert not {state for state, _ in RUN_TABLE} - LIVE
    final = {CommandState.SUCCEEDED, CommandState.FAILED, CommandState.UNKNOWN, CommandState.REJECTED}
    assert not {state for state, _ in COMMAND_TABLE} & final


def test_from_every_live_job_an_end_can_be_reached() -> None:
    for start in set(JobState) - ENDED:
        reached = {start}
        while more := {after for (state, _), after in JOB_TABLE.items() if state in reached} - reached:
            reached |= more
        assert reached & ENDED, start


def test_once_a_start_exists_a_run_is_never_given_up_without_an_answer() -> None:
    for state in (RunState.STARTING, RunState.RUNNING, RunState.PAUSED, RunState.LOST):
        for event in (RunEvent.EXPIRED, RunEvent.GIVEN_UP):
            with pytest.raises(IllegalTransition):
                run_after(state, event)


def test_a_running_job_is_never_simply_cancelled() -> None:
    for state in (JobState.RUNNING, JobState.CANCELLING, JobState.TO_JUDGE):
        with pytest.raises(IllegalTransition):
            job_after(state, JobEvent.CANCELLED)


def test_a_second_tap_is_refused_with_the_state_it_found() -> None:
    with pytest.raises(IllegalTransition) as refused:
        job_after("queued", "confirmed")
    assert refused.value.code == "not_now"
    assert refused.value.data["state"] == "queued"
