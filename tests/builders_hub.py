"""A small lab in a real database, for tests of the hub: two printers, one agent, three people, one spool each."""

from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from fablab.billing.tables import Lot, Material, StockMove, Tariff
from fablab.database import upgrade
from fablab.db import Database, Meta
from fablab.queue.tables import Agent, MachineClaim
from fablab.space.tables import Grant, Machine, Membership, Organisation, Person, Site

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
KEY = bytes(range(32))
EPOCH = "epoch-1"


def make_database(url: str, password: str | None = None) -> Database:
    """Tables with their guards, as an upgrade makes them, and the lab below."""
    database = Database(url, password)
    if database.path is not None and not database.path.exists():
        database.path.write_bytes(_empty_sqlite())
    else:
        upgrade(database)
    with database.write() as session:
        session.get_one(Meta, "db_epoch").value = EPOCH
        session.add(Organisation(id="asso", name="Asso", currency="EUR"))
        session.flush()
        session.add(
            Site(id="nyons", organisation_id="asso", name="Le Lab", timezone="Europe/Paris", locale="fr", phone="")
        )
        session.flush()
        for person_id, role in (("ana", "member"), ("bob", "member"), ("max", "manager")):
            add_person(session, person_id, role)
        session.add(
            Agent(id="main", site_id="nyons", hmac_key=KEY.hex(), http_token_hash="x", journal_id=None, online=False)
        )
        session.add(Material(id="pla", name="PLA", density_ug_mm3=1240))
        session.flush()
        for number, machine_id in enumerate(("mk3", "xl"), start=1):
            _add_machine(session, machine_id, number)
    return database


@cache
def _empty_sqlite() -> bytes:
    """An upgraded SQLite file, made once: the migrations are tested elsewhere."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "empty.db"
        database = Database(f"sqlite:///{file}")
        upgrade(database)
        with database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        database.dispose()
        return file.read_bytes()


def add_person(session, person_id: str, role: str, desk_limit_cents: int = 2000) -> None:
    """A person with a paid membership and one role at the site."""
    session.add(
        Person(
            id=person_id,
            name=person_id.title(),
            locale="fr",
            birth_date=date(1990, 1, 1),
            desk_limit_cents=desk_limit_cents,
            created_at=NOW,
        )
    )
    session.flush()
    session.add(
        Membership(
            id=f"m-{person_id}",
            person_id=person_id,
            organisation_id="asso",
            starts_on=date(2026, 1, 1),
            ends_on=date(2026, 12, 31),
            rules_signed_at=NOW,
        )
    )
    session.add(
        Grant(
            id=f"g-{person_id}",
            person_id=person_id,
            role=role,
            site_id="nyons",
            organisation_id="asso",
            granted_by="max",
            granted_at=NOW,
        )
    )


def _add_machine(session, machine_id: str, number: int) -> None:
    session.add(
        Lot(
            id=f"lot-{machine_id}",
            number=number,
            site_id="nyons",
            material_id="pla",
            colour="orange",
            initial_mg=1_000_000,
            cost_cents=2500,
            price_millicents_per_mg=5,
            received_at=NOW,
        )
    )
    session.flush()
    session.add(
        StockMove(
            id=f"in-{machine_id}",
            lot_id=f"lot-{machine_id}",
            amount_mg=1_000_000,
            kind="measured",
            source_kind="receipt",
            source_id=f"lot-{machine_id}",
            at=NOW,
        )
    )
    session.add(
        Machine(
            id=machine_id,
            site_id="nyons",
            agent_id="main",
            name=machine_id.upper(),
            kind="printer",
            driver="marlin_serial",
            profile=None,
            source="file",
            settings={"id": machine_id, "driver": "marlin_serial"},
            start="person",
            use=["self_service", "queue"],
            minors="no",
            volume_mm=[250, 210, 210],
            nozzle_mm_x100=40,
            loaded_lot_id=f"lot-{machine_id}",
        )
    )
    session.flush()
    session.add(MachineClaim(machine_id=machine_id))
    session.add(
        Tariff(
            id=f"t-{machine_id}",
            organisation_id="asso",
            machine_id=machine_id,
            version=1,
            valid_from=datetime(2026, 1, 1, tzinfo=UTC),
            millicents_per_s=28,
            setup_cents=0,
            minimum_cents=0,
            made_by="max",
        )
    )
