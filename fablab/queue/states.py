"""How a state changes: by a table, in one place. What the table does not name is refused, and nothing else changes."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from fablab.sentences import Refusal

State = TypeVar("State", bound=StrEnum)
Happening = TypeVar("Happening", bound=StrEnum)


class IllegalTransition(Refusal):
    """The table has no way from this state by this event: a second tap, an old page, a late message."""

    def __init__(self, state: str, event: str) -> None:
        super().__init__("not_now", state=state, event=event)


def follow(table: Mapping[tuple[State, Happening], State], state: State, event: Happening) -> State:
    """The state after `event`. Raises `IllegalTransition` where the table has none."""
    try:
        return table[state, event]
    except KeyError:
        raise IllegalTransition(str(state), str(event)) from None
