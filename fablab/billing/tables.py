"""Tables of money and material. Postings and stock moves are only ever inserted; triggers hold that.

Sign of a posting: credit is positive. A member's prepaid balance is the sum of her `member` account (positive: the
place owes her); what she owes at the desk makes her `to_pay_at_desk` account negative; cash in the box is negative.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from fablab.db import Base


class LedgerAccount(Base):
    """kind: member | to_pay_at_desk | organisation | revenue_machine | revenue_material | revenue_other | cash | bank |
    card | adjustment."""

    __tablename__ = "ledger_accounts"
    id: Mapped[str] = mapped_column(primary_key=True)
    organisation_id: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    kind: Mapped[str]
    owner: Mapped[str] = mapped_column(default="")  # person id for member and to_pay_at_desk, else ""
    currency: Mapped[str]
    version: Mapped[int] = mapped_column(default=0)  # bumped by each writer: the row that writers lock
    __table_args__ = (UniqueConstraint("organisation_id", "kind", "owner", "currency"),)


class EntrySeal(Base):
    """Says that an entry is whole. A trigger lets it in only when the postings sum to zero, and none after it."""

    __tablename__ = "entry_seals"
    entry_id: Mapped[str] = mapped_column(primary_key=True)


class Entry(Base):
    """One movement of money with its reason. `reverses_id` names the entry whose cents it copies, negated.

    The deferred foreign key to its seal makes the database itself refuse to commit an entry that is not whole. An
    entry without postings is a settlement that cost nothing.
    """

    __tablename__ = "entries"
    id: Mapped[str] = mapped_column(
        ForeignKey("entry_seals.entry_id", deferrable=True, initially="DEFERRED"), primary_key=True
    )
    organisation_id: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    at: Mapped[datetime] = mapped_column(index=True)
    kind: Mapped[str]  # charge | top_up | desk_payment | refund | cash_out | adjustment | reversal
    source_kind: Mapped[str]  # run | payment | …
    source_id: Mapped[str] = mapped_column(index=True)
    revision: Mapped[int]
    made_by: Mapped[str]  # person id or system:<role>
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)  # receipt lines, frozen
    reverses_id: Mapped[str | None] = mapped_column(ForeignKey("entries.id"), unique=True)
    __table_args__ = (UniqueConstraint("kind", "source_kind", "source_id", "revision"),)


class Posting(Base):
    """One side of an entry; its sides sum to zero per currency. STRICT on SQLite: cents are integers there too."""

    __tablename__ = "postings"
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    entry_id: Mapped[str] = mapped_column(Text, ForeignKey("entries.id"), index=True)
    account_id: Mapped[str] = mapped_column(Text, ForeignKey("ledger_accounts.id"), index=True)
    amount_cents: Mapped[int]
    currency: Mapped[str] = mapped_column(Text)
    source_kind: Mapped[str] = mapped_column(Text)
    source_id: Mapped[str] = mapped_column(Text)
    revision: Mapped[int]
    line: Mapped[int]
    __table_args__ = (
        UniqueConstraint("source_kind", "source_id", "revision", "line"),
        CheckConstraint("amount_cents <> 0", name="not_nothing"),
        {"sqlite_strict": True},
    )


class Hold(Base):
    """Money set aside for a job. means: balance | desk | organisation. open → captured | released, once."""

    __tablename__ = "holds"
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("ledger_accounts.id"), index=True)
    means: Mapped[str]
    amount_cents: Mapped[int]
    currency: Mapped[str]
    state: Mapped[str] = mapped_column(default="open")
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    __table_args__ = (CheckConstraint("amount_cents >= 0", name="not_negative"),)


class Tariff(Base):
    """What a machine costs from an instant on; never changed, only followed by a newer version.

    Rates are integer millicents per second and per mg. `setup_cents` is once per run that succeeded.
    """

    __tablename__ = "tariffs"
    id: Mapped[str] = mapped_column(primary_key=True)
    organisation_id: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    machine_id: Mapped[str | None]  # None: every machine without one of its own
    version: Mapped[int]
    valid_from: Mapped[datetime]
    millicents_per_s: Mapped[int]
    setup_cents: Mapped[int] = mapped_column(default=0)
    minimum_cents: Mapped[int] = mapped_column(default=0)
    made_by: Mapped[str]


class Material(Base):
    """A kind of material. Density in µg/mm³ (PLA: 1240), filament diameter in µm (1750)."""

    __tablename__ = "materials"
    id: Mapped[str] = mapped_column(primary_key=True)  # e.g. pla
    name: Mapped[str]  # e.g. PLA, as slicers write it
    density_ug_mm3: Mapped[int]
    diameter_um: Mapped[int] = mapped_column(default=1750)


class Lot(Base):
    """One spool, sheet or bag, with weight, cost, origin and owner."""

    __tablename__ = "lots"
    id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(unique=True)  # "bobine n° 42"
    site_id: Mapped[str] = mapped_column(ForeignKey("sites.id"))
    material_id: Mapped[str] = mapped_column(ForeignKey("materials.id"))
    colour: Mapped[str]
    brand: Mapped[str] = mapped_column(default="")
    initial_mg: Mapped[int]
    cost_cents: Mapped[int]  # what the place paid for the whole lot
    price_millicents_per_mg: Mapped[int]  # what a member pays
    owner_person_id: Mapped[str | None]  # None: the place's own
    received_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class StockMove(Base):
    """Material in or out of a lot, once per source. Negative: used."""

    __tablename__ = "stock_moves"
    id: Mapped[str] = mapped_column(primary_key=True)
    lot_id: Mapped[str] = mapped_column(ForeignKey("lots.id"), index=True)
    amount_mg: Mapped[int]
    kind: Mapped[str]  # measured | commanded | declared | estimated
    source_kind: Mapped[str]
    source_id: Mapped[str]
    at: Mapped[datetime]
    __table_args__ = (UniqueConstraint("lot_id", "source_kind", "source_id"),)


class Quote(Base):
    """The price announced for one job on one machine: lines, expected and ceiling. Frozen when confirmed."""

    __tablename__ = "quotes"
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(index=True)
    machine_id: Mapped[str]
    tariff_id: Mapped[str] = mapped_column(ForeignKey("tariffs.id"))
    lot_id: Mapped[str | None] = mapped_column(ForeignKey("lots.id"))
    lines: Mapped[list[Any]]
    expected_cents: Mapped[int]
    ceiling_cents: Mapped[int]
    currency: Mapped[str]
    made_at: Mapped[datetime]
    frozen_at: Mapped[datetime | None]
    __table_args__ = (UniqueConstraint("job_id", "machine_id"),)


class ReviewItem(Base):
    """A fact that came after settlement, or a settlement that could not be made: a person looks at it."""

    __tablename__ = "review_items"
    id: Mapped[str] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(unique=True)
    code: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    at: Mapped[datetime]
    closed_by: Mapped[str | None]
    closed_at: Mapped[datetime | None]


Index("ix_holds_open", Hold.account_id, Hold.state)
