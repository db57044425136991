"""The order of the queue and the plan, rule by rule."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fablab.queue.policy import Free, Kept, Planned, Waiting, assignments, earliest, in_order, plan

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOBODY: frozenset[str] = frozenset()


def job(
    name: str,
    *,
    asker: str = "ana",
    ago: int = 0,
    due: datetime | None = None,
    booking: str | None = None,
    seconds: dict[str, int] | None = None,
    cents: dict[str, int] | None = None,
) -> Waiting:
    return Waiting(name, asker, NOW - timedelta(minutes=ago), due, booking, seconds or {"mk3": 3600}, cents or {})


def names(jobs: list[Waiting]) -> list[str]:
    return [item.job_id for item in jobs]


def test_first_come_first_served() -> None:
    assert names(in_order(NOW, [job("b", ago=1), job("a", ago=9)], NOBODY)) == ["a", "b"]


def test_whoever_has_nothing_running_goes_first() -> None:
    queue = [job("a", ago=9, asker="ana"), job("b", ago=1, asker="bob")]
    assert names(in_order(NOW, queue, frozenset({"ana"}))) == ["b", "a"]


def test_a_near_promise_goes_before_and_a_far_one_does_not() -> None:
    queue = [job("old", ago=60), job("near", due=NOW + 3 * HOUR), job("far", due=NOW + 48 * HOUR)]
    assert names(in_order(NOW, queue, NOBODY)) == ["near", "old", "far"]


def test_a_near_promise_beats_fairness_and_the_nearest_wins() -> None:
    queue = [job("later", due=NOW + 4 * HOUR), job("sooner", due=NOW + 2 * HOUR), job("old", ago=60, asker="bob")]
    assert names(in_order(NOW, queue, frozenset({"ana"}))) == ["sooner", "later", "old"]


def test_a_booked_job_only_inside_its_booking() -> None:
    kept = Kept("slot", "mk3", "ana", NOW + HOUR, NOW + 2 * HOUR)
    assert earliest(NOW, 600, "slot", (kept,)) == NOW + HOUR
    assert earliest(NOW + 2 * HOUR, 600, "slot", (kept,)) is None
    assert earliest(NOW, 600, "cancelled", (kept,)) is None


def test_nobody_elses_job_runs_into_a_booking() -> None:
    kept = (Kept("slot", "mk3", "ana", NOW + HOUR, NOW + 2 * HOUR),)
    assert earliest(NOW, 2880, None, kept) == NOW  # 48 min and a quarter: exactly an hour
    assert earliest(NOW, 2881, None, kept) == NOW + 2 * HOUR


def test_inside_her_booking_her_job_goes_first() -> None:
    kept = (Kept("slot", "mk3", "ana", NOW - HOUR, NOW + HOUR),)
    queue = [job("old", ago=600, asker="bob"), job("hers", booking="slot")]
    assert assignments(NOW, queue, [Free("mk3", NOW, kept)], NOBODY) == [Planned("hers", "mk3", NOW, NOW + HOUR)]


def test_a_machine_takes_one_job_and_a_busy_one_none() -> None:
    queue = [job("a", ago=2), job("b", ago=1)]
    assert [item.job_id for item in assignments(NOW, queue, [Free("mk3", NOW)], NOBODY)] == ["a"]
    assert assignments(NOW, queue, [Free("mk3", NOW + HOUR)], NOBODY) == []


def test_the_earliest_end_wins_then_the_lower_price() -> None:
    fast = job("a", seconds={"mk3": 3600, "xl": 1800})
    assert plan(NOW, [fast], [Free("mk3", NOW), Free("xl", NOW)], NOBODY)[0].machine_id == "xl"
    same = job("a", seconds={"mk3": 3600, "xl": 3600}, cents={"mk3": 300, "xl": 200})
    assert plan(NOW, [same], [Free("mk3", NOW), Free("xl", NOW)], NOBODY)[0].machine_id == "xl"


def test_a_machine_that_works_by_itself_comes_before_one_that_a_person_runs() -> None:
    either = replace(job("a", seconds={"bambu": 3600, "mk3": 3600}), by_hand=frozenset({"bambu"}))
    assert plan(NOW, [either], [Free("bambu", NOW), Free("mk3", NOW)], NOBODY)[0].machine_id == "mk3"
    assert plan(NOW, [either], [Free("bambu", NOW), Free("mk3", NOW + HOUR)], NOBODY)[0].machine_id == "bambu"


def test_a_plan_follows_on() -> None:
    got = plan(NOW, [job("a", ago=2), job("b", ago=1)], [Free("mk3", NOW + HOUR)], NOBODY)
    assert [(item.job_id, item.start) for item in got] == [("a", NOW + HOUR), ("b", NOW + 2 * HOUR)]
