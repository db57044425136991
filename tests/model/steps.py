"""Everything that may happen next in a world: what hub, agent, machine and people do, and what goes wrong.

Steps without a fault are free; each fault costs one of the budget. What is physical, a start, a part on the plate, a
person's hands, is counted here and nowhere else.
"""

from collections.abc import Iterator
from typing import NamedTuple

from fablab.devices.orders import decide
from fablab.queue import road
from fablab.queue.job_states import ENDED, JobState, job_after
from fablab.queue.run_states import run_after
from tests.model.world import (
    NOBODY,
    Blind,
    Journal,
    Memory,
    Order,
    Report,
    Rows,
    Run,
    World,
    attempt,
    change,
    claimable,
    ended_facts,
    find,
    hold_back,
    new_order,
    order_of,
    put,
    unheard,
    view_of,
)

BEFORE_START = {"claimed", "preparing", "prepared"}
AFTER_START = {"starting", "running", "paused", "lost"}


class Step(NamedTuple):
    name: str
    world: World
    fault: str = ""


def steps(world: World, faults: frozenset[str], blind: Blind) -> Iterator[Step]:
    """Every next world. `faults`: which may still happen; `blind`: the guard that is taken away."""
    yield from hub_steps(world, blind)
    yield from agent_steps(world, blind)
    yield from people_steps(world, blind)
    yield from fault_steps(world, faults)


# ---------------------------------------------------------------- hub


def hub_steps(world: World, blind: Blind) -> Iterator[Step]:
    rows = world.rows
    if JobState(rows.job) not in ENDED and road.why_not_claim(claimable(rows, blind)) is None:
        yield Step("claim", _claim(world))
    if world.second and road.why_not_claim(claimable(Rows(), blind, lease_mine=False)) is None:
        yield Step("another hub claims on what it read before", _claim(world._replace(second=False)))
    journal = world.journal
    if rows.journal == journal.id and rows.greeted and rows.applied < len(journal.reports):
        yield Step("apply: " + _words(journal.reports[rows.applied]), _apply(world, blind))
    if rows.journal != journal.id or not rows.greeted or journal.epoch != rows.epoch or journal.booted:
        yield Step("hello", _hello(world))


def _claim(world: World) -> World:
    rows = world.rows
    run = Run(world.serial, "claimed", rows.claim_no + 1, 0, False)
    rows = rows._replace(claim_no=run.claim_no, holder=run.key, runs=(*rows.runs, run), job="assigned")
    return _ordered(world._replace(serial=world.serial + 1, rows=rows), "prepare", run)


def _words(report: Report) -> str:
    return " ".join(
        str(part) for part in (report.what, report.kind, "run", report.run, report.state, report.code) if part
    )


def _ordered(world: World, kind: str, run: Run, token: int = 0) -> World:
    world, rows = new_order(world, world.rows, kind, run, token)
    return world._replace(rows=rows)


def _hello(world: World) -> World:
    """The handshake, as queue.greeting takes it: another journal cannot know what its forerunner had started."""
    journal = world.journal
    if world.rows.journal != journal.id:
        world = world._replace(rows=world.rows._replace(journal=journal.id, applied=0))
        for run in world.rows.runs:
            if run.state in AFTER_START and run.key != journal.started:
                world = world._replace(rows=put(world.rows, run._replace(lost=True)))
                lost = find(world.rows, run.key)
                assert lost is not None
                world = change(world, run.key, road.on_new_journal(attempt(world.rows, lost)))
    if journal.booted:
        world = _prepare_anew(world)
    rows = world.rows
    rows = rows._replace(
        greeted=True, claim_no=max(rows.claim_no, journal.highest), stop_no=max(rows.stop_no, journal.stop_no)
    )
    return world._replace(rows=rows, journal=journal._replace(epoch=rows.epoch, booted=False))


def _prepare_anew(world: World) -> World:
    """The agent forgot its start tokens: what was not started is made ready again."""
    for run in world.rows.runs:
        if run.state in BEFORE_START:
            state = str(run_after(run.state, "token_lapsed")) if run.state == "prepared" else run.state
            world = world._replace(rows=put(world.rows, run._replace(state=state, token=0)))
            world = _ordered(world, "prepare", run)
    return world


