"""The decisions of the road one by one: each guard alone refuses, and words about what is over change nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fablab.devices.orders import View, decide
from fablab.messages import Cancel, Command, EmergencyStop, Ended, Prepare, Resume, Revoke, Start
from fablab.queue import road
from fablab.queue.job_states import JOB_TABLE, JobState
from fablab.queue.run_states import LIVE, RUN_TABLE, RunState, run_after
from fablab.queue.states import IllegalTransition

FREE = road.Claimable(
    job=JobState.QUEUED,
    job_has_live_run=False,
    money_held=True,
    machine_run=None,
    plate="free",
    outage=False,
    latched=False,
    frozen=False,
    agent_greeted=True,
    lease_mine=True,
)
ENDED = Ended(run="r", machine="m", claim_no=1, result="succeeded")
WORDS = {
    "prepare accepted": lambda a: road.on_prepare_answer(a, "accepted", ""),
    "prepare rejected": lambda a: road.on_prepare_answer(a, "rejected", "model_differs"),
    "start rejected": lambda a: road.on_start_answer(a, "rejected", "token_void"),
    "start refused for good": lambda a: road.on_start_answer(a, "rejected", "claim_closed"),
    "never started": lambda a: road.on_close_answer(a, "succeeded", "never_started"),
    "prepared": road.on_prepared,
    "started": road.on_started,
    "paused": road.on_paused,
    "resumed": road.on_resumed,
    "ended": lambda a: road.on_ended(a, ENDED),
    "unknown": road.on_unknown,
    "new journal": road.on_new_journal,
    "given up": road.on_give_up,
    "freed": road.on_freed,
}
OPEN_JOBS = (JobState.ASSIGNED, JobState.RUNNING, JobState.CANCELLING, JobState.NEEDS_ATTENTION)


def test_a_free_machine_is_claimed() -> None:
    assert road.why_not_claim(FREE) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"lease_mine": False}, "lease_lost"),
        ({"job": JobState.HELD}, "job_not_queued"),
        ({"job_has_live_run": True}, "job_runs"),
        ({"money_held": False}, "no_money_held"),
        ({"machine_run": "r"}, "machine_taken"),
        ({"plate": "to_clear"}, "plate_not_free"),
        ({"plate": "unsure"}, "plate_not_free"),
        ({"outage": True}, "outage"),
        ({"latched": True}, "latched"),
        ({"frozen": True}, "machine_frozen"),
        ({"agent_greeted": False}, "agent_silent"),
    ],
)
def test_each_guard_of_a_claim_refuses_alone(change: dict, why: str) -> None:  # type: ignore[type-arg]
    assert road.why_not_claim(replace(FREE, **change)) == why


@given(st.sampled_from(sorted(WORDS)), st.sampled_from(RunState), st.sampled_from(OPEN_JOBS), st.booleans())
def test_every_word_leads_along_the_tables(word: str, run: RunState, job: JobState, known: bool) -> None:
    """But an agent that contradicts itself, "it runs" and "it never started", is put to a person."""
    change = WORDS[word](road.Attempt(run, job, known))
    if word == "never started" and run in {RunState.RUNNING, RunState.PAUSED}:
        with pytest.raises(IllegalTransition):
            run_after(run, str(change.run))
    elif change.run is not None:
        assert (run, change.run) in RUN_TABLE
    if change.job is not None:
        assert (job, change.job) in JOB_TABLE


@given(st.sampled_from(sorted(WORDS)), st.sampled_from(sorted(set(RunState) - LIVE)), st.sampled_from(JobState))
def test_a_word_about_a_run_that_is_over_never_moves_it(word: str, run: RunState, job: JobState) -> None:
    assert WORDS[word](road.Attempt(run, job)).run is None


@pytest.mark.parametrize("word", ["start rejected", "start refused for good", "never started"])
def test_a_new_journal_cannot_say_that_nothing_ran(word: str) -> None:
    attempt = road.Attempt(RunState.LOST, JobState.NEEDS_ATTENTION, journal_lost=True)
    assert WORDS[word](attempt) == road.NOTHING


VIEW = View(highest_claim=3, stop_no=5, prepared_run="r", prepared_claim=3, token="t", ready=True, term=2)
START = Command(id="c", machine="m", run="r", claim_no=3, stop_no=5, term=2, body=Start(token="t"))
PREPARE = Prepare(job="j", sha256="0", size=1, file_name="f", file_path="/", file_token="t")


@pytest.mark.parametrize(
    ("change", "what", "code"),
    [
        ({}, "take", ""),
        ({"known": True}, "again", ""),
        ({"closed": True}, "refuse", "claim_closed"),
        ({"started_run": "q"}, "refuse", "machine_busy"),
        ({"prepared_run": "q"}, "refuse", "not_prepared"),
        ({"token": ""}, "refuse", "token_void"),
        ({"token": "u"}, "refuse", "token_void"),
        ({"latched": True}, "refuse", "latched"),
        ({"stop_no": 6}, "refuse", "stop_overtook"),
        ({"blocked": "disk_full"}, "refuse", "disk_full"),
        ({"ready": False}, "refuse", "not_connected"),
        ({"term": 3}, "ignore", "old_term"),
    ],
)
def test_each_guard_of_a_start_refuses_alone(change: dict, what: str, code: str) -> None:  # type: ignore[type-arg]
    verdict = decide(replace(VIEW, **change), START)
    assert (verdict.what, verdict.code) == (what, code)


@pytest.mark.parametrize(("claim_no", "what"), [(2, "refuse"), (3, "refuse"), (4, "take")])
def test_only_a_higher_claim_replaces_a_mere_prepare(claim_no: int, what: str) -> None:
    order = Command(id="c", machine="m", run="other", claim_no=claim_no, stop_no=5, term=2, body=PREPARE)
    assert decide(VIEW, order).what == what
    assert decide(replace(VIEW, started_run="r"), order).what == "refuse"


@given(
    st.builds(View, closed=st.booleans(), latched=st.booleans(), term=st.integers(0, 9), stop_no=st.integers(0, 9)),
    st.sampled_from([EmergencyStop(), Cancel(), Revoke()]),
)
def test_a_stop_is_taken_whatever_the_state(view: View, body: EmergencyStop | Cancel | Revoke) -> None:
    assert decide(view, Command(id="c", machine="m", run="r", term=1, body=body)).what == "take"


def test_a_late_resume_never_overtakes_a_stop() -> None:
    resume = Command(id="c", machine="m", run="r", claim_no=3, stop_no=5, term=2, body=Resume())
    assert decide(replace(VIEW, started_run="r"), resume).what == "take"
    assert decide(replace(VIEW, started_run="r", stop_no=6), resume).code == "stop_overtook"
    assert decide(replace(VIEW, started_run="r", latched=True), resume).code == "latched"
