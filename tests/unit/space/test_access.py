"""Who may use a machine: each reason alone, all of them at once, and ages on the day."""

from dataclasses import replace
from datetime import date

import pytest

from fablab.space.access import PERMISSIONS, ROLES, Moment, Rules, Standing, age_on, permitted, reasons

TODAY = date(2026, 3, 2)
ANA = Standing(
    day=TODAY, birth_date=date(1990, 1, 1), archived=False, roles=frozenset({"member"}),
    member_until=date(2026, 12, 31), last_membership_ended=None, rules_signed=True, level="alone",
)  # fmt: skip
MK3 = Rules("MK3", frozenset({"self_service", "queue"}), "no", membership_required=True)
ALONE = Moment("self_service")


def codes(who: Standing, rules: Rules = MK3, moment: Moment = ALONE) -> list[str]:
    return [reason.code for reason in reasons(who, rules, moment)]


def test_a_member_who_is_autonomous_may() -> None:
    assert codes(ANA) == []


@pytest.mark.parametrize(
    ("who", "rules", "moment", "code"),
    [
        (replace(ANA, archived=True), MK3, ALONE, "person_archived"),
        (ANA, replace(MK3, outage="belt"), ALONE, "machine_out_of_order"),
        (ANA, replace(MK3, use=frozenset({"queue"})), ALONE, "use_not_offered"),
        (replace(ANA, member_until=None), MK3, ALONE, "no_membership"),
        (replace(ANA, member_until=None, last_membership_ended=date(2025, 12, 31)), MK3, ALONE, "membership_ended"),
        (replace(ANA, rules_signed=False), MK3, ALONE, "rules_not_signed"),
        (replace(ANA, level=None), MK3, ALONE, "not_authorised"),
        (replace(ANA, level="accompanied"), MK3, ALONE, "needs_company"),
        (replace(ANA, birth_date=date(2010, 1, 1)), MK3, ALONE, "too_young"),
        (replace(ANA, birth_date=date(2010, 1, 1)), replace(MK3, minors="with_adult"), ALONE, "minor_needs_adult"),
        (replace(ANA, birth_date=None), MK3, ALONE, "age_unknown"),
        (ANA, MK3, replace(ALONE, booked_by_other=True), "booked_by_other"),
    ],
)
def test_each_reason(who: Standing, rules: Rules, moment: Moment, code: str) -> None:
    assert codes(who, rules, moment) == [code]


def test_all_reasons_are_told_at_once() -> None:
    who = replace(ANA, member_until=None, level=None, birth_date=date(2010, 1, 1))
    assert codes(who, replace(MK3, outage="belt")) == [
        "machine_out_of_order", "no_membership", "not_authorised", "too_young",
    ]  # fmt: skip


def test_in_the_queue_the_lab_runs_it() -> None:
    child = replace(ANA, level=None, birth_date=date(2015, 1, 1))
    assert codes(child, MK3, Moment("queue", booked_by_other=True)) == []


def test_company_opens_what_is_closed_alone() -> None:
    saw = replace(MK3, use=frozenset({"accompanied"}), minors="with_adult")
    learner = replace(ANA, level=None, birth_date=date(2010, 1, 1))
    assert codes(learner, saw, Moment("accompanied")) == ["needs_company", "minor_needs_adult"]
    assert codes(learner, saw, Moment("accompanied", with_teacher=True)) == []


def test_staff_need_neither_membership_nor_authorisation() -> None:
    tom = replace(ANA, roles=frozenset({"technician"}), member_until=None, level=None, birth_date=None)
    assert codes(tom) == []
    noe = replace(tom, roles=frozenset({"volunteer"}))
    assert codes(noe) == ["not_authorised"]


@pytest.mark.parametrize(
    ("born", "day", "age"),
    [
        (date(2008, 3, 2), date(2026, 3, 2), 18),
        (date(2008, 3, 3), date(2026, 3, 2), 17),
        (date(2008, 2, 29), date(2026, 2, 28), 17),
        (date(2008, 2, 29), date(2026, 3, 1), 18),
    ],
)
def test_age_on_the_day(born: date, day: date, age: int) -> None:
    assert age_on(born, day) == age


def test_permissions_name_roles_that_exist_and_an_administrator_has_them_all() -> None:
    for permission, roles in PERMISSIONS.items():
        assert roles <= set(ROLES), permission
        assert permitted(permission, frozenset({"administrator"}))
        assert not permitted(permission, frozenset({"member", "visitor"}))
    with pytest.raises(KeyError):
        permitted("fly", frozenset({"administrator"}))
