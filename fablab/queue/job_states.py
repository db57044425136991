"""The states of a job, and the only ways between them. The table is the documentation; docs/states draws it."""

from enum import StrEnum

from fablab.queue.states import follow


class JobState(StrEnum):
    CHECKING = "checking"  # its file is being measured
    DRAFT = "draft"  # quoted, waits for the member's yes
    HELD = "held"  # waits for somebody's decision
    QUEUED = "queued"
    ASSIGNED = "assigned"  # a run has claimed a machine for it
    RUNNING = "running"
    CANCELLING = "cancelling"  # the machine has been told to stop
    TO_JUDGE = "to_judge"  # the attempt is over, the part not judged
    NEEDS_ATTENTION = "needs_attention"  # only a person can say what became of it
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class JobEvent(StrEnum):
    MEASURED = "measured"
    REFUSED = "refused"
    CONFIRMED = "confirmed"
    CONFIRMED_HELD = "confirmed_held"  # confirmed, but something must be decided first
    HELD = "held"
    RELEASED = "released"
    REJECTED = "rejected"
    CLAIMED = "claimed"
    CLAIM_GIVEN_UP = "claim_given_up"  # rejected, expired or given up: nothing physical has happened
    STARTED = "started"
    CANCELLED = "cancelled"  # nothing has run: it ends at once
    CANCEL_ASKED = "cancel_asked"  # a start may have happened: the agent's answer decides
    ENDED = "ended"  # the attempt is over and something may lie on the plate
    NOTHING_RAN = "nothing_ran"  # the agent's own word: no byte reached the machine
    LOST_TRACK = "lost_track"
    JUDGED_GOOD = "judged_good"
    JUDGED_FAILED = "judged_failed"
    JUDGED_AGAIN = "judged_again"
    JUDGED_UNKNOWN = "judged_unknown"
    WINDOW_CLOSED = "window_closed"
    DECIDED_QUEUED = "decided_queued"
    DECIDED_TO_JUDGE = "decided_to_judge"
    DECIDED_FAILED = "decided_failed"
    DECIDED_CANCELLED = "decided_cancelled"
    RESTORED = "restored"  # the database is yesterday's: it may have been made since


S, E = JobState, JobEvent
JOB_TABLE: dict[tuple[JobState, JobEvent], JobState] = {
    (S.CHECKING, E.MEASURED): S.DRAFT,
    (S.CHECKING, E.REFUSED): S.REFUSED,
    (S.CHECKING, E.CANCELLED): S.CANCELLED,
    (S.DRAFT, E.CONFIRMED): S.QUEUED,
    (S.DRAFT, E.CONFIRMED_HELD): S.HELD,
    (S.DRAFT, E.CANCELLED): S.CANCELLED,
    (S.HELD, E.RELEASED): S.QUEUED,
    (S.HELD, E.REJECTED): S.REFUSED,
    (S.HELD, E.CANCELLED): S.CANCELLED,
    (S.QUEUED, E.HELD): S.HELD,
    (S.QUEUED, E.CLAIMED): S.ASSIGNED,
    (S.QUEUED, E.CANCELLED): S.CANCELLED,
    (S.ASSIGNED, E.CLAIM_GIVEN_UP): S.QUEUED,
    (S.ASSIGNED, E.STARTED): S.RUNNING,
    (S.ASSIGNED, E.CANCELLED): S.CANCELLED,
    (S.ASSIGNED, E.CANCEL_ASKED): S.CANCELLING,
    (S.ASSIGNED, E.ENDED): S.TO_JUDGE,
    (S.ASSIGNED, E.LOST_TRACK): S.NEEDS_ATTENTION,
    (S.RUNNING, E.ENDED): S.TO_JUDGE,
    (S.RUNNING, E.CANCEL_ASKED): S.CANCELLING,
    (S.RUNNING, E.LOST_TRACK): S.NEEDS_ATTENTION,
    (S.CANCELLING, E.STARTED): S.CANCELLING,
    (S.CANCELLING, E.ENDED): S.TO_JUDGE,
    (S.CANCELLING, E.NOTHING_RAN): S.CANCELLED,
    (S.CANCELLING, E.LOST_TRACK): S.NEEDS_ATTENTION,
    (S.TO_JUDGE, E.JUDGED_GOOD): S.DONE,
    (S.TO_JUDGE, E.JUDGED_FAILED): S.FAILED,
    (S.TO_JUDGE, E.JUDGED_AGAIN): S.QUEUED,
    (S.TO_JUDGE, E.JUDGED_UNKNOWN): S.TO_JUDGE,
    (S.TO_JUDGE, E.WINDOW_CLOSED): S.DONE,
    (S.TO_JUDGE, E.LOST_TRACK): S.NEEDS_ATTENTION,
    (S.NEEDS_ATTENTION, E.ENDED): S.TO_JUDGE,
    (S.NEEDS_ATTENTION, E.DECIDED_QUEUED): S.QUEUED,
    (S.NEEDS_ATTENTION, E.DECIDED_TO_JUDGE): S.TO_JUDGE,
    (S.NEEDS_ATTENTION, E.DECIDED_FAILED): S.FAILED,
    (S.NEEDS_ATTENTION, E.DECIDED_CANCELLED): S.CANCELLED,
    (S.QUEUED, E.RESTORED): S.HELD,
    (S.ASSIGNED, E.RESTORED): S.HELD,
    (S.RUNNING, E.RESTORED): S.HELD,
    (S.CANCELLING, E.RESTORED): S.HELD,
    (S.NEEDS_ATTENTION, E.RESTORED): S.HELD,
}
ENDED = frozenset({S.DONE, S.FAILED, S.REFUSED, S.CANCELLED})


def job_after(state: str, event: str) -> JobState:
    """The state of a job after `event`. Raises `IllegalTransition`; ValueError for a name that is no state or event."""
    return follow(JOB_TABLE, JobState(state), JobEvent(event))
