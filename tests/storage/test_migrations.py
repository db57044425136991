"""The migrated database is the one of the tables in the code, and refuses by itself what would falsify the books."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Column, MetaData, String, Table, text
from sqlalchemy.exc import DBAPIError

from fablab import audit
from fablab.billing import ledger, stock
from fablab.billing.stock import NewLot
from fablab.database import check, differences, epoch, upgrade
from fablab.db import Database
from fablab.sentences import Refusal
from tests.builders_money import NOW, ORG, SITE, make_place, once


@contextmanager
def refused(words: str) -> Iterator[None]:
    with pytest.raises(DBAPIError) as caught:
        yield
    assert words in str(caught.value)


def test_the_migrated_database_has_the_tables_of_the_code(database: Database) -> None:
    assert differences(database) == []


def test_upgrading_twice_changes_nothing_and_keeps_the_epoch(database: Database) -> None:
    before = epoch(database)
    upgrade(database)
    assert epoch(database) == before
    check(database)


def test_an_empty_database_is_behind(empty: Database) -> None:
    with pytest.raises(Refusal) as caught:
        check(empty)
    assert caught.value.code == "database_behind"


def test_a_database_of_a_later_program_is_left_alone(database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for verb in (check, upgrade):
        with pytest.raises(Refusal) as caught:
            verb(database)
        assert caught.value.code == "database_too_new"
        assert caught.value.data["found"] == "9999"


def test_a_database_that_is_not_there_is_one_clear_refusal() -> None:
    with pytest.raises(Refusal) as caught:
        check(Database("postgresql+psycopg://nobody@127.0.0.1:9/nothing"))
    assert caught.value.code == "database_unreachable"


@pytest.fixture
def books(database: Database) -> Database:
    """A database with one row in every append-only table."""
    with database.write() as session:
        make_place(session)
        ledger.top_up(
            session, NOW, "max", person_id="ana", organisation_id=ORG, amount_cents=500, means="cash", source_id=once()
        )
        stock.add_lot(session, NOW, "max", site_id=SITE, new=NewLot("pla", "red", 1_000_000, 2500, 5))
    return database


@pytest.mark.parametrize("table", ["postings", "entries", "entry_seals", "stock_moves", "audit"])
@pytest.mark.parametrize("how", ["update", "delete"])
def test_facts_are_neither_changed_nor_deleted(books: Database, table: str, how: str) -> None:
    column = "entry_id" if table == "entry_seals" else "id"
    rows = Table(table, MetaData(), Column(column, String))
    with refused("append-only"), books.write() as session:
        session.execute(rows.update().values({column: rows.c[column]}) if how == "update" else rows.delete())


def test_postgresql_truncates_no_facts(books: Database) -> None:
    if books.is_sqlite:
        assert books.engine.dialect.name == "sqlite"  # SQLite has no TRUNCATE: DELETE is all there is
        return
    with refused("append-only"), books.write() as session:
        session.execute(text("TRUNCATE postings"))


def _insert_entry(session, entry_id: str) -> None:
    session.execute(
        text(
            "INSERT INTO entries (id, organisation_id, at, kind, source_kind, source_id, revision, made_by, data) "
            "VALUES (:id, :org, :at, 'adjustment', 'test', :id, 0, 'max', '{}')"
        ),
        {"id": entry_id, "org": ORG, "at": NOW.replace(tzinfo=None).isoformat(" ")},
    )


def _insert_posting(session, entry_id: str, cents: object, line: int = 0) -> None:
    account = session.execute(text("SELECT id FROM ledger_accounts WHERE kind = 'member'")).scalar()
    session.execute(
        text(
            "INSERT INTO postings (id, entry_id, account_id, amount_cents, currency, source_kind, source_id, revision,"
            " line) VALUES (:id, :entry, :account, :cents, 'EUR', 'test', :entry, 0, :line)"
        ),
        {"id": once(), "entry": entry_id, "account": account, "cents": cents, "line": line},
    )


def test_an_entry_without_a_seal_is_not_committed(books: Database) -> None:
    with pytest.raises(DBAPIError), books.write() as session:
        _insert_entry(session, "e1")
        _insert_posting(session, "e1", 5)
        _insert_posting(session, "e1", -5, 1)
    with books.read() as session:
        assert session.execute(text("SELECT count(*) FROM entries WHERE id = 'e1'")).scalar() == 0


def test_no_seal_for_postings_that_do_not_sum_to_zero(books: Database) -> None:
    with refused("sum to zero"), books.write() as session:
        _insert_entry(session, "e1")
        _insert_posting(session, "e1", 5)
        session.execute(text("INSERT INTO entry_seals (entry_id) VALUES ('e1')"))


def test_no_seal_before_its_entry(books: Database) -> None:
    with refused("sum to zero"), books.write() as session:
        session.execute(text("INSERT INTO entry_seals (entry_id) VALUES ('e1')"))


def test_no_posting_after_the_seal(books: Database) -> None:
    with refused("sealed"), books.write() as session:
        sealed = session.execute(text("SELECT entry_id FROM entry_seals")).scalar()
        _insert_posting(session, sealed, 5, 7)


@pytest.mark.parametrize("cents", [1.5, "ten"])
def test_cents_are_integers_for_the_database_too(books: Database, cents: object) -> None:
    with pytest.raises(DBAPIError), books.write() as session:
        _insert_entry(session, "e1")
        if books.is_sqlite or isinstance(cents, str):
            _insert_posting(session, "e1", cents)
        else:  # PostgreSQL rounds a number that it is given: what it keeps is an integer, and no seal fits it
            _insert_posting(session, "e1", cents)
            assert session.execute(text("SELECT amount_cents FROM postings WHERE entry_id = 'e1'")).scalar() == 2
            session.execute(text("INSERT INTO entry_seals (entry_id) VALUES ('e1')"))


def test_a_posting_of_nothing_is_refused(books: Database) -> None:
    with pytest.raises(DBAPIError), books.write() as session:
        _insert_entry(session, "e1")
        _insert_posting(session, "e1", 0)


def test_audit_is_appended(books: Database) -> None:
    with books.write() as session:
        audit.record(session, NOW, "max", "looked", "test", "1")
    with books.read() as session:
        assert session.execute(text("SELECT count(*) FROM audit WHERE verb = 'looked'")).scalar() == 1
