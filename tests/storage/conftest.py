"""A migrated database for each test: SQLite in its folder, and one of a private PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fablab.database import upgrade
from fablab.db import Database
from tests.servers import PostgreSQL, start_postgresql


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    server = start_postgresql(tmp_path_factory.mktemp("postgresql"))
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without a table."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'fablab.db'}")
    else:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        database = Database(server.new_database(), server.password)
    yield database
    database.dispose()


@pytest.fixture
def database(empty: Database) -> Database:
    """A database as `fablab db upgrade` makes it."""
    upgrade(empty)
    return empty
