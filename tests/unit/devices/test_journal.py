"""The agent's journal: durable, refuses nothing twice, survives an old image, keeps what it must."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fablab.devices.journal import Journal, Position
from fablab.devices.restart import open_journal

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.db", NOW)


def test_every_write_waits_for_the_disk(journal: Journal) -> None:
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert (journal.path.stat().st_mode & 0o077) == 0


def test_a_connection_that_is_not_durable_is_refused(journal: Journal) -> None:
    journal._db.execute("PRAGMA synchronous = NORMAL")
    with pytest.raises(RuntimeError):
        journal._check_durable()


def test_boots_are_counted_and_a_sudden_end_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    first = Journal(path, NOW)
    assert (first.boot_no, first.fresh, first.unclean) == (1, True, False)
    first.shut()
    second = Journal(path, NOW)
    assert (second.boot_no, second.fresh, second.unclean) == (2, False, True)
    assert second.journal_id == first_id(path)
    second.say_goodbye()
    second.shut()
    assert Journal(path, NOW).unclean is False


def first_id(path: Path) -> str:
    with sqlite3.connect(path) as db:
        return str(db.execute("SELECT value FROM meta WHERE key = 'journal_id'").fetchone()[0])


def test_an_order_is_written_once(journal: Journal) -> None:
    assert journal.insert_command("c1", "mk3", "r", 1, "start", "accepted", NOW)
    assert not journal.insert_command("c1", "mk3", "r", 1, "start", "accepted", NOW)
    journal.set_answer("c1", "succeeded", b"{}", 4)
    row = journal.command("c1")
    assert row is not None
    assert (row.state, row.answer, row.seq, row.boot_no) == ("succeeded", b"{}", 4, 1)
    assert journal.unfinished() == []
    assert journal.has_started("r")


def test_reports_are_numbered_and_confirmed_in_order(journal: Journal) -> None:
    for body in (b"a", b"b", b"c"):
        journal.append_report(body, NOW)
    assert [row.seq for row in journal.reports_after(0)] == [1, 2, 3]
    assert journal.confirm(2)
    assert not journal.confirm(1), "an older word"
    assert not journal.confirm(9), "what was never said"
    assert journal.applied == 2


def test_all_or_nothing(journal: Journal) -> None:
    with pytest.raises(ZeroDivisionError), journal.transaction():
        journal.append_report(b"a", NOW)
        journal.close("run", 1, NOW)
        raise ZeroDivisionError
    assert journal.next_seq == 1
    assert not journal.is_closed("run", 1)


def test_confirmed_reports_stay_thirty_days_and_unconfirmed_ones_for_ever(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", NOW)
    journal.append_report(b"old", NOW)
    journal.append_report(b"never confirmed", NOW)
    journal.close("run", 1, NOW)
    journal.confirm(1)
    journal.shut()
    for days, kept in ((29, [1, 2]), (31, [2])):
        again = Journal(tmp_path / "journal.db", NOW + timedelta(days=days))
        assert [row.seq for row in again.reports_after(0)] == kept
        assert again.is_closed("run", 1)
        again.shut()


def test_the_clock_never_goes_behind_what_was_written(journal: Journal) -> None:
    journal.append_report(b"a", NOW + timedelta(hours=3))
    assert journal.last_time == NOW + timedelta(hours=3)


def test_a_new_identity_keeps_machines_and_numbers_this_boots_reports_anew(tmp_path: Path) -> None:
    old = Journal(tmp_path / "journal.db", NOW)
    old.update_machine("mk3", highest_claim=7)
    old.append_report(b"of an earlier boot", NOW)
    old.shut()
    journal = Journal(tmp_path / "journal.db", NOW)
    before = journal.journal_id
    journal.append_report(b"nobody saw it yet", NOW)
    journal.begin_anew(NOW)
    assert journal.journal_id != before
    assert [(row.seq, row.body) for row in journal.reports_after(0)] == [(1, b"nobody saw it yet")]
    assert (journal.next_seq, journal.applied, journal.machine("mk3").highest_claim) == (2, 0, 7)


def test_positions_of_a_run_that_ended_meanwhile_are_dropped(journal: Journal) -> None:
    journal.update_machine("mk3", started_run="r2", line=5)
    journal.write_positions([Position("mk3", "r1", 900, 1, 0, 0, True)])
    assert journal.machine("mk3").line == 5
    journal.write_positions([Position("mk3", "r2", 901, 1.5, 0, 0, True)])
    row = journal.machine("mk3")
    assert (row.line, row.seconds, row.hot) == (901, 1.5, True)
    journal.forget_start("mk3")
    assert journal.machine("mk3").started_run == ""


def test_what_the_hub_says_in_its_hello_counts_even_where_it_is_less(journal: Journal) -> None:
    for _ in range(5):
        journal.append_report(b"x", NOW)
    journal.confirm(5)
    journal.heard_term(9)
    journal.greeted("restored", 2, 1)
    assert (journal.epoch, journal.applied, journal.term) == ("restored", 2, 1)


@pytest.mark.parametrize("damage", ["not a database", "torn"])
def test_a_damaged_journal_is_put_aside_and_a_new_one_says_so(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "journal.db"
    old = open_journal(path, NOW)
    for number in range(400):
        old.append_report(b"x" * 200, NOW + timedelta(seconds=number))
    before = old.journal_id
    old._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    old.shut()
    raw = bytearray(path.read_bytes())
    if damage == "torn":
        raw[8192:] = bytes(len(raw) - 8192)
    else:
        raw[:100] = b"#" * 100
    path.write_bytes(bytes(raw))
    journal = open_journal(path, NOW)
    assert journal.given_up
    assert journal.fresh
    assert journal.journal_id != before
    assert list(tmp_path.glob("journal.db.damaged-*"))
    journal.shut()
    again = open_journal(path, NOW)
    assert (again.given_up, again.boot_no) == (False, 2)