def _apply(world: World, blind: Blind) -> World:
    report = world.journal.reports[world.rows.applied]
    world = world._replace(rows=world.rows._replace(applied=world.rows.applied + 1))
    if report.what == "unsure":
        plate = "unsure" if world.rows.plate == "free" else world.rows.plate
        return world._replace(rows=world.rows._replace(plate=plate))
    if report.what == "answer":
        return _apply_answer(world, report, blind)
    run = find(world.rows, report.run)
    if run is None or run.claim_no != report.claim_no:
        return _of_no_run(world) if report.what == "ended" else world
    tried = attempt(world.rows, run, blind)
    if report.what == "prepared":
        decided = road.on_prepared(tried)
        if decided.run is not None:
            world = world._replace(rows=put(world.rows, run._replace(token=report.token)))
        return change(world, run.key, decided)
    if report.what == "started":
        return change(world, run.key, road.on_started(tried))
    return change(world, run.key, road.on_ended(tried, ended_facts(report.state, True)))


def _of_no_run(world: World) -> World:
    """A run that the restored database has never heard of, as queue.applying takes its end."""
    rows = world.rows
    if rows.plate == "free":
        rows = rows._replace(plate="unsure")
    if rows.job not in {"queued", "assigned"}:
        return world._replace(rows=rows)
    return hold_back(world, rows._replace(job=str(job_after(rows.job, "restored"))))


def _apply_answer(world: World, report: Report, blind: Blind) -> World:
    if report.uid in world.rows.answered:
        return world
    rows = world.rows._replace(answered=world.rows.answered | {report.uid})
    if report.kind in {"revoke", "cancel"}:
        rows = rows._replace(frozen=False)
    world = world._replace(rows=rows)
    run = find(rows, report.run)
    if run is None:
        return world
    decide_ = {
        "prepare": road.on_prepare_answer,
        "start": road.on_start_answer,
        "revoke": road.on_close_answer,
        "cancel": road.on_close_answer,
    }[report.kind]
    return change(world, run.key, decide_(attempt(rows, run, blind), report.state, report.code))


# ---------------------------------------------------------------- agent and machine


def agent_steps(world: World, blind: Blind) -> Iterator[Step]:
    journal, memory = world.journal, world.memory
    if not memory.first_byte_due:
        for order in world.wire:
            known = any(uid == order.uid for uid, _ in journal.known)
            if (order.epoch == journal.epoch or "epoch" in blind) and (
                not known or "known" in blind or unheard(world, order)
            ):
                arrived = _arrive(world, order, blind)
                if arrived != world:
                    yield Step(f"arrive {order.kind} of run {order.run}", arrived)
    if memory.prepared and not memory.ready:
        token = world.serial
        report = Report("prepared", memory.prepared, memory.claim, token=token)
        yield Step(
            f"prepared {memory.prepared}",
            _say(
                world._replace(serial=token + 1, memory=memory._replace(ready=True, token=token)),
                report,
            ),
        )
    if memory.first_byte_due:
        yield Step(f"first byte of run {memory.first_byte_due}", _first_byte(world))
    if world.running:
        yield Step(f"machine ends run {world.running}", _end(world, "succeeded"))


def _say(world: World, report: Report) -> World:
    return world._replace(journal=world.journal._replace(reports=(*world.journal.reports, report)))


def _know(journal: Journal, order: Order, answer: str) -> Journal:
    others = frozenset(pair for pair in journal.known if pair[0] != order.uid)
    return journal._replace(known=others | {(order.uid, answer)})


def _arrive(world: World, order: Order, blind: Blind) -> World:
    verdict = decide(view_of(world, order, blind), order_of(order))
    journal = world.journal
    if verdict.what in {"again", "ignore"}:
        state, _, code = unheard(world, order).partition(":")
        return _say(world, _answer(order, state, code)) if state else world
    journal = _know(journal, order, f"rejected:{verdict.code}" if verdict.what == "refuse" else "")
    world = world._replace(journal=journal)
    if verdict.what == "refuse":
        return _say(world, _answer(order, "rejected", verdict.code))
    if order.kind == "prepare":
        journal = journal._replace(highest=max(journal.highest, order.claim_no))
        return world._replace(journal=journal, memory=Memory(order.run, order.uid, order.claim_no))
    if order.kind == "start":
        journal = journal._replace(
            started=order.run, started_claim=order.claim_no, once_started=journal.once_started | {order.run}
        )
        return world._replace(journal=journal, memory=Memory(first_byte_due=order.run))
    return _close(world, order, blind)


