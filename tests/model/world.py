"""A world small enough to walk through whole: database, wire, agent, machine and people, around production's decisions.

Every decision is made by the functions that run in production: `devices.orders.decide` at the agent, `queue.road` and
the state tables at the hub. The world only carries them out. An order that was ever published may arrive at any
time, in any order, again and again. Reports wait in the journal and are applied in sequence.
"""

from dataclasses import replace
from typing import NamedTuple

from fablab.devices.orders import View
from fablab.messages import Cancel, Command, Ended, Prepare, Revoke, Start
from fablab.queue import road
from fablab.queue.job_states import JobState, job_after
from fablab.queue.run_states import LIVE, RunState, run_after

Blind = frozenset[str]
"""The guards that are taken away."""
NOBODY: Blind = frozenset()


class Run(NamedTuple):
    key: int
    state: str
    claim_no: int
    token: int  # 0: none
    facts: bool
    lost: bool = False  # its agent has another journal now

    @property
    def live(self) -> bool:
        return RunState(self.state) in LIVE


class Report(NamedTuple):
    what: str  # unsure | answer | prepared | started | ended
    run: int = 0
    claim_no: int = 0
    uid: int = 0  # of the order that is answered
    kind: str = ""  # of that order
    token: int = 0
    state: str = ""  # of the answer; the result of a run that ended
    code: str = ""


class Order(NamedTuple):
    uid: int
    kind: str
    run: int
    claim_no: int
    stop_no: int
    token: int
    epoch: int


class Rows(NamedTuple):
    """The database."""

    job: str = "queued"
    runs: tuple[Run, ...] = ()
    claim_no: int = 0
    stop_no: int = 0
    holder: int = 0
    plate: str = "free"
    frozen: bool = False
    greeted: bool = True
    answered: frozenset[int] = frozenset()  # orders that had their last word
    applied: int = 0
    journal: int = 1
    epoch: int = 1


class Journal(NamedTuple):
    """What survives at the agent. `known`: order → its last answer, state:code, or empty where it has none yet."""

    id: int = 1
    highest: int = 0
    stop_no: int = 0
    started: int = 0
    started_claim: int = 0
    closed: frozenset[tuple[int, int]] = frozenset()
    known: frozenset[tuple[int, str]] = frozenset()
    reports: tuple[Report, ...] = ()
    epoch: int = 1
    once_started: frozenset[int] = frozenset()
    booted: bool = False  # since the last hello


class Memory(NamedTuple):
    """What a crash of the agent takes with it."""

    prepared: int = 0
    order: int = 0  # the prepare order that is being carried out
    claim: int = 0
    ready: bool = False
    token: int = 0
    first_byte_due: int = 0  # journalled, not yet written to the machine


class World(NamedTuple):
    rows: Rows = Rows()
    wire: frozenset[Order] = frozenset()
    journal: Journal = Journal()
    memory: Memory = Memory()
    running: int = 0
    part: bool = False  # something physically lies on the plate
    started: frozenset[int] = frozenset()  # runs whose first byte reached the machine, ever
    serial: int = 2  # makes ids that are never used again, whatever is restored
    allowed: int = 1  # starts that people have asked for: the job, and each decision to make it again
    second: bool = False  # another hub has read the tables, and thinks that it acts
    backup: Rows | None = None
    card: Journal | None = None
    broken: str = ""


MACHINE = "m"


def find(rows: Rows, key: int) -> Run | None:
    return next((run for run in rows.runs if run.key == key), None)


def put(rows: Rows, run: Run) -> Rows:
    return rows._replace(runs=tuple(run if old.key == run.key else old for old in rows.runs))


def unheard(world: World, order: Order) -> str:
    """The stored answer that a repeated order is given again, where it is not on its way to the hub already."""
    journal, rows = world.journal, world.rows
    stored = next((answer for uid, answer in journal.known if uid == order.uid), "")
    on_its_way = journal.reports[rows.applied :] if rows.journal == journal.id else journal.reports
    if not stored or order.uid in rows.answered or any(report.uid == order.uid for report in on_its_way):
        return ""
    return stored


def order_of(order: Order) -> Command:
    """The order as production's messages have it."""
    bodies = {
        "prepare": Prepare(job="j", sha256="0", size=1, file_name="f", file_path="/", file_token="t"),
        "start": Start(token=str(order.token)),
        "revoke": Revoke(),
        "cancel": Cancel(),
    }
    return Command(
        id=str(order.uid),
        machine=MACHINE,
        run=str(order.run),
        claim_no=order.claim_no,
        stop_no=order.stop_no,
        term=1,
        body=bodies[order.kind],  # type: ignore[arg-type]
    )


