"""Which job goes next on which machine, and the plan that pages show. Pure.

Rules, in this order, written so that they can be explained at the counter:
1. A job tied to a booking goes only on the booked machine, only inside the booking, and before everything else there.
2. A job whose promised hour is near (its latest start lies within four hours) goes before those without.
3. Whoever has nothing running goes before whoever has; otherwise first come, first served.
4. No job starts on a machine that somebody else booked before its likely end (a quarter is added to the estimate).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

NEAR = timedelta(hours=4)
FAR = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Kept:
    """A booking of a machine: by whom, from when to when (end excluded)."""

    booking_id: str
    machine_id: str
    person_id: str | None
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True)
class Waiting:
    """A queued job, and the machines that can make it now: seconds and price (cents) there."""

    job_id: str
    asker_id: str
    queued_at: datetime
    due_at: datetime | None
    booking_id: str | None
    seconds: Mapping[str, int]
    cents: Mapping[str, int]
    by_hand: frozenset[str] = frozenset()  # machines that a person runs from start to end


@dataclass(frozen=True)
class Free:
    """A machine that could begin at `at`, with the bookings that lie ahead of it."""

    machine_id: str
    at: datetime
    kept: tuple[Kept, ...] = ()


@dataclass(frozen=True)
class Planned:
    job_id: str
    machine_id: str
    start: datetime
    end: datetime


def in_order(now: datetime, waiting: Sequence[Waiting], busy_people: frozenset[str]) -> list[Waiting]:
    """The queue in the order in which it goes."""

    def key(job: Waiting) -> tuple[bool, datetime, bool, datetime, str]:
        latest = _latest_start(job)
        near = latest is not None and latest - now <= NEAR
        urgency = latest if near and latest is not None else FAR
        return (job.booking_id is None, urgency, not near and job.asker_id in busy_people, job.queued_at, job.job_id)

    return sorted(waiting, key=key)


def assignments(
    now: datetime, waiting: Sequence[Waiting], free: Sequence[Free], busy_people: frozenset[str]
) -> list[Planned]:
    """What to claim now: at most one job per machine, machines that are not free now left out."""
    return [item for item in plan(now, waiting, free, busy_people) if item.start == now]


def plan(now: datetime, waiting: Sequence[Waiting], free: Sequence[Free], busy_people: frozenset[str]) -> list[Planned]:
    """When and where each job would go if nothing else came. An estimate only.

    Earliest end first, then a machine that works by itself, then the cheapest.
    """
    ready = {machine.machine_id: max(machine.at, now) for machine in free}
    kept = {machine.machine_id: machine.kept for machine in free}
    planned = []
    for job in in_order(now, waiting, busy_people):
        choices = []
        for machine_id, seconds in job.seconds.items():
            if machine_id not in ready:
                continue
            start = earliest(ready[machine_id], seconds, job.booking_id, kept[machine_id])
            if start is not None:
                end, by_hand = start + timedelta(seconds=seconds), machine_id in job.by_hand
                choices.append((end, by_hand, job.cents.get(machine_id, 0), machine_id, start))
        if choices:
            end, _, _, machine_id, start = min(choices)
            planned.append(Planned(job.job_id, machine_id, start, end))
            ready[machine_id] = end
    return planned


def earliest(ready: datetime, seconds: int, booking_id: str | None, kept: Sequence[Kept]) -> datetime | None:
    """The first instant from `ready` on at which a job of `seconds` may begin beside the bookings; None: never.

    A job with a booking begins inside it and may run over its end: the member stands beside it.
    """
    if booking_id is not None:
        own = next((slot for slot in kept if slot.booking_id == booking_id), None)
        if own is None or ready >= own.ends_at:
            return None
        return max(ready, own.starts_at)
    start = ready
    for slot in sorted(kept, key=lambda slot: slot.starts_at):
        if slot.ends_at <= start:
            continue
        if start + timedelta(seconds=seconds * 5 // 4) <= slot.starts_at:
            break
        start = slot.ends_at
    return start


def _latest_start(job: Waiting) -> datetime | None:
    if job.due_at is None:
        return None
    return job.due_at - timedelta(seconds=max(job.seconds.values(), default=0))
