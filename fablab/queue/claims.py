"""Verbs of people about a machine: plate, outage, emergency stop, power. Rows and order intents; no bus, no HTML."""

from datetime import datetime

from sqlalchemy.orm import Session


def cleared(session: Session, now: datetime, actor: str, machine_id: str, *, run_id: str | None = None) -> None:
    """A named person says that the plate is free. Where a part of a run lies on it, it must be judged first.

    Raises Refusal not_this_run (another run's part lies there by now), judge_first, plate_already_free, not_allowed.
    """
    raise NotImplementedError


def emergency_stop(session: Session, now: datetime, actor: str, machine_id: str) -> None:
    """Any person signed in may stop a machine: stop_no + 1, latched until released. Raises Refusal unknown_machine."""
    raise NotImplementedError


def release_stop(session: Session, now: datetime, actor: str, machine_id: str) -> None:
    """Take the latch off, by staff or the operator of the machine. Raises Refusal not_latched, not_allowed."""
    raise NotImplementedError


def declare_outage(session: Session, now: datetime, actor: str, machine_id: str, reason: str) -> None:
    """Put the machine out of order: nothing new is claimed on it.

    Raises Refusal already_out, reason_missing, not_allowed.
    """
    raise NotImplementedError


def end_outage(session: Session, now: datetime, actor: str, machine_id: str) -> None:
    """The machine is usable again. Raises Refusal not_out, not_allowed."""
    raise NotImplementedError


def switch_on(session: Session, now: datetime, actor: str, machine_id: str, seconds: int) -> None:
    """Power on a machine behind a relay for 60 … 14 400 s. Raises Refusal not_switchable, latched, not_authorised, …"""
    raise NotImplementedError


def switch_off(session: Session, now: datetime, actor: str, machine_id: str) -> None:
    """Power off. Raises Refusal not_switchable, not_allowed."""
    raise NotImplementedError


def load_lot(session: Session, now: datetime, actor: str, machine_id: str, lot_id: str | None) -> None:
    """Say which spool is in (None: none). Jobs that wait for it are tried again. Raises Refusal unknown_lot."""
    raise NotImplementedError
