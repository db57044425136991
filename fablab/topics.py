"""Every MQTT topic of ours is built and taken apart here, and nowhere else.

All of them lie under `fablab/v1/<site>/`. Topics of devices (plugs, meters) are their drivers' business.
"""

import re
from dataclasses import dataclass

ROOT = "fablab/v1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class BadName(ValueError):
    """A site, machine or agent id that cannot be one level of a topic."""


def check_name(name: str) -> str:
    """`name` itself, when it is 1–63 of letters, digits, `_`, `.`, `-`, and begins with a letter or digit."""
    if not _NAME.fullmatch(name):
        raise BadName(name)
    return name


def order(site: str, machine: str) -> str:
    return f"{ROOT}/{check_name(site)}/m/{check_name(machine)}/order"


def stop(site: str, machine: str) -> str:
    return f"{ROOT}/{check_name(site)}/m/{check_name(machine)}/stop"


def state(site: str, machine: str) -> str:
    return f"{ROOT}/{check_name(site)}/m/{check_name(machine)}/state"


def telemetry(site: str, machine: str) -> str:
    return f"{ROOT}/{check_name(site)}/m/{check_name(machine)}/telemetry"


def agent_order(site: str, agent: str) -> str:
    return f"{ROOT}/{check_name(site)}/agent/{check_name(agent)}/order"


def agent_reports(site: str, agent: str) -> str:
    return f"{ROOT}/{check_name(site)}/agent/{check_name(agent)}/reports"


def agent_online(site: str, agent: str) -> str:
    return f"{ROOT}/{check_name(site)}/agent/{check_name(agent)}/online"


def agent_applied(site: str, agent: str) -> str:
    return f"{ROOT}/{check_name(site)}/agent/{check_name(agent)}/applied"


def wake() -> str:
    """Lossy hint to the hub: something was committed, look at the tables."""
    return f"{ROOT}/hub/wake"


def changed() -> str:
    """Lossy hint from the hub to the pages: something looks different."""
    return f"{ROOT}/hub/changed"


ALL_STATES = f"{ROOT}/+/m/+/state"
ALL_TELEMETRY = f"{ROOT}/+/m/+/telemetry"
ALL_REPORTS = f"{ROOT}/+/agent/+/reports"
ALL_ONLINE = f"{ROOT}/+/agent/+/online"


@dataclass(frozen=True)
class Parsed:
    """One of our topics, taken apart: `what` is order, stop, state, telemetry, reports, online or applied."""

    site: str
    machine: str | None
    agent: str | None
    what: str


def parse(topic: str) -> Parsed | None:
    """Take a topic apart; None where it is not one of ours."""
    parts = topic.split("/")
    if len(parts) != 6 or "/".join(parts[:2]) != ROOT or not all(_NAME.fullmatch(p) for p in parts[2:]):
        return None
    _, _, site, kind, name, what = parts
    if kind == "m" and what in {"order", "stop", "state", "telemetry"}:
        return Parsed(site, name, None, what)
    if kind == "agent" and what in {"order", "reports", "online", "applied"}:
        return Parsed(site, None, name, what)
    return None
