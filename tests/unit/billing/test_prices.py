"""Prices are pure: the formula, the ceiling, and what each kind of end costs."""

from fractions import Fraction
from math import pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fablab.billing.prices import Filament, Line, TariffRates, filament_mg, quote, revenue, settle
from fablab.messages import Ended

PLA = Filament("pla", 1240, 1750, 5)
TARIFF = TariffRates(millicents_per_s=28)


def ended(**more: object) -> Ended:
    plain = {
        "run": "r", "machine": "m", "claim_no": 1, "result": "succeeded", "seconds": 3600, "commanded_mm": (3000.0,),
        "lines": 100,
    }  # fmt: skip
    return Ended(**{**plain, **more})  # type: ignore[arg-type]


def quoted(tariff: TariffRates = TARIFF, filament: Filament | None = PLA) -> tuple[Line, ...]:
    return quote(3600, [3000.0], tariff, filament, 20).lines


def price(facts: Ended, verdict: str = "good", rule: str = "free", ceiling: int = 10_000, **more: object):
    tariff = more.pop("tariff", TARIFF)
    member = bool(more.pop("stopped_by_member", False))
    return settle(facts, verdict, rule, ceiling, quoted(tariff), tariff, stopped_by_member=member, **more)


def test_a_metre_of_pla_weighs_what_the_textbook_says() -> None:
    # π/4 · 1.75² mm² · 1000 mm · 1.24 mg/mm³
    assert filament_mg(1000, 1240, 1750) == round(pi / 4 * 1.75**2 * 1000 * 1.24) == 2983
    assert filament_mg(1000, 1040, 2850) == 6635  # ABS of 2.85 mm
    assert filament_mg(0, 1240, 1750) == 0
    assert filament_mg(-3.5, 1240, 1750) == 0


@given(st.floats(0, 1_000_000), st.integers(500, 9000), st.sampled_from([1750, 2850, 3000]))
def test_the_integer_formula_is_the_real_one_to_half_a_milligram(mm: float, density: int, diameter: int) -> None:
    um = Fraction(mm) * 1000
    exact = Fraction(31415926535897932384626433, 10**25) * diameter**2 * um * density / (4 * 10**12)
    slack = Fraction(1, 2) + Fraction(diameter**2 * density, 10**12)  # half a milligram, and half a micrometre
    assert abs(filament_mg(mm, density, diameter) - exact) <= slack


def test_a_quote_has_lines_that_sum_to_what_is_expected() -> None:
    priced = quote(3600, [3000.0, 0.0], TARIFF, PLA, 20)
    assert [(line.code, line.quantity, line.cents, line.kind) for line in priced.lines] == [
        ("machine_time", 3600, 101, "estimated"),
        ("material", 8948, 45, "estimated"),
    ]
    assert priced.expected_cents == 146
    assert priced.ceiling_cents == 176  # 175.2, rounded up


def test_setup_and_minimum_are_part_of_the_quote() -> None:
    priced = quote(60, [], TariffRates(28, setup_cents=50, minimum_cents=200), None, 0)
    assert [(line.code, line.cents) for line in priced.lines] == [("machine_time", 2), ("setup", 50), ("minimum", 148)]
    assert (priced.expected_cents, priced.ceiling_cents) == (200, 200)


def test_what_was_used_is_charged_with_its_kinds() -> None:
    found = price(ended(seconds=1800, commanded_mm=(1500.0,)))
    assert [(line.code, line.kind, line.cents) for line in found.lines] == [
        ("machine_time", "measured", 50),
        ("material", "commanded", 22),
    ]
    assert (found.total_cents, found.borne_cents, found.used_mg) == (72, 0, 4474)


def test_above_the_ceiling_the_lab_bears_it_and_shows_it() -> None:
    found = price(ended(seconds=36_000), ceiling=176)
    assert (found.total_cents, found.borne_cents) == (176, 1008 + 45 - 176)
    assert found.lines[-1].code == "over_ceiling"
    assert sum(line.cents for line in found.lines) == 176


@pytest.mark.parametrize(("rule", "total", "borne"), [("free", 0, 146), ("material", 45, 101), ("full", 146, 0)])
def test_a_failed_part_costs_what_the_house_says(rule: str, total: int, borne: int) -> None:
    found = price(ended(), "failed", rule)
    assert (found.total_cents, found.borne_cents) == (total, borne)


