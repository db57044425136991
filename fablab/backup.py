"""Backup in one file, and restore from it: the database, the job files, fablab.toml, a manifest with checksums.

SQLite is copied with its own online backup, PostgreSQL with pg_dump. Secret files are not in it. What a restore means
for open jobs is queue's and comes in as a callable.
"""

import hashlib
import io
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.orm import Session

from fablab import audit, files
from fablab.config import Config
from fablab.database import epoch, head, is_empty, known_revision, place, revision, upgrade
from fablab.db import Database, Meta
from fablab.ids import new_id
from fablab.sentences import Refusal

FORMAT = 1
MANIFEST = "manifest.json"
CHUNK = 1 << 20
ASIDE = "fablab_before_restore"
"""PostgreSQL's schema with what was there before, while a restore is under way; put back where that fails."""
AfterRestore = Callable[[Session, datetime], None]
"""What else a restore changes, in the transaction that writes the new epoch."""


class Manifest(Struct, frozen=True, kw_only=True):
    """First member of a backup. `members`: name → hex SHA-256."""

    format: int
    made_at: datetime
    database: str  # sqlite | postgresql
    revision: str
    db_epoch: str
    members: dict[str, str]


def backup(config: Config, config_file: Path, database: Database, now: datetime, target: Path) -> Manifest:
    """Write everything into `target` (.tar, 0600) while the place goes on working; it appears whole or not at all.

    Job files are listed after the database is copied, so that none that it names is missing. Raises Refusal
    database_behind, dump_failed, backup_exists.
    """
    if target.exists():
        raise Refusal("backup_exists", path=str(target))
    found = revision(database)
    if found is None:
        raise Refusal("database_behind", found="-", needed=head())
    folder = config.resolve(config.files.dir)
    with tempfile.TemporaryDirectory(dir=target.resolve().parent, prefix=".backup-") as work:
        dump = Path(work) / "database"
        _dump(database, dump, Path(work))
        members = {"database": dump, "fablab.toml": config_file}
        members |= {f"files/{name}": files.path_of(folder, name) for name in files.stored(folder)}
        manifest = Manifest(
            format=FORMAT,
            made_at=now,
            database="sqlite" if database.is_sqlite else "postgresql",
            revision=found,
            db_epoch=epoch(database),
            members={name: _digest(path) for name, path in members.items()},
        )
        part = Path(work) / "backup.tar"
        _pack(part, manifest, members)
        part.replace(target)
    return manifest


def restore(
    config: Config, database: Database, now: datetime, source: Path, *, force: bool, after: AfterRestore
) -> Manifest:
    """Put a backup back and mint a new `db_epoch`; every checksum is tried before anything is touched.

    `force`: also over a database that has something in it; SQLite's old file is kept beside it. Stop the servers
    first. Raises Refusal backup_unreadable, backup_damaged (member), backup_other_database, database_too_new,
    database_not_empty, database_in_use, dump_failed.
    """
    with tempfile.TemporaryDirectory(dir=source.resolve().parent, prefix=".restore-") as work:
        manifest = _unpack(source, Path(work))
        _refuse(manifest, database, force)
        _load(database, Path(work), now)
        _restore_files(Path(work), config.resolve(config.files.dir))
    upgrade(database)
    with database.write() as session:
        session.get_one(Meta, "db_epoch").value = new_id()
        after(session, now)
        made_at = manifest.made_at.isoformat()
        audit.record(session, now, "system:restore", "restored", "database", "", made_at=made_at)
    return manifest


def read_manifest(source: Path) -> Manifest:
    """The manifest of a backup. Raises Refusal backup_unreadable."""
    with _opened(source) as tar:
        first = tar.next()
        stream = None if first is None or first.name != MANIFEST else tar.extractfile(first)
        if stream is None:
            raise Refusal("backup_unreadable", path=str(source))
        try:
            manifest = msgspec.json.decode(stream.read(), type=Manifest)
        except msgspec.DecodeError as error:
            raise Refusal("backup_unreadable", path=str(source)) from error
        if manifest.format != FORMAT:
            raise Refusal("backup_unreadable", path=str(source))
        return manifest


def _refuse(manifest: Manifest, database: Database, force: bool) -> None:
    here = "sqlite" if database.is_sqlite else "postgresql"
    if manifest.database != here:
        raise Refusal("backup_other_database", found=manifest.database, needed=here)
    if not known_revision(manifest.revision):
        raise Refusal("database_too_new", found=manifest.revision, needed=head())
    if not is_empty(database) and not force:
        raise Refusal("database_not_empty", where=place(database))


