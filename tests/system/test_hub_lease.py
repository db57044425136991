"""One hub acts: the lease on a real SQLite file, with real processes."""

import multiprocessing
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from fablab.clock import ManualClock, SystemClock
from fablab.db import Base, Database
from fablab.queue.lease import Lease, LeaseLost

CLOCK = ManualClock(datetime(2026, 3, 2, 9, 0, tzinfo=UTC))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'lab.db'}")
    Base.metadata.create_all(database.engine)
    return database


def test_the_second_hub_waits_until_the_first_lets_go(database: Database) -> None:
    first, second = Lease(database, CLOCK, "first"), Lease(database, CLOCK, "second")
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    assert second.term == 2


def test_a_transaction_of_a_hub_without_lease_is_rolled_back(database: Database) -> None:
    lease = Lease(database, CLOCK, "first")
    with pytest.raises(LeaseLost), database.write() as session:
        lease.guard(session)
    assert lease.acquire()
    with database.write() as session:
        lease.guard(session)
    assert lease.renew()


def _hold_for_ever(url: str, pipe: Connection) -> None:
    lease = Lease(Database(url), SystemClock(), "child")
    pipe.send(lease.acquire())
    pipe.recv()


def test_a_killed_hub_lets_go_at_once(database: Database) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_hold_for_ever, args=(str(database.engine.url), theirs))
    child.start()
    try:
        assert ours.recv() is True
        lease = Lease(database, SystemClock(), "parent")
        assert not lease.acquire()
        child.kill()
        child.join(10)
        assert lease.acquire()
        assert lease.term == 2
    finally:
        child.kill()
        child.join(10)
