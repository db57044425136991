"""What waits for somebody of the place: hands at a machine, decisions, and the queue with its reasons."""

from typing import Any

from sqlalchemy.orm import Session

from fablab.queue import summaries
from fablab.web.context import now, site_id
from fablab.web.overlay import machine_now
from fablab.web.pages.jobs.show import machine_names


def things_to_do(session: Session) -> dict[str, Any]:
    """The staff's page: machines that wait, jobs to be decided about, and why each job in the queue waits."""
    wall = [machine_now(machine) for machine in summaries.wall(session, now(), site_id())]
    waiting = summaries.queue_list(session, now(), site_id())
    attention, _ = summaries.job_list(session, now(), site=site_id(), states=("needs_attention", "to_judge"))
    return {
        "hands": [machine for machine in wall if waits_for_hands(machine)],
        "held": [job for job in waiting if job["state"] == "held"],
        "queued": [job for job in waiting if job["state"] == "queued"],
        "attention": attention,
        "names": machine_names(session),
    }


def waits_for_hands(machine: dict[str, Any]) -> bool:
    """Whether a person is asked to this machine: a go, a plate, a stop to be released, a lost run."""
    run = machine.get("run") or {}
    return machine["plate"] != "free" or machine["latched"] or run.get("state") in {"prepared", "lost"}
