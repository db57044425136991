"""Finds out what a sent file is, in a limited child process, and moves the jobs that wait for it on: draft or refused.

The reading itself is gcode's; prices are the quote's. A file is read once, however many jobs it has.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from fablab import audit
from fablab.children import run_limited
from fablab.db import Database
from fablab.files import path_of
from fablab.gcode.facts import Facts, Limits, understand
from fablab.queue import jobs
from fablab.queue.tables import Job, JobFile
from fablab.sentences import Refusal

log = logging.getLogger(__name__)

Reader = Callable[[Path], Facts]
"""Reads the file at a path; raises Refusal for what is not a whole, plain G-code file."""


READ_SECONDS, READ_MEMORY_MB = 300, 1024
"""What reading one file may take; a 50 MB file needs a few seconds and little memory."""


def read_in_child(path: Path) -> Facts:
    """Read a file in a child process of its own. Raises Refusal."""
    return run_limited(understand, path, Limits(), None, seconds=READ_SECONDS, memory_mb=READ_MEMORY_MB)


def waiting_files(session: Session) -> list[str]:
    """SHA-256 of every file that a job in `checking` waits for, oldest job first."""
    rows = session.execute(select(Job.sha256).where(Job.state == "checking").order_by(Job.created_at, Job.id)).scalars()
    return list(dict.fromkeys(rows))


def measure(database: Database, now: Callable[[], datetime], folder: Path, sha256: str, reader: Reader) -> list[str]:
    """Understand one file, then move its jobs on. Returns the ids of the jobs that moved.

    No session is open while the file is read.
    """
    with database.read() as session:
        file = session.get(JobFile, sha256)
        known = file is not None and (file.facts is not None or file.refusal is not None)
    facts: dict[str, Any] | None = None
    refusal: dict[str, Any] | None = None
    if not known:
        try:
            facts = msgspec.to_builtins(reader(path_of(folder, sha256)))
        except Refusal as error:
            refusal = {"code": error.code, "data": error.data}
    with database.write() as session:
        file = session.get(JobFile, sha256)
        if file is None:
            return []
        if not known:
            file.facts, file.refusal = facts, refusal
            audit.record(session, now(), "system:hub", "measured", "file", sha256, refused=refusal is not None)
        moved = session.scalars(select(Job).where(Job.sha256 == sha256, Job.state == "checking")).all()
        for job in moved:
            jobs.checked(session, now(), job, file)
        return [job.id for job in moved]
