"""Fetches job files from the hub: by SHA-256, with a token that is good for one run, resumed where a line breaks.

Whatever arrives is believed only when its size and hash are those of the order.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx

from fablab.refusals import Refusal

TRIES = 6
"""Tries in a row that bring nothing; a poor line may break as often as it likes while it brings something."""
MAX_BYTES = 1024 * 1024 * 1024
"""No order is believed that asks for more."""
PATIENCE = httpx.Timeout(10.0, read=30.0)


@dataclass(frozen=True)
class Wanted:
    """A file of the hub. `path` is below the hub's URL; `token` is good for this file only."""

    sha256: str
    size: int
    path: str
    token: str


class Abandoned(Exception):
    """Nobody wants the file any more."""


class FilesClient:
    """Keeps fetched files in a folder under their hash; used by several threads."""

    def __init__(self, hub_url: str, folder: Path, pause: Callable[[float], None] = time.sleep) -> None:
        self._hub = hub_url.rstrip("/")
        self._folder = folder
        self._pause = pause
        folder.mkdir(parents=True, exist_ok=True)

    def place(self, sha256: str) -> Path:
        """Where a file lies once it is there."""
        if len(sha256) != 64 or not all(sign in "0123456789abcdef" for sign in sha256):
            raise Refusal("file_hash_malformed", sha256=sha256[:80])
        return self._folder / f"{sha256}.gcode"

    def fetch(self, wanted: Wanted, stop: threading.Event) -> Path:
        """The checked file. Raises Refusal file_too_large | file_gone | file_refused | file_differs | hub_unreachable.

        Raises Abandoned when `stop` is set on the way.
        """
        target = self.place(wanted.sha256)
        if not 0 < wanted.size <= MAX_BYTES:
            raise Refusal("file_too_large", bytes=wanted.size)
        if target.exists() and self._fits(target, wanted):
            return target
        part = target.with_suffix(f".{threading.get_ident()}.part")
        try:
            self._fetch_into(part, wanted, stop)
            if not self._fits(part, wanted):
                raise Refusal("file_differs", sha256=wanted.sha256)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def forget(self, keep: set[Path], before: float) -> int:
        """Delete files, with their indexes, that are not in `keep` and were written before that instant.

        `before` is in seconds since 1970. Returns how many were deleted.
        """
        gone = 0
        for file in self._folder.glob("*.gcode"):
            if file not in keep and file.stat().st_mtime < before:
                file.unlink(missing_ok=True)
                file.with_suffix(".index").unlink(missing_ok=True)
                gone += 1
        return gone

    def _fetch_into(self, part: Path, wanted: Wanted, stop: threading.Event) -> None:
        url = self._url(wanted.path)
        last = ""
        with httpx.Client(timeout=PATIENCE, follow_redirects=False, trust_env=False) as client:
            attempt, reached = 0, 0
            while attempt < TRIES:
                if stop.is_set():
                    raise Abandoned
                try:
                    self._continue(client, url, part, wanted, stop)
                    return
                except httpx.HTTPError as error:
                    last = type(error).__name__
                there = part.stat().st_size if part.exists() else 0
                attempt, reached = (0 if there > reached else attempt + 1), there
                self._pause(min(8.0, 0.5 * 2**attempt))
        raise Refusal("hub_unreachable", url=self._hub, why=last)

    def _continue(self, client: httpx.Client, url: str, part: Path, wanted: Wanted, stop: threading.Event) -> None:
        """Fetch what is missing after what is there already."""
        there = part.stat().st_size if part.exists() else 0
        if there >= wanted.size:
            return
        headers = {"Authorization": f"Bearer {wanted.token}", "Accept-Encoding": "identity"}
        if there:
            headers["Range"] = f"bytes={there}-"
        with client.stream("GET", url, headers=headers) as answer:
            if answer.status_code in (404, 410):
                raise Refusal("file_gone", sha256=wanted.sha256)
            if answer.status_code in (401, 403):
                raise Refusal("file_refused", status=answer.status_code)
            if answer.status_code not in (200, 206):
                raise httpx.HTTPError(f"status {answer.status_code}")
            begin = there if answer.status_code == 206 else 0
            self._write(part, begin, answer, wanted.size, stop)

    @staticmethod
    def _write(part: Path, begin: int, answer: httpx.Response, size: int, stop: threading.Event) -> None:
        written = begin
        with part.open("r+b" if part.exists() else "wb") as out:
            out.truncate(begin)
            out.seek(begin)
            for chunk in answer.iter_raw():
                if stop.is_set():
                    raise Abandoned
                written += len(chunk)
                if written > size:
                    raise Refusal("file_differs", sha256="")
                out.write(chunk)
        if written < size:
            raise httpx.HTTPError("short")

    def _url(self, path: str) -> str:
        """Below the hub's address and nowhere else."""
        parts = urlsplit(path)
        if parts.scheme or parts.netloc or ".." in parts.path.split("/"):
            raise Refusal("file_refused", status=0)
        query = f"?{parts.query}" if parts.query else ""
        return f"{self._hub}/{quote(parts.path.lstrip('/'))}{query}"

    @staticmethod
    def _fits(file: Path, wanted: Wanted) -> bool:
        if file.stat().st_size != wanted.size:
            return False
        with file.open("rb") as raw:
            return hashlib.file_digest(raw, "sha256").hexdigest() == wanted.sha256
