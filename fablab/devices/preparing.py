"""Makes a run ready: fetches the file, reads it in a limited child process, and checks that it fits the machine."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fablab.children import run_limited
from fablab.devices.files_client import FilesClient, Wanted
from fablab.gcode.facts import Facts, understand
from fablab.gcode.index import IndexedFile, IndexStale
from fablab.gcode.limits import Limits
from fablab.messages import Prepare
from fablab.profiles import Profile
from fablab.refusals import Refusal

READ_SECONDS, READ_MB = 300.0, 512
"""What reading one file may cost: on a small board 256 MB of G-code take minutes."""
Read = Callable[[Path, Limits, Path], Facts]
"""File, limits, place of the index → what the file is. Raises Refusal."""


@dataclass(frozen=True)
class Readied:
    """A file that is here, checked and indexed. `path` is empty for machines that take no file."""

    path: Path | None
    lines: int = 0
    filament_mm: tuple[float, ...] = ()


class Preparer:
    """Shared by all workers; `ready` blocks and is called on a thread of the preparation's own."""

    def __init__(self, files: FilesClient, read: Read) -> None:
        self._files = files
        self._read = read
        self._vetted: set[tuple[str, Limits]] = set()
        self._turn = threading.Lock()  # one file is read at a time: the board has other things to do

    def ready(self, order: Prepare, profile: Profile | None, stop: threading.Event) -> Readied:
        """Raises Refusal with the reason, Abandoned when `stop` is set on the way."""
        check_model(order.printer_model, profile)
        wanted = Wanted(order.sha256, order.size, order.file_path, order.file_token)
        path = self._files.fetch(wanted, stop)
        with self._turn:
            known = (order.sha256, limits_of(profile)) in self._vetted
            index = (open_index(path) if known else None) or self._make_index(path, profile)
            self._vetted.add((order.sha256, limits_of(profile)))
        with index:
            return Readied(path, index.total, index.filament_mm)

    def _make_index(self, path: Path, profile: Profile | None) -> IndexedFile:
        facts = self._read(path, limits_of(profile), index_of(path))
        check_model(facts.printer_model, profile)
        check_dialect(facts.dialect, profile)
        check_hazards(facts)
        index = open_index(path)
        if index is None:
            raise Refusal("index_missing", sha256=facts.sha256)
        return index


def read_in_child(path: Path, limits: Limits, index: Path) -> Facts:
    """Read a file in a child process with limits on time and memory."""
    return run_limited(understand, path, limits, index, seconds=READ_SECONDS, memory_mb=READ_MB)


def index_of(path: Path) -> Path:
    """Where the index of a job file lies."""
    return path.with_suffix(".index")


def open_index(path: Path) -> IndexedFile | None:
    """The file with its index; None where there is none that fits."""
    try:
        return IndexedFile(path, index_of(path))
    except (OSError, IndexStale):
        return None


def limits_of(profile: Profile | None) -> Limits:
    """What the machine's profile permits; the defaults where it has none."""
    return Limits() if profile is None else profile.limits()


def check_model(model: str | None, profile: Profile | None) -> None:
    """Raises Refusal model_differs where a file was sliced for a printer that this one is not."""
    models = () if profile is None else profile.models
    if model and models and model.casefold() not in {known.casefold() for known in models}:
        raise Refusal("model_differs", model=model, machine_models=", ".join(models))


def check_dialect(dialect: str | None, profile: Profile | None) -> None:
    """Raises Refusal dialect_differs where a file was written for another kind of firmware."""
    if dialect and profile is not None and profile.dialects and dialect not in profile.dialects:
        raise Refusal("dialect_differs", dialect=dialect, firmware=profile.family)


def check_hazards(facts: Facts) -> None:
    """Raises the refusal of the first line that this machine must never get: better now than in mid-print."""
    for hazard in facts.hazards:
        if hazard.severity == "refuse":
            raise Refusal(f"hazard_{hazard.reason}", code=hazard.code, line=hazard.line, **hazard.data)
