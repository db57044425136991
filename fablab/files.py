"""Job files by SHA-256: streamed in under a limit, flushed to disk, renamed into place; nothing is ever half-stored.

Knows bytes and names, not what is in a file. Rows about files are queue's.
"""

import hashlib
import os
import re
import secrets
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from fablab.sentences import Refusal

CHUNK = 256 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Readable(Protocol):
    """Anything bytes can be read from in pieces."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Stored:
    """A file by content: hex SHA-256 and bytes."""

    sha256: str
    size: int


def store(folder: Path, stream: Readable, max_bytes: int) -> Stored:
    """Read the stream to its end into the folder; a content that is there already is kept once.

    Files lie in `ab/ab12…` by digest; `incoming/`, on the same file system, has what is on its way. Raises Refusal
    file_empty, file_too_large (limit_mb), disk_full; then nothing of it remains.
    """
    incoming = folder / "incoming"
    part = incoming / secrets.token_hex(16)
    try:
        incoming.mkdir(parents=True, exist_ok=True)
        digest, size = _write(stream, part, max_bytes)
        if size == 0:
            raise Refusal("file_empty")
        target = path_of(folder, digest)
        target.parent.mkdir(exist_ok=True)
        part.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise Refusal("disk_full") from error
    finally:
        part.unlink(missing_ok=True)
    return Stored(digest, size)


def path_of(folder: Path, sha256: str) -> Path:
    """Where the content lies or would lie. Raises ValueError for what is no hex SHA-256."""
    if not _DIGEST.fullmatch(sha256):
        raise ValueError("not a hex SHA-256")
    return folder / sha256[:2] / sha256


def open_file(folder: Path, sha256: str) -> BinaryIO:
    """The content for reading. Raises Refusal job_file_gone."""
    try:
        return path_of(folder, sha256).open("rb")
    except FileNotFoundError as error:
        raise Refusal("job_file_gone") from error


def stored(folder: Path) -> Iterator[str]:
    """Digests of everything that is stored, sorted."""
    for part in sorted(folder.glob("??")):
        yield from sorted(file.name for file in part.iterdir() if _DIGEST.fullmatch(file.name))


def sweep(folder: Path) -> int:
    """Remove what a crash left in `incoming`; call when no upload can be running. Returns how many."""
    left = list((folder / "incoming").glob("*"))
    for file in left:
        file.unlink(missing_ok=True)
    return len(left)


def safe_name(name: str) -> str:
    """A file name to show and to send: no folder, no control or shell-odd characters, at most 120 characters."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    clean = "".join(char if char.isalnum() or char in " ._-+()[]" else "_" for char in last).strip(" .")
    if len(clean) > 120:
        stem, dot, ending = clean.rpartition(".")
        clean = f"{stem[: 119 - len(ending)]}.{ending}" if dot and len(ending) < 12 else clean[:120]
    return clean or "file.gcode"


def _write(stream: Readable, part: Path, max_bytes: int) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with part.open("xb") as out:
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            if size > max_bytes:
                raise Refusal("file_too_large", limit_mb=max_bytes // 1_000_000)
            digest.update(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest(), size


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