def _dump(database: Database, target: Path, work: Path) -> None:
    if database.path is not None:
        with closing(sqlite3.connect(database.path)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
        return
    with _address(database, work) as address:
        _run("pg_dump", "--format=custom", "--no-owner", "--schema=public", f"--file={target}", f"--dbname={address}")


def _load(database: Database, work: Path, now: datetime) -> None:
    if database.path is not None:
        database.dispose()  # our own connections
        _load_sqlite(database.path, work / "database", now)
        return
    with database.engine.begin() as connection:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        if connection.execute(text(others)).scalar():
            raise Refusal("database_in_use", where=place(database))
        connection.execute(text(f"ALTER SCHEMA public RENAME TO {ASIDE}"))
    database.dispose()
    try:
        with _address(database, work) as address:
            # the dump makes the schema again
            _run("pg_restore", "--no-owner", "--exit-on-error", "--single-transaction", "--clean", "--if-exists",
                 f"--dbname={address}", str(work / "database"))  # fmt: skip
    except Refusal:
        _schema(database, "DROP SCHEMA IF EXISTS public CASCADE", f"ALTER SCHEMA {ASIDE} RENAME TO public")
        raise
    _schema(database, f"DROP SCHEMA {ASIDE} CASCADE")


def _schema(database: Database, *statements: str) -> None:
    with database.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def _load_sqlite(path: Path, dump: Path, now: datetime) -> None:
    with closing(sqlite3.connect(f"file:{dump}?mode=ro", uri=True)) as connection:
        try:
            sound = connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        except sqlite3.DatabaseError:
            sound = False
    if not sound:
        raise Refusal("backup_damaged", member="database")
    if path.exists():
        _require_unused(path)
        path.replace(path.with_name(f"{path.name}.before-restore-{now:%Y%m%dT%H%M%S}"))
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    part = path.with_name(path.name + ".restoring")
    shutil.copyfile(dump, part)
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)


def _require_unused(path: Path) -> None:
    """Leaving WAL mode is only possible for the one connection there is; it also brings the log into the file."""
    with closing(sqlite3.connect(path, timeout=1)) as connection:
        try:
            connection.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.OperationalError as error:
            raise Refusal("database_in_use", where=str(path)) from error


def _restore_files(work: Path, folder: Path) -> None:
    for file in sorted((work / "files").glob("*")):
        target = files.path_of(folder, file.name)
        if not target.exists():
            with file.open("rb") as stream:
                files.store(folder, stream, max_bytes=file.stat().st_size)


def _pack(part: Path, manifest: Manifest, members: dict[str, Path]) -> None:
    with part.open("xb") as out:
        os.fchmod(out.fileno(), 0o600)
        with tarfile.open(fileobj=out, mode="w") as tar:
            raw = msgspec.json.encode(manifest)
            info = tarfile.TarInfo(MANIFEST)
            info.size, info.mode = len(raw), 0o600
            tar.addfile(info, io.BytesIO(raw))
            for name, path in members.items():
                tar.add(path, name, recursive=False)
        out.flush()
        os.fsync(out.fileno())


def _unpack(source: Path, work: Path) -> Manifest:
    """Extract the members that the manifest names, each checked; anything else in the file is left alone."""
    manifest = read_manifest(source)
    seen = set()
    with _opened(source) as tar:
        for info in tar:
            wanted = manifest.members.get(info.name)
            stream = tar.extractfile(info) if wanted is not None and info.isfile() else None
            if stream is None:
                continue
            target = _inside(work, info.name)
            with target.open("wb") as out:
                shutil.copyfileobj(stream, out, CHUNK)
            if _digest(target) != wanted:
                raise Refusal("backup_damaged", member=info.name)
            seen.add(info.name)
    for name in manifest.members:
        if name not in seen:
            raise Refusal("backup_damaged", member=name)
    return manifest


def _inside(work: Path, name: str) -> Path:
    target = (work / name).resolve()
    if not target.is_relative_to(work.resolve()):
        raise Refusal("backup_damaged", member=name)
    target.parent.mkdir(exist_ok=True)
    return target


@contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(source, "r:") as tar:
            yield tar
    except (OSError, tarfile.TarError) as error:
        raise Refusal("backup_unreadable", path=str(source)) from error


@contextmanager
def _address(database: Database, work: Path) -> Iterator[str]:
    """A connection string for PostgreSQL's own tools; the password goes through a file that only we can read."""
    url, words = database.engine.url, work / "pgpass"
    host, port = url.host or "127.0.0.1", url.port or 5432
    password = (url.password or "").replace("\\", "\\\\").replace(":", "\\:")
    words.touch(0o600)
    words.write_text(f"*:*:*:*:{password}\n", encoding="utf-8")
    try:
        yield f"host={host} port={port} user={url.username} dbname={url.database} passfile={words}"
    finally:
        words.unlink()


def _run(*arguments: str) -> None:
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Refusal("program_missing", program=arguments[0]) from error
    if done.returncode != 0:
        raise Refusal("dump_failed", program=arguments[0], where=done.stderr.strip()[-300:])


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
