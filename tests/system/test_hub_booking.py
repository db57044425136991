"""A member who booked the machine starts her own file herself; and what a restored database means for the queue."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from fablab.db import Meta
from fablab.messages import MachineSettings, Start
from fablab.queue import claims, jobs, runs
from fablab.queue.restoring import after_restore, maybe_printed
from fablab.queue.tables import CommandIntent
from fablab.sentences import Refusal
from fablab.space.tables import Authorisation, Machine, Occupation
from tests.builders_agent import SITE
from tests.builders_hub import NOW
from tests.builders_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def book(world: World, person: str, machine: str, start: timedelta, hours: int = 3) -> str:
    with world.database.write() as session:
        session.add(
            Occupation(
                id=f"slot-{person}", site_id=SITE, machine_id=machine, person_id=person, kind="booking",
                starts_at=NOW + start, ends_at=NOW + start + timedelta(hours=hours), made_by=person, made_at=NOW,
            )
        )  # fmt: skip
    return f"slot-{person}"


def authorise(world: World, person: str, machine: str, level: str = "alone") -> None:
    with world.database.write() as session:
        session.add(
            Authorisation(
                id=f"a-{person}", person_id=person, machine_id=machine, level=level, given_by="max", given_at=NOW
            )
        )


def test_her_hour_her_file_her_go_her_judgement(world: World) -> None:
    authorise(world, "ana", "xl")
    slot = book(world, "ana", "xl", timedelta(minutes=-5))
    job_id = world.queued(booking=slot)
    assert world.state(job_id) == "assigned"
    order = world.agent.prepare()
    world.round()
    assert order.machine == "xl"
    world.do(runs.go, order.run, actor="ana")
    start = world.agent.last(Start)
    world.agent.start(start)
    world.agent.end(start)
    world.round()
    world.do(runs.judge, order.run, actor="ana", verdict="good", shelf="")
    assert world.state(job_id) == "done"


def test_before_her_hour_it_waits_and_nobody_elses_goes_there_in_it(world: World) -> None:
    authorise(world, "ana", "xl")
    slot = book(world, "ana", "xl", timedelta(hours=1))
    hers = world.queued(booking=slot)
    assert world.state(hers) == "queued"
    assert world.summary(hers)["plan"] == {
        "machine": "xl", "start": "2026-03-02T10:00:00Z", "end": "2026-03-02T10:10:00Z",
    }  # fmt: skip
    world.later(3601)
    other = world.send("bob", machine="xl")
    world.do(jobs.confirm, other, actor="bob")
    assert (world.state(hers), world.state(other)) == ("assigned", "queued")


def test_when_her_hour_is_over_she_is_asked(world: World) -> None:
    authorise(world, "ana", "xl")
    slot = book(world, "ana", "xl", timedelta(minutes=-5), hours=1)
    job_id = world.queued(booking=slot)
    world.later(3600)
    summary = world.summary(job_id)
    assert (summary["state"], summary["held_for"]) == ("held", "booking_over")
    world.do(jobs.release, job_id, actor="ana")
    assert world.state(job_id) == "assigned"


def test_without_authorisation_the_booked_machine_says_why(world: World) -> None:
    slot = book(world, "ana", "xl", timedelta(minutes=-5))
    job_id = world.send(booking=slot)
    codes = {reason["code"] for reason in world.summary(job_id)["reasons"] if reason["machine"] == "xl"}
    assert codes == {"not_authorised"}
    with pytest.raises(Refusal) as refused:
        world.do(jobs.confirm, job_id, actor="ana")
    assert refused.value.code == "no_machine_fits"


def test_somebody_elses_booking_is_no_booking(world: World) -> None:
    slot = book(world, "bob", "xl", timedelta(minutes=-5))
    with pytest.raises(Refusal) as refused:
        world.send("ana", booking=slot)
    assert refused.value.code == "unknown_booking"


def test_a_member_without_balance_prints_up_to_her_limit(world: World) -> None:
    from fablab.space.tables import Person

    with world.database.write() as session:
        session.get_one(Person, "ana").desk_limit_cents = 100
    job_id = world.queued()
    assert world.summary(job_id)["price"]["means"] == "desk"
    second = world.send()
    with pytest.raises(Refusal) as refused:
        world.do(jobs.confirm, second, actor="ana")
    assert refused.value.code == "desk_limit"
    assert world.state(second) == "draft"


def test_a_dearer_job_waits_for_staff(world: World) -> None:
    from fablab.space.tables import Site

    with world.database.write() as session:
        session.get_one(Site, SITE).approval_above_cents = 50
    job_id = world.queued()
    assert world.summary(job_id)["held_for"] == "approval"
    with pytest.raises(Refusal):
        world.do(jobs.release, job_id, actor="ana")
    world.do(jobs.approve, job_id)
    assert world.state(job_id) == "assigned"


def test_a_payer_says_yes_herself(world: World) -> None:
    job_id = world.queued(payer="bob")
    assert (world.state(job_id), world.summary(job_id)["price"]["held_cents"]) == ("held", 0)
    world.do(jobs.release, job_id, actor="bob")
    assert world.state(job_id) == "assigned"


def test_rejected_by_staff_gives_the_money_back(world: World) -> None:
    world.agent.say_hello()
    world.round()
    job_id = world.send()
    world.agent.picture("mk3", "halted")
    world.agent.picture("xl", "halted")
    world.round()
    world.do(jobs.confirm, job_id, actor="ana")
    world.do(jobs.hold, job_id)
    world.do(jobs.reject, job_id, reason="Trop fragile")
    summary = world.summary(job_id)
    assert (summary["state"], summary["price"]["held_cents"]) == ("refused", 0)
    assert summary["reasons"] == [{"machine": None, "code": "rejected_by_staff", "data": {"reason": "Trop fragile"}}]


def test_a_file_that_is_none_is_refused(world: World) -> None:
    def read(_path: Path) -> None:
        raise Refusal("not_gcode")

    world.reader = read  # type: ignore[assignment]
    job_id = world.send()
    assert world.state(job_id) == "refused"
    assert world.summary(job_id)["reasons"][0]["code"] == "not_gcode"


def test_confirmed_by_itself_within_the_limit_and_not_above(world: World) -> None:
    world.agent.say_hello()
    world.round()
    assert world.state(world.send(submit=True, max_price_cents=100)) in {"queued", "assigned"}
    assert world.state(world.send(submit=True, max_price_cents=10)) == "draft"


def test_unattended_goes_by_itself_only_where_house_and_machine_say_so(world: World) -> None:
    from fablab.space.tables import Site

    with world.database.write() as session:
        session.get_one(Machine, "mk3").start = "unattended"
    world.prepared(machine="mk3")
    assert not world.agent.has(Start)
    with world.database.write() as session:
        session.get_one(Site, SITE).unattended = True
    world.later(10)
    assert world.agent.has(Start)


def test_machines_of_the_agents_own_file_appear_and_are_shut_until_somebody_looked(world: World) -> None:
    new = MachineSettings(id="bambu", driver="manual", name="Bambu")
    world.agent.machines = ("mk3", "xl", "bambu")
    world.agent.say_hello(settings=(MachineSettings(id="mk3", driver="marlin_serial"), new))
    world.round()
    assert world.machine("bambu")["plate"] == "unsure"
    with pytest.raises(Refusal):  # it is gone from the file
        world.machine("xl")
    world.do(claims.cleared, "bambu")
    assert world.machine("bambu")["plate"] == "free"


def test_the_manual_driver_is_finished_by_a_tap(world: World) -> None:
    with world.database.write() as session:
        session.get_one(Machine, "mk3").driver = "manual"
    job_id, run_id, start = world.running(machine="mk3")
    with pytest.raises(Refusal):
        world.do(runs.finish, run_id, minutes=None, grams=None)
    world.do(runs.finish, run_id, minutes=20, grams=6.5)
    world.agent.end(start, seconds=1200, commanded_mm=(), declared_g=6.5, kind="declared")
    world.round()
    world.do(runs.judge, run_id, verdict="good")
    lines = world.summary(job_id)["price"]["lines"]
    assert {line["kind"] for line in lines if line["unit"] in {"s", "mg"}} == {"declared"}
    assert world.summary(job_id)["price"]["charged_cents"] == 34 + 33  # 1200 s, 6.5 g


def test_after_a_restore_everything_waits_for_a_person(world: World) -> None:
    running, run_id, _ = world.running(machine="mk3")
    waiting = world.send(machine="xl")
    world.do(jobs.confirm, waiting, actor="ana")
    with world.database.write() as session:
        session.get_one(Meta, "db_epoch").value = "epoch-2"
        after_restore(session, world.clock.now())
    assert (world.state(running), world.state(waiting)) == ("held", "held")
    with world.database.read() as session:
        assert set(maybe_printed(session, SITE)) == {running, waiting}
        starts = select(CommandIntent.id).where(CommandIntent.next_try_at.is_not(None), CommandIntent.nature != "stop")
        assert not session.scalars(starts).all()
    assert world.run_state(run_id) == "ended"
    with pytest.raises(Refusal) as refused:
        world.do(jobs.release, waiting)
    assert refused.value.code == "waits_for_agent"  # it has not said hello in the new epoch
    world.agent.say_hello()
    world.round()
    world.do(jobs.release, waiting)
    assert world.state(waiting) == "queued"  # the plate is not known to be free
    world.do(claims.cleared, "xl")
    assert world.state(waiting) == "assigned"
