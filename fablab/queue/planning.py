"""Loads the queue of a site for the pure policy: who waits, which machine could begin when, and what is booked."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from fablab.queue.candidates import load_yard, survey
from fablab.queue.machine_view import picture
from fablab.queue.policy import Free, Kept, Planned, Waiting, assignments, plan
from fablab.queue.tables import Agent, Job, MachineClaim, MachineView, Run
from fablab.space.tables import Machine, Occupation

TURNAROUND = timedelta(minutes=10)
"""What clearing a plate and saying go are taken to need, for the plan only."""
CANNOT_PRINT = frozenset({"offline", "connecting", "halted"})
"""Pictures of a machine that takes no job now."""


def planned(session: Session, now: datetime, site_id: str) -> list[Planned]:
    """The plan that pages show. An estimate: nothing rests on it."""
    return plan(now, waiting_jobs(session, now, site_id), _machines(session, now, site_id), busy_people(session))


def to_claim(session: Session, now: datetime, site_id: str) -> list[Planned]:
    """What could be claimed at this instant, at most one job per machine."""
    free = [machine for machine in _machines(session, now, site_id) if machine.at <= now]
    ready = frozenset(machine.machine_id for machine in free)
    waiting = [
        Waiting(
            job.job_id,
            job.asker_id,
            job.queued_at,
            job.due_at,
            job.booking_id,
            {name: seconds for name, seconds in job.seconds.items() if name in ready},
            job.cents,
            job.by_hand,
        )
        for job in waiting_jobs(session, now, site_id)
    ]
    return assignments(now, waiting, free, busy_people(session))


def waiting_jobs(session: Session, now: datetime, site_id: str) -> list[Waiting]:
    """Queued jobs with the machines that could make them as things stand."""
    jobs = session.scalars(select(Job).where(Job.site_id == site_id, Job.state == "queued").order_by(Job.id)).all()
    by_hand = frozenset(
        session.scalars(select(Machine.id).where(Machine.site_id == site_id, Machine.driver == "manual")).all()
    )
    yard = load_yard(session, now, site_id, [job.id for job in jobs])
    waiting = []
    for job in jobs:
        fitting = [item for item in survey(session, now, job, yard) if not item.reasons and item.quote is not None]
        waiting.append(
            Waiting(
                job_id=job.id,
                asker_id=job.asker_id,
                queued_at=job.queued_at or job.created_at,
                due_at=job.due_at,
                booking_id=job.booking_id,
                seconds={item.machine_id: item.seconds for item in fitting},
                cents={item.machine_id: item.quote.expected_cents for item in fitting if item.quote is not None},
                by_hand=by_hand,
            )
        )
    return waiting


def busy_people(session: Session) -> frozenset[str]:
    """Who has something on a machine."""
    return frozenset(session.scalars(select(Job.asker_id).join(Run, Run.job_id == Job.id).where(Run.live)).all())


def _machines(session: Session, now: datetime, site_id: str) -> list[Free]:
    machines = session.scalars(
        select(Machine).where(Machine.site_id == site_id, Machine.archived_at.is_(None)).order_by(Machine.id)
    ).all()
    found = []
    for machine in machines:
        at = _free_at(session, now, machine)
        if at is not None:
            found.append(Free(machine.id, at, _kept(session, now, machine.id)))
    return found


def _free_at(session: Session, now: datetime, machine: Machine) -> datetime | None:
    """When the machine could take a job: `now` means really now. None: nobody can tell (offline, halted, unseen)."""
    claim = session.get(MachineClaim, machine.id)
    agent = session.get(Agent, machine.agent_id)
    view = picture(session.get(MachineView, machine.id))
    if claim is None or agent is None or not agent.online or agent.revoked_at is not None:
        return None
    if view is None or view.state in CANNOT_PRINT or claim.frozen or claim.latched:
        return None
    if claim.run_id is not None:
        return now + TURNAROUND + timedelta(seconds=view.remaining_s or 0)
    if claim.plate != "free" or view.state in {"running", "paused", "stopping"}:
        return now + TURNAROUND
    return now


def _kept(session: Session, now: datetime, machine_id: str) -> tuple[Kept, ...]:
    rows = session.scalars(
        select(Occupation)
        .where(
            Occupation.machine_id == machine_id,
            Occupation.kind.in_(("booking", "outage")),
            Occupation.ends_at > now,
            Occupation.cancelled_at.is_(None),
        )
        .order_by(Occupation.starts_at)
    ).all()
    return tuple(Kept(row.id, machine_id, row.person_id, row.starts_at, row.ends_at) for row in rows)
