"""One hub acts: the lease on a real SQLite file, with real processes."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fablab.clock import ManualClock, SystemClock
from fablab.db import Database
from fablab.queue.lease import Lease, LeaseLost
from tests.builders_hub import make_database
from tests.servers import start_postgresql

CLOCK = ManualClock(datetime(2026, 3, 2, 9, 0, tzinfo=UTC))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return make_database(f"sqlite:///{tmp_path / 'lab.db'}")


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


HOLD_FOR_EVER = """
import sys
from fablab.clock import SystemClock
from fablab.db import Database
from fablab.queue.lease import Lease
print(Lease(Database(sys.argv[1]), SystemClock(), "child").acquire(), flush=True)
sys.stdin.read()
"""


def test_a_killed_hub_lets_go_at_once(database: Database) -> None:
    command = [sys.executable, "-c", HOLD_FOR_EVER, str(database.engine.url)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "True\n"
            lease = Lease(database, SystemClock(), "parent")
            assert not lease.acquire()
            child.kill()
            child.wait(10)
            assert lease.acquire()
            assert lease.term == 2
        finally:
            child.kill()


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[Database]:
    server = start_postgresql(tmp_path)
    database = make_database(server.new_database(), server.password)
    yield database
    database.dispose()
    server.stop()


def test_on_postgresql_it_lapses_by_the_clock_of_the_database(postgresql: Database, until: Callable[..., None]) -> None:
    """The clocks of the hubs stand still here: only the database's own counts."""
    first, second = Lease(postgresql, CLOCK, "first", lease_s=2), Lease(postgresql, CLOCK, "second", lease_s=60)
    assert first.acquire()
    assert not second.acquire()
    assert first.renew()
    until(second.acquire, seconds=10, why="the lease never lapsed")
    assert second.term == 2
    with pytest.raises(LeaseLost), postgresql.write() as session:
        first.guard(session)
    assert not first.renew()
    with postgresql.write() as session:
        second.guard(session)
