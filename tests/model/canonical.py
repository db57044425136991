"""One name for worlds that differ only in numbers: ids and counters by their order, without what can matter no more.

Nothing is left out that a fault still to come could bring back. A name is plain tuples, cheap to hash and to keep.
"""

from tests.model.world import Journal, Order, Report, Rows, World, unheard

Name = tuple[object, ...]
COPIES = 2


def settled(world: World, *, cards: bool, forget: bool) -> World:
    """The world after what changes nothing: idle words are taken as read, and orders that can do nothing are gone."""
    rows, journal = world.rows, world.journal
    live = {run.key for run in rows.runs if run.live}
    if rows.journal == journal.id and rows.greeted:
        applied, answered = rows.applied, rows.answered
        while applied < len(journal.reports) and _idle(journal.reports[applied], live):
            answered = answered | {journal.reports[applied].uid} - {0}
            applied += 1
        if applied != rows.applied:
            world = world._replace(rows=rows._replace(applied=applied, answered=answered))
    return world._replace(wire=_without_void(world, live, cards)) if forget else world


def _without_void(world: World, live: set[int], cards: bool) -> frozenset[Order]:
    """Orders that may still do something. Where a journal may be lost, answered ones it knew count again.

    Of known prepares of one run, which differ only in their id, two are kept: the agent may go on asking for a
    new go as often as the hub asks for a new offer, and there would be no end of worlds that differ in how often.
    """
    known = {uid for uid, _ in world.journal.known}
    answered, kept = world.rows.answered, []
    copies: dict[tuple[int, int], int] = {}
    for order in sorted(world.wire):
        past = order.run not in live or order.uid in answered
        if order.kind == "start" and past and order.token != world.memory.token:
            continue
        if not cards and ((order.uid in known and not unheard(world, order)) or (past and _void(order, world))):
            continue
        if order.kind == "prepare" and order.uid in known:
            same = (order.run, order.epoch)
            copies[same] = copies.get(same, 0) + 1
            if copies[same] > COPIES:
                continue
        kept.append(order)
    return frozenset(kept)


def _idle(report: Report, live: set[int]) -> bool:
    """A word about a run that is over, to which queue.road says NOTHING, now and for ever."""
    if report.run in live:
        return False
    return report.what in {"prepared", "started"} or report.kind in {"prepare", "start"}


def _void(order: Order, world: World) -> bool:
    """The agent will refuse it for ever, and the hub, for which run or order is over, will not mind."""
    past = order.claim_no < world.journal.highest or (order.run, order.claim_no) in world.journal.closed
    return order.kind == "prepare" and past


def name_of(world: World, *, cards: bool, restore: bool) -> Name:
    """The world's name. `cards`: another journal may still come, or a guard is blind; `restore`: other rows may."""
    rows, journal, memory = world.rows, world.journal, world.memory
    wire = world.wire
    if not cards:
        epochs = {journal.epoch, rows.epoch}
        wire = frozenset(order for order in wire if order.epoch in epochs)
    card = world.card if cards else None
    backup = world.backup if restore else None
    heard = journal.reports[: rows.applied] if rows.journal == journal.id else ()
    told_again = tuple(report for report in heard if restore and not _idle(report, set()))
    reports = told_again + journal.reports[len(heard) :]
    journals = [(journal, reports)] + ([(card, card.reports)] if card is not None else [])
    tables = [rows] + ([backup] if backup is not None else [])

    named = {order.run for order in wire} | {memory.prepared, memory.first_byte_due, world.running, journal.started}
    named |= {run for each, said in journals for run in (each.started, *_runs_of(said))}
    named |= {run.key for table in tables for run in table.runs if table is backup or run.live}
    ids = _Numbers()
    ids.add(*(x for order in wire for x in (order.uid, order.run, order.token, order.epoch)))
    ids.add(memory.prepared, memory.order, memory.token, memory.first_byte_due, world.running)
    claims, stops = _Numbers(), _Numbers()
    claims.add(memory.claim, *(order.claim_no for order in wire))
    stops.add(*(order.stop_no for order in wire))
    asked = {report.uid for _, said in journals for report in said if report.what == "answer"}
    here = {order.uid for order in wire}
    asked |= here
    answered = rows.answered & asked
    ids.add(*answered)
    for table in tables:
        ids.add(table.holder, table.journal, table.epoch)
        stops.add(table.stop_no)
        claims.add(table.claim_no)
        for run in table.runs:
            if run.key in named:
                ids.add(run.key, run.token)
                claims.add(run.claim_no)
    for each, said in journals:
        ids.add(each.id, each.started, each.epoch, *(x for r in said for x in (r.uid, r.run, r.token)))
        ids.add(*(key for key in each.once_started if key in named), *(key for key, _ in each.closed if key in named))
        claims.add(each.highest, each.started_claim, *(r.claim_no for r in said))
        claims.add(*(claim for key, claim in each.closed if key in named))
        stops.add(each.stop_no)
        ids.add(*(uid for uid, _ in each.known if uid in here))
    before = 0
    if backup is not None and backup.journal == journal.id:
        before = sum(not _idle(report, set()) for report in journal.reports[: backup.applied])
    i, c, s = ids.names(), claims.names(), stops.names()

    def of_rows(table: Rows, done: frozenset[int]) -> Name:
        runs = tuple(
            (i[r.key], r.state, c[r.claim_no], i[r.token], r.facts, r.lost) for r in table.runs if r.key in named
        )
        return (
            table.job, runs, c[table.claim_no], s[table.stop_no], i[table.holder], table.plate, table.frozen,
            table.greeted, frozenset(i[uid] for uid in done), i[table.journal],
            i[table.epoch],
        )  # fmt: skip

    def of_journal(each: Journal, said: tuple[Report, ...]) -> Name:
        return (
            i[each.id], c[each.highest], s[each.stop_no], i[each.started], c[each.started_claim], i[each.epoch],
            each.booted, frozenset((i[key], c[claim]) for key, claim in each.closed if key in named),
            frozenset((i[uid], what) for uid, what in each.known if uid in here),
            tuple((r.what, i[r.uid], r.kind, i[r.run], c[r.claim_no], i[r.token], r.state, r.code) for r in said),
            frozenset(i[key] for key in each.once_started if key in named),
        )  # fmt: skip

    return (
        of_rows(rows, answered), None if backup is None else of_rows(backup, backup.answered & asked),
        tuple(of_journal(*each) for each in journals),
        frozenset((i[o.uid], o.kind, i[o.run], c[o.claim_no], s[o.stop_no], i[o.token], i[o.epoch]) for o in wire),
        (i[memory.prepared], i[memory.order], c[memory.claim], memory.ready, i[memory.token], i[memory.first_byte_due]),
        i[world.running], world.part, frozenset(i[key] for key in world.started if key in named), world.allowed,
        world.second, world.broken, len(told_again), before,
    )  # fmt: skip


class _Numbers:
    """Numbers of which only the order counts; 0 stays 0."""

    def __init__(self) -> None:
        self._seen = {0}

    def add(self, *numbers: int) -> None:
        self._seen.update(numbers)

    def names(self) -> dict[int, int]:
        return {old: new for new, old in enumerate(sorted(self._seen))}


def _runs_of(reports: tuple[Report, ...]) -> set[int]:
    return {report.run for report in reports}
