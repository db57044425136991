"""Gathers what the page of one job shows, and which acts it offers. The verbs decide whether an act is allowed."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fablab.queue import runs, summaries
from fablab.queue.tables import Job
from fablab.space.tables import Machine
from fablab.web import fields
from fablab.web.context import now, only_own_or_staff, site_id, viewer
from fablab.web.fragments import version
from fablab.web.overlay import job_now, temperatures_of
from fablab.web.pages.jobs.forms import options

CANCELLABLE = ("checking", "draft", "held", "queued", "assigned", "running")
MOVING = ("starting", "running", "paused")


def job_page(session: Session, job_id: str) -> dict[str, Any]:
    """Everything the page shows. Raises Refusal unknown_job, not_allowed."""
    job = job_now(summaries.job_summary(session, now(), job_id))
    asker, payer = job["asker"] or {}, job["payer"] or {}
    only_own_or_staff(asker.get("id"), payer.get("id"), (job["operator"] or {}).get("id"))
    run = next((one for one in reversed(job["runs"]) if one["state"] not in {"released"}), None)
    live = run if run is not None and run["state"] != "ended" else None
    names = machine_names(session)
    looks = (
        job["state"],
        job["held_for"],
        live and (live["id"], live["state"], live["known_state"], live["token"]),
        job["choices"],
    )
    return {
        "job": job,
        "run": run,
        "live_run": live,
        "names": names,
        "temperatures": temperatures_of(live["machine"]) if live is not None else {},
        "batch": _batch(session, job["ids"]) if len(job["ids"]) > 1 else [],
        "choice": options(session, site_id(), asker.get("id", ""), now()) if job["state"] == "draft" else {},
        "fitting": [one for one in job.get("machines", []) if one["fits"] or one["may_wait"]],
        "mine": viewer().person_id in {asker.get("id"), payer.get("id")},
        "can_cancel": job["state"] in CANCELLABLE,
        "can_start": _can_start(job, live),
        "acts_version": version(*looks, [one["fits"] for one in job.get("machines", [])]),
        "live_version": version(*looks, live, job["runs"], job["price"], job["plan"], now().timestamp() // 30),
        "receipts": [one for one in job["runs"] if one["state"] == "ended"],
        "topics": topics_of(job_id, live),
    }


def topics_of(job_id: str, live: dict[str, Any] | None) -> list[str]:
    """What the page listens to."""
    return [f"job-{job_id}", *([f"machine-{live['machine']}"] if live is not None else [])]


def machine_names(session: Session) -> dict[str, str]:
    return {row.id: row.name for row in session.execute(select(Machine.id, Machine.name))}


def acts_of(session: Session, actor: str, job_id: str, form: Mapping[str, Any]) -> None:
    """A decision about a job that needs a person. Raises Refusal field_…, not_now, not_allowed."""
    outcome = fields.one_of(form, "outcome", ("queued", "to_judge", "failed", "cancelled"))
    runs.resolve(session, now(), actor, job_id, outcome=outcome, shelf=fields.optional(form, "shelf"))


def _can_start(job: dict[str, Any], live: dict[str, Any] | None) -> bool:
    """Whether a go is offered on the job's page: only where the member has her booking."""
    if live is None or live["state"] != "prepared" or job["choices"]["booking"] is None:
        return False
    return viewer().person_id in {(job["asker"] or {}).get("id"), (job["operator"] or {}).get("id")}


def _batch(session: Session, ids: list[str]) -> list[dict[str, str]]:
    rows = session.execute(select(Job.id, Job.state, Job.shelf).where(Job.id.in_(ids)).order_by(Job.id))
    return [{"id": row.id, "state": row.state, "shelf": row.shelf or ""} for row in rows]
