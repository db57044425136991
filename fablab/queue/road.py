"""What the hub makes of the rows it sees: who may claim, and what each word of an agent changes. Pure.

The guards of the road of an order, hub's side: each was needed to keep a machine from starting twice. The agent's side
is devices/orders.py; tests/model explores both together.
"""

from dataclasses import dataclass, replace

from fablab.messages import Ended
from fablab.queue.job_states import JobEvent, JobState
from fablab.queue.run_states import LIVE, RunEvent, RunState

MAY_PREPARE_AGAIN = frozenset(
    {"token_void", "not_prepared", "not_connected", "stop_overtook", "two_sessions", "stopping"}
)
"""Why an agent refuses a start that never was, and a new go may be asked for; any other reason ends the claim."""


PASSING = frozenset(
    {"agent_restarted", "plate_unsure", "machine_busy", "not_connected", "two_sessions", "stopping", "disk_full"}
    | {"journal_full", "latched", "claim_old", "claim_closed", "prepare_failed", "hub_unreachable"}
)
"""Why a prepare may be rejected that will not be so tomorrow: the same machine may be tried again."""


@dataclass(frozen=True)
class Claimable:
    """What the transaction that claims has read under its locks."""

    job: JobState
    job_has_live_run: bool
    money_held: bool
    machine_run: str | None
    plate: str
    outage: bool
    latched: bool
    frozen: bool  # a person freed it, and its agent has not answered since
    agent_greeted: bool  # said hello in this epoch, or was marked absent
    lease_mine: bool


def why_not_claim(seen: Claimable) -> str | None:
    """Why this job may not claim this machine now; None: it may. Every guard must hold, or nothing has happened."""
    guards = (
        ("lease_lost", seen.lease_mine),
        ("job_not_queued", seen.job is JobState.QUEUED),
        ("job_runs", not seen.job_has_live_run),
        ("no_money_held", seen.money_held),
        ("machine_taken", seen.machine_run is None),
        ("plate_not_free", seen.plate == "free"),
        ("outage", not seen.outage),
        ("latched", not seen.latched),
        ("machine_frozen", not seen.frozen),
        ("agent_silent", seen.agent_greeted),
    )
    return next((code for code, holds in guards if not holds), None)


@dataclass(frozen=True)
class Attempt:
    """A run and its job, as an agent's word finds them."""

    run: RunState
    job: JobState
    facts_known: bool = False
    journal_lost: bool = False  # its agent has another journal now, which cannot know whether it ran


@dataclass(frozen=True)
class Change:
    """What becomes of run, job and machine. Events of the state tables; None: nothing."""

    run: RunEvent | None = None
    job: JobEvent | None = None
    plate: str | None = None  # free | to_clear | unsure
    prepare_again: bool = False
    not_here: str | None = None  # why the machine does not want this job again
    incident: str | None = None
    review: str | None = None
    keep_facts: bool = False


NOTHING = Change()


def on_prepare_answer(attempt: Attempt, state: str, code: str) -> Change:
    """`accepted` moves the run on; `rejected` ends the claim, and the job is not tried there again."""
    if attempt.run not in {RunState.CLAIMED, RunState.PREPARING, RunState.PREPARED}:
        return NOTHING  # a late word of a closed claim
    if state == "accepted" and attempt.run is RunState.CLAIMED:
        return Change(run=RunEvent.PREPARE_TAKEN)
    if state == "rejected":
        return replace(_released(attempt, RunEvent.REJECTED), not_here=None if code in PASSING else code)
    return NOTHING


def on_start_answer(attempt: Attempt, state: str, code: str) -> Change:
    """Only `rejected` says that nothing ran, and only by the journal that offered the token."""
    if attempt.journal_lost or state != "rejected" or attempt.run not in {RunState.STARTING, RunState.LOST}:
        return NOTHING
    if attempt.run is RunState.STARTING and attempt.job is JobState.ASSIGNED and code in MAY_PREPARE_AGAIN:
        return Change(run=RunEvent.START_VOID, prepare_again=True)
    return _released(attempt, RunEvent.REJECTED)


def on_close_answer(attempt: Attempt, state: str, became: str) -> Change:
    """Cancel or revoke: the claim is closed in the journal, and the answer says what had become of the run."""
    if attempt.journal_lost or state != "succeeded" or became != "never_started" or attempt.run not in LIVE:
        return NOTHING
    return _released(attempt, RunEvent.REJECTED)


def on_prepared(attempt: Attempt) -> Change:
    """A start token is offered. After a go it changes nothing: that go belongs to the token before."""
    if attempt.run in {RunState.CLAIMED, RunState.PREPARING, RunState.PREPARED}:
        return Change(run=RunEvent.PREPARED)
    return NOTHING


