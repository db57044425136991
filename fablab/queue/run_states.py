"""The states of a run, one physical attempt, and the only ways between them. docs/states draws the table."""

from enum import StrEnum

from fablab.queue.states import follow


class RunState(StrEnum):
    CLAIMED = "claimed"
    PREPARING = "preparing"
    PREPARED = "prepared"  # ready for a go
    STARTING = "starting"  # a start order exists: from here on only an answer ends the claim
    RUNNING = "running"
    PAUSED = "paused"
    LOST = "lost"  # no answer to a start, or none can be had
    ENDED = "ended"
    RELEASED = "released"  # nothing physical has happened


class RunEvent(StrEnum):
    PREPARE_TAKEN = "prepare_taken"
    PREPARED = "prepared"
    TOKEN_LAPSED = "token_lapsed"  # noqa: S105
    GO = "go"
    START_VOID = "start_void"  # the agent refused the start: the token was void; prepared again
    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    ENDED = "ended"
    REJECTED = "rejected"  # the agent's own word: it did not and will not start
    EXPIRED = "expired"
    GIVEN_UP = "given_up"
    LOST = "lost"
    FREED = "freed"  # a named person at the machine says that it is off


S, E = RunState, RunEvent
RUN_TABLE: dict[tuple[RunState, RunEvent], RunState] = {
    (S.CLAIMED, E.PREPARE_TAKEN): S.PREPARING,
    (S.CLAIMED, E.PREPARED): S.PREPARED,
    (S.PREPARING, E.PREPARED): S.PREPARED,
    (S.PREPARED, E.PREPARED): S.PREPARED,  # a new token before the old one lapses
    (S.PREPARED, E.TOKEN_LAPSED): S.PREPARING,
    (S.PREPARED, E.GO): S.STARTING,
    (S.STARTING, E.START_VOID): S.PREPARING,
    **{(s, e): S.RELEASED for s in (S.CLAIMED, S.PREPARING, S.PREPARED) for e in (E.REJECTED, E.EXPIRED, E.GIVEN_UP)},
    (S.STARTING, E.REJECTED): S.RELEASED,
    (S.LOST, E.REJECTED): S.RELEASED,
    (S.STARTING, E.STARTED): S.RUNNING,
    (S.LOST, E.STARTED): S.RUNNING,
    (S.RUNNING, E.PAUSED): S.PAUSED,
    (S.PAUSED, E.RESUMED): S.RUNNING,
    **{(s, E.ENDED): S.ENDED for s in (S.STARTING, S.RUNNING, S.PAUSED, S.LOST)},
    **{(s, E.LOST): S.LOST for s in (S.STARTING, S.RUNNING, S.PAUSED)},
    **{(s, E.FREED): S.ENDED for s in (S.STARTING, S.RUNNING, S.PAUSED, S.LOST)},
}
LIVE = frozenset(RunState) - {S.ENDED, S.RELEASED}


def run_after(state: str, event: str) -> RunState:
    """The state of a run after `event`. Raises `IllegalTransition`; ValueError for a name that is no state or event."""
    return follow(RUN_TABLE, RunState(state), RunEvent(event))
