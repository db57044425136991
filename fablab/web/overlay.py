"""Lays the newest live picture over a read model, so that a page moves at once. For looking only."""

from datetime import timedelta
from typing import Any

from fablab.messages import Temperature
from fablab.web.context import now, parts
from fablab.web.live import Picture

FRESH = timedelta(seconds=90)
"""An older picture says nothing about now: agents show one at least every half minute."""


def machine_now(machine: dict[str, Any]) -> dict[str, Any]:
    """`machine_summary` with newer state, temperatures and progress where the bus has brought them."""
    picture = parts().live.picture(machine["id"])
    if picture is None or not machine["online"] or now() - picture.at > FRESH:
        return machine
    shown = {**machine, "seen_at": picture.at.isoformat(), **_state_keys(picture)}
    if machine.get("run") is not None:
        shown["run"] = run_now(machine["run"], picture)
    return shown


def run_now(run: dict[str, Any], picture: Picture | None) -> dict[str, Any]:
    """A run with newer state, progress, layer, seconds and millimetres, where the picture is of this run.

    `known_state` is what the tables say: acts are offered by it, since the verbs go by it too.
    """
    if picture is None or picture.snapshot.run != run["id"] or run["state"] in {"ended", "released"}:
        return {**run, "known_state": run["state"]}
    snapshot, telemetry = picture.snapshot, picture.telemetry
    newest: Any = telemetry or snapshot
    state = run["state"]
    if state in {"starting", "running", "paused"} and snapshot.state in {"running", "paused"}:
        state = snapshot.state
    return {
        **run,
        "state": state,
        "known_state": run["state"],
        "progress": newest.progress if newest.progress is not None else run.get("progress"),
        "layer": newest.layer or run.get("layer"),
        "layers": snapshot.layers or run.get("layers"),
        "seconds": max(newest.seconds, run.get("seconds") or 0),
        "remaining_s": snapshot.remaining_s,
        "commanded_mm": list(newest.commanded_mm) or run.get("commanded_mm"),
    }


def job_now(job: dict[str, Any]) -> dict[str, Any]:
    """`job_summary` with its live run as the bus shows it."""
    runs = [run_now(run, parts().live.picture(run["machine"])) for run in job["runs"]]
    return {**job, "runs": runs}


def temperatures_of(machine_id: str) -> dict[str, Temperature]:
    """The newest temperatures of a machine; empty where nothing fresh is known."""
    picture = parts().live.picture(machine_id)
    if picture is None or now() - picture.at > FRESH:
        return {}
    return (picture.telemetry.temperatures if picture.telemetry else {}) or picture.snapshot.temperatures


def _state_keys(picture: Picture) -> dict[str, Any]:
    snapshot, telemetry = picture.snapshot, picture.telemetry
    heat = (telemetry.temperatures if telemetry else {}) or snapshot.temperatures
    watts = telemetry.watts if telemetry is not None and telemetry.watts is not None else snapshot.watts
    return {
        "state": snapshot.state,
        "code": snapshot.code,
        "temperatures": {name: {"actual": heat[name].actual, "target": heat[name].target} for name in sorted(heat)},
        "watts": watts,
        "relay_on": snapshot.relay_on,
        "warnings": list(snapshot.warnings),
    }