def on_started(attempt: Attempt) -> Change:
    if attempt.run in {RunState.STARTING, RunState.LOST}:
        job = {
            JobState.ASSIGNED: JobEvent.STARTED,
            JobState.CANCELLING: JobEvent.STARTED,
        }.get(attempt.job)
        return Change(run=RunEvent.STARTED, job=job)
    if attempt.run in {RunState.RUNNING, RunState.PAUSED}:
        return NOTHING
    return Change(incident="started_without_order" if attempt.run in LIVE else "late_report")


def on_paused(attempt: Attempt) -> Change:
    return Change(run=RunEvent.PAUSED) if attempt.run is RunState.RUNNING else NOTHING


def on_resumed(attempt: Attempt) -> Change:
    return Change(run=RunEvent.RESUMED) if attempt.run is RunState.PAUSED else NOTHING


def on_ended(attempt: Attempt, ended: Ended) -> Change:
    """The facts of an attempt. What moved anything is judged; the plate is shut in the same transaction."""
    if attempt.run in {RunState.STARTING, RunState.RUNNING, RunState.PAUSED, RunState.LOST}:
        if not ended.touched and attempt.job is JobState.CANCELLING:
            return Change(run=RunEvent.ENDED, job=JobEvent.NOTHING_RAN, keep_facts=True)
        open_job = attempt.job in {
            JobState.ASSIGNED,
            JobState.RUNNING,
            JobState.CANCELLING,
            JobState.NEEDS_ATTENTION,
        }
        job = JobEvent.ENDED if open_job else None
        return Change(run=RunEvent.ENDED, job=job, plate="to_clear", keep_facts=True)
    plate = "unsure" if ended.touched and not attempt.facts_known else None
    if not attempt.facts_known:
        # it was made after all, while somebody thought that it was not: she decides again before it is made twice
        waits = attempt.job in {JobState.QUEUED, JobState.ASSIGNED}
        job = JobEvent.RESTORED if waits else None
        return Change(keep_facts=True, review="late_facts", plate=plate, job=job)
    return Change(incident="late_report", plate=plate)


def on_new_journal(attempt: Attempt) -> Change:
    """Its agent comes with another journal: what had been started is lost to it, what had not is given up."""
    if attempt.run in {RunState.CLAIMED, RunState.PREPARING, RunState.PREPARED}:
        return _released(attempt, RunEvent.GIVEN_UP)
    if attempt.run not in {RunState.STARTING, RunState.RUNNING, RunState.PAUSED, RunState.LOST}:
        return NOTHING
    open_job = attempt.job in {JobState.ASSIGNED, JobState.RUNNING, JobState.CANCELLING}
    return Change(
        run=None if attempt.run is RunState.LOST else RunEvent.LOST,
        job=JobEvent.LOST_TRACK if open_job else None,
        incident="journal_lost",
    )


def on_unknown(attempt: Attempt) -> Change:
    """The agent cannot tell what became of a start: a person decides."""
    if attempt.run not in {RunState.STARTING, RunState.RUNNING, RunState.PAUSED}:
        return NOTHING
    open_job = attempt.job in {JobState.ASSIGNED, JobState.RUNNING, JobState.CANCELLING}
    return Change(run=RunEvent.LOST, job=JobEvent.LOST_TRACK if open_job else None, incident="run_unknown")


def on_give_up(attempt: Attempt) -> Change:
    """A claim nobody said go for, or whose prepare was not answered. Only until a start order exists."""
    if attempt.run not in {RunState.CLAIMED, RunState.PREPARING, RunState.PREPARED}:
        return NOTHING
    return _released(attempt, RunEvent.GIVEN_UP)


def on_freed(attempt: Attempt) -> Change:
    """A named person: "I am at the machine and it is off." Something may lie on the plate."""
    if attempt.run not in {RunState.STARTING, RunState.RUNNING, RunState.PAUSED, RunState.LOST}:
        return NOTHING
    open_job = attempt.job in {JobState.ASSIGNED, JobState.RUNNING, JobState.CANCELLING, JobState.NEEDS_ATTENTION}
    return Change(run=RunEvent.FREED, job=JobEvent.ENDED if open_job else None, plate="to_clear")


def _released(attempt: Attempt, event: RunEvent) -> Change:
    """Nothing physical has happened: the machine is free; the job waits again, or is over where it was cancelled."""
    job = {
        JobState.ASSIGNED: JobEvent.CLAIM_GIVEN_UP,
        JobState.CANCELLING: JobEvent.NOTHING_RAN,
        JobState.NEEDS_ATTENTION: JobEvent.DECIDED_QUEUED,
    }.get(attempt.job)
    return Change(run=event, job=job)
