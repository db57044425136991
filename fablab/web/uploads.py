"""Files that people send and fetch: looked at before they are stored, given out as attachments only."""

from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO

from flask import send_file
from sqlalchemy.orm import Session
from werkzeug.datastructures import FileStorage
from werkzeug.wrappers import Response

from fablab import files
from fablab.gcode.formats import refuse_other_kinds
from fablab.queue.jobs import SentFile
from fablab.queue.tables import Job, JobFile
from fablab.sentences import Refusal
from fablab.web.context import now, parts
from fablab.web.preview import WINDOW, thumbnail

HEAD = 64 * 1024
MEGABYTE = 1_000_000


def folder() -> Path:
    """Where job files lie."""
    config = parts().config
    return config.resolve(config.files.dir)


def store_upload(session: Session, sent: FileStorage | None) -> SentFile:
    """Look at an uploaded file, and store it by content with its row.

    Raises Refusal file_missing, gcode_empty, not_gcode, gcode_is_model, gcode_is_3mf, …, file_too_large; then nothing
    is kept.
    """
    if sent is None or not sent.filename:
        raise Refusal("file_missing")
    look_at(sent.stream)
    limit = parts().config.files.max_upload_mb * MEGABYTE
    stored = files.store(folder(), sent.stream, limit)
    if session.get(JobFile, stored.sha256) is None:
        session.add(JobFile(sha256=stored.sha256, size=stored.size, stored_at=now()))
        session.flush()
    return SentFile(stored.sha256, stored.size, files.safe_name(sent.filename))


def look_at(stream: IO[bytes] | SpooledTemporaryFile[bytes]) -> None:
    """Refuse at once what is plainly not a G-code file, by its first bytes and its size."""
    stream.seek(0, 2)
    size = stream.tell()
    stream.seek(0)
    head = stream.read(HEAD)
    stream.seek(0)
    if size == 0:
        raise Refusal("gcode_empty")
    refuse_other_kinds(head, size)
    packed = head.startswith(b"\x1f\x8b")
    if not packed and b"\0" in head:
        raise Refusal("gcode_nul_bytes")


def path_of_job(session: Session, job_id: str) -> tuple[Job, Path]:
    """A job and its file. Raises Refusal unknown_job, job_file_gone."""
    job = session.get(Job, job_id)
    if job is None:
        raise Refusal("unknown_job", job=job_id)
    path = files.path_of(folder(), job.sha256)
    if not path.is_file():
        raise Refusal("job_file_gone")
    return job, path


def send_job_file(session: Session, job_id: str) -> Response:
    """The file as an attachment that no browser interprets; parts of it on request, for a broken line."""
    job, path = path_of_job(session, job_id)
    answer = send_file(
        path, "application/octet-stream", as_attachment=True, download_name=job.file_name, conditional=True
    )
    answer.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return answer


def picture_of(session: Session, job_id: str) -> tuple[str, bytes] | None:
    """Media type and bytes of the slicer's picture; None where the file has none or is gone."""
    try:
        _, path = path_of_job(session, job_id)
    except Refusal:
        return None
    with path.open("rb") as file:
        return thumbnail(file.read(WINDOW))
