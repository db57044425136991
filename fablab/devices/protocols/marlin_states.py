"""The state table of a machine of the Marlin family: {(state, event): state}. The table is the documentation."""

from enum import StrEnum


class State(StrEnum):
    CLOSED = "closed"
    HELLO = "hello"  # waiting for boot text or a first ok
    ASKING = "asking"  # M115 is out
    SETTLING = "settling"  # reports are being switched on
    READY = "ready"
    PRINTING = "printing"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"
    FINISHING = "finishing"  # file is out, M400 and M114 are not answered yet
    CANCELLING = "cancelling"
    STOPPING = "stopping"  # emergency stop is out, not confirmed yet
    HALTED = "halted"


_RUNNING = (State.PRINTING, State.PAUSING, State.PAUSED, State.RESUMING, State.FINISHING)
_TABLE: dict[tuple[State, str], State] = {
    (State.HELLO, "answered"): State.ASKING,
    (State.ASKING, "identified"): State.SETTLING,
    (State.SETTLING, "done"): State.READY,
    (State.READY, "print"): State.PRINTING,
    (State.PRINTING, "file_out"): State.FINISHING,
    (State.FINISHING, "done"): State.READY,
    (State.PRINTING, "pause"): State.PAUSING,
    (State.PAUSING, "done"): State.PAUSED,
    (State.PAUSED, "resume"): State.RESUMING,
    (State.RESUMING, "done"): State.PRINTING,
    (State.RESUMING, "pause"): State.PAUSING,
    (State.CANCELLING, "done"): State.READY,
    **{(state, "cancel"): State.CANCELLING for state in _RUNNING},
    **{(state, "stop"): State.STOPPING for state in State if state is not State.CLOSED},
    **{(state, "halt"): State.HALTED for state in State if state is not State.CLOSED},
    **{(state, "reset"): State.HELLO for state in State},
    **{(state, "lost"): State.CLOSED for state in State},
}
TABLE = _TABLE
RUNNING = frozenset((*_RUNNING, State.CANCELLING))
"""States in which a run is not over."""
