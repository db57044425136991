"""The road of an order, walked through whole: no fault, and no pair of faults, starts a machine twice or sticks.

Harm is a second start of a run, of a job that nobody asked for again, of a busy machine, on a plate that is not free,
or of a closed claim. A dead end is a world from which the machine is never again as free as at the first job.
"""

from itertools import combinations_with_replacement

import pytest

from tests.model.walk import CARDS, FAULTS, walk

LONG = CARDS | {"restore", "power"}
PAIRS = tuple(combinations_with_replacement(FAULTS, 2))
TRIPLES = tuple(combinations_with_replacement(FAULTS, 3))


def check(faults: tuple[str, ...]) -> None:
    seen = walk(faults)
    assert not seen.broken, f"{seen.broken} after: " + "; ".join(seen.trace)
    assert not seen.stuck, "no job can be made any more after: " + "; ".join(seen.stuck)
    assert seen.worlds > 10


def test_without_a_fault_the_job_is_made_once() -> None:
    check(())


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault(fault: str) -> None:
    check((fault,))


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_two_faults(pair: tuple[str, ...]) -> None:
    check(pair)


GUARDS = [
    ("lease_lost", "second_hub"),
    ("job_not_queued", "restore"),
    ("journal_lost", "new_card"),
    ("highest_claim", "give_up"),
    ("token", "new_card"),
]
"""Guards that nothing stands behind. Not shown here, because no harm was found without them: machine_frozen,
machine_taken, job_runs and agent_silent at the hub, the epoch at the agent. They are second nets in this world of one
machine and one job; what they refuse is tested in tests/unit/queue/test_states_road.py."""

TOGETHER = [
    ("plate_not_free+go_plate", "restore"),  # at the claim, and at the go
    ("known+token", "give_up"),  # an order once, a token once
    ("closed+dropped+stop_no", "cancel"),  # closing a claim: in the journal, in memory, and by the stop number
]
"""Guards that stand behind one another: the last one that is taken away lets the harm happen, and not before."""


@pytest.mark.parametrize(("guard", "fault"), GUARDS)
def test_a_guard_taken_away_lets_harm_happen(guard: str, fault: str) -> None:
    """If the walk found nothing here, it would find nothing anywhere."""
    seen = walk((fault,), frozenset({guard}), cap=20_000)
    assert seen.broken or seen.stuck


@pytest.mark.parametrize(("guards", "fault"), TOGETHER)
def test_guards_that_stand_behind_one_another(guards: str, fault: str) -> None:
    gone = frozenset(guards.split("+"))
    seen = walk((fault,), gone, cap=20_000)
    assert seen.broken
    for kept in gone:
        assert not walk((fault,), gone - {kept}, cap=3_000).broken


def test_a_machine_that_runs_refuses_whatever_the_hub_believes() -> None:
    """Two hubs without a lease claim twice; only without the agent's own guard does a running machine start again."""
    busy = "a machine was started while it ran"
    assert walk(("second_hub",), frozenset({"lease_lost", "machine_busy"}), cap=20_000).broken == busy
    assert walk(("second_hub",), frozenset({"lease_lost"}), cap=20_000).broken != busy


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("triple", [triple for triple in TRIPLES if len(LONG & set(triple)) < 2], ids="+".join)
def test_three_faults(triple: tuple[str, ...]) -> None:
    check(triple)
