"""A walk through all worlds that can be reached with a number of faults, and what it found: harm, or a dead end."""

from array import array
from collections import deque
from typing import NamedTuple

from fablab.queue.job_states import ENDED, JobState
from tests.model.canonical import name_of, settled
from tests.model.steps import steps
from tests.model.world import NOBODY, Blind, World

FAULTS = (
    "second_hub", "give_up", "lapse", "cancel", "freed", "crash", "power", "new_card", "old_card", "restore",
)  # fmt: skip
CARDS = frozenset({"new_card", "old_card"})


class Walk(NamedTuple):
    worlds: int
    broken: str  # the harm that was found, by the shortest way
    trace: tuple[str, ...]
    stuck: tuple[str, ...]  # the shortest way to a world from which no job can be made any more


def walk(faults: tuple[str, ...], blind: Blind = NOBODY, cap: int | None = None) -> Walk:
    """Visit every world that these faults can lead to, in any order, each at most as often as it is named.

    `blind`: the guards that are taken away; only then may a `cap` end the walk, for there may be no end of worlds.
    """
    assert cap is None or blind

    def named(world: World, left: tuple[str, ...]) -> tuple[World, tuple[object, ...]]:
        cards = bool(CARDS & set(left)) or bool(blind)
        world = settled(world, cards=cards, forget=not blind)
        return world, (left, name_of(world, cards=cards, restore="restore" in left))

    first, key = named(World(), tuple(sorted(faults)))
    numbers: dict[tuple[object, ...], int] = {key: 0}
    parents: list[tuple[int, str]] = [(-1, "")]
    before, after = array("l"), array("l")
    rests: list[int] = []
    todo = deque([(0, first, tuple(sorted(faults)))])
    while todo:
        number, world, left = todo.popleft()
        if world.broken:
            return Walk(len(numbers), world.broken, _trace(parents, number), ())
        if cap is not None and len(numbers) > cap:
            return Walk(len(numbers), "", (), ())
        if at_rest(world):
            rests.append(number)
        for step in steps(world, frozenset(left), blind):
            then = _without(left, step.fault) if step.fault else left
            following, key = named(step.world, then)
            target = numbers.setdefault(key, len(numbers))
            if target == len(parents):
                parents.append((number, step.name))
                todo.append((target, following, then))
            if not step.fault and target != number:
                before.append(number)
                after.append(target)
    return Walk(len(numbers), "", (), _stuck(parents, before, after, rests))


def _without(left: tuple[str, ...], fault: str) -> tuple[str, ...]:
    index = left.index(fault)
    return left[:index] + left[index + 1 :]


def at_rest(world: World) -> bool:
    """The job is over, and the next one would find the machine as the first one did."""
    rows, journal = world.rows, world.journal
    agreed = rows.journal == journal.id and rows.epoch == journal.epoch and rows.greeted and not journal.booted
    heard = rows.applied == len(journal.reports) and rows.claim_no >= journal.highest
    free = rows.holder == 0 and rows.plate == "free" and not rows.frozen and not any(run.live for run in rows.runs)
    idle = not (journal.started or world.running or world.part or world.memory.first_byte_due)
    return JobState(rows.job) in ENDED and agreed and heard and free and idle and rows.stop_no >= journal.stop_no


def _trace(parents: list[tuple[int, str]], number: int) -> tuple[str, ...]:
    names = []
    while number > 0:
        number, name = parents[number]
        names.append(name)
    return tuple(reversed(names))


def _stuck(
    parents: list[tuple[int, str]], before: "array[int]", after: "array[int]", rests: list[int]
) -> tuple[str, ...]:
    """The way to a world from which, with no further fault, no rest is ever reached; empty: there is none."""
    back: list[list[int]] = [[] for _ in parents]
    for source, target in zip(before, after, strict=True):
        back[target].append(source)
    alive = bytearray(len(parents))
    todo = list(rests)
    for number in rests:
        alive[number] = 1
    while todo:
        for source in back[todo.pop()]:
            if not alive[source]:
                alive[source] = 1
                todo.append(source)
    dead = alive.find(0)
    return (_trace(parents, dead) or ("at the very start",)) if dead >= 0 else ()
