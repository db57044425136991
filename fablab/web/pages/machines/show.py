"""Gathers what the page of a machine shows: its state in one big word, and the acts that make sense now."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fablab.billing.tables import Lot, Material
from fablab.queue import summaries
from fablab.queue.tables import CommandIntent, IncidentRow
from fablab.web.context import now, viewer
from fablab.web.fragments import version
from fablab.web.overlay import machine_now

STOP_PATIENCE = timedelta(seconds=4)
"""How long an emergency stop may go unanswered before the page says: not confirmed."""


def big_state(machine: dict[str, Any]) -> tuple[str, str]:
    """The one word for a machine, and the look of its card: free, busy, hands, bad or gone."""
    run = machine.get("run") or {}
    if machine["latched"]:
        return "latched", "bad"
    if machine["outage"]:
        return "outage", "bad"
    if not machine["online"] or machine["state"] in {"offline", "connecting"}:
        return "offline" if machine["state"] != "connecting" else "connecting", "gone"
    if machine["state"] == "halted":
        return "halted", "bad"
    if run.get("state") in {"running", "paused", "starting"} or machine["state"] in {"running", "paused", "stopping"}:
        state = machine["state"] if machine["state"] in {"running", "paused", "stopping"} else "running"
        return state, "hands" if state == "paused" else "busy"
    if machine["plate"] == "to_clear":
        return "to_clear", "hands"
    if machine["plate"] == "unsure":
        return "unsure", "hands"
    if run.get("state") == "prepared":
        return "prepared", "hands"
    if run.get("state") in {"claimed", "preparing"}:
        return "preparing", "busy"
    if machine["driver"] == "mqtt_relay":
        return ("on", "busy") if machine["relay_on"] else ("off", "free")
    return "idle", "free"


def machine_page(session: Session, machine_id: str) -> dict[str, Any]:
    """Everything the page shows. Raises Refusal unknown_machine."""
    machine = machine_now(summaries.machine_summary(session, now(), machine_id))
    run, plate_run = machine["run"], machine["plate_run"]
    if run is not None:
        run = {"known_state": run["state"], **run}
    state, look = big_state(machine)
    looks = (
        state,
        run and (run["id"], run["known_state"], run["state"], run["token"], run["job_state"]),
        plate_run and (plate_run["id"], plate_run["state"], plate_run["verdict"]),
        machine["plate"],
        machine["latched"],
        machine["outage"],
        machine["relay_on"],
        machine["lot"],
        _stop_news(session, machine),
    )
    return {
        "machine": machine,
        "run": run,
        "plate_run": plate_run,
        "state": state,
        "look": look,
        "stop": _stop_news(session, machine),
        "to_judge": plate_run if plate_run is not None and plate_run["verdict"] is None else None,
        "operates": viewer().staff or _hers(run),
        "switchable": machine["driver"] == "mqtt_relay",
        "manual": machine["driver"] == "manual",
        "acts_version": version(*looks),
        "live_version": version(*looks, run, machine["temperatures"], machine["watts"], machine["seen_at"]),
    }


def card_version(machine: dict[str, Any]) -> str:
    """How a card looks, in short."""
    return version(big_state(machine), machine["run"], machine["temperatures"], machine["watts"], machine["seen_at"])


def lots_for(session: Session, site_id: str) -> list[tuple[str, str]]:
    """The spools that can be put into a machine."""
    rows = session.execute(
        select(Lot, Material.name)
        .join(Material, Material.id == Lot.material_id)
        .where(Lot.site_id == site_id, Lot.finished_at.is_(None))
        .order_by(Lot.number)
    )
    return [(lot.id, f"n° {lot.number} – {name} {lot.colour}") for lot, name in rows]


def _stop_news(session: Session, machine: dict[str, Any]) -> str | None:
    """What is known of the last emergency stop: asked | confirmed | not_confirmed; None where there is none.

    An order that was not answered within `STOP_PATIENCE` counts as not confirmed, whoever is to blame.
    """
    if not machine["latched"]:
        return None
    order = session.scalar(
        select(CommandIntent)
        .where(CommandIntent.machine_id == machine["id"], CommandIntent.kind == "emergency_stop")
        .order_by(CommandIntent.created_at.desc())
        .limit(1)
    )
    if order is None:
        return "not_confirmed"
    doubt = session.scalar(
        select(IncidentRow.id).where(
            IncidentRow.machine_id == machine["id"],
            IncidentRow.code == "stop_not_confirmed",
            IncidentRow.at >= order.created_at,
        )
    )
    if doubt is None and order.state == "succeeded":
        return "confirmed"
    if doubt is None and order.state not in {"failed", "rejected"} and now() - order.created_at < STOP_PATIENCE:
        return "asked"
    return "not_confirmed"


def _hers(run: dict[str, Any] | None) -> bool:
    return run is not None and (run["asker"] or {}).get("id") == viewer().person_id
