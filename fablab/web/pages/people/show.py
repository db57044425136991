"""Gathers what the page of one person shows to staff: nothing about money for who may not see it."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fablab.billing import ledger
from fablab.ids import new_id
from fablab.queue import summaries
from fablab.space.access import ROLES
from fablab.web import reads
from fablab.web.context import now, site_id, viewer, zone
from fablab.web.pages.jobs.forms import person_of
from fablab.web.tables import Account


def person_page(session: Session, person_id: str) -> dict[str, Any]:
    """Everything the page shows. Raises Refusal unknown_person."""
    person = person_of(session, person_id)
    today = now().astimezone(zone()).date()
    sees_money = viewer().has("manager", "treasurer", "coordinator")
    jobs, _ = summaries.job_list(session, now(), asker=person_id, limit=10)
    return {
        "person": person,
        "today": today,
        "in_a_year": today + timedelta(days=364),
        "membership": reads.membership(session, person_id, today),
        "grants": reads.grants(session, person_id),
        "authorisations": reads.authorisations(session, person_id),
        "machines": reads.machines(session, site_id()),
        "roles": [role for role in ROLES if role != "visitor" and (role != "administrator" or viewer().has())],
        "account": session.scalar(select(Account).where(Account.person_id == person_id)),
        "money": ledger.person_money(session, person_id) if sees_money else None,
        "entries": reads.entries_of(session, person_id, 10) if sees_money else [],
        "jobs": jobs,
        "once": new_id(),
        "herself": person_id == viewer().person_id,
    }
