"""Money: integers only, one rounding rule, splits that lose nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fablab.money import CurrencyMismatch, Money, cents_for, divide_half_away, divide_up, split


@pytest.mark.parametrize(
    ("numerator", "denominator", "rounded"),
    [(5, 2, 3), (-5, 2, -3), (4, 3, 1), (-4, 3, -1), (1, 2, 1), (-1, 2, -1), (0, 7, 0), (7, 7, 1)],
)
def test_halves_go_away_from_zero(numerator: int, denominator: int, rounded: int) -> None:
    assert divide_half_away(numerator, denominator) == rounded


@pytest.mark.parametrize(("numerator", "up"), [(0, 0), (1, 1), (10, 1), (11, 2), (-1, 0), (-11, -1)])
def test_ceilings_cover(numerator: int, up: int) -> None:
    assert divide_up(numerator, 10) == up


def test_a_gram_of_pla_at_three_cents() -> None:
    assert cents_for(1000, 3) == 3  # 1,000 mg at 3 millicents each


def test_no_float_and_no_mixture() -> None:
    with pytest.raises(TypeError):
        Money(1.0)  # type: ignore[arg-type]
    with pytest.raises(CurrencyMismatch):
        Money(1) + Money(1, "CHF")


@given(
    st.integers(-(10**9), 10**9), st.lists(st.integers(0, 10**6), min_size=1, max_size=9).filter(lambda w: sum(w) > 0)
)
def test_a_split_loses_nothing_and_is_fair_to_the_cent(cents: int, weights: list[int]) -> None:
    shares = split(cents, weights)
    assert sum(shares) == cents
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - cents * weight / sum(weights)) < 1 + 1e-6
