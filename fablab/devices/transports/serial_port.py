"""A serial port: pyserial opens and configures it, plain non-blocking reads and writes carry the bytes.

Knows no protocol. Addresses of other kinds (`socket://`, `rfc2217://`) are refused: they have no file descriptor that
a worker can wait on together with its wake-up.
"""

import contextlib
import os
import select
import termios
import time
from collections import deque
from collections.abc import Sequence

import serial

from fablab.refusals import Refusal

READ_BYTES = 65536
RESET_PULSE_S = 0.25
SCHEMES = ("alt", "hwgrep")
"""URL schemes that stand for a local device. `spy://` writes files, `loop://` is no machine: both stay out."""


class SerialPort:
    """One port, held alone. Raises OSError wherever the line is dead: unplugged, taken, not there."""

    def __init__(self, port: str, baud: int, *, pulls_dtr: bool) -> None:
        scheme, colon, _ = port.partition("://")
        if colon and scheme not in SCHEMES:
            raise Refusal("port_scheme", port=port, schemes=", ".join(SCHEMES))
        self._port = port
        self._baud = baud
        self._pulls_dtr = pulls_dtr
        self._serial: serial.Serial | None = None
        self._fd = -1
        self._pending: deque[memoryview] = deque()

    def open(self) -> None:
        """Open, configure, throw away what was buffered. Raises OSError."""
        self.close()
        try:
            opened = serial.serial_for_url(self._port, do_not_open=True)
            opened.baudrate, opened.timeout, opened.write_timeout, opened.exclusive = self._baud, 0, 0, True
            if not self._pulls_dtr:
                opened.dtr = False
            opened.open()
        except (termios.error, ValueError) as error:
            raise OSError(f"{self._port}: {error}") from error
        self._serial = opened
        self._fd = opened.fileno()
        os.set_blocking(self._fd, False)
        with contextlib.suppress(OSError, ValueError, NotImplementedError, AttributeError):
            opened.set_low_latency_mode(True)
        with contextlib.suppress(termios.error):
            termios.tcflush(self._fd, termios.TCIOFLUSH)

    def wait(self, timeout: float | None, wake_fd: int, writing: bool) -> None:
        """Block until there is input, a wake-up, room to write (where `writing`) or the timeout."""
        poll = select.poll()
        poll.register(wake_fd, select.POLLIN)
        if self._fd >= 0:
            poll.register(self._fd, select.POLLIN | (select.POLLOUT if writing else 0))
        poll.poll(None if timeout is None else timeout * 1000)

    def read(self) -> Sequence[bytes]:
        """What has come. Raises OSError when the device is gone."""
        data = self._read()
        return [data] if data else []

    def _read(self) -> bytes:
        try:
            data = os.read(self._alive(), READ_BYTES)
        except BlockingIOError:
            return b""
        if not data and self._hung_up():
            raise OSError(f"{self._port}: unplugged")
        return data

    def _hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return any(flags & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, flags in poll.poll(0))

    def write(self, items: Sequence[bytes]) -> bool:
        """Hand over; True while something still waits here because the line is full."""
        if items:
            self._pending.append(memoryview(b"".join(items)))
        while self._pending:
            first = self._pending[0]
            try:
                written = os.write(self._alive(), first)
            except BlockingIOError:
                return True
            if written == len(first):
                self._pending.popleft()
            else:
                self._pending[0] = first[written:]
        return False

    def drop_pending(self) -> None:
        """Forget what has not left, in here and in the operating system."""
        self._pending.clear()
        if self._fd >= 0:
            with contextlib.suppress(termios.error):
                termios.tcflush(self._fd, termios.TCOFLUSH)

    def reset_board(self) -> bool:
        """Pull DTR for a quarter of a second; False where that resets nothing."""
        if self._serial is None or not self._pulls_dtr:
            return False
        try:
            self._serial.dtr = False
            time.sleep(RESET_PULSE_S)
            self._serial.dtr = True
        except (OSError, termios.error):
            return False
        return True

    def close(self) -> None:
        self._pending.clear()
        if self._serial is not None:
            with contextlib.suppress(OSError, termios.error):
                self._serial.close()
        self._serial, self._fd = None, -1

    def _alive(self) -> int:
        if self._fd < 0:
            raise OSError(f"{self._port}: not open")
        return self._fd
