"""One name for worlds that differ only in numbers: ids are renamed in their order, what can matter no more is left out.

Nothing is left out that a fault still in the budget could bring back.
"""

from tests.model.world import Journal, Order, Rows, World


def canonical(world: World, left: tuple[str, ...], blind: str | None) -> World:
    """The same world with the smallest numbers."""
    if "restore" not in left:
        world = _forget_applied(world._replace(backup=None))
    if not {"new_card", "old_card"} & set(left) and blind != "known":
        world = _forget_known(world._replace(card=None))
    return _rename(_count_again(_forget_runs(world)))


def _forget_applied(world: World) -> World:
    rows, journal = world.rows, world.journal
    if rows.journal != journal.id:
        return world
    reports = journal.reports[rows.applied :]
    asked = {report[1] for report in reports if report[0] == "answer"} | {order.uid for order in world.wire}
    rows = rows._replace(applied=0, answered=frozenset(uid for uid in rows.answered if uid in asked))
    return world._replace(rows=rows, journal=journal._replace(reports=reports))


def _forget_known(world: World) -> World:
    """An order that the journal knows is never carried out again; one of an older epoch never was and never will be."""
    journal = world.journal
    known = {uid for uid, _ in journal.known}
    epochs = {journal.epoch, world.rows.epoch}
    wire = frozenset(order for order in world.wire if order.uid not in known and order.epoch in epochs)
    return world._replace(wire=wire, journal=journal._replace(known=frozenset()))


def _forget_runs(world: World) -> World:
    journal, memory = world.journal, world.memory
    named = {order.run for order in world.wire} | _runs_of(journal)
    named |= {memory.prepared, memory.first_byte_due, world.running, journal.started}
    if world.card is not None:
        named |= {world.card.started, *_runs_of(world.card)}
    if world.backup is not None:
        named |= {run.key for run in world.backup.runs}
    live = {run.key for run in world.rows.runs if run.state not in {"ended", "released"}}
    named |= live
    rows = world.rows._replace(runs=tuple(run for run in world.rows.runs if run.key in named))
    journal = journal._replace(
        closed=frozenset(pair for pair in journal.closed if pair[0] in named),
        once_started=frozenset(key for key in journal.once_started if key in named),
    )
    return world._replace(rows=rows, journal=journal, started=frozenset(key for key in world.started if key in named))


def _count_again(world: World) -> World:
    """Claim and stop numbers only matter by their order: the smallest ones that keep it."""
    claims: set[int] = {world.memory.claim, *(order.claim_no for order in world.wire)}
    stops: set[int] = {order.stop_no for order in world.wire}
    for rows in (world.rows, world.backup):
        if rows is not None:
            claims |= {rows.claim_no, *(run.claim_no for run in rows.runs)}
            stops.add(rows.stop_no)
    for journal in (world.journal, world.card):
        if journal is not None:
            claims |= {journal.highest, journal.started_claim, *(claim for _, claim in journal.closed)}
            claims |= {int(r[2]) for r in journal.reports if r[0] in {"prepared", "started", "ended"}}  # type: ignore[call-overload]
            stops.add(journal.stop_no)
    claim = {old: new for new, old in enumerate(sorted(claims - {0}), start=1)} | {0: 0}
    stop = {old: new for new, old in enumerate(sorted(stops - {0}), start=1)} | {0: 0}

    def rows_of(rows: Rows) -> Rows:
        runs = tuple(run._replace(claim_no=claim[run.claim_no]) for run in rows.runs)
        return rows._replace(runs=runs, claim_no=claim[rows.claim_no], stop_no=stop[rows.stop_no])

    def report_of(report: tuple[object, ...]) -> tuple[object, ...]:
        if report[0] not in {"prepared", "started", "ended"}:
            return report
        return (*report[:2], claim[report[2]], *report[3:])  # type: ignore[index]

    def journal_of(journal: Journal) -> Journal:
        return journal._replace(
            highest=claim[journal.highest],
            stop_no=stop[journal.stop_no],
            started_claim=claim[journal.started_claim],
            closed=frozenset((key, claim[number]) for key, number in journal.closed),
            reports=tuple(map(report_of, journal.reports)),
        )

    return world._replace(
        rows=rows_of(world.rows),
        backup=None if world.backup is None else rows_of(world.backup),
        wire=frozenset(o._replace(claim_no=claim[o.claim_no], stop_no=stop[o.stop_no]) for o in world.wire),
        journal=journal_of(world.journal),
        card=None if world.card is None else journal_of(world.card),
        memory=world.memory._replace(claim=claim[world.memory.claim]),
    )


