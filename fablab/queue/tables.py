"""Tables of jobs, runs, orders and reports, and the few rows that keep two hubs from acting at once."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from fablab.db import Base


class JobFile(Base):
    """A file that members sent, by content. `facts` is gcode.facts.Facts once understood, else `refusal`."""

    __tablename__ = "job_files"
    sha256: Mapped[str] = mapped_column(primary_key=True)
    size: Mapped[int]
    stored_at: Mapped[datetime]
    facts: Mapped[dict[str, Any] | None]
    refusal: Mapped[dict[str, Any] | None]  # {"code", "data"}


class Job(Base):
    """What somebody wants made: one piece or one plate, from one file, with choices."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(primary_key=True)
    batch_id: Mapped[str] = mapped_column(index=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("sites.id"), index=True)
    state: Mapped[str] = mapped_column(index=True)  # job_states.JobState
    held_for: Mapped[str | None]  # approval | payer | stock | membership | quote_lapsed | staff | restored
    refusal: Mapped[dict[str, Any] | None]  # why refused: {"code", "data"}
    asker_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    operator_id: Mapped[str | None] = mapped_column(ForeignKey("people.id"))  # None: whoever says go
    payer_id: Mapped[str] = mapped_column(ForeignKey("people.id"), index=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("job_files.sha256"))
    file_name: Mapped[str]
    material_id: Mapped[str | None]
    colour: Mapped[str | None]
    machine_id: Mapped[str | None] = mapped_column(ForeignKey("machines.id"))  # a wish; None: any that fits
    booking_id: Mapped[str | None] = mapped_column(ForeignKey("occupations.id"))
    due_at: Mapped[datetime | None]
    note: Mapped[str] = mapped_column(default="")
    max_price_cents: Mapped[int | None]
    auto_submit: Mapped[bool] = mapped_column(default=False)  # confirm by itself once quoted, within the limit
    hold_id: Mapped[str | None] = mapped_column(ForeignKey("holds.id"))
    ceiling_cents: Mapped[int | None]  # announced at confirmation: never charged above
    created_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    queued_at: Mapped[datetime | None] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]
    shelf: Mapped[str | None]
    version: Mapped[int] = mapped_column(default=0)


class Run(Base):
    """One physical attempt of a job on one machine. `live` until ended or released: at most one per job."""

    __tablename__ = "runs"
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    machine_id: Mapped[str] = mapped_column(ForeignKey("machines.id"), index=True)
    attempt: Mapped[int]  # "2e essai"
    claim_no: Mapped[int]
    state: Mapped[str]  # run_states.RunState
    live: Mapped[bool]
    result: Mapped[str | None]  # succeeded | failed | stopped
    code: Mapped[str | None]  # why not succeeded, or why released
    token: Mapped[str | None]  # start token offered by the agent
    token_until: Mapped[datetime | None]
    go_by: Mapped[str | None]  # person id
    go_at: Mapped[datetime | None]
    lot_id: Mapped[str | None]  # the spool that was in at the go
    claimed_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    facts: Mapped[dict[str, Any] | None]  # messages.Ended, as reported
    verdict: Mapped[str | None]  # good | failed | unknown
    judged_by: Mapped[str | None]
    judged_at: Mapped[datetime | None]
    shelf: Mapped[str | None]
    again: Mapped[bool] = mapped_column(default=False)
    file_token_hash: Mapped[str | None]  # the agent fetches the file with it
    __table_args__ = (
        Index("uq_runs_live_job", "job_id", unique=True, sqlite_where=text("live"), postgresql_where=text("live")),
        Index(
            "uq_runs_live_machine", "machine_id", unique=True, sqlite_where=text("live"), postgresql_where=text("live")
        ),
        UniqueConstraint("machine_id", "claim_no"),
    )


class MachineClaim(Base):
    """The row that decides who may have a machine. `plate` is the gate before the next claim."""

    __tablename__ = "machine_claims"
    machine_id: Mapped[str] = mapped_column(ForeignKey("machines.id"), primary_key=True)
    claim_no: Mapped[int] = mapped_column(default=0)
    stop_no: Mapped[int] = mapped_column(default=0)
    run_id: Mapped[str | None]  # the live run
    plate: Mapped[str] = mapped_column(default="free")  # free | to_clear | unsure
    plate_run_id: Mapped[str | None]  # whose part lies on it
    frozen: Mapped[bool] = mapped_column(default=False)  # no order until its agent has answered
    latched: Mapped[bool] = mapped_column(default=False)  # emergency stop, not released


