"""The road of an order, walked through whole: no fault, and no pair of faults, starts a machine twice or sticks.

`make test` walks every single fault and the pairs that take seconds; `make soak` all pairs and the triples.
"""

from itertools import combinations_with_replacement

import pytest

from tests.model.walk import walk

QUICK = ("give_up", "lapse", "cancel", "freed", "crash")
FAULTS = (*QUICK, "power", "new_card", "old_card", "restore")
QUICK_PAIRS = tuple(combinations_with_replacement(QUICK, 2))
ALL_PAIRS = tuple(combinations_with_replacement(FAULTS, 2))


def check(faults: tuple[str, ...]) -> None:
    seen = walk(faults)
    assert not seen.broken, f"{seen.broken} after: " + "; ".join(seen.trace)
    assert not seen.stuck, "the job can never end after: " + "; ".join(seen.stuck)
    assert seen.worlds > 10


def test_without_a_fault_the_job_is_made_once() -> None:
    check(())


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault(fault: str) -> None:
    check((fault,))


@pytest.mark.parametrize("pair", QUICK_PAIRS, ids="+".join)
def test_two_faults(pair: tuple[str, ...]) -> None:
    check(pair)


@pytest.mark.soak
@pytest.mark.parametrize("pair", [pair for pair in ALL_PAIRS if pair not in QUICK_PAIRS], ids="+".join)
def test_two_faults_of_the_long_kind(pair: tuple[str, ...]) -> None:
    check(pair)


@pytest.mark.soak
@pytest.mark.parametrize("triple", list(combinations_with_replacement(QUICK, 3)), ids="+".join)
def test_three_faults(triple: tuple[str, ...]) -> None:
    check(triple)


@pytest.mark.parametrize(
    ("guard", "fault"),
    [("highest_claim", "give_up"), ("machine_busy", "restore"), ("token", "new_card"), ("job_not_queued", "restore")],
)
def test_a_guard_taken_away_lets_harm_happen(guard: str, fault: str) -> None:
    """If the walk found nothing here, it would find nothing anywhere."""
    seen = walk((fault,), guard)
    assert seen.broken or seen.stuck