def view_of(world: World, order: Order, blind: Blind) -> View:
    """The view as devices.machine makes it from journal and memory; `blind` takes one guard's eyes away."""
    journal, memory = world.journal, world.memory
    view = View(
        known=any(uid == order.uid for uid, _ in journal.known),
        closed=(order.run, order.claim_no) in journal.closed,
        highest_claim=journal.highest,
        stop_no=journal.stop_no,
        started_run=str(journal.started) if journal.started else "",
        prepared_run=str(memory.prepared) if memory.prepared else "",
        prepared_claim=memory.claim,
        token=str(memory.token) if memory.token else "",
        ready=True,
        term=1,
    )
    changes: dict[str, dict[str, object]] = {
        "known": {"known": False},
        "closed": {"closed": False},
        "highest_claim": {"highest_claim": 0},
        "stop_no": {"stop_no": 0},
        "machine_busy": {"started_run": ""},
        "token": {"token": str(order.token), "prepared_run": str(order.run), "prepared_claim": order.claim_no},
        "prepared_run": {"prepared_run": str(order.run), "prepared_claim": order.claim_no},
    }
    for guard in blind & changes.keys():
        view = replace(view, **changes[guard])  # type: ignore[arg-type]
    return view


def new_order(world: World, rows: Rows, kind: str, run: Run, token: int = 0) -> tuple[World, Rows]:
    """Write an order, as queue.moves does: a stop raises the stop number. From here on it may arrive, or never."""
    stop_no = rows.stop_no + (1 if kind in {"revoke", "cancel"} else 0)
    order = Order(world.serial, kind, run.key, run.claim_no, stop_no, token, rows.epoch)
    return world._replace(serial=world.serial + 1, wire=world.wire | {order}), rows._replace(stop_no=stop_no)


def change(world: World, run_key: int, decided: road.Change) -> World:
    """Carry out a decision of queue.road, as queue.applying does."""
    rows = world.rows
    run = find(rows, run_key)
    if run is None:
        return world
    if decided.keep_facts:
        run = run._replace(facts=True)
    if decided.run is not None:
        run = run._replace(state=str(run_after(run.state, decided.run)))
        if RunState(run.state) not in LIVE and rows.holder == run.key:
            rows = rows._replace(holder=0)
    rows = put(rows, run)
    if decided.plate is not None and (decided.plate != "unsure" or rows.plate == "free"):
        rows = rows._replace(plate=decided.plate)
    if decided.job is not None:
        rows = rows._replace(job=str(job_after(rows.job, decided.job)))
    if decided.job == "restored":
        world = hold_back(world, rows)
        rows = world.rows
    if decided.prepare_again:
        world, rows = new_order(world, rows, "prepare", run)
    return world._replace(rows=rows)


def hold_back(world: World, rows: Rows) -> World:
    """The job waits for a person again: what was being made ready is given up."""
    for other in rows.runs:
        if other.state in {"claimed", "preparing", "prepared"}:
            rows = put(rows, other._replace(state=str(run_after(other.state, "given_up"))))
            rows = rows._replace(holder=0 if rows.holder == other.key else rows.holder)
            world, rows = new_order(world, rows, "revoke", other)
    return world._replace(rows=rows)


def attempt(rows: Rows, run: Run, blind: Blind = NOBODY) -> road.Attempt:
    lost = run.lost and "journal_lost" not in blind
    return road.Attempt(RunState(run.state), JobState(rows.job), run.facts, lost)


def claimable(rows: Rows, blind: Blind, lease_mine: bool = True) -> road.Claimable:
    """What the claiming transaction reads; `blind` takes one guard's eyes away."""
    seen = road.Claimable(
        job=JobState(rows.job),
        job_has_live_run=any(run.live for run in rows.runs),
        money_held=True,
        machine_run=str(rows.holder) if rows.holder else None,
        plate=rows.plate,
        outage=False,
        latched=False,
        frozen=rows.frozen,
        agent_greeted=rows.greeted,
        lease_mine=lease_mine,
    )
    changes: dict[str, dict[str, object]] = {
        "lease_lost": {"lease_mine": True},
        "job_not_queued": {"job": JobState.QUEUED},
        "job_runs": {"job_has_live_run": False},
        "machine_taken": {"machine_run": None},
        "plate_not_free": {"plate": "free"},
        "machine_frozen": {"frozen": False},
        "agent_silent": {"agent_greeted": True},
    }
    for guard in blind & changes.keys():
        seen = replace(seen, **changes[guard])  # type: ignore[arg-type]
    return seen


def ended_facts(result: str, touched: bool) -> Ended:
    return Ended(run="r", machine=MACHINE, claim_no=1, result=result, touched=touched)
