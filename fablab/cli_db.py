"""`fablab db …` and `fablab ledger …`: upgrade, back up, restore, verify. Bodies call verbs elsewhere."""

import json
import sys
from pathlib import Path

import click

CONFIG = click.option(
    "--config", "file", type=click.Path(path_type=Path), default=None, help="fablab.toml (./fablab.toml)."
)


@click.group()
def db() -> None:
    """Upgrade, back up and restore the database."""


@click.group()
def ledger() -> None:
    """Check that every cent is accounted for."""


@db.command("upgrade")
@CONFIG
def upgrade_command(file: Path | None) -> None:
    """Bring the database to this program's tables; an empty one is filled with them."""
    from fablab.config import load_config
    from fablab.database import open_database, upgrade

    database = open_database(load_config(file))
    click.echo(f"The database is at revision {upgrade(database)}.")
    database.dispose()


@db.command("backup")
@click.argument("target", type=click.Path(path_type=Path))
@CONFIG
def backup_command(target: Path, file: Path | None) -> None:
    """Write database, job files and fablab.toml into one file; the place may go on working."""
    from fablab.backup import backup
    from fablab.clock import SystemClock
    from fablab.config import DEFAULT_NAME, load_config
    from fablab.database import open_database

    config = load_config(file)
    database = open_database(config)
    manifest = backup(config, file or config.resolve(DEFAULT_NAME), database, SystemClock().now(), target)
    click.echo(f"{target} holds the database and {len(manifest.members) - 2} job files.")
    database.dispose()


@db.command("restore")
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--force", is_flag=True, help="Also over a database that has something in it.")
@CONFIG
def restore_command(source: Path, force: bool, file: Path | None) -> None:
    """Put a backup back; open jobs come back held, and nothing starts by itself."""
    from fablab.backup import restore
    from fablab.clock import SystemClock
    from fablab.config import load_config
    from fablab.database import open_database
    from fablab.queue.restoring import after_restore

    config = load_config(file)
    database = open_database(config)
    manifest = restore(config, database, SystemClock().now(), source, force=force, after=after_restore)
    click.echo(
        f"Restored as of {manifest.made_at:%Y-%m-%d %H:%M} UTC. Open jobs are held: look at each before release."
    )
    database.dispose()


@ledger.command("verify")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON.")
@CONFIG
def verify_command(as_json: bool, file: Path | None) -> None:
    """Look for every rule of the ledger in its rows. Exit status 1 where one is broken."""
    from fablab.billing.statements import count
    from fablab.billing.verify import verify
    from fablab.config import load_config
    from fablab.database import check, open_database
    from fablab.queue.restoring import jobs_with_money

    database = open_database(load_config(file))
    check(database)
    with database.read() as session:
        problems = verify(session, jobs_with_money(session))
        entries = count(session)
    database.dispose()
    if as_json:
        found = [{"code": item.code, "object": item.object_id, "data": item.data} for item in problems]
        click.echo(json.dumps({"ok": not problems, "entries": entries, "problems": found}, ensure_ascii=False))
    else:
        for item in problems:
            click.echo(f"{item.code} {item.object_id} {json.dumps(item.data, ensure_ascii=False)}", err=True)
        click.echo(f"{entries} entries, {len(problems)} problems.")
    sys.exit(1 if problems else 0)
