"""What kind of file this is, and its bytes in blocks of whole lines; unpacks .gz within limits, never in memory.

Refuses, each with a code of its own: empty files, binary G-code, archives and 3MF, models, packed files that are
damaged or that swell without measure, and files over the limit.
"""

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from fablab.gcode.limits import Limits
from fablab.refusals import Refusal

BLOCK = 1024 * 1024
MAX_LINE = 1024 * 1024
"""Bytes without a line end after which a file is no G-code."""

_BOM = b"\xef\xbb\xbf"
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"GCDE", "gcode_binary"),
    (b"PK\x03\x04", "gcode_is_archive"),
    (b"7z\xbc\xaf", "gcode_is_archive"),
    (b"Rar!", "gcode_is_archive"),
    (b"\xfd7zXZ", "gcode_is_archive"),
    (b"BZh", "gcode_is_archive"),
    (b"(\xb5/\xfd", "gcode_is_archive"),
    (b"ISO-10303-21", "gcode_is_model"),
    (b"ply\n", "gcode_is_model"),
    (b"\xff\xfe", "gcode_not_text"),
    (b"\xfe\xff", "gcode_not_text"),
    (b"\x89PNG", "not_gcode"),
    (b"\xff\xd8\xff", "not_gcode"),
    (b"%PDF", "not_gcode"),
    (b"\x7fELF", "not_gcode"),
)


def refuse_other_kinds(head: bytes, size: int) -> None:
    """Raise `Refusal` when the first bytes are those of something else. `size` is that of the whole file."""
    for magic, code in _MAGIC:
        if head.startswith(magic):
            if code == "gcode_is_archive" and (b"3D/3dmodel" in head or b"[Content_Types].xml" in head):
                raise Refusal("gcode_is_3mf")
            raise Refusal(code)
    if head.lstrip()[:6].lower() == b"solid " and b"facet" in head:
        raise Refusal("gcode_is_model")
    if len(head) >= 84 and size == 84 + 50 * int.from_bytes(head[80:84], "little"):
        raise Refusal("gcode_is_model")


class Source:
    """One pass over a file. After `blocks` is exhausted `sha256` and `size` describe the file as it lies on disk."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.size = path.stat().st_size
        if self.size == 0:
            raise Refusal("gcode_empty")
        if self.size > limits.max_bytes:
            raise _too_large(self.size, limits.max_bytes)
        self.packed = False
        self.start = 0  # bytes of a byte order mark before the first line
        self.ended_with_newline = False
        self._path, self._limits = path, limits
        self._sum = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._sum.hexdigest()

    def blocks(self) -> Iterator[bytes]:
        """Whole lines, about a megabyte at a time; the last one gets a line end where it has none."""
        carry = b""
        first, lines_seen = True, False
        for piece in self._pieces():
            if first:
                refuse_other_kinds(piece, len(piece) if self.packed else self.size)
                if piece.startswith(_BOM):
                    piece, self.start = piece[len(_BOM) :], len(_BOM)
                first = False
            cut = piece.rfind(b"\n") + 1
            if cut:
                yield carry + piece[:cut]
                lines_seen = True
                carry = piece[cut:]
            else:
                carry += piece
            if len(carry) > MAX_LINE:
                raise Refusal("not_gcode" if b"\0" not in carry or not lines_seen else "gcode_nul_bytes")
        self.ended_with_newline = not carry
        if carry:
            yield carry + b"\n"

    def _pieces(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            self.packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if self.packed:
                yield from _unpacked(self._raw(file), self._limits)
            else:
                yield from self._raw(file)

    def _raw(self, file: IO[bytes]) -> Iterator[bytes]:
        while piece := file.read(BLOCK):
            self._sum.update(piece)
            yield piece


def unpack(source: Path, target: Path, limits: Limits) -> int:
    """Write the text of a .gcode.gz to `target`; returns its bytes. Raises `Refusal` like reading it would."""
    written = 0
    with source.open("rb") as file, target.open("wb") as out:
        if file.read(2) != b"\x1f\x8b":
            raise Refusal("gzip_damaged")
        file.seek(0)
        for piece in _unpacked(iter(lambda: file.read(BLOCK), b""), limits):
            written += out.write(piece)
    return written


def _unpacked(pieces: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    """gzip members one after another, at most a block at a time, bounded by ratio and by size."""
    member = zlib.decompressobj(wbits=31)
    taken = given = 0
    for piece in pieces:
        taken += len(piece)
        while piece:
            try:
                text = member.decompress(piece, BLOCK)
            except zlib.error as error:
                raise Refusal("gzip_damaged") from error
            given += len(text)
            _refuse_bomb(taken, given, limits)
            if text:
                yield text
            piece = member.unconsumed_tail
            if member.eof:
                piece = member.unused_data.lstrip(b"\0")
                if piece:
                    member = zlib.decompressobj(wbits=31)
    if not member.eof:
        raise Refusal("gcode_truncated", why="gzip")
    if not given:
        raise Refusal("gcode_empty")


def _refuse_bomb(taken: int, given: int, limits: Limits) -> None:
    if given > limits.max_unpacked_bytes:
        raise _too_large(given, limits.max_unpacked_bytes)
    if given > BLOCK and given > taken * limits.max_ratio:
        raise Refusal("gzip_bomb", ratio=given // max(taken, 1), limit=limits.max_ratio)


def _too_large(size: int, limit: int) -> Refusal:
    return Refusal("file_too_large", size_mb=round(size / 1e6, 1), limit_mb=round(limit / 1e6, 1))
