"""Verbs of people about a run: go, pause, resume, cancel, judge, finish, and freeing one that was lost.

Each writes rows and order intents in the caller's session; the hub's outbox carries the orders. No bus, no HTML.
A run id that is no longer the live one is refused with `not_this_run`: the page was old.
"""

from datetime import datetime

from sqlalchemy.orm import Session


def go(session: Session, now: datetime, actor: str, run_id: str, *, token: str | None = None) -> None:
    """The person at the machine confirms plate and material: prepared → starting, with a start order.

    `token`: the start token that the page showed (None: the run's current one). Raises Refusal not_this_run,
    not_ready, token_lapsed, plate_not_free, machine_out_of_order, latched, not_authorised, not_allowed.
    """
    raise NotImplementedError


def pause(session: Session, now: datetime, actor: str, run_id: str) -> None:
    """Ask the machine to pause; one by staff is not billed. Raises Refusal not_this_run, not_now, not_allowed."""
    raise NotImplementedError


def resume(session: Session, now: datetime, actor: str, run_id: str) -> None:
    """Ask the machine to go on. Raises Refusal not_this_run, not_now, not_allowed, latched."""
    raise NotImplementedError


def cancel(session: Session, now: datetime, actor: str, run_id: str) -> None:
    """Stop this attempt; the job goes back to the queue where nothing had started, else is judged."""
    raise NotImplementedError


def judge(
    session: Session,
    now: datetime,
    actor: str,
    run_id: str,
    *,
    verdict: str,
    shelf: str | None = None,
    again: bool = False,
) -> None:
    """Say what became of the part, `good`, `failed` or `unknown`, and clear the plate.

    `again` (with failed): back to the queue under the same hold. Raises Refusal not_this_run, not_now, not_allowed,
    unknown_verdict.
    """
    raise NotImplementedError


def begin(session: Session, now: datetime, actor: str, run_id: str) -> None:
    """Manual driver: the person tapped "started". The same as `go`."""
    raise NotImplementedError


def finish(
    session: Session,
    now: datetime,
    actor: str,
    run_id: str,
    *,
    minutes: int | None,
    grams: float | None,
    failed: bool = False,
) -> None:
    """Manual driver: the person declares the end, with minutes (0 … 14 400) or grams (0 … 20 000) or both.

    Raises Refusal not_this_run, not_now, not_allowed, not_manual, figures_missing, figure_out_of_range.
    """
    raise NotImplementedError


def attest_off(session: Session, now: datetime, actor: str, run_id: str) -> None:
    """Somebody at the machine says that it is off: ends a lost run; no order goes there until its agent answers."""
    raise NotImplementedError


def resolve(
    session: Session, now: datetime, actor: str, job_id: str, *, outcome: str, shelf: str | None = None
) -> None:
    """A person decides about a job in needs_attention: `queued`, `to_judge`, `failed` or `cancelled`."""
    raise NotImplementedError
