"""The hub on an unkind wire: lost, repeated, late, forged, malformed; restarts of the agent; another card."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from fablab import topics
from fablab.billing.tables import Entry
from fablab.bus_local import LocalBus
from fablab.ids import new_id
from fablab.messages import Answer, Cancel, Ended, Pause, Prepare, Report, Start, Started, seal
from fablab.queue import claims, jobs, runs
from fablab.queue.tables import CommandIntent, IncidentRow, Job, Run, StoredReport
from tests.builders_agent import AT, SITE
from tests.builders_hub import EPOCH, KEY
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


def test_reports_in_the_wrong_order_are_applied_in_the_right_one(world: World) -> None:
    job_id, run_id = world.prepared()
    world.do(runs.go, run_id)
    order = world.agent.last(Start)
    about = {"run": run_id, "machine": order.machine, "claim_no": order.claim_no}
    first = world.agent.make_report(Answer(command=order.id, state="accepted", **about))
    second = world.agent.make_report(Started(**about))
    third = world.agent.make_report(Ended(result="succeeded", seconds=600, commanded_mm=(4000.0,), **about))
    for sealed in (third, second, third):
        world.agent_bus.publish(*sealed)
        world.round()
        assert world.run_state(run_id) == "starting"
    assert world.agent.applied[-1].missing_from == world.agent.seq - 2
    world.agent_bus.publish(*first)
    world.round()
    assert world.state(job_id) == "to_judge"
    assert world.agent.applied[-1].up_to == world.agent.seq
    assert world.agent.applied[-1].missing_from is None


def test_a_report_twice_changes_nothing_and_is_confirmed_again(world: World) -> None:
    _, run_id = world.ended()
    world.do(runs.judge, run_id, verdict="good")
    before = len(world.agent.applied)
    for sealed in world.agent.reports.values():
        world.agent_bus.publish(*sealed)
    world.round()
    assert len(world.agent.applied) > before
    assert world.agent.applied[-1].up_to == world.agent.seq
    assert world.rows(select(func.count()).select_from(Entry)) == [1]


def test_the_same_number_with_other_words_is_an_incident(world: World) -> None:
    _, run_id = world.ended()
    topic = topics.agent_reports(SITE, "main")
    changed = Report(
        journal_id=world.agent.journal, seq=world.agent.seq, boot_no=1, agent="main", at=AT,
        body=Ended(run=run_id, machine="mk3", claim_no=1, result="succeeded", seconds=1),
    )  # fmt: skip
    world.agent_bus.publish(topic, seal(topic, EPOCH, KEY, changed))
    world.round()
    assert "report_changed" in world.rows(select(IncidentRow.code))
    assert world.rows(select(Run.facts))[0]["seconds"] == 600


@pytest.mark.parametrize("kind", ["forged", "malformed", "oversized", "not ours", "other machine"])
def test_bad_messages_are_counted_and_change_nothing(world: World, kind: str) -> None:
    job_id, run_id = world.prepared()
    topic = topics.agent_reports(SITE, "main")
    ended = Report(
        journal_id=world.agent.journal, seq=world.agent.seq + 1, boot_no=1, agent="main", at=AT,
        body=Ended(run=run_id, machine="mk3", claim_no=1, result="succeeded"),
    )  # fmt: skip
    payload = {
        "forged": seal(topic, EPOCH, b"another key" * 3, ended),
        "malformed": b'{"epoch": 1, \xff',
        "oversized": b"x" * 300_000,
        "not ours": seal(topic, EPOCH, KEY, world.agent.orders[-1]),
        "other machine": b"{}",
    }[kind]
    world.agent_bus.publish(topic, payload)
    world.round()
    assert (world.state(job_id), world.run_state(run_id)) == ("assigned", "prepared")
    assert sum(world.hub.opener.dropped.values()) == 1


def test_a_report_that_fits_nothing_is_kept_and_the_sequence_goes_on(world: World) -> None:
    job_id, run_id = world.prepared()
    world.agent.raw_report(Started(run=new_id(), machine="mk3", claim_no=9))
    world.agent.raw_report(Started(run=run_id, machine="xl", claim_no=77))
    world.round()
    assert world.agent.applied[-1].up_to == world.agent.seq
    problems = [row for row in world.rows(select(StoredReport.problem)) if row]
    assert [problem["code"] for problem in problems] == ["unknown_run", "report_of_another_claim"]
    assert world.state(job_id) == "needs_attention"
    world.do(runs.resolve, job_id, outcome="queued")
    assert world.state(job_id) in {"queued", "assigned"}


def test_an_order_is_repeated_until_it_is_answered_and_then_no_more(world: World) -> None:
    world.queued()
    for seconds in (3, 5, 9):
        world.later(seconds)
    sent = [order for order in world.agent.orders if isinstance(order.body, Prepare)]
    assert len(sent) == 4
    assert len({order.id for order in sent}) == 1
    world.agent.prepare()
    world.round()
    world.later(120)
    assert len([order for order in world.agent.orders if isinstance(order.body, Prepare)]) == 4


def test_after_a_cut_what_waited_goes_out_at_once(world: World) -> None:
    world.queued()
    for seconds in (3, 5, 9, 16, 31):
        world.later(seconds)
    sent = len([order for order in world.agent.orders if isinstance(order.body, Prepare)])
    world.hub.bus.cut()
    world.later(1)
    world.hub.bus.mend()
    world.round()
    assert len([order for order in world.agent.orders if isinstance(order.body, Prepare)]) == sent + 1


def test_a_stop_is_repeated_quickly_and_overtakes_what_waits(world: World) -> None:
    _, run_id, _ = world.running()
    with world.database.write() as session:
        runs.pause(session, world.clock.now(), "max", run_id)
    world.hub.nudge()
    world.round()
    for _ in range(4):
        world.later(1.0)
    stops = [order for order in world.agent.orders if isinstance(order.body, Pause)]
    assert len(stops) >= 4
    assert stops[0].stop_no == 1
    world.agent.answer(stops[0], "accepted")
    world.agent.answer(stops[0], "succeeded")
    world.round()
    world.later(60)
    assert len([order for order in world.agent.orders if isinstance(order.body, Pause)]) == len(stops)


def test_a_withdrawn_start_is_never_sent(world: World) -> None:
    job_id, run_id = world.prepared()
    with world.database.write() as session:
        runs.go(session, world.clock.now(), "max", run_id)
        jobs.cancel(session, world.clock.now(), "ana", job_id)
    world.hub.nudge()
    world.round()
    world.later(60)
    assert not world.agent.has(Start)
    assert world.agent.has(Cancel)
    assert "withdrawn" in world.rows(select(CommandIntent.state).where(CommandIntent.kind == "start"))


def test_an_agent_that_began_anew_is_asked_to_prepare_again(world: World) -> None:
    job_id, run_id = world.prepared()
    world.agent.boot_no += 1
    world.agent.say_hello()
    world.round()
    assert world.run_state(run_id) == "preparing"
    world.agent.prepare(token="fresh")
    world.round()
    world.do(runs.go, run_id)
    assert world.agent.last(Start).body.token == "fresh"
    assert world.state(job_id) == "assigned"


def test_a_second_hello_of_the_same_boot_keeps_the_token(world: World) -> None:
    _, run_id = world.prepared()
    world.agent.say_hello()
    world.round()
    assert world.run_state(run_id) == "prepared"


def test_a_new_card_puts_what_ran_to_a_person(world: World) -> None:
    job_id, run_id, _ = world.running()
    world.agent.journal, world.agent.seq, world.agent.applied = new_id(), 0, []
    world.agent.say_hello()
    world.round()
    assert (world.state(job_id), world.run_state(run_id)) == ("needs_attention", "lost")
    assert world.agent.greeted[-1].applied == 0
    world.do(runs.resolve, job_id, outcome="to_judge")
    assert world.state(job_id) == "to_judge"


def test_a_recorded_hello_of_an_old_journal_is_not_followed(world: World) -> None:
    world.agent.say_hello()
    world.round()
    old = world.agent.journal
    recorded = world.agent.make_report(_hello(world), seq=0)
    world.agent.journal, world.agent.seq = new_id(), 0
    world.agent.say_hello()
    world.round()
    world.agent_bus.publish(*recorded)
    world.round()
    assert world.agent.greeted[-1].journal_id == old
    job_id, _ = world.ended()
    assert world.state(job_id) == "to_judge"  # the new journal is still the one that counts


def _hello(world: World):
    from fablab.messages import Hello

    return Hello(nonce="recorded", next_seq=1, highest_applied=0, machines=())


def test_numbers_never_go_back_after_a_restore(world: World) -> None:
    world.agent.say_hello(claims={"mk3": 41, "xl": 12})
    world.round()
    world.send()
    job_id = world.send(machine="mk3")
    world.do(jobs.confirm, job_id, actor="ana")
    assert world.agent.last(Prepare).claim_no == 42


def test_nothing_is_claimed_before_the_agent_said_hello_in_this_epoch(world: World) -> None:
    job_id = world.queued()
    world.do(jobs.cancel, job_id, actor="ana")
    with world.database.write() as session:
        from fablab.db import Meta

        session.get_one(Meta, "db_epoch").value = "epoch-2"
    world.later(10)
    job_id = world.send()
    world.do(jobs.confirm, job_id, actor="ana")
    assert world.state(job_id) == "queued"
    world.agent.say_hello()
    world.round()
    world.agent.picture("mk3", "idle")
    world.round()
    assert world.agent.epoch == "epoch-2"
    assert world.state(job_id) == "assigned"


@pytest.mark.parametrize("seed", range(6))
def test_on_an_unkind_wire_everything_comes_once(tmp_path: Path, seed: int) -> None:
    """A third is lost, a third comes twice, and most come out of order; both sides repeat themselves."""
    world = World(tmp_path, seed=seed, drop=0.3, repeat=0.3, reorder=0.6)
    job_id, run_id = _insist(world)
    world.do(runs.judge, run_id, verdict="good")
    for _ in range(3):
        world.later(40)
    assert world.state(job_id) == "done"
    assert world.rows(select(func.count()).select_from(Entry)) == [1]
    assert world.rows(select(func.count()).select_from(Run)) == [1]
    starts = {order.id for order in world.agent.orders if isinstance(order.body, Start)}
    assert len(starts) == 1


def _insist(world: World) -> tuple[str, str]:
    """Play an agent that sends everything again until it is confirmed, and performs each order id once."""
    job_id = ""
    done: set[str] = set()
    for step in range(400):
        if not world.agent.greeted or step % 40 == 0:
            world.agent.say_hello()
        if world.agent.greeted and not job_id:
            job_id = world.send()
            world.do(jobs.confirm, job_id, actor="ana")
        up_to = max((item.up_to for item in world.agent.applied), default=0)
        for seq, sealed in world.agent.reports.items():
            if seq > up_to:
                world.agent_bus.publish(*sealed)
        for order in list(world.agent.orders):
            if order.id not in done:
                done.add(order.id)
                _perform(world, order)
        world.later(2)
        if job_id and world.state(job_id) == "to_judge":
            return job_id, world.rows(select(Run.id).where(Run.job_id == job_id))[0]
        ready = world.rows(select(Run.id).where(Run.state == "prepared"))
        if ready:
            world.do(runs.go, ready[0])
    raise AssertionError("it never ended")


def _perform(world: World, order) -> None:
    if isinstance(order.body, Prepare):
        world.agent.prepare(token=f"token-{order.id}")
    elif isinstance(order.body, Start):
        world.agent.start(order)
        world.agent.end(order)


def test_two_hubs_and_one_job(world: World) -> None:
    second = world.make_hub()
    job_id = world.queued()
    for _ in range(5):
        second.step()
        world.hub.step()
        world.net.pump()
    assert world.hub.lease.held and not second.lease.held
    assert world.rows(select(func.count()).select_from(Run)) == [1]
    world.hub.lease.release()
    world.clock.advance(30)
    second.step()
    assert second.lease.held and second.lease.term == 2
    assert world.rows(select(func.count()).select_from(Run)) == [1]
    assert world.state(job_id) == "assigned"
    assert isinstance(second.bus, LocalBus)


def test_an_outage_keeps_new_jobs_away(world: World) -> None:
    world.agent.say_hello()
    world.round()
    world.do(claims.declare_outage, "mk3", "courroie")
    job_id = world.send(machine="mk3")
    world.do(jobs.confirm, job_id, actor="ana")
    assert world.state(job_id) == "queued"
    world.do(claims.end_outage, "mk3")
    assert world.state(job_id) == "assigned"
    assert world.rows(select(Job.id)) == [job_id]
