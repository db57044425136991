"""Verbs about jobs: from a file that was sent to a place in the queue, and out of it again. No bus, no HTML.

Each verb takes the caller's open write session, the time, and who acts; the caller commits, then wakes the hub.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session


@dataclass(frozen=True)
class SentFile:
    """A file that is already stored by content: hex SHA-256, size in bytes, and the name it came with."""

    sha256: str
    size: int
    name: str


@dataclass(frozen=True)
class Choices:
    """What the asker wishes. Ids of machine, material, people and booking; None: no wish."""

    machine: str | None = None
    material: str | None = None
    colour: str | None = None
    copies: int = 1  # 1 … 50
    payer: str | None = None  # None: the asker
    operator: str | None = None  # None: whoever says go
    booking: str | None = None
    due: datetime | None = None
    note: str = ""
    max_price_cents: int | None = None
    submit: bool = False  # confirm by itself once quoted, when the ceiling is within max_price_cents


def create_jobs(
    session: Session, now: datetime, actor: str, *, site_id: str, asker: str, file: SentFile, choices: Choices
) -> list[str]:
    """Make `copies` jobs of one batch in state `checking`, and return their ids.

    `actor` is who does it (staff may act for `asker`). Raises Refusal: copies_out_of_range, unknown_person,
    unknown_machine, unknown_material, unknown_booking, payer_not_allowed, not_allowed.
    """
    raise NotImplementedError


def change(session: Session, now: datetime, actor: str, job_id: str, choices: Choices) -> None:
    """Change the choices of a draft (copies excepted) and quote it again. Raises Refusal not_now, not_allowed."""
    raise NotImplementedError


def quote(session: Session, now: datetime, job_id: str) -> None:
    """Write the job's quotes anew: one per machine that can make it. Lines, expected price and ceiling."""
    raise NotImplementedError


def confirm(session: Session, now: datetime, actor: str, job_id: str, limit_cents: int | None = None) -> None:
    """draft → queued | held. Freezes the quotes, and opens the hold over the highest ceiling of the fitting machines.

    `limit_cents`: the key's own limit, above which the job stays a draft (Refusal above_limit). Raises Refusal too:
    no_machine_fits (data: reasons), not_allowed, not_now, over_limit (neither balance nor desk allows the ceiling).
    """
    raise NotImplementedError


def cancel(session: Session, now: datetime, actor: str, job_id: str) -> None:
    """End the job, whatever its state; a live run is stopped or its claim closed first. Raises Refusal not_now."""
    raise NotImplementedError


def hold(session: Session, now: datetime, actor: str, job_id: str) -> None:
    """queued → held(staff): the lab or the asker wants it to wait. Raises Refusal not_now, not_allowed."""
    raise NotImplementedError


def release(session: Session, now: datetime, actor: str, job_id: str) -> None:
    """held → queued; where no money is held yet, it is now. Raises Refusal not_now, not_allowed, over_limit."""
    raise NotImplementedError


def approve(session: Session, now: datetime, actor: str, job_id: str) -> None:
    """held(approval) → queued, by staff. Raises Refusal not_now, not_allowed, over_limit."""
    raise NotImplementedError


def reject(session: Session, now: datetime, actor: str, job_id: str, reason: str = "") -> None:
    """held → refused, by staff, with a reason in the staff's words; money is given back."""
    raise NotImplementedError


def delete_drafts(session: Session, now: datetime, actor: str, job_ids: Sequence[str]) -> None:
    """Cancel drafts, or jobs that are still checked: what a person does who changes her mind before confirming."""
    raise NotImplementedError
