"""Tables of people, places and machines. Rows only: no rule, no verb."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from fablab.db import Base


class Organisation(Base):
    """A legal entity: owns sites, accounts, tariffs, documents."""

    __tablename__ = "organisations"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    currency: Mapped[str] = mapped_column(default="EUR")


class Site(Base):
    """A place with its own machines, hours, zone and house rules."""

    __tablename__ = "sites"
    id: Mapped[str] = mapped_column(primary_key=True)  # also a level of every topic
    organisation_id: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    name: Mapped[str]
    timezone: Mapped[str]
    locale: Mapped[str]
    phone: Mapped[str] = mapped_column(default="")  # shown on every page
    rules_text: Mapped[str] = mapped_column(default="")  # house rules, signed by members
    margin_percent: Mapped[int] = mapped_column(default=20)  # ceiling = expected × (1 + margin)
    claim_window_h: Mapped[int] = mapped_column(default=72)  # an unknown verdict settles after this
    failed_part: Mapped[str] = mapped_column(default="free")  # free | material | full
    unattended: Mapped[bool] = mapped_column(default=False)  # running with nobody there
    membership_required: Mapped[bool] = mapped_column(default=True)
    approval_above_cents: Mapped[int | None]  # a dearer job waits for staff


class Person(Base):
    """Anybody the place knows; most need no account and some have no e-mail."""

    __tablename__ = "people"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str | None] = mapped_column(index=True)
    phone: Mapped[str | None]
    locale: Mapped[str] = mapped_column(default="fr")
    birth_date: Mapped[date | None]
    desk_limit_cents: Mapped[int] = mapped_column(default=0)  # may owe this much, to pay at the desk
    created_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]


class Grant(Base):
    """A role in a scope. Roles: member volunteer technician manager treasurer coordinator administrator."""

    __tablename__ = "grants"
    id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    role: Mapped[str]
    site_id: Mapped[str | None] = mapped_column(ForeignKey("sites.id"))  # None: the whole organisation
    organisation_id: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    granted_by: Mapped[str]
    granted_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class Membership(Base):
    """Adhésion of a person, with its dates (both included) and when the rules were signed."""

    __tablename__ = "memberships"
    id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    organisation_id: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    starts_on: Mapped[date]
    ends_on: Mapped[date]
    rules_signed_at: Mapped[datetime | None]


class Machine(Base):
    """Anything that is booked, driven or metered. `source` file: read-only in the web."""

    __tablename__ = "machines"
    id: Mapped[str] = mapped_column(primary_key=True)  # also a level of its topics
    site_id: Mapped[str] = mapped_column(ForeignKey("sites.id"), index=True)
    agent_id: Mapped[str]
    name: Mapped[str]
    kind: Mapped[str]  # printer | laser | saw | other
    driver: Mapped[str]
    profile: Mapped[str | None]
    source: Mapped[str]  # file | database
    settings: Mapped[dict[str, Any]]  # messages.MachineSettings, without secrets
    start: Mapped[str]  # person | unattended
    use: Mapped[list[Any]]  # of self_service, accompanied, queue
    minors: Mapped[str]  # no | with_adult | yes
    volume_mm: Mapped[list[Any] | None]  # [x, y, z]; None: not known
    nozzle_mm_x100: Mapped[int | None]
    loaded_lot_id: Mapped[str | None]  # the spool that is in, as a person said
    archived_at: Mapped[datetime | None]


class Authorisation(Base):
    """What a person may do on a machine: accompanied | alone | teach; who gave it, until when."""

    __tablename__ = "authorisations"
    id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    machine_id: Mapped[str] = mapped_column(ForeignKey("machines.id"))
    level: Mapped[str]
    given_by: Mapped[str]
    given_at: Mapped[datetime]
    until: Mapped[date | None]
    revoked_at: Mapped[datetime | None]


class Outage(Base):
    """A machine declared unusable, by whom and why."""

    __tablename__ = "outages"
    id: Mapped[str] = mapped_column(primary_key=True)
    machine_id: Mapped[str] = mapped_column(ForeignKey("machines.id"), index=True)
    reason: Mapped[str]
    declared_by: Mapped[str]
    declared_at: Mapped[datetime]
    ended_by: Mapped[str | None]
    ended_at: Mapped[datetime | None]


class Occupation(Base):
    """Who or what occupies a machine or a person between two instants (end excluded)."""

    __tablename__ = "occupations"
    id: Mapped[str] = mapped_column(primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("sites.id"))
    machine_id: Mapped[str | None] = mapped_column(ForeignKey("machines.id"))
    person_id: Mapped[str | None] = mapped_column(ForeignKey("people.id"))
    kind: Mapped[str]  # booking | outage | opening
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    made_by: Mapped[str]
    made_at: Mapped[datetime]
    cancelled_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("ends_at > starts_at", name="order"),
        Index("ix_occupations_machine_time", "machine_id", "starts_at"),
    )


class ApiToken(Base):
    """A person's own key. `submit`: may only hand in files (what a slicer holds)."""

    __tablename__ = "api_tokens"
    id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    name: Mapped[str]
    scope: Mapped[str]  # full | submit
    token_hash: Mapped[str] = mapped_column(unique=True)  # SHA-256 of 256 random bits: no salt needed
    limit_cents: Mapped[int | None]  # None: no limit; a submit key starts at 0
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
