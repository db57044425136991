"""Records what passes a transport in the transcript format: `>` written, `<` received, `!` seconds gone by."""

from collections.abc import Callable, Sequence
from typing import TextIO

from fablab.devices.protocols.contract import Transport
from fablab.devices.protocols.lines import LineCutter


class Trace:
    """A transport around a transport; changes nothing of what passes. Times are monotonic seconds from `now`."""

    def __init__(self, inner: Transport, to: TextIO, now: Callable[[], float], title: str) -> None:
        self._inner = inner
        self._to = to
        self._now = now
        self._last = now()
        self._in = LineCutter()
        self._out = LineCutter()
        to.write(f"# {title}\n")

    def open(self) -> None:
        self._inner.open()

    def wait(self, timeout: float | None, wake_fd: int, writing: bool) -> None:
        self._inner.wait(timeout, wake_fd, writing)

    def read(self) -> Sequence[bytes]:
        items: Sequence[bytes] = self._inner.read()
        for item in items:
            self._note("<", self._in.feed(item))
        return items

    def write(self, items: Sequence[bytes]) -> bool:
        for item in items:
            self._note(">", self._out.feed(item))
        return self._inner.write(items)

    def drop_pending(self) -> None:
        self._inner.drop_pending()

    def reset_board(self) -> bool:
        return self._inner.reset_board()

    def close(self) -> None:
        self._inner.close()
        self._to.flush()

    def _note(self, mark: str, lines: list[bytes]) -> None:
        now = self._now()
        if lines and now - self._last >= 0.1:
            self._to.write(f"! {now - self._last:.1f} s\n")
        self._last = now if lines else self._last
        for line in lines:
            self._to.write(f"{mark} {line.decode('ascii', 'backslashreplace')}\n")
