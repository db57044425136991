"""The index of a file: n-th line to be sent → its bytes, its place, layer, millimetres and seconds so far."""

from msgspec import Struct


class IndexedLine(Struct, frozen=True):
    """One line to be sent. `mm` is per tool the furthest net extrusion up to and including this line."""

    number: int  # 1-based order among the lines to be sent
    file_line: int  # 1-based line of the file
    text: bytes  # the command without comment, line number, checksum and blanks around it
    layer: int  # 0 before the first layer
    mm: tuple[float, ...]
    seconds: float  # estimated, from the first line to the end of this one
    end: int  # byte of the file just after this line and its line end, for machines that count bytes (OctoPrint)
    pause: bool = False  # M0, M1 and the like: the host pauses instead of sending it