def _answer(order: Order, state: str, code: str) -> Report:
    return Report("answer", order.run, 0, order.uid, order.kind, state=state, code=code)


def _close(world: World, order: Order, blind: Blind) -> World:
    journal, memory = world.journal, world.memory
    started = journal.started == order.run
    became = "started" if started else "ended" if order.run in journal.once_started else "never_started"
    journal = journal._replace(
        stop_no=max(journal.stop_no, order.stop_no), closed=journal.closed | {(order.run, order.claim_no)}
    )
    journal = _know(journal, order, f"succeeded:{became}")
    if memory.prepared == order.run and "dropped" not in blind:
        memory = Memory()
    world = world._replace(journal=journal, memory=memory)
    world = _say(world, _answer(order, "succeeded", became))
    if order.kind == "cancel" and started:
        return _end(world, "stopped")
    return world


def _first_byte(world: World) -> World:
    key = world.memory.first_byte_due
    broken = ""
    if key in world.started:
        broken = "a run was started twice"
    elif world.running:
        broken = "a machine was started while it ran"
    elif world.part:
        broken = "a machine was started on a plate that was not free"
    elif (key, world.journal.started_claim) in world.journal.closed:
        broken = "a run was started after its claim was closed"
    elif world.allowed < 1:
        broken = "a job was made once more than people asked for"
    world = world._replace(
        memory=Memory(), running=key, started=world.started | {key}, allowed=world.allowed - 1, broken=broken
    )
    return _say(world, Report("started", key, world.journal.started_claim))


def _end(world: World, result: str) -> World:
    """The machine stands still, something lies on it, and the journal has the facts."""
    key, claim_no = world.journal.started, world.journal.started_claim
    if not key:
        return world._replace(running=0, part=world.part or bool(world.running))
    part = world.part or bool(world.running)
    world = world._replace(running=0, part=part, journal=world.journal._replace(started=0, started_claim=0))
    return _say(world, Report("ended", key, claim_no, state=result))


# ---------------------------------------------------------------- people


def people_steps(world: World, blind: Blind) -> Iterator[Step]:
    rows = world.rows
    for run in rows.runs:
        free = rows.plate == "free" or "go_plate" in blind
        if run.state == "prepared" and run.token and free and (not rows.frozen or "go_frozen" in blind):
            gone = put(rows, run._replace(state=str(run_after(run.state, "go")), token=0))
            yield Step(f"go for run {run.key}", _ordered(world._replace(rows=gone), "start", run, run.token))
        if run.state in AFTER_START and _forgotten(world, run):
            yield Step(f"a person frees run {run.key}", _free(world, run))
    if world.running:
        return  # nobody reaches under a moving nozzle
    if rows.job == "to_judge":
        judged = rows._replace(job=str(job_after(rows.job, "judged_good")), plate="free")
        yield Step("judge", world._replace(rows=judged, part=False))
    elif rows.plate != "free":
        holder = find(rows, rows.holder)
        cleared = rows._replace(plate="free") if holder is None or holder.state in BEFORE_START else rows
        yield Step("clear the plate", world._replace(rows=cleared, part=False))
    if rows.job == "needs_attention" and rows.holder == 0:
        again = rows._replace(job=str(job_after(rows.job, "decided_queued")))
        yield Step("decide: again", world._replace(rows=again, allowed=max(world.allowed, 1)))
    if rows.job == "held" and rows.greeted and not world.memory.first_byte_due:
        # what was printed since the backup is only known after the hello, and a machine that starts is seen to
        released = rows._replace(job=str(job_after(rows.job, "released")))
        yield Step("release", world._replace(rows=released, allowed=max(world.allowed, 1)))


def _forgotten(world: World, run: Run) -> bool:
    """The agent will never speak of this run again: it does not run it, and has nothing more to say."""
    journal = world.journal
    quiet = world.rows.journal == journal.id and world.rows.applied == len(journal.reports)
    lost_start = not any(
        order.kind == "start" and order.run == run.key and all(uid != order.uid for uid, _ in journal.known)
        and order.epoch == journal.epoch
        for order in world.wire
    )  # fmt: skip
    return quiet and journal.started != run.key and lost_start


def _free(world: World, run: Run) -> World:
    """ "I am at the machine and it is off": it is frozen until its agent has answered a revoke."""
    if world.running == run.key:
        world = _end(world, "failed")
    world = change(world, run.key, road.on_freed(attempt(world.rows, run)))
    world = world._replace(rows=world.rows._replace(frozen=True))
    return _ordered(world, "revoke", run)


