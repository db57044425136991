"""Organisations and sites: founding one, and the house's rules. Verbs on rows; no machine and no person."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from fablab import audit
from fablab.config import Site as SiteSettings
from fablab.ids import new_id
from fablab.sentences import Refusal
from fablab.space import people
from fablab.space.tables import Organisation, Site

FAILED_PART = ("free", "material", "full")


@dataclass(frozen=True)
class HouseRules:
    """What the house decides. Percent, hours, cents; `approval_above_cents` None: no job waits for staff."""

    margin_percent: int = 20
    claim_window_h: int = 72
    failed_part: str = "free"
    unattended: bool = False
    membership_required: bool = True
    approval_above_cents: int | None = None
    rules_text: str = ""


def found(
    session: Session, now: datetime, actor_id: str, settings: SiteSettings, organisation: str, currency: str = "EUR"
) -> Site:
    """Make the organisation and its first site, or bring the site's name, zone, language and phone up to date."""
    site = session.get(Site, settings.id)
    if site is None:
        owner = Organisation(id=new_id(), name=organisation, currency=currency)
        session.add(owner)
        session.flush()
        site = Site(
            id=settings.id,
            organisation_id=owner.id,
            name=settings.name,
            timezone=settings.timezone,
            locale=settings.locale,
            phone=settings.phone,
        )
        session.add(site)
        audit.record(session, now, actor_id, "founded", "site", site.id)
    site.name, site.timezone, site.locale, site.phone = (
        settings.name,
        settings.timezone,
        settings.locale,
        settings.phone,
    )
    session.flush()
    return site


def set_house_rules(session: Session, now: datetime, actor_id: str, *, site_id: str, rules: HouseRules) -> None:
    """Raises Refusal not_allowed, unknown_site, bad_house_rule (which)."""
    site = get(session, site_id)
    people.require(session, actor_id, "set_prices", site_id=site_id)
    checks = {
        "margin_percent": 0 <= rules.margin_percent <= 200,
        "claim_window_h": 0 < rules.claim_window_h <= 24 * 90,
        "failed_part": rules.failed_part in FAILED_PART,
        "approval_above_cents": rules.approval_above_cents is None or rules.approval_above_cents >= 0,
    }
    for which, fine in checks.items():
        if not fine:
            raise Refusal("bad_house_rule", rule=which)
    site.margin_percent, site.claim_window_h = rules.margin_percent, rules.claim_window_h
    site.failed_part, site.unattended = rules.failed_part, rules.unattended
    site.membership_required, site.approval_above_cents = rules.membership_required, rules.approval_above_cents
    site.rules_text = rules.rules_text
    session.flush()
    audit.record(session, now, actor_id, "house_rules", "site", site_id, failed_part=rules.failed_part)


def get(session: Session, site_id: str) -> Site:
    """The site. Raises Refusal unknown_site."""
    site = session.get(Site, site_id)
    if site is None:
        raise Refusal("unknown_site", site=site_id)
    return site
