"""Settles what a run costs: a second transaction after the verdict, that may be repeated without changing anything.

An error in a price is written beside the line, shown to staff, and tried again; it never stops a machine.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from fablab.billing import ledger, prices, stock
from fablab.billing.tables import Hold, Lot, Material, Quote, ReviewItem, Tariff
from fablab.billing.tariffs import rates
from fablab.db import Database
from fablab.ids import new_id
from fablab.messages import Ended
from fablab.queue import moves
from fablab.queue.applying import Touched
from fablab.queue.job_states import JobEvent, JobState
from fablab.queue.tables import CommandIntent, Job, Run, SettlementDue
from fablab.sentences import Refusal
from fablab.space.tables import Site

log = logging.getLogger(__name__)

ACTOR = "system:hub"
PAUSES = (timedelta(seconds=30), timedelta(minutes=5), timedelta(hours=1))
"""Between tries; the last one for ever after."""


def settle_due(database: Database, now: datetime) -> Touched:
    """Settle every run whose time has come, each in a transaction of its own."""
    with database.read() as session:
        due = session.scalars(
            select(SettlementDue.run_id)
            .where(SettlementDue.done_at.is_(None), SettlementDue.due_at <= now)
            .order_by(SettlementDue.due_at)
        ).all()
    touched = Touched()
    for run_id in due:
        touched = touched | settle_one(database, now, run_id)
    return touched


def settle_one(database: Database, now: datetime, run_id: str) -> Touched:
    """Settle one run, or write down why it could not be settled."""
    try:
        with database.write() as session:
            return Touched(jobs=frozenset({settle(session, now, run_id)}))
    except OperationalError:
        raise
    except Refusal as error:
        problem: dict[str, Any] = {"code": error.code, "data": error.data}
    except Exception as error:  # a mistake of ours: the site goes on, a person looks at it
        log.exception("run %s could not be settled", run_id)
        problem = {"code": "internal", "data": {"error": f"{type(error).__name__}: {error}"[:500]}}
    with database.write() as session:
        _put_off(session, now, run_id, problem)
    return Touched()


def settle(session: Session, now: datetime, run_id: str) -> str:
    """Charge, give back the rest, take the material from its lot, tell the member. Returns the job's id."""
    run = moves.lock_run(session, run_id)
    job = session.get_one(Job, run.job_id)
    due = session.get_one(SettlementDue, run_id, with_for_update=True, populate_existing=True)
    if due.done_at is not None:
        return job.id
    if due.cause == "claim_window" and job.state == JobState.TO_JUDGE:
        moves.job(job, JobEvent.WINDOW_CLOSED, now)
        run.verdict = run.verdict or "unknown"
    if run.facts is None:
        if not run.again:
            moves.give_money_back(session, now, job)
    else:
        _charge(session, now, job, run)
    due.done_at, due.problem = now, None
    return job.id


def _charge(session: Session, now: datetime, job: Job, run: Run) -> None:
    hold = None if job.hold_id is None else session.get(Hold, job.hold_id)
    quote = session.scalars(select(Quote).where(Quote.job_id == job.id, Quote.machine_id == run.machine_id)).first()
    if hold is None or quote is None:
        raise Refusal("nothing_held", job=job.id)
    site = session.get_one(Site, job.site_id)
    settled = prices.settle(
        msgspec.convert(run.facts, Ended),
        run.verdict or "unknown",
        site.failed_part,
        min(hold.amount_cents, quote.ceiling_cents),
        msgspec.convert(quote.lines, list[prices.Line]),
        rates(session.get_one(Tariff, quote.tariff_id)),
        stopped_by_member=_stopped_by_member(session, job, run),
        lot_filament=_lot_filament(session, run),
    )
    entry = ledger.capture(
        session, now, ACTOR, hold_id=hold.id, run_id=run.id, settled=settled, revision=0, keep_open=run.again
    )
    _take_material(session, now, run, settled)
    moves.tell(
        session, now, job, "receipt", source=run.id, entry=entry.id, charged_cents=settled.total_cents, means=hold.means
    )


def _stopped_by_member(session: Session, job: Job, run: Run) -> bool:
    """Whether who asked, operates or pays asked for the stop: then she pays what it used."""
    who = session.scalars(
        select(CommandIntent.created_by).where(CommandIntent.run_id == run.id, CommandIntent.kind == "cancel")
    ).first()
    return who is not None and who in (job.asker_id, job.operator_id, job.payer_id)


def _lot_filament(session: Session, run: Run) -> tuple[int, int] | None:
    """Density and diameter of the spool that was really in."""
    lot = None if run.lot_id is None else session.get(Lot, run.lot_id)
    material = None if lot is None else session.get(Material, lot.material_id)
    return None if material is None else (material.density_ug_mm3, material.diameter_um)


def _take_material(session: Session, now: datetime, run: Run, settled: prices.Settled) -> None:
    """What was used leaves the lot, whoever pays for it; once per run."""
    if run.lot_id is not None:
        stock.consume(
            session, now, lot_id=run.lot_id, amount_mg=max(0, settled.used_mg), kind=settled.used_kind, run_id=run.id
        )


def _put_off(session: Session, now: datetime, run_id: str, problem: dict[str, Any]) -> None:
    due = session.get_one(SettlementDue, run_id)
    due.problem, due.due_at = problem, now + PAUSES[min(due.tries, len(PAUSES) - 1)]
    due.tries += 1
    source = f"settlement:{run_id}"
    if session.scalars(select(ReviewItem.id).where(ReviewItem.source == source)).first() is None:
        session.add(
            ReviewItem(id=new_id(), source=source, code="settlement_failed", data={"run": run_id, **problem}, at=now)
        )