def test_staff_pauses_and_faults_are_not_billed_a_members_own_pause_is() -> None:
    staff = price(ended(seconds=3600, staff_paused_s=1800))
    assert staff.lines[0].quantity == 1800
    assert staff.lines[0].data == {"seconds": 3600, "not_billed_s": 1800}
    assert price(ended(seconds=3600, paused_s=1800)).lines[0].quantity == 3600


def test_stopped_by_the_member_costs_what_was_used_whatever_became_of_it() -> None:
    facts = ended(result="stopped", seconds=600, commanded_mm=(100.0,))
    assert price(facts, "failed", "free", stopped_by_member=True).total_cents == 17 + 1
    assert price(facts, "failed", "free").total_cents == 0  # stopped by the lab


def test_an_unknown_verdict_follows_the_result() -> None:
    assert price(ended(), "unknown").total_cents == 146
    assert price(ended(result="failed"), "unknown").total_cents == 0


def test_setup_and_minimum_are_for_runs_that_succeeded() -> None:
    tariff = TariffRates(28, setup_cents=50, minimum_cents=500)
    assert price(ended(), tariff=tariff).total_cents == 500
    halted = price(ended(result="failed", seconds=600), tariff=tariff)
    assert halted.total_cents == 17 + 45  # judged good all the same: what was used


def test_nothing_ran_costs_nothing() -> None:
    facts = ended(result="failed", seconds=0, commanded_mm=(), lines=0, touched=False)
    found = price(facts, "good", "full", tariff=TariffRates(28, setup_cents=100, minimum_cents=500))
    assert (found.total_cents, found.lines) == (0, ())


def test_declared_grams_replace_commanded_filament() -> None:
    found = price(ended(kind="declared", declared_g=12.3456, commanded_mm=()))
    assert [(line.kind, line.quantity) for line in found.lines] == [("declared", 3600), ("declared", 12346)]
    assert found.used_kind == "declared"


def test_the_frozen_rate_counts_and_the_spool_that_was_in_weighs() -> None:
    found = price(ended(), lot_filament=(1040, 1750))
    assert found.lines[1].rate_millicents == 5
    assert found.used_mg == filament_mg(3000.0, 1040, 1750)


def test_a_spool_of_her_own_costs_nothing_but_is_counted() -> None:
    own = quoted(filament=Filament("pla", 1240, 1750, 0))
    found = settle(ended(), "good", "free", 500, own, TARIFF, stopped_by_member=False)
    assert (found.total_cents, found.used_mg, found.lines[1].why) == (101, 8948, "own_material")


LINES = st.lists(
    st.builds(
        Line, code=st.sampled_from(["machine_time", "material", "setup", "other"]), quantity=st.just(1),
        unit=st.just("piece"), rate_millicents=st.just(0), cents=st.integers(0, 100_000), kind=st.just("measured"),
    )
)  # fmt: skip


@given(LINES, st.integers(0, 100))
def test_revenue_sums_to_the_total_and_no_account_pays(lines: list[Line], percent: int) -> None:
    total = sum(line.cents for line in lines)
    cut = total * percent // 100
    reduced = [
        *lines,
        Line(code="over_ceiling", quantity=1, unit="piece", rate_millicents=0, cents=-cut, kind="fixed"),
    ]
    shares = revenue(reduced)
    assert sum(shares.values()) == total - cut
    assert all(cents > 0 for cents in shares.values())


@given(
    seconds=st.integers(0, 10**6),
    paused=st.integers(0, 10**6),
    mm=st.floats(0, 10**6),
    result=st.sampled_from(["succeeded", "failed", "stopped"]),
    verdict=st.sampled_from(["good", "failed", "unknown"]),
    rule=st.sampled_from(["free", "material", "full"]),
    ceiling=st.integers(0, 10**5),
    member=st.booleans(),
    setup=st.integers(0, 500),
    minimum=st.integers(0, 5000),
)
def test_no_charge_is_ever_above_the_ceiling_or_below_nothing(
    seconds: int, paused: int, mm: float, result: str, verdict: str, rule: str, ceiling: int, member: bool, setup: int,
    minimum: int,
) -> None:  # fmt: skip
    facts = ended(seconds=seconds, staff_paused_s=paused, commanded_mm=(mm,), result=result)
    tariff = TariffRates(28, setup, minimum)
    found = settle(facts, verdict, rule, ceiling, quoted(tariff), tariff, stopped_by_member=member)
    assert 0 <= found.total_cents <= ceiling
    assert found.borne_cents >= 0
    assert sum(line.cents for line in found.lines) == found.total_cents
    assert sum(revenue(found.lines).values()) == found.total_cents
