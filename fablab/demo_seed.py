"""What the demo lab is made of: invented people, material with its cost, prices. Real verbs write all of it."""

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from fablab.billing.desk import top_up
from fablab.billing.prices import TariffRates
from fablab.billing.stock import NewLot, add_lot
from fablab.billing.tables import Lot, Material
from fablab.billing.tariffs import set_tariff
from fablab.config import Config
from fablab.db import Database
from fablab.ids import new_id
from fablab.installation import ORGANISATION, FirstAdministrator, HouseRules, found, write_secret
from fablab.queue import claims
from fablab.queue.tables import MachineClaim
from fablab.space import people
from fablab.space.tables import ApiToken
from fablab.web.accounts import create_account

STAFF = "system:demo"


@dataclass(frozen=True)
class DemoPerson:
    """Somebody invented. `balance_cents` and `limit_cents` are what she may spend; `alone` lists machines."""

    name: str
    role: str
    login: str
    balance_cents: int = 0
    limit_cents: int = 0
    alone: tuple[str, ...] = ()


PRINTERS = ("mk3", "mini", "big")
PEOPLE = (
    DemoPerson("Camille Roux", "member", "camille", balance_cents=5000, alone=("mk3", "mini", "laser")),
    DemoPerson("Youssef Haddad", "member", "youssef", limit_cents=2000),
    DemoPerson("Noé Garnier", "volunteer", "noe", alone=(*PRINTERS, "bambu")),
    DemoPerson("Aline Brun", "technician", "aline", alone=(*PRINTERS, "bambu", "laser")),
    DemoPerson("Claire Fabre", "manager", "claire", alone=(*PRINTERS, "bambu", "laser")),
    DemoPerson("Henri Morel", "treasurer", "henri"),
    DemoPerson("Sabine Petit", "coordinator", "sabine"),
)
ADMINISTRATOR = DemoPerson("Gilles Arnaud", "administrator", "gilles")
MATERIALS = (Material(id="pla", name="PLA", density_ug_mm3=1240), Material(id="petg", name="PETG", density_ug_mm3=1270))
LOTS = (
    ("mk3", NewLot("pla", "orange", 1_000_000, 2190, 3)),
    ("mini", NewLot("petg", "transparent", 750_000, 2450, 4)),
    ("big", NewLot("pla", "noir", 2_300_000, 3990, 3)),
    ("bambu", NewLot("pla", "blanc", 1_000_000, 1990, 3)),
)
"""Millicents per mg: 3 is 3 cents a gram."""


def seed(config: Config, folder: Path, now: datetime) -> None:
    """People, material and prices; their sign-ins go into demo.json, 0600. Machines come with their agent."""
    passwords = {person.login: secrets.token_urlsafe(9) for person in (*PEOPLE, ADMINISTRATOR)}
    tokens = {person.login: secrets.token_urlsafe(32) for person in (*PEOPLE, ADMINISTRATOR)}
    administrator = found(
        config,
        now,
        FirstAdministrator(ADMINISTRATOR.name, ADMINISTRATOR.login, passwords[ADMINISTRATOR.login]),
        HouseRules(),
    )
    database = Database(config.database_url, config.secret(config.database.password_file))
    with database.write() as session:
        ids = {ADMINISTRATOR.login: administrator}
        for person in PEOPLE:
            ids[person.login] = _add(session, now, config, person, passwords[person.login])
        for login, token in tokens.items():
            _token(session, now, ids[login], token)
        for person in PEOPLE:
            _money(session, now, person, ids[person.login], administrator)
        people.add_person(
            session, now, STAFF, people.NewPerson("Marcel Vidal", phone="04 75 00 00 01"), organisation_id=ORGANISATION
        )
        session.add_all(Material(id=m.id, name=m.name, density_ug_mm3=m.density_ug_mm3) for m in MATERIALS)
        session.flush()
        for _, lot in LOTS:
            add_lot(session, now, STAFF, site_id=config.site.id, new=lot)
        # 1.20 € an hour, and 50 cents for each print that is set up
        rates = TariffRates(millicents_per_s=33, setup_cents=50, minimum_cents=0)
        set_tariff(session, now, STAFF, organisation_id=ORGANISATION, machine_id=None, new=rates, valid_from=now)
    database.dispose()
    known = [
        {"name": p.name, "role": p.role, "login": p.login, "password": passwords[p.login], "token": tokens[p.login]}
        for p in (*PEOPLE, ADMINISTRATOR)
    ]
    write_secret(folder / "demo.json", json.dumps({"people": known}, ensure_ascii=False, indent=1))


def furnish(database: Database, now: datetime) -> None:
    """Once the machines have come with their agent: who may use them, which spool is in, and that plates are free."""
    with database.write() as session:
        ids = {p.name: p.id for p in people.find_people(session, "")}
        manager, technician = ids["Claire Fabre"], ids["Aline Brun"]
        lots = {lot.colour: lot.id for lot in session.scalars(select(Lot)).all()}
        for person in PEOPLE:
            for machine in person.alone:
                teacher = technician if ids[person.name] == manager else manager
                people.authorise(
                    session, now, teacher, person_id=ids[person.name], machine_id=machine, level="alone", until=None
                )
        for machine, lot in LOTS:
            claims.load_lot(session, now, manager, machine, lots[lot.colour])
        for row in session.scalars(select(MachineClaim)).all():
            if row.plate == "unsure":
                claims.cleared(session, now, manager, row.machine_id)


def furnished(database: Database) -> bool:
    with database.read() as session:
        return session.scalar(select(MachineClaim.machine_id).where(MachineClaim.plate == "unsure")) is None


def _add(session: Session, now: datetime, config: Config, person: DemoPerson, password: str) -> str:
    row = people.add_person(
        session,
        now,
        STAFF,
        people.NewPerson(person.name, email=f"{person.login}@example.org"),
        organisation_id=ORGANISATION,
    )
    create_account(session, now, STAFF, person_id=row.id, login=person.login, password=password, email=row.email)
    site = None if person.role in {"treasurer", "coordinator"} else config.site.id
    people.grant(session, now, STAFF, person_id=row.id, role=person.role, organisation_id=ORGANISATION, site_id=site)
    today = now.date()
    people.add_membership(
        session, now, STAFF, person_id=row.id, organisation_id=ORGANISATION, starts_on=today - timedelta(days=30),
        ends_on=today + timedelta(days=335), rules_signed=True,
    )  # fmt: skip
    return row.id


def _token(session: Session, now: datetime, person_id: str, token: str) -> None:
    digest = hashlib.sha256(token.encode()).hexdigest()
    session.add(
        ApiToken(id=new_id(), person_id=person_id, name="demo", scope="full", token_hash=digest, created_at=now)
    )


def _money(session: Session, now: datetime, person: DemoPerson, person_id: str, administrator: str) -> None:
    if person.balance_cents:
        top_up(
            session, now, administrator, person_id=person_id, organisation_id=ORGANISATION,
            amount_cents=person.balance_cents, means="cash", source_id=f"demo:{person.login}",
        )  # fmt: skip
    if person.limit_cents:
        people.set_desk_limit(
            session,
            now,
            administrator,
            person_id=person_id,
            organisation_id=ORGANISATION,
            limit_cents=person.limit_cents,
        )
