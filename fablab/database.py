"""The database as a whole: opened from the configuration, brought up to date, checked, compared with its tables.

Knows migrations; db.py knows sessions and types. Backups are in backup.py.
"""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import OperationalError

from fablab.config import Config
from fablab.db import Database, Meta
from fablab.ids import new_id
from fablab.migrations.metadata import metadata
from fablab.sentences import Refusal

FOLDER = Path(__file__).parent / "migrations"


def open_database(config: Config) -> Database:
    """The database that fablab.toml names; nothing is connected yet."""
    return Database(config.database_url, config.secret(config.database.password_file))


def upgrade(database: Database) -> str:
    """Bring an empty or older database to today's tables, in one transaction; returns the revision.

    A new database gets its `db_epoch`. Raises Refusal database_too_new, database_unreachable.
    """
    _refuse_newer(database)
    with database.engine.execution_options(sqlite_begin="IMMEDIATE").begin() as connection:
        command.upgrade(alembic_config(connection), "head")
    with database.write() as session:
        if session.get(Meta, "db_epoch") is None:
            session.add(Meta(key="db_epoch", value=new_id()))
    return head()


def check(database: Database) -> None:
    """Raises Refusal database_too_new, database_behind (found, needed) or database_unreachable; None: it fits."""
    found = _refuse_newer(database)
    if found != head():
        raise Refusal("database_behind", found=found or "-", needed=head())


def revision(database: Database) -> str | None:
    """The revision that the database is at; None: it is empty. Raises Refusal database_unreachable."""
    try:
        with database.engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except OperationalError as error:
        raise Refusal("database_unreachable", where=place(database)) from error


def head() -> str:
    """The newest revision that this program knows."""
    return _script().get_current_head() or ""


def known_revision(name: str) -> bool:
    """Whether this program has the step of that name."""
    return name in {script.revision for script in _script().walk_revisions()}


def epoch(database: Database) -> str:
    """The `db_epoch` that every message carries."""
    with database.read() as session:
        return session.get_one(Meta, "db_epoch").value


def differences(database: Database) -> list[Any]:
    """What differs between the migrated database and the tables in the code; empty: nothing."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))


def is_empty(database: Database) -> bool:
    """Whether there is no table at all."""
    with database.engine.connect() as connection:
        return not inspect(connection).get_table_names()


def place(database: Database) -> str:
    """Where the database is, without a password."""
    return database.engine.url.render_as_string(hide_password=True)


def alembic_config(connection: Connection | None = None) -> AlembicConfig:
    """Alembic's configuration: no ini file, the scripts inside the package."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def write_initial_migration(database: Database) -> Path:
    """Write versions/v0001_tables.py anew from the tables in the code; `database` is empty. For who changes tables
    before the first release: `python -m fablab.migrations`."""
    target = FOLDER / "versions" / "v0001_tables.py"
    target.unlink(missing_ok=True)
    guards = FOLDER / "versions" / "v0002_guards.py"
    aside = guards.with_suffix(".aside")
    guards.rename(aside)
    try:
        with database.engine.begin() as connection:
            made = command.revision(
                alembic_config(connection), message="Every table of the first release", autogenerate=True, rev_id="0001"
            )
    finally:
        aside.rename(guards)
    Path(made.path).rename(target)  # type: ignore[union-attr]
    return target


def _refuse_newer(database: Database) -> str | None:
    found = revision(database)
    if found is not None and not known_revision(found):
        raise Refusal("database_too_new", found=found, needed=head())
    return found


def _script() -> ScriptDirectory:
    return ScriptDirectory.from_config(alembic_config())
