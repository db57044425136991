"""Makes an installation: fablab.toml, secrets, database and the first administrator. Overwrites nothing."""

import hashlib
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fablab import audit
from fablab.config import Config
from fablab.database import upgrade
from fablab.db import Database
from fablab.devices.agent_token import AgentToken, new_token, save_token
from fablab.ids import new_id
from fablab.queue.tables import Agent
from fablab.sentences import Refusal
from fablab.space.tables import Grant, Organisation, Person, Site
from fablab.web.accounts import create_account

ORGANISATION = "main"
"""The one organisation of a new installation; more come by the coordinator's hand."""


@dataclass(frozen=True)
class Wishes:
    """What `fablab init` asks. `machines` is TOML text that is put at the end of fablab.toml."""

    site_id: str
    site_name: str
    timezone: str = "Europe/Paris"
    locale: str = "fr"
    phone: str = ""
    web_port: int = 8080
    broker_port: int = 1883
    database_url: str = "sqlite:///fablab.db"
    broker_url: str = "embedded"
    speed: int = 1
    machines: str = ""
    database_password_file: str | None = None


def write_files(file: Path, wishes: Wishes) -> Path:
    """Write fablab.toml and, beside it, the secrets, 0600. Raises Refusal where fablab.toml is there already."""
    folder = file.resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    if file.exists():
        raise Refusal("init_already", path=str(file))
    for name in ("secret.key", "broker.password", "device.password"):
        write_secret(folder / name, secrets.token_urlsafe(32))
    file.write_text(_toml(wishes), encoding="utf-8")
    return file


def write_secret(file: Path, text: str) -> None:
    """Write a secret that only its owner can read; an existing one is kept."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(text + "\n")


def _toml(wishes: Wishes) -> str:
    quoted = {
        key: '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for key, value in {
            "id": wishes.site_id,
            "name": wishes.site_name,
            "timezone": wishes.timezone,
            "locale": wishes.locale,
            "phone": wishes.phone,
            "database": wishes.database_url,
            "broker": wishes.broker_url,
        }.items()
    }
    return f"""# Fablab's configuration: docs/reference/configuration.md explains each key.
[serve]
roles = {'["broker", "web", "hub", "agent"]' if wishes.broker_url == "embedded" else '["web", "hub", "agent"]'}

[site]
id = {quoted["id"]}
name = {quoted["name"]}
timezone = {quoted["timezone"]}
locale = {quoted["locale"]}
phone = {quoted["phone"]}

[database]
url = {quoted["database"]}
{f'password_file = "{wishes.database_password_file}"' if wishes.database_password_file else ""}

[broker]
url = {quoted["broker"]}
port = {wishes.broker_port}
password_file = "broker.password"

[web]
host = "127.0.0.1"
port = {wishes.web_port}
public_url = "http://127.0.0.1:{wishes.web_port}"
secret_key_file = "secret.key"

[files]
dir = "files"

[agent]
id = "main"
hub_url = "http://127.0.0.1:{wishes.web_port}"
token_file = "agent.token"
journal = "journal.db"
speed = {wishes.speed}
{wishes.machines}"""


@dataclass(frozen=True)
class FirstAdministrator:
    """Who signs in first. The password is hashed before it is stored."""

    name: str
    login: str
    password: str
    email: str | None = None


@dataclass(frozen=True)
class HouseRules:
    """What `init` asks about the house: see space.tables.Site for each."""

    unattended: bool = False
    failed_part: str = "free"
    margin_percent: int = 20


def found(config: Config, now: datetime, administrator: FirstAdministrator, rules: HouseRules) -> str:
    """Make the database: tables, organisation, site, agent with its token file, and the first administrator.

    Returns the administrator's person id. Raises Refusal where the database has people in it already.
    """
    database = Database(config.database_url, config.secret(config.database.password_file))
    try:
        upgrade(database)
        token = new_token(config.agent.id)
        with database.write() as session:
            if session.scalar(select(func.count()).select_from(Person)):
                raise Refusal("init_people_exist", url=config.database.url)
            _place(session, config, rules, token)
            person_id = _administrator(session, config, now, administrator)
        save_token(config.resolve(config.agent.token_file), token)
    finally:
        database.dispose()
    return person_id


def _place(session: Session, config: Config, rules: HouseRules, token: AgentToken) -> None:
    session.add(Organisation(id=ORGANISATION, name=config.site.name, currency="EUR"))
    session.flush()
    session.add(
        Site(
            id=config.site.id,
            organisation_id=ORGANISATION,
            name=config.site.name,
            timezone=config.site.timezone,
            locale=config.site.locale,
            phone=config.site.phone,
            margin_percent=rules.margin_percent,
            failed_part=rules.failed_part,
            unattended=rules.unattended,
        )
    )
    session.flush()
    session.add(
        Agent(
            id=token.agent,
            site_id=config.site.id,
            hmac_key=token.hmac_key,
            http_token_hash=hashlib.sha256(token.http_token.encode()).hexdigest(),
        )
    )


def _administrator(session: Session, config: Config, now: datetime, administrator: FirstAdministrator) -> str:
    person_id = new_id()
    session.add(
        Person(
            id=person_id,
            name=administrator.name,
            email=administrator.email,
            locale=config.site.locale,
            desk_limit_cents=0,
            created_at=now,
        )
    )
    session.flush()
    session.add(
        Grant(
            id=new_id(),
            person_id=person_id,
            role="administrator",
            site_id=None,
            organisation_id=ORGANISATION,
            granted_by="system:init",
            granted_at=now,
        )
    )
    create_account(
        session,
        now,
        "system:init",
        person_id=person_id,
        login=administrator.login,
        password=administrator.password,
        email=administrator.email,
    )
    audit.record(session, now, "system:init", "installation.found", "site", config.site.id)
    return person_id
