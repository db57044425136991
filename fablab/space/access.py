"""Who may do what, and every reason why not. Pure: facts in, codes out; knows no table and no clock.

`reasons` lists all that stands against it, so that a page can say everything at once and what would help.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

ROLES = (
    "visitor", "member", "volunteer", "technician", "manager", "treasurer", "coordinator", "administrator",
)  # fmt: skip
LEVELS = ("accompanied", "alone", "teach")
"""What an authorisation allows, from least to most."""
OF_AGE = 18

_HANDS = frozenset({"volunteer", "technician", "manager", "coordinator"})
PERMISSIONS: Mapping[str, frozenset[str]] = {
    "welcome": frozenset({"volunteer", "manager", "coordinator"}),  # add people, memberships, signed rules
    "run_queue": _HANDS,  # say go, judge, clear plates, act for a member
    "use_machines": frozenset({"technician", "manager"}),  # any machine without an authorisation
    "declare_outage": _HANDS,
    "end_outage": frozenset({"technician", "manager", "coordinator"}),
    "train": frozenset({"technician", "manager", "coordinator"}),  # authorise people on machines
    "edit_machines": frozenset({"technician", "manager"}),
    "keep_stock": frozenset({"volunteer", "technician", "manager"}),
    "take_money": frozenset({"manager", "treasurer"}),  # top-ups, desk payments, refunds, limits
    "set_prices": frozenset({"manager", "treasurer"}),
    "see_books": frozenset({"manager", "treasurer", "coordinator"}),
    "book_for_others": _HANDS,
    "grant_roles": frozenset({"coordinator"}),
    "make_administrators": frozenset(),
    "manage_accounts": frozenset({"manager"}),
}
"""Which roles have which permission. An administrator has every one."""


@dataclass(frozen=True)
class Reason:
    """Why not: a stable code and what its sentence names."""

    code: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Standing:
    """A person at a site on one day. `level`: her best authorisation on the machine in question."""

    day: date
    birth_date: date | None
    archived: bool
    roles: frozenset[str]
    member_until: date | None  # last day of a membership that holds today; None: none does
    last_membership_ended: date | None
    rules_signed: bool
    level: str | None


@dataclass(frozen=True)
class Rules:
    """What a machine and its site ask. use: of self_service, accompanied, queue. minors: no | with_adult | yes."""

    machine: str  # its name
    use: frozenset[str]
    minors: str
    membership_required: bool
    outage: str | None = None  # why it is out of order; None: it works


@dataclass(frozen=True)
class Moment:
    """The circumstances: how she wants to use it, whose time it is, who is with her.

    mode: self_service | accompanied | queue. `booked_by_other`: somebody else's booking holds now. `with_teacher`: a
    person who may teach or run machines here stands beside her. `with_adult`: an adult who is autonomous does.
    """

    mode: str
    booked_by_other: bool = False
    with_teacher: bool = False
    with_adult: bool = False


def permitted(permission: str, roles: frozenset[str]) -> bool:
    """Whether one of the roles has the permission. Raises KeyError for a permission that does not exist."""
    return bool(roles & PERMISSIONS[permission]) or "administrator" in roles


def age_on(birth_date: date, day: date) -> int:
    """Full years of age on a day; who is born on 29 February is a year older on 1 March of a common year."""
    return day.year - birth_date.year - ((day.month, day.day) < (birth_date.month, birth_date.day))


def reasons(who: Standing, rules: Rules, moment: Moment) -> tuple[Reason, ...]:
    """Every reason why she may not use the machine so, now; empty: she may.

    Codes: person_archived, machine_out_of_order, use_not_offered, no_membership, membership_ended, rules_not_signed,
    not_authorised, needs_company, too_young, minor_needs_adult, age_unknown, booked_by_other.
    """
    found: list[Reason] = []
    if who.archived:
        found.append(Reason("person_archived"))
    if rules.outage is not None:
        found.append(Reason("machine_out_of_order", {"machine": rules.machine, "reason": rules.outage}))
    if moment.mode not in rules.use:
        found.append(Reason("use_not_offered", {"machine": rules.machine, "use": moment.mode}))
    found.extend(membership_reasons(who, rules.membership_required))
    found.extend(_level_reasons(who, rules, moment))
    found.extend(_age_reasons(who, rules, moment))
    if moment.booked_by_other and moment.mode != "queue":
        found.append(Reason("booked_by_other", {"machine": rules.machine}))
    return tuple(found)


def membership_reasons(who: Standing, required: bool) -> list[Reason]:
    """What adhésion and signed rules leave to be done; staff are not asked for it."""
    if not required or who.roles & _HANDS or "administrator" in who.roles:
        return []
    if who.member_until is None:
        if who.last_membership_ended is None:
            return [Reason("no_membership")]
        return [Reason("membership_ended", {"ended_on": who.last_membership_ended.isoformat()})]
    return [] if who.rules_signed else [Reason("rules_not_signed")]


def _level_reasons(who: Standing, rules: Rules, moment: Moment) -> list[Reason]:
    if moment.mode == "queue" or permitted("use_machines", who.roles):
        return []  # in the queue the lab runs the machine
    if moment.mode == "accompanied":
        return [] if moment.with_teacher else [Reason("needs_company", {"machine": rules.machine})]
    if who.level in {"alone", "teach"}:
        return []
    if who.level == "accompanied":
        return [] if moment.with_teacher else [Reason("needs_company", {"machine": rules.machine})]
    return [Reason("not_authorised", {"machine": rules.machine})]


def _age_reasons(who: Standing, rules: Rules, moment: Moment) -> list[Reason]:
    if moment.mode == "queue" or rules.minors == "yes":
        return []
    if who.birth_date is None:
        known_adult = permitted("use_machines", who.roles) or who.roles & _HANDS
        return [] if known_adult else [Reason("age_unknown", {"machine": rules.machine})]
    age = age_on(who.birth_date, who.day)
    if age >= OF_AGE:
        return []
    if rules.minors == "no":
        return [Reason("too_young", {"machine": rules.machine, "age": age, "needed": OF_AGE})]
    return [] if moment.with_adult or moment.with_teacher else [Reason("minor_needs_adult", {"machine": rules.machine})]
