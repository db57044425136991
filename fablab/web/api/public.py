"""What anybody or a monitor may read: health, metrics, SpaceAPI v15 and the calendar of opening hours. No names."""

import hmac
from datetime import datetime

from flask import Blueprint, make_response, url_for
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from fablab.queue.tables import Agent, CommandIntent, HubLease, Job, Run, SettlementDue
from fablab.sentences import Refusal
from fablab.space.tables import Occupation
from fablab.web.api.shapes import answer
from fablab.web.context import now, parts, reading, site_id
from fablab.web.network import from_this_box
from fablab.web.security import bearer

blueprint = Blueprint("public", __name__)

LONGEST_HUB_SILENCE_S = 30


@blueprint.get("/healthz")
def healthz() -> Response:
    """200 where pages and database work; each part beside it. 503 where the database does not answer."""
    try:
        with reading() as session:
            session.execute(text("SELECT 1"))
            hub = _hub_alive(session)
            agents = session.scalar(select(func.count()).select_from(Agent).where(Agent.online)) or 0
    except SQLAlchemyError:
        return answer({"ok": False, "database": False}, 503)
    return answer({"ok": True, "database": True, "broker": parts().live.connected, "hub": hub, "agents_online": agents})


@blueprint.get("/metrics")
def metrics() -> Response:
    """Figures in Prometheus' text format, for who is on this box or shows the token. Raises Refusal not_allowed."""
    token = parts().config.secret(parts().config.web.metrics_token_file)
    if not from_this_box() and not (token and hmac.compare_digest(bearer().encode(), token.encode())):
        raise Refusal("not_allowed")
    with reading() as session:
        lines = _figures(session)
    response = make_response("\n".join(lines) + "\n")
    response.headers["Content-Type"] = "text/plain; version=0.0.4; charset=utf-8"
    return response


@blueprint.get("/spaceapi.json")
def spaceapi() -> Response:
    """SpaceAPI v15. `state` is left out where no opening is written down: the standard has no "unknown"."""
    config = parts().config
    base = config.web.public_url.rstrip("/")
    body: dict[str, object] = {
        "api_compatibility": ["15"],
        "space": config.site.name,
        "logo": base + url_for("static", filename="icon.svg"),
        "url": base,
        "contact": {"phone": config.site.phone} if config.site.phone else {},
        "location": {"timezone": config.site.timezone},
    }
    with reading() as session:
        opening = _opening_now(session, now())
    if opening is not None:
        body["state"] = {"open": opening[0], "lastchange": int(opening[1].timestamp())}
    response = answer(body)
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cache-Control"] = "public, max-age=60"
    return response


@blueprint.get("/calendar.ics")
def calendar() -> Response:
    """Opening hours to come, as iCalendar (RFC 5545)."""
    config = parts().config
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Fablab//Opening hours//EN"]
    lines.append(f"X-WR-CALNAME:{_escape(config.site.name)}")
    with reading() as session:
        rows = session.scalars(
            select(Occupation)
            .where(
                Occupation.site_id == site_id(),
                Occupation.kind == "opening",
                Occupation.cancelled_at.is_(None),
                Occupation.ends_at > now(),
            )
            .order_by(Occupation.starts_at)
            .limit(500)
        ).all()
    for row in rows:
        lines += [
            "BEGIN:VEVENT",
            f"UID:{row.id}@{config.site.id}.fablab",
            f"DTSTAMP:{_stamp(row.made_at)}",
            f"DTSTART:{_stamp(row.starts_at)}",
            f"DTEND:{_stamp(row.ends_at)}",
            f"SUMMARY:{_escape(config.site.name)}",
            "END:VEVENT",
        ]
    response = make_response("\r\n".join([*lines, "END:VCALENDAR", ""]))
    response.headers["Content-Type"] = "text/calendar; charset=utf-8"
    return response


def _hub_alive(session: Session) -> bool:
    lease = session.get(HubLease, 1)
    return lease is not None and (now() - lease.until).total_seconds() < LONGEST_HUB_SILENCE_S


def _figures(session: Session) -> list[str]:
    lines = ["# TYPE fablab_jobs gauge"]
    for state, count in session.execute(select(Job.state, func.count()).group_by(Job.state).order_by(Job.state)):
        lines.append(f'fablab_jobs{{state="{state}"}} {count}')
    lines.append("# TYPE fablab_runs_live gauge")
    lines.append(f"fablab_runs_live {_count(session, select(func.count()).select_from(Run).where(Run.live))}")
    waiting = select(func.count()).select_from(CommandIntent).where(CommandIntent.state.in_(("pending", "sent")))
    due = select(func.count()).select_from(SettlementDue).where(SettlementDue.done_at.is_(None))
    live = parts().live
    figures = {
        "fablab_orders_unanswered": _count(session, waiting),
        "fablab_settlements_due": _count(session, due),
        "fablab_agents_online": _count(session, select(func.count()).select_from(Agent).where(Agent.online)),
        "fablab_hub_alive": int(_hub_alive(session)),
        "fablab_web_broker_connected": int(live.connected),
        "fablab_web_live_pages": live.open_pages,
        "fablab_web_messages_ignored": live.ignored,
    }
    for name, value in figures.items():
        lines += [f"# TYPE {name} gauge", f"{name} {value}"]
    return lines


def _count(session: Session, query: object) -> int:
    return int(session.scalar(query) or 0)  # type: ignore[call-overload]


def _opening_now(session: Session, moment: datetime) -> tuple[bool, datetime] | None:
    """Whether the place is open and since when; None where no opening was ever written down."""
    last = session.scalar(
        select(Occupation)
        .where(
            Occupation.site_id == site_id(),
            Occupation.kind == "opening",
            Occupation.cancelled_at.is_(None),
            Occupation.starts_at <= moment,
        )
        .order_by(Occupation.starts_at.desc())
        .limit(1)
    )
    if last is None:
        return None
    return (True, last.starts_at) if last.ends_at > moment else (False, last.ends_at)


def _stamp(at: datetime) -> str:
    return f"{at:%Y%m%dT%H%M%SZ}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")
