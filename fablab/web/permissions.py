"""Who may call which endpoint: one entry each, and nothing that is not in the table is served. Data only.

A rule here is the outer door. Whether she may do it to *this* job, run or machine is decided by the verb she calls.
"""

from dataclasses import dataclass
from enum import StrEnum


class Who(StrEnum):
    """What a caller must show."""

    ANYONE = "anyone"
    SIGNED_IN = "signed_in"  # a session
    TOKEN = "token"  # noqa: S105  a person's full token
    SUBMIT_TOKEN = "submit_token"  # noqa: S105  a person's token of any scope
    AGENT = "agent"  # an agent's own secret, checked by the endpoint itself


@dataclass(frozen=True)
class Rule:
    """`roles`: any one of them is enough; empty: no role is needed. An administrator has every role."""

    who: Who
    roles: tuple[str, ...] = ()


ANYONE = Rule(Who.ANYONE)
SIGNED_IN = Rule(Who.SIGNED_IN)
TOKEN = Rule(Who.TOKEN)
ANY_STAFF = Rule(Who.SIGNED_IN, ("volunteer", "technician", "manager", "treasurer", "coordinator"))
WELCOME = Rule(Who.SIGNED_IN, ("volunteer", "manager", "coordinator"))
QUEUE = Rule(Who.SIGNED_IN, ("volunteer", "technician", "manager", "coordinator"))
TRAINING = Rule(Who.SIGNED_IN, ("technician", "manager", "coordinator"))
MATERIAL = Rule(Who.SIGNED_IN, ("volunteer", "technician", "manager"))
MONEY = Rule(Who.SIGNED_IN, ("manager", "treasurer"))
ROLES = Rule(Who.SIGNED_IN, ("coordinator",))
KEYS = Rule(Who.SIGNED_IN, ("manager",))

ENDPOINTS: dict[str, Rule] = {
    "static": ANYONE,
    "home.index": ANYONE,
    "home.language": ANYONE,
    "home.accessibility": ANYONE,
    "login.form": ANYONE,
    "login.submit": ANYONE,
    "login.leave": SIGNED_IN,
    "live.events": SIGNED_IN,
    "jobs.index": SIGNED_IN,
    "jobs.queue": QUEUE,
    "jobs.new": SIGNED_IN,
    "jobs.send": SIGNED_IN,
    "jobs.show": SIGNED_IN,
    "jobs.live": SIGNED_IN,
    "jobs.preview": SIGNED_IN,
    "jobs.file": SIGNED_IN,
    "jobs.change": SIGNED_IN,
    "jobs.confirm": SIGNED_IN,
    "jobs.act": SIGNED_IN,
    "jobs.decide": QUEUE,
    "machines.index": SIGNED_IN,
    "machines.card": SIGNED_IN,
    "machines.show": SIGNED_IN,
    "machines.live": SIGNED_IN,
    "machines.qr": SIGNED_IN,
    "machines.run": SIGNED_IN,
    "machines.cleared": SIGNED_IN,
    "machines.emergency_stop": SIGNED_IN,
    "machines.release": SIGNED_IN,
    "machines.outage": QUEUE,
    "machines.lot": SIGNED_IN,
    "machines.power": SIGNED_IN,
    "people.index": ANY_STAFF,
    "people.new": WELCOME,
    "people.add": WELCOME,
    "people.show": ANY_STAFF,
    "people.membership": WELCOME,
    "people.authorise": TRAINING,
    "people.withdraw": TRAINING,
    "people.grant": ROLES,
    "people.ungrant": ROLES,
    "people.account": KEYS,
    "people.top_up": MONEY,
    "people.desk_payment": MONEY,
    "people.desk_limit": MONEY,
    "bookings.index": SIGNED_IN,
    "bookings.book": SIGNED_IN,
    "bookings.cancel": SIGNED_IN,
    "account.index": SIGNED_IN,
    "account.receipt": SIGNED_IN,
    "account.password": SIGNED_IN,
    "account.create_key": SIGNED_IN,
    "account.revoke_key": SIGNED_IN,
    "account.read": SIGNED_IN,
    "stock.index": MATERIAL,
    "stock.add": MATERIAL,
    "stock.finish": MATERIAL,
    "desk.index": MONEY,
    "api.openapi": ANYONE,
    "api.jobs_list": TOKEN,
    "api.jobs_create": Rule(Who.SUBMIT_TOKEN),
    "api.jobs_show": TOKEN,
    "api.jobs_act": TOKEN,
    "api.runs_act": TOKEN,
    "api.machines_list": TOKEN,
    "api.machines_show": TOKEN,
    "api.machines_act": TOKEN,
    "octoprint.version": Rule(Who.SUBMIT_TOKEN),
    "octoprint.upload": Rule(Who.SUBMIT_TOKEN),
    "agents.file": Rule(Who.AGENT),
    "agents.enrol": ANYONE,
    "public.healthz": ANYONE,
    "public.metrics": ANYONE,
    "public.spaceapi": ANYONE,
    "public.calendar": ANYONE,
}


def is_api(path: str) -> bool:
    """Whether answers at this path are for programs: JSON, and no cookie counts."""
    return path.startswith(("/api/", "/healthz", "/metrics", "/spaceapi.json"))
