"""Every way of a job from the file to the settled bill, on a real database, with a scripted agent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fablab.messages import Cancel, Cleared, Prepare, Revoke, Start
from fablab.queue import claims, jobs, runs
from fablab.sentences import Refusal
from tests.builders_world import World
from tests.servers import PostgreSQL, start_postgresql


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    started = start_postgresql(tmp_path_factory.mktemp("postgresql"))
    yield started
    started.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "sqlite":
        made = World(tmp_path)
    else:
        server: PostgreSQL = request.getfixturevalue("server")
        made = World(tmp_path, server.new_database(), server.password)
    yield made
    made.hub.lease.release()
    made.database.dispose()


def test_from_the_file_to_the_settled_bill(world: World) -> None:
    world.agent.say_hello()
    world.round()
    job_id = world.send()
    draft = world.summary(job_id)
    assert draft["state"] == "draft"
    assert {machine["id"] for machine in draft["machines"] if machine["fits"]} == {"mk3", "xl"}
    # 600 s at 28 millicents = 17 cents; 4 m of 1.75 mm PLA = 11.93 g at 5 millicents a mg = 60 cents
    assert (draft["price"]["quote_cents"], draft["price"]["ceiling_cents"]) == (77, 93)
    world.do(jobs.confirm, job_id, actor="ana")
    assert world.state(job_id) == "assigned"
    assert world.summary(job_id)["price"]["held_cents"] == 93
    order = world.agent.prepare()
    world.round()
    assert world.run_state(order.run) == "prepared"
    world.do(runs.go, order.run)
    start = world.agent.last(Start, order.run)
    assert start.body == Start(token="token-1", by="Max")
    world.agent.start(start)
    world.round()
    assert world.state(job_id) == "running"
    world.agent.end(start)
    world.round()
    assert world.state(job_id) == "to_judge"
    assert world.machine(order.machine)["plate"] == "to_clear"
    world.do(runs.judge, order.run, verdict="good", shelf="B2")
    assert world.state(job_id) == "done"
    assert world.machine(order.machine)["plate"] == "free"
    assert world.agent.has(Cleared)
    price = world.summary(job_id)["price"]
    assert (price["charged_cents"], price["held_cents"]) == (77, 0)


def test_a_second_go_of_an_old_page_is_refused(world: World) -> None:
    _, run_id = world.prepared()
    world.do(runs.go, run_id)
    with pytest.raises(Refusal) as refused:
        world.do(runs.go, run_id)
    assert refused.value.code == "not_ready"
    assert sum(isinstance(order.body, Start) for order in {o.id: o for o in world.agent.orders}.values()) == 1


def test_a_member_without_booking_may_not_say_go(world: World) -> None:
    _, run_id = world.prepared()
    with pytest.raises(Refusal) as refused:
        world.do(runs.go, run_id, actor="ana")
    assert refused.value.code == "not_allowed"


@pytest.mark.parametrize("stage", ["draft", "queued", "prepared"])
def test_cancelled_before_anything_moved(world: World, stage: str) -> None:
    job_id = {
        "draft": lambda: world.send(),
        "queued": lambda: world.queued(),
        "prepared": lambda: world.prepared()[0],
    }[stage]()
    world.do(jobs.cancel, job_id, actor="ana")
    assert world.state(job_id) == "cancelled"
    assert world.summary(job_id)["price"]["held_cents"] == 0
    for machine in ("mk3", "xl"):
        assert world.machine(machine)["run"] is None
        assert world.machine(machine)["plate"] == "free"


def test_cancelled_before_the_agent_took_the_start(world: World) -> None:
    job_id, run_id = world.prepared()
    world.do(runs.go, run_id)
    world.do(jobs.cancel, job_id, actor="ana")
    assert world.state(job_id) == "cancelling"
    cancel = world.agent.last(Cancel, run_id)
    world.agent.answer(cancel, "accepted")
    world.agent.answer(cancel, "succeeded", became="never_started")
    world.round()
    assert (world.state(job_id), world.run_state(run_id)) == ("cancelled", "released")
    assert world.summary(job_id)["price"]["held_cents"] == 0


def test_cancelled_while_it_runs_is_judged_and_costs_what_it_used(world: World) -> None:
    job_id, run_id, start = world.running()
    world.do(jobs.cancel, job_id, actor="ana")
    assert world.state(job_id) == "cancelling"
    world.agent.end(start, "stopped", seconds=300, commanded_mm=(1000.0,))
    world.round()
    assert world.state(job_id) == "to_judge"
    world.do(runs.judge, run_id, verdict="failed")
    assert world.state(job_id) == "failed"
    assert world.summary(job_id)["price"]["charged_cents"] == 8 + 15  # 300 s, 2.98 g


def test_a_failed_part_costs_nothing_by_the_rule_of_the_house(world: World) -> None:
    job_id, run_id = world.ended("failed", code="thermal", commanded_mm=(2000.0,))
    world.do(runs.judge, run_id, verdict="failed")
    price = world.summary(job_id)["price"]
    assert (price["charged_cents"], price["held_cents"]) == (0, 0)


def test_printed_again_under_the_same_hold(world: World) -> None:
    job_id, run_id = world.ended("failed")
    world.do(runs.judge, run_id, verdict="failed", again=True)
    assert world.state(job_id) == "assigned"
    assert world.summary(job_id)["price"]["held_cents"] == 93
    order = world.agent.last(Prepare)
    assert order.run != run_id
    assert world.summary(job_id)["runs"][-1]["attempt"] == 2


def test_over_the_ceiling_is_the_labs(world: World) -> None:
    job_id, run_id = world.ended(seconds=60_000, commanded_mm=(40_000.0,))
    world.do(runs.judge, run_id, verdict="good")
    assert world.summary(job_id)["price"]["charged_cents"] == 93


def test_nobody_judges_and_the_window_closes(world: World) -> None:
    job_id, run_id = world.ended()
    world.do(runs.judge, run_id, verdict="unknown")
    assert world.state(job_id) == "to_judge"
    assert world.machine("mk3")["plate"] == world.machine("xl")["plate"] == "free"
    world.later(71 * 3600)
    assert world.summary(job_id)["price"]["charged_cents"] is None
    world.later(2 * 3600)
    assert world.state(job_id) == "done"
    assert world.summary(job_id)["price"]["charged_cents"] == 77


def test_a_rejected_prepare_is_not_tried_there_again_until_something_changed(world: World) -> None:
    job_id = world.queued(machine="mk3")
    order = world.agent.last(Prepare)
    world.agent.answer(order, "rejected", "model_differs", model="MINI")
    world.round()
    assert world.state(job_id) == "queued"
    assert "rejected_before" in {reason["code"] for reason in world.summary(job_id)["reasons"]}
    world.later(3600)
    assert world.state(job_id) == "queued"
    world.do(claims.load_lot, "mk3", "lot-mk3")
    assert world.state(job_id) == "assigned"


def test_a_void_token_asks_for_a_new_go(world: World) -> None:
    _, run_id = world.prepared()
    world.do(runs.go, run_id)
    world.agent.answer(world.agent.last(Start), "rejected", "token_void")
    world.round()
    assert world.run_state(run_id) == "preparing"
    world.agent.prepare(token="token-2")
    world.round()
    world.do(runs.go, run_id)
    assert world.agent.last(Start).body.token == "token-2"


def test_an_unanswered_prepare_is_given_up(world: World) -> None:
    job_id = world.queued()
    first = world.agent.last(Prepare)
    world.later(601)
    assert world.run_state(first.run) == "released"
    world.agent.prepare()
    world.round()
    assert world.state(job_id) == "assigned"
    assert world.agent.last(Prepare).claim_no >= first.claim_no


def test_an_unanswered_start_is_lost_and_comes_back(world: World) -> None:
    job_id, run_id = world.prepared()
    world.do(runs.go, run_id)
    start = world.agent.last(Start)
    world.later(61)
    assert world.run_state(run_id) == "lost"
    world.agent.start(start)
    world.round()
    assert (world.run_state(run_id), world.state(job_id)) == ("running", "running")


def test_a_person_at_the_machine_frees_a_lost_run(world: World) -> None:
    job_id, run_id = world.prepared()
    world.do(runs.go, run_id)
    world.later(61)
    world.do(runs.attest_off, run_id)
    machine = next(name for name in ("mk3", "xl") if world.machine(name)["frozen"])
    assert world.state(job_id) == "to_judge"
    world.do(runs.judge, run_id, verdict="failed", again=True)
    assert world.machine(machine)["run"] is None  # frozen until its agent has answered
    revoke = world.agent.last(Revoke, run_id)
    world.agent.answer(revoke, "succeeded", became="never_started")
    world.round()
    assert not world.machine(machine)["frozen"]


def test_an_emergency_stop_latches_until_a_named_person_releases_it(world: World) -> None:
    job_id, run_id, start = world.running(machine="mk3")
    world.do(claims.emergency_stop, "mk3", actor="ana")
    world.agent.end(start, "failed", code="emergency_stop")
    world.round()
    world.do(runs.judge, run_id, verdict="failed", again=True)
    assert world.state(job_id) == "queued"
    with pytest.raises(Refusal):
        world.do(claims.release_stop, "mk3", actor="ana")
    world.do(claims.release_stop, "mk3")
    assert world.state(job_id) == "assigned"
