"""What may be booked: lengths, horizon, whole minutes, and local times made instants. Pure.

A time typed on a page is local. When the clocks go back an hour exists twice: the first one is meant. When they go
forward an hour does not exist: it is refused, for nobody can come at that time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from fablab.space.access import Moment, Reason, Rules, Standing, reasons

SHORTEST = timedelta(minutes=15)
LONGEST = timedelta(hours=24)
AHEAD = timedelta(days=60)
MOST_COMING = 5
"""How many bookings a person who is not staff may have before her."""


@dataclass(frozen=True)
class Wish:
    """A slot somebody wants: two aware instants, and how many she has before her already."""

    starts_at: datetime
    ends_at: datetime
    coming: int = 0
    for_staff: bool = False


def instant(local: datetime, timezone: str) -> datetime | None:
    """The UTC instant of a naive local time; None where the clocks skip it."""
    zone = ZoneInfo(timezone)
    found = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return found if found.astimezone(zone).replace(tzinfo=None) == local else None


def refusals(now: datetime, wish: Wish) -> tuple[Reason, ...]:
    """What is wrong with the slot itself. Codes: bad_times, booking_in_past, booking_too_short, booking_too_long,
    booking_too_far, too_many_bookings."""
    if wish.ends_at <= wish.starts_at:
        return (Reason("bad_times"),)
    length = wish.ends_at - wish.starts_at
    found = []
    if wish.ends_at <= now:
        found.append(Reason("booking_in_past"))
    if length < SHORTEST:
        found.append(Reason("booking_too_short", {"least_s": int(SHORTEST.total_seconds())}))
    if length > LONGEST:
        found.append(Reason("booking_too_long", {"most_s": int(LONGEST.total_seconds())}))
    if wish.starts_at > now + AHEAD:
        found.append(Reason("booking_too_far", {"days": AHEAD.days}))
    if wish.coming >= MOST_COMING and not wish.for_staff:
        found.append(Reason("too_many_bookings", {"most": MOST_COMING}))
    return tuple(found)


def may_book(who: Standing, rules: Rules) -> tuple[Reason, ...]:
    """Whether she may book the machine: libre-service and autonomous, or accompanied, which somebody must then attend.

    An outage of today does not stand against a booking of next week. Codes: those of access.reasons.
    """
    calm = Rules(rules.machine, rules.use, rules.minors, rules.membership_required)
    alone = reasons(who, calm, Moment("self_service"))
    if not alone:
        return ()
    if "accompanied" in rules.use:
        company = reasons(who, calm, Moment("accompanied", with_teacher=True))
        if not company:
            return ()
        if "self_service" not in rules.use:
            return company
    return alone


def first(found: Sequence[Reason]) -> Reason | None:
    """The reason to lead with."""
    return found[0] if found else None
