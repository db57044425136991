"""The transport of machines without a wire: it only waits to be woken."""

import select
from collections.abc import Sequence
from typing import Any


class NoTransport:
    """Always open, never anything to read, swallows nothing because nothing is written."""

    def open(self) -> None:
        """Nothing to open."""

    def wait(self, timeout: float | None, wake_fd: int, writing: bool) -> None:
        """Block until `wake_fd` is readable or the timeout is over."""
        select.select([wake_fd], [], [], timeout)

    def read(self) -> Sequence[Any]:
        return ()

    def write(self, items: Sequence[Any]) -> bool:
        return False

    def drop_pending(self) -> None:
        """Nothing ever waits."""

    def reset_board(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing to close."""