class CommandIntent(Base):
    """An order that should reach an agent; the outbox repeats it until answered. Never deleted."""

    __tablename__ = "commands"
    id: Mapped[str] = mapped_column(primary_key=True)
    agent_id: Mapped[str] = mapped_column(index=True)
    machine_id: Mapped[str]  # "" for the agent itself
    run_id: Mapped[str | None] = mapped_column(index=True)
    kind: Mapped[str]
    nature: Mapped[str]  # messages.Nature
    claim_no: Mapped[int]
    stop_no: Mapped[int]
    body: Mapped[dict[str, Any]]  # the order's body, tagged
    state: Mapped[str] = mapped_column(index=True)  # command_states.CommandState
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    next_try_at: Mapped[datetime | None] = mapped_column(index=True)
    tries: Mapped[int] = mapped_column(default=0)
    expires_at: Mapped[datetime | None]
    answered_at: Mapped[datetime | None]
    answer: Mapped[dict[str, Any] | None]  # {"code", "data"}


class StoredReport(Base):
    """A report as it came, unique by journal and number; `problem` where it could not be applied."""

    __tablename__ = "reports"
    journal_id: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    agent_id: Mapped[str] = mapped_column(index=True)
    body: Mapped[dict[str, Any]]
    digest: Mapped[str]  # SHA-256 of the raw body: same number, other content is an incident
    received_at: Mapped[datetime]
    applied_at: Mapped[datetime | None]
    problem: Mapped[dict[str, Any] | None]


class Agent(Base):
    """The box beside the machines of a site, its secrets and how far its journal has been applied."""

    __tablename__ = "agents"
    id: Mapped[str] = mapped_column(primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("sites.id"))
    name: Mapped[str] = mapped_column(default="")
    hmac_key: Mapped[str]  # hex
    http_token_hash: Mapped[str]
    enrol_code_hash: Mapped[str | None]
    enrol_until: Mapped[datetime | None]
    journal_id: Mapped[str | None]
    applied: Mapped[int] = mapped_column(default=0)  # N
    hello_epoch: Mapped[str | None]  # the db_epoch in which it last said hello
    hello_at: Mapped[datetime | None]
    online: Mapped[bool] = mapped_column(default=False)
    seen_at: Mapped[datetime | None]
    session: Mapped[str | None]
    absent_by: Mapped[str | None]  # a person marked it absent after a restore
    revoked_at: Mapped[datetime | None]


class HubLease(Base):
    """One row: which hub acts. `term` grows with each change of holder."""

    __tablename__ = "hub_lease"
    id: Mapped[int] = mapped_column(primary_key=True)  # always 1
    term: Mapped[int]
    holder: Mapped[str]
    until: Mapped[datetime]


class MachineView(Base):
    """The newest picture of a machine, overwritten; never billed from."""

    __tablename__ = "machine_view"
    machine_id: Mapped[str] = mapped_column(primary_key=True)
    journal_id: Mapped[str]
    boot_no: Mapped[int]
    rev: Mapped[int]
    snapshot: Mapped[dict[str, Any]]
    received_at: Mapped[datetime]


class SettlementDue(Base):
    """A run whose money is to be settled: an idempotent second transaction does it."""

    __tablename__ = "settlements_due"
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    cause: Mapped[str]  # verdict | claim_window | nothing_ran
    due_at: Mapped[datetime]
    tries: Mapped[int] = mapped_column(default=0)
    done_at: Mapped[datetime | None]
    problem: Mapped[dict[str, Any] | None]


class NotTriedAgain(Base):
    """A machine that rejected a job's prepare: not tried there again until something changed."""

    __tablename__ = "not_tried_again"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    machine_id: Mapped[str] = mapped_column(ForeignKey("machines.id"), primary_key=True)
    code: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    at: Mapped[datetime]


class IncidentRow(Base):
    """Something that staff should see, until a named person has."""

    __tablename__ = "incidents"
    id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    site_id: Mapped[str | None]
    machine_id: Mapped[str | None] = mapped_column(index=True)
    run_id: Mapped[str | None]
    code: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    seen_by: Mapped[str | None]
    seen_at: Mapped[datetime | None]