# ---------------------------------------------------------------- faults


def fault_steps(world: World, faults: frozenset[str]) -> Iterator[Step]:
    rows = world.rows
    live = next((run for run in rows.runs if run.live), None)
    if "second_hub" in faults and not world.second and road.why_not_claim(claimable(rows, NOBODY)) is None:
        yield Step("another hub reads that job and machine are free", world._replace(second=True), "second_hub")
    if "give_up" in faults and live is not None and live.state in BEFORE_START:
        given = _ordered(change(world, live.key, road.on_give_up(attempt(rows, live))), "revoke", live)
        yield Step(f"give run {live.key} up", given, "give_up")
    if "lapse" in faults and world.memory.token:
        yield Step("the token lapses", world._replace(memory=world.memory._replace(ready=False, token=0)), "lapse")
    if "cancel" in faults and (cancelled := _cancel(world, live)) is not None:
        yield Step("cancel the job", cancelled, "cancel")
    if "freed" in faults and live is not None and live.state in AFTER_START:
        yield Step(f"somebody frees run {live.key} too early", _free(world, live), "freed")
    if "crash" in faults:
        yield Step("the agent is killed", _crash(world), "crash")
    if "power" in faults:
        off = _crash(world)
        yield Step("power cut", _say(off, Report("unsure")), "power")
    if "new_card" in faults:
        yield Step("a new card", _card(world, Journal()), "new_card")
    if "old_card" in faults:
        if world.card is None:
            yield Step("somebody copies the card", world._replace(card=world.journal))
        else:
            yield Step("the old card comes back", _card(world, world.card), "old_card")
    if "restore" in faults:
        if world.backup is None:
            yield Step("backup", world._replace(backup=rows))
        else:
            yield Step("yesterday's database is restored", _restore(world), "restore")


def _cancel(world: World, live: Run | None) -> World | None:
    rows = world.rows
    if rows.job == "queued":
        return world._replace(rows=rows._replace(job=str(job_after(rows.job, "cancelled"))))
    if live is None or rows.job not in {"assigned", "running"}:
        return None
    if live.state in BEFORE_START:
        world = world._replace(rows=rows._replace(job=str(job_after(rows.job, "cancelled"))))
        return _ordered(change(world, live.key, road.on_give_up(attempt(world.rows, live))), "revoke", live)
    world = world._replace(rows=rows._replace(job=str(job_after(rows.job, "cancel_asked"))))
    return _ordered(world, "cancel", live)


def _crash(world: World) -> World:
    """A machine on a serial line loses its host: it stands still, and the restarted agent ends the run as failed."""
    memory, journal = world.memory, world.journal
    if (
        memory.prepared and not memory.ready
    ):  # accepted and not done: devices.restart forgets it, so that it may come again
        journal = journal._replace(known=frozenset(pair for pair in journal.known if pair[0] != memory.order))
    return _end(world._replace(memory=Memory(), journal=journal._replace(booted=True)), "failed")


def _card(world: World, journal: Journal) -> World:
    """The journal is another one: an identity of its own, plates unsure, and what it says was started has failed."""
    world = world._replace(memory=Memory(), running=0, part=world.part or bool(world.running))
    fresh = journal._replace(id=world.serial, reports=(Report("unsure"),), epoch=0, booted=True)
    world = world._replace(journal=fresh, serial=world.serial + 1)
    return _end(world, "failed") if fresh.started else world


def _restore(world: World) -> World:
    """Yesterday's rows under a new epoch: open runs are closed, plates unsure, open jobs wait for a person."""
    rows = world.backup
    assert rows is not None
    runs = []
    for run in rows.runs:
        event = "given_up" if run.state in BEFORE_START else "freed" if run.state in AFTER_START else None
        runs.append(run if event is None else run._replace(state=str(run_after(run.state, event)), token=0))
    job = (
        rows.job
        if JobState(rows.job) in ENDED or rows.job in {"to_judge", "held"}
        else str(job_after(rows.job, "restored"))
    )
    rows = rows._replace(
        runs=tuple(runs), job=job, plate="to_clear" if job == "to_judge" else "unsure", holder=0, frozen=False,
        greeted=False, epoch=world.serial,
    )  # fmt: skip
    return world._replace(rows=rows, serial=world.serial + 1, backup=None)
