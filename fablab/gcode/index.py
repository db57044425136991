"""The index of a file: n-th line to be sent → its bytes, its place, layer, millimetres and seconds so far.

Written once by the measuring process, then only looked up: the file on disk is a row of blocks, each with the columns
offset (u32), line of the file (u32), mm of the tool in use (f64) and seconds (f32), and a msgpack footer. A `tool`
entry of the footer says which tool is in use from a line on and what the others had used by then.
"""

import mmap
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from struct import Struct as Packing
from typing import IO

import msgspec
from msgspec import Struct

from fablab.gcode.commands import clean

MAGIC = b"FABLAB-INDEX-1\n\0"
_TRAILER = Packing("<Q16s")
_OFFSET, _MM, _SECONDS = Packing("=I"), Packing("=d"), Packing("=f")
ROW = 4 + 4 + 8 + 4


class IndexedLine(Struct, frozen=True):
    """One line to be sent. `mm` is per tool the furthest net extrusion up to and including this line."""

    number: int  # 1-based order among the lines to be sent
    file_line: int  # 1-based line of the file
    text: bytes  # the command without comment, line number, checksum and blanks around it
    layer: int  # 0 before the first layer
    mm: tuple[float, ...]
    seconds: float  # estimated, from the first line to the end of this one
    end: int  # byte just after this line and its line end, as OctoPrint counts: each damaged UTF-8 byte is three
    pause: bool = False  # M0, M1 and the like: the host pauses instead of sending it


class Position(Struct, frozen=True):
    """Where a file stands once `number` lines of it were taken. Number 0: before the first."""

    number: int
    offset: int  # byte of the file at which the line begins
    file_line: int
    layer: int
    mm: tuple[float, ...]
    seconds: float


class Block(Struct, frozen=True, array_like=True):
    first: int  # number of its first line
    count: int
    position: int  # byte in the index


class Footer(Struct, frozen=True, kw_only=True):
    lines: int
    layers: tuple[tuple[int, int], ...]  # from this number on, this layer
    tools: tuple[tuple[int, int, tuple[float, ...]], ...]  # from this number on, this tool; used so far per tool
    pauses: tuple[int, ...]  # numbers
    blocks: tuple[Block, ...]
    size: int  # of the G-code file that was indexed
    sha256: str


class IndexStale(Exception):
    """The index belongs to another file, or is no index."""


