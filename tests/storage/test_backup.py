"""Backup and restore on both databases, through the command line where it matters: whole, checked, a new epoch."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import msgspec
import pytest

from fablab import files
from fablab.backup import backup, read_manifest, restore
from fablab.billing import ledger
from fablab.config import Config, load_config
from fablab.database import epoch, is_empty
from fablab.db import Database
from fablab.queue.restoring import after_restore
from fablab.sentences import Refusal
from tests.builders_money import NOW, ORG, make_place, once

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(database: Database, tmp_path: Path) -> tuple[Config, Path]:
    """A place with a little money and one job file, and its fablab.toml."""
    (tmp_path / "db.password").write_text(database.engine.url.password or "none")
    url = database.engine.url.set(password=None).render_as_string()
    file = tmp_path / "fablab.toml"
    file.write_text(f'[site]\nid = "nyons"\n[database]\nurl = "{url}"\npassword_file = "db.password"\n')
    if database.is_sqlite:
        file.write_text(f'[site]\nid = "nyons"\n[database]\nurl = "{url}"\n')
    with database.write() as session:
        make_place(session)
        ledger.top_up(
            session, NOW, "max", person_id="ana", organisation_id=ORG, amount_cents=500, means="cash", source_id=once()
        )
    config = load_config(file, {})
    files.store(config.resolve("files"), io.BytesIO(b"G28\n"), max_bytes=10)
    return config, file


def run(file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fablab", *words, "--config", str(file)], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"}, timeout=60, check=False,
    )  # fmt: skip


def balance(database: Database) -> int:
    with database.read() as session:
        return ledger.person_money(session, "ana").balance_cents


def test_what_was_backed_up_comes_back_with_a_new_epoch(
    database: Database, place: tuple[Config, Path], tmp_path: Path
) -> None:
    config, file = place
    before, target = epoch(database), tmp_path / "backup.tar"
    done = run(file, "db", "backup", str(target))
    assert done.returncode == 0, done.stderr
    assert target.stat().st_mode & 0o777 == 0o600
    with database.write() as session:
        ledger.top_up(
            session, NOW, "max", person_id="ana", organisation_id=ORG, amount_cents=77, means="cash", source_id=once()
        )
    stored = next(iter(files.stored(config.resolve("files"))))
    files.path_of(config.resolve("files"), stored).unlink()
    database.dispose()
    refused = run(file, "db", "restore", str(target))
    assert refused.returncode == 2, refused.stdout
    assert balance(database) == 577
    database.dispose()
    done = run(file, "db", "restore", str(target), "--force")
    assert done.returncode == 0, done.stderr
    assert balance(database) == 500
    assert epoch(database) != before
    assert files.path_of(config.resolve("files"), stored).read_bytes() == b"G28\n"
    with pytest.raises(Exception, match="append-only"), database.write() as session:
        session.connection().exec_driver_sql("DELETE FROM postings")  # the guards came back too


def test_a_restore_into_an_empty_database_needs_no_force(
    database: Database, place: tuple[Config, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    config, file = place
    target = tmp_path / "backup.tar"
    backup(config, file, database, NOW, target)
    if database.is_sqlite:
        other = Database(f"sqlite:///{tmp_path / 'other.db'}")
    else:
        server = request.getfixturevalue("postgresql")
        other = Database(server.new_database(), server.password)
    assert is_empty(other)
    restore(config, other, NOW, target, force=False, after=after_restore)
    assert balance(other) == 500
    other.dispose()


def test_a_damaged_backup_touches_nothing(database: Database, place: tuple[Config, Path], tmp_path: Path) -> None:
    config, file = place
    target = tmp_path / "backup.tar"
    backup(config, file, database, NOW, target)
    raw = bytearray(target.read_bytes())
    at = raw.index(b"G28\n")
    raw[at] = ord("X")
    target.write_bytes(raw)
    before = epoch(database)
    with pytest.raises(Refusal) as caught:
        restore(config, database, NOW, target, force=True, after=after_restore)
    assert caught.value.code == "backup_damaged"
    assert (epoch(database), balance(database)) == (before, 500)


def test_a_truncated_or_foreign_file_is_no_backup(
    database: Database, place: tuple[Config, Path], tmp_path: Path
) -> None:
    config, file = place
    target = tmp_path / "backup.tar"
    backup(config, file, database, NOW, target)
    cut, other = tmp_path / "cut.tar", tmp_path / "other.tar"
    cut.write_bytes(target.read_bytes()[:3000])
    with tarfile.open(other, "w") as tar:
        tar.add(file, "fablab.toml")
    for wrong, codes in ((cut, {"backup_unreadable", "backup_damaged"}), (other, {"backup_unreadable"})):
        with pytest.raises(Refusal) as caught:
            restore(config, database, NOW, wrong, force=True, after=after_restore)
        assert caught.value.code in codes


def test_an_existing_file_is_not_overwritten(database: Database, place: tuple[Config, Path], tmp_path: Path) -> None:
    config, file = place
    target = tmp_path / "backup.tar"
    target.write_text("precious")
    with pytest.raises(Refusal) as caught:
        backup(config, file, database, NOW, target)
    assert caught.value.code == "backup_exists"
    assert target.read_text() == "precious"
    assert not list(tmp_path.glob(".backup-*"))


def test_a_database_in_use_is_not_replaced(database: Database, place: tuple[Config, Path], tmp_path: Path) -> None:
    config, file = place
    target = tmp_path / "backup.tar"
    backup(config, file, database, NOW, target)
    user = Database(database.engine.url.render_as_string(hide_password=False))
    with user.read() as session:
        ledger.person_money(session, "ana")
        with pytest.raises(Refusal) as caught:
            restore(config, database, NOW, target, force=True, after=after_restore)
    user.dispose()
    assert caught.value.code == "database_in_use"
    assert balance(database) == 500


def test_the_manifest_names_what_is_inside(database: Database, place: tuple[Config, Path], tmp_path: Path) -> None:
    config, file = place
    made = backup(config, file, database, NOW, tmp_path / "backup.tar")
    assert read_manifest(tmp_path / "backup.tar") == made
    assert made.db_epoch == epoch(database)
    assert {name.split("/")[0] for name in made.members} == {"database", "fablab.toml", "files"}


def test_ledger_verify_says_whether_the_books_are_whole(database: Database, place: tuple[Config, Path]) -> None:
    _, file = place
    done = run(file, "ledger", "verify", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"ok": True, "entries": 1, "problems": []}
    with database.write() as session:
        ledger.open_hold(session, NOW, "ana", job_id="gone", payer_id="ana", organisation_id=ORG, amount_cents=100)
    done = run(file, "ledger", "verify", "--json")
    assert done.returncode == 1
    assert [item["code"] for item in json.loads(done.stdout)["problems"]] == ["hold_of_ended_job"]


def test_upgrade_makes_the_tables_from_the_command_line(empty: Database, tmp_path: Path) -> None:
    (tmp_path / "db.password").write_text(empty.engine.url.password or "none")
    url = empty.engine.url.set(password=None).render_as_string()
    file = tmp_path / "fablab.toml"
    line = "" if empty.is_sqlite else 'password_file = "db.password"\n'
    file.write_text(f'[site]\nid = "nyons"\n[database]\nurl = "{url}"\n{line}')
    behind = run(file, "ledger", "verify")
    assert (behind.returncode, behind.stderr.count("\n")) == (2, 1)
    assert run(file, "db", "upgrade").returncode == 0
    assert run(file, "ledger", "verify").returncode == 0


def test_a_dump_that_cannot_be_loaded_leaves_what_was_there(
    database: Database, place: tuple[Config, Path], tmp_path: Path
) -> None:
    config, file = place
    target, bad = tmp_path / "backup.tar", tmp_path / "bad.tar"
    made = backup(config, file, database, NOW, target)
    junk = b"PGDMP or SQLite, but not really" * 100
    members = {"database": hashlib.sha256(junk).hexdigest()}
    raw = msgspec.json.encode(msgspec.structs.replace(made, members=members))
    with tarfile.open(bad, "w") as tar:
        for name, content in (("manifest.json", raw), ("database", junk)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(Refusal) as caught:
        restore(config, database, NOW, bad, force=True, after=after_restore)
    assert caught.value.code == ("backup_damaged" if database.is_sqlite else "dump_failed")
    assert balance(database) == 500
    database.dispose()
    restore(config, database, NOW, target, force=True, after=after_restore)
    assert balance(database) == 500
