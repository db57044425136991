"""Lines on a serial wire: framing with number and checksum, and cutting what comes in. No state of any protocol."""

MAX_LINE = 4096
"""Longest line that is kept, bytes; garbage at a wrong speed has no line end at all."""


def checksum(data: bytes) -> int:
    """XOR of all bytes, 0 … 255 (Marlin: from the N up to but not including the last asterisk)."""
    folded = int.from_bytes(data, "little")
    for width in (1024, 512, 256, 128, 64, 32, 16, 8):
        folded ^= folded >> width
    return folded & 0xFF if len(data) <= 256 else _slow_checksum(data)


def _slow_checksum(data: bytes) -> int:
    total = 0
    for byte in data:
        total ^= byte
    return total


def frame(number: int, command: bytes) -> bytes:
    """`N<number> <command>*<checksum>` with its line end. `command` has neither comment nor blanks around it."""
    body = b"N%d %b" % (number, command)
    return b"%b*%d\n" % (body, checksum(body))


class LineCutter:
    """Cuts a stream of bytes into lines without their ends; drops NULs and carriage returns."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now. A line that grows over `MAX_LINE` is thrown away up to its end."""
        if b"\r" in data or b"\0" in data:
            data = data.replace(b"\r", b"").replace(b"\0", b"")
        parts = (self._rest + data).split(b"\n")
        self._rest = parts.pop()
        if len(self._rest) > MAX_LINE:
            self._rest = b"\xff"  # what is left of it can be no valid line any more
        return parts