class IndexWriter:
    """Writes blocks as they come and the footer at the end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._blocks: list[Block] = []
        self.lines = 0
        self._position = file.write(MAGIC)

    def block(
        self, offsets: Sequence[int], lines: Sequence[int], mms: Sequence[float], seconds: Sequence[float]
    ) -> None:
        """One row per line to be sent; the columns have the same length."""
        if not offsets:
            return
        self._blocks.append(Block(self.lines + 1, len(offsets), self._position))
        self.lines += len(offsets)
        columns = (array("I", offsets), array("I", lines), array("d", mms), array("f", seconds))
        self._position += sum(self._file.write(column.tobytes()) for column in columns)

    def close(
        self,
        layers: Sequence[tuple[int, int]],
        tools: Sequence[tuple[int, int, tuple[float, ...]]],
        pauses: Sequence[int],
        size: int,
        sha256: str,
    ) -> None:
        footer = msgspec.msgpack.encode(
            Footer(
                lines=self.lines,
                layers=tuple(layers),
                tools=tuple(tools),
                pauses=tuple(pauses),
                blocks=tuple(self._blocks),
                size=size,
                sha256=sha256,
            )
        )
        self._file.write(footer)
        self._file.write(_TRAILER.pack(len(footer), MAGIC))


class IndexedFile:
    """A G-code file beside its index. Holds one mapping open until `close`; may be used by one thread at a time.

    Raises `IndexStale` when the two do not belong together.
    """

    def __init__(self, path: Path, index: Path) -> None:
        self.path = path
        with index.open("rb") as file:
            try:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError as error:
                raise IndexStale("empty") from error
        self.footer = self._read_footer()
        if path.stat().st_size != self.footer.size:
            self.close()
            raise IndexStale("size")
        self.tools = max((len(used) for _, _, used in self.footer.tools), default=1)
        """How many tools filament is counted for."""
        self._firsts = [block.first for block in self.footer.blocks]
        self._layer_from = [number for number, _ in self.footer.layers]
        self._tool_from = [number for number, _, _ in self.footer.tools]
        self._tool_used = [(tool, (*used, *(0.0,) * (self.tools - len(used)))) for _, tool, used in self.footer.tools]
        self._pauses = frozenset(self.footer.pauses)

    @property
    def total(self) -> int:
        """Lines to be sent."""
        return self.footer.lines

    @property
    def filament_mm(self) -> tuple[float, ...]:
        """Filament of the whole file per tool."""
        return self.at(self.total).mm

    def at(self, number: int) -> Position:
        """Where the file stands when lines 1 … `number` were taken (0 … total). Raises IndexError outside."""
        if not 0 <= number <= self.total:
            raise IndexError(number)
        if number == 0:
            return Position(0, 0, 0, 0, (0.0,) * self.tools, 0.0)
        block = self.footer.blocks[bisect_right(self._firsts, number) - 1]
        row, n, base = number - block.first, block.count, block.position
        return Position(
            number,
            _OFFSET.unpack_from(self._map, base + 4 * row)[0],
            _OFFSET.unpack_from(self._map, base + 4 * (n + row))[0],
            self._layer(number),
            self._per_tool(number, _MM.unpack_from(self._map, base + 8 * n + 8 * row)[0]),
            _SECONDS.unpack_from(self._map, base + 16 * n + 4 * row)[0],
        )

    def lines(self, start: int = 0) -> Iterator[IndexedLine]:
        """The lines after the first `start` ones, read from the file one by one."""
        if start >= self.total:
            return
        begin = self.at(start + 1)
        rows = self._rows(start + 1)
        with self.path.open("rb") as file:
            file.seek(begin.offset)
            number, position = start, begin.offset
            for raw in file:
                position += len(raw) if raw.isascii() else len(raw.decode("utf-8", "replace").encode())
                text = clean(raw)
                if not text:
                    continue
                number += 1
                file_line, mm, seconds = next(rows)
                layer, used = self._layer(number), self._per_tool(number, mm)
                yield IndexedLine(number, file_line, text, layer, used, seconds, position, number in self._pauses)

    def close(self) -> None:
        self._map.close()

    def __enter__(self) -> "IndexedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_footer(self) -> Footer:
        try:
            length, magic = _TRAILER.unpack_from(self._map, len(self._map) - _TRAILER.size)
            if magic != MAGIC or self._map[: len(MAGIC)] != MAGIC:
                raise ValueError("magic")
            end = len(self._map) - _TRAILER.size
            return msgspec.msgpack.decode(self._map[end - length : end], type=Footer)
        except Exception as error:
            self._map.close()
            raise IndexStale("damaged") from error

    def _rows(self, number: int) -> Iterator[tuple[int, float, float]]:
        """Line of the file, mm and seconds from a number on, a block at a time."""
        which = bisect_right(self._firsts, number) - 1
        skip = number - self._firsts[which]
        return chain.from_iterable(
            self._block(block, skip if block.first <= number else 0) for block in self.footer.blocks[which:]
        )

    def _block(self, block: Block, skip: int) -> Iterator[tuple[int, float, float]]:
        n, base = block.count, block.position
        lines, mms, seconds = array("I"), array("d"), array("f")
        lines.frombytes(self._map[base + 4 * n + 4 * skip : base + 8 * n])
        mms.frombytes(self._map[base + 8 * n + 8 * skip : base + 16 * n])
        seconds.frombytes(self._map[base + 16 * n + 4 * skip : base + 20 * n])
        return zip(lines, mms, seconds, strict=True)

    def _layer(self, number: int) -> int:
        found = bisect_right(self._layer_from, number)
        return self.footer.layers[found - 1][1] if found else 0

    def _per_tool(self, number: int, mm: float) -> tuple[float, ...]:
        found = bisect_right(self._tool_from, number)
        if not found:
            return (mm, *(0.0,) * (self.tools - 1))
        tool, used = self._tool_used[found - 1]
        return (*used[:tool], mm, *used[tool + 1 :])
