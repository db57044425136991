"""Money is integer cents of one currency, rates are integer millicents per unit, and there is one rounding rule.

No float ever stands between a measured quantity and a cent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

MILLICENTS_PER_CENT = 1000


class CurrencyMismatch(ValueError):
    """Two amounts of different currencies were put together."""


@dataclass(frozen=True, order=False)
class Money:
    """An amount of integer `cents` in a `currency` (ISO 4217)."""

    cents: int
    currency: str = "EUR"

    def __post_init__(self) -> None:
        if isinstance(self.cents, bool) or not isinstance(self.cents, int):
            raise TypeError(f"cents are an int, not {type(self.cents).__name__}")

    def __add__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(self.cents + other.cents, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(self.cents - other.cents, self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.cents, self.currency)

    def __lt__(self, other: "Money") -> bool:
        self._same(other)
        return self.cents < other.cents

    def __le__(self, other: "Money") -> bool:
        self._same(other)
        return self.cents <= other.cents

    def _same(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency}")


def divide_half_away(numerator: int, denominator: int) -> int:
    """`numerator / denominator` rounded to the nearest integer, halves away from zero. `denominator` > 0."""
    if denominator <= 0:
        raise ValueError("the denominator is positive")
    sign = -1 if numerator < 0 else 1
    return sign * ((2 * abs(numerator) + denominator) // (2 * denominator))


def divide_up(numerator: int, denominator: int) -> int:
    """`numerator / denominator` rounded towards plus infinity: for ceilings that must cover. `denominator` > 0."""
    if denominator <= 0:
        raise ValueError("the denominator is positive")
    return -(-numerator // denominator)


def cents_for(quantity: int, rate_millicents: int) -> int:
    """Cents for `quantity` units (mg, s, Wh) at `rate_millicents` per unit: one rounding, half away from zero."""
    return divide_half_away(quantity * rate_millicents, MILLICENTS_PER_CENT)


def split(cents: int, weights: Sequence[int]) -> list[int]:
    """Split `cents` in proportion to non-negative `weights`, to the cent, by largest remainder; first wins a tie."""
    total = sum(weights)
    if total <= 0 or any(weight < 0 for weight in weights):
        raise ValueError("weights are not negative and not all zero")
    sign = -1 if cents < 0 else 1
    shares = [abs(cents) * weight // total for weight in weights]
    remainders = [abs(cents) * weight % total for weight in weights]
    missing = abs(cents) - sum(shares)
    for index in sorted(range(len(weights)), key=lambda i: -remainders[i])[:missing]:
        shares[index] += 1
    return [sign * share for share in shares]
