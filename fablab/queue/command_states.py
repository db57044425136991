"""The states of an order, and the only ways between them. docs/states draws the table."""

from enum import StrEnum

from fablab.queue.states import follow


class CommandState(StrEnum):
    PENDING = "pending"  # in the outbox, not yet published
    SENT = "sent"
    ACCEPTED = "accepted"  # the agent's own report, not the broker's word
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"  # the agent cannot tell: a person decides
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"  # prepare-like only


class CommandEvent(StrEnum):
    PUBLISHED = "published"
    ACCEPTED = "accepted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


S, E = CommandState, CommandEvent
_OPEN = (S.PENDING, S.SENT, S.ACCEPTED)
COMMAND_TABLE: dict[tuple[CommandState, CommandEvent], CommandState] = {
    (S.PENDING, E.PUBLISHED): S.SENT,
    (S.SENT, E.PUBLISHED): S.SENT,
    **{(s, E.ACCEPTED): S.ACCEPTED for s in _OPEN},
    **{(s, E.SUCCEEDED): S.SUCCEEDED for s in _OPEN},
    **{(s, E.FAILED): S.FAILED for s in _OPEN},
    **{(s, E.UNKNOWN): S.UNKNOWN for s in _OPEN},
    **{(s, E.REJECTED): S.REJECTED for s in _OPEN},
    **{(s, E.WITHDRAWN): S.WITHDRAWN for s in (S.PENDING, S.SENT)},
    **{(s, E.EXPIRED): S.EXPIRED for s in (S.PENDING, S.SENT)},
}
OPEN = frozenset(_OPEN)


def command_after(state: str, event: str) -> CommandState:
    """The state of an order after `event`. Raises `IllegalTransition`; ValueError for a name that is none."""
    return follow(COMMAND_TABLE, CommandState(state), CommandEvent(event))