def _runs_of(journal: Journal) -> set[int]:
    """The runs that its reports speak of."""
    return {int(r[3 if r[0] == "answer" else 1]) for r in journal.reports if r[0] != "unsure"}  # type: ignore[call-overload]


def _rename(world: World) -> World:
    ids: set[int] = set()
    _collect(world, ids)
    names = {old: new for new, old in enumerate(sorted(ids - {0}), start=1)} | {0: 0}

    def name(value: int) -> int:
        return names[value]

    def rows_of(rows: Rows) -> Rows:
        return rows._replace(
            runs=tuple(run._replace(key=name(run.key), token=name(run.token)) for run in rows.runs),
            holder=name(rows.holder),
            answered=frozenset(map(name, rows.answered)),
            journal=name(rows.journal),
            epoch=name(rows.epoch),
        )

    def journal_of(journal: Journal) -> Journal:
        return journal._replace(
            id=name(journal.id),
            started=name(journal.started),
            closed=frozenset((name(key), claim) for key, claim in journal.closed),
            known=frozenset((name(uid), what) for uid, what in journal.known),
            reports=tuple(_report(report, names) for report in journal.reports),
            epoch=name(journal.epoch),
            once_started=frozenset(map(name, journal.once_started)),
        )

    def order_of(order: Order) -> Order:
        return order._replace(
            uid=name(order.uid), run=name(order.run), token=name(order.token), epoch=name(order.epoch)
        )

    memory = world.memory
    return world._replace(
        rows=rows_of(world.rows),
        wire=frozenset(map(order_of, world.wire)),
        journal=journal_of(world.journal),
        memory=memory._replace(
            prepared=name(memory.prepared),
            order=name(memory.order),
            token=name(memory.token),
            first_byte_due=name(memory.first_byte_due),
        ),
        running=name(world.running),
        started=frozenset(map(name, world.started)),
        serial=len(names),
        backup=None if world.backup is None else rows_of(world.backup),
        card=None if world.card is None else journal_of(world.card),
    )


def _report(report: tuple[object, ...], names: dict[int, int]) -> tuple[object, ...]:
    if report[0] == "unsure":
        return report
    if report[0] == "answer":
        _, uid, kind, run, state, code = report
        return ("answer", names[uid], kind, names[run], state, code)  # type: ignore[index]
    if report[0] == "prepared":
        _, run, claim, token = report
        return ("prepared", names[run], claim, names[token])  # type: ignore[index]
    return (report[0], names[report[1]], *report[2:])  # type: ignore[index]


def _collect(world: World, ids: set[int]) -> None:
    for rows in (world.rows, world.backup):
        if rows is not None:
            ids |= {rows.holder, rows.journal, rows.epoch, *rows.answered}
            for run in rows.runs:
                ids |= {run.key, run.token}
    for journal in (world.journal, world.card):
        if journal is not None:
            ids |= {journal.id, journal.started, journal.epoch, *journal.once_started}
            ids |= {key for key, _ in journal.closed} | {uid for uid, _ in journal.known}
            for report in journal.reports:
                _collect_report(report, ids)
    for order in world.wire:
        ids |= {order.uid, order.run, order.token, order.epoch}
    ids |= {
        world.memory.prepared,
        world.memory.order,
        world.memory.token,
        world.memory.first_byte_due,
        world.running,
        *world.started,
    }


def _collect_report(report: tuple[object, ...], ids: set[int]) -> None:
    where = {"answer": (1, 3), "prepared": (1, 3), "unsure": ()}.get(str(report[0]), (1,))
    ids |= {int(report[index]) for index in where}  # type: ignore[call-overload]
