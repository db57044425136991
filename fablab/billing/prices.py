"""What a job is expected to cost, the ceiling that is announced, and what a run did cost. Pure: figures in, lines out.

Every rule of a tariff stands here and nowhere else. Quantities are integers (seconds, milligrams), rates are integer
millicents; a length of filament becomes an integer at the door of `filament_mg`, and no float goes further.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from fablab.messages import Ended
from fablab.money import cents_for, divide_half_away, divide_up, split

PI_NUMERATOR, PI_DENOMINATOR = 3_141_592_653_589_793, 10**15
"""π to 16 digits, as a ratio of integers."""
MACHINE, MATERIAL, OTHER = "revenue_machine", "revenue_material", "revenue_other"
REVENUE = {"machine_time": MACHINE, "setup": MACHINE, "minimum": MACHINE, "material": MATERIAL}
"""The account that each code of a line earns for; reductions are taken from all in proportion."""


class Line(Struct, frozen=True, kw_only=True):
    """One line of a quote or receipt. `why` is a code that says why it costs what it costs.

    code: machine_time | material | setup | minimum | failed_part | over_ceiling. unit: s | mg | piece. A negative
    `cents` reduces. kind: estimated | commanded | declared | measured | fixed (a price that rests on no figure).
    """

    code: str
    quantity: int
    unit: str
    rate_millicents: int
    cents: int
    kind: str
    why: str = ""
    data: dict[str, Any] = {}


@dataclass(frozen=True)
class TariffRates:
    """A tariff version: millicents per second of machine time, cents per run that succeeded, least cents of one."""

    millicents_per_s: int
    setup_cents: int = 0
    minimum_cents: int = 0


@dataclass(frozen=True)
class Filament:
    """Material as it is sold. µg/mm³, µm, millicents per mg (0 for a member's own spool)."""

    material_id: str
    density_ug_mm3: int
    diameter_um: int
    price_millicents_per_mg: int


@dataclass(frozen=True)
class Priced:
    """A quote: what is expected, and the most that will ever be charged. Cents."""

    lines: tuple[Line, ...]
    expected_cents: int
    ceiling_cents: int


@dataclass(frozen=True)
class Settled:
    """What a run costs its payer (`total_cents`, sum of the lines, 0 … ceiling) and what the lab bears itself."""

    lines: tuple[Line, ...]
    total_cents: int
    borne_cents: int
    used_mg: int
    used_kind: str


def filament_mg(length_mm: float, density_ug_mm3: int, diameter_um: int) -> int:
    """Milligrams of `length_mm` of round filament: π/4 · d² · length · density, rounded once, half away from zero.

    The length is taken to the nearest micrometre first. µm² · µm · µg/mm³ is 10⁻⁹ µg, hence 10¹² below. Negative
    lengths weigh nothing.
    """
    length_um = max(0, _thousandths(length_mm))
    return divide_half_away(
        PI_NUMERATOR * diameter_um * diameter_um * length_um * density_ug_mm3, 4 * PI_DENOMINATOR * 10**12
    )


def quote(
    seconds: int,
    filament_mm: Sequence[float],
    tariff: TariffRates,
    filament: Filament | None,
    margin_percent: int,
    kind: str = "estimated",
) -> Priced:
    """Price a file on one machine: lines, expected price, ceiling = expected × (1 + margin), rounded up to the cent.

    `seconds` are what the file is expected to take, `filament_mm` per tool; `filament` None: no material is sold.
    """
    lines = [_line("machine_time", seconds, "s", tariff.millicents_per_s, kind, "tariff")]
    if filament is not None:
        data = {
            "material": filament.material_id,
            "density_ug_mm3": filament.density_ug_mm3,
            "diameter_um": filament.diameter_um,
        }
        mg = sum(filament_mg(mm, filament.density_ug_mm3, filament.diameter_um) for mm in filament_mm)
        why = "lot_price" if filament.price_millicents_per_mg else "own_material"
        lines.append(_line("material", mg, "mg", filament.price_millicents_per_mg, kind, why, data))
    lines.extend(_fixed(tariff, sum(line.cents for line in lines)))
    expected = sum(line.cents for line in lines)
    return Priced(tuple(lines), expected, divide_up(expected * (100 + margin_percent), 100))


def settle(
    ended: Ended,
    verdict: str,
    failed_part: str,
    ceiling_cents: int,
    quoted: Sequence[Line],
    tariff: TariffRates,
    *,
    stopped_by_member: bool,
    lot_filament: tuple[int, int] | None = None,
) -> Settled:
    """Price what a run used with the frozen rates: `quoted` (lines of the quote) and `tariff` (its version).

    verdict: good | failed | unknown (the claim window closed). failed_part: free | material | full, the house's rule
    for a part that failed; a member who stopped her own run pays what it used whatever became of it. Seconds that
    staff or a fault of the machine took are not billed. Set-up and minimum are for runs that succeeded only. Nothing
    ran (no line taken, nothing touched): nothing is charged. `lot_filament`: density and diameter of the lot that was
    really in, where it is not the quoted one. What lies above the ceiling is borne by the lab.
    """
    failed = _failed(ended, verdict, stopped_by_member)
    time, material = _used(ended, quoted, tariff, lot_filament)
    lines = [time] if material is None else [time, material]
    if not _anything(ended):
        lines = []
    elif not failed and ended.result == "succeeded":
        lines.extend(_fixed(tariff, sum(line.cents for line in lines)))
    value = sum(line.cents for line in lines)
    if failed and lines:
        lines.extend(_rule_of_house(lines, failed_part))
    asked = sum(line.cents for line in lines)
    if asked > ceiling_cents:
        lines.append(_reduction("over_ceiling", ceiling_cents - asked, "ceiling"))
    total = sum(line.cents for line in lines)
    mg = 0 if material is None else material.quantity
    return Settled(tuple(lines), total, value - total, mg, "commanded" if material is None else material.kind)


def revenue(lines: Sequence[Line]) -> dict[str, int]:
    """Split the total of the lines over revenue accounts: reductions are taken in proportion. Sums to the total."""
    total = sum(line.cents for line in lines)
    earned: dict[str, int] = {}
    for line in lines:
        if line.cents > 0:
            account = REVENUE.get(line.code, OTHER)
            earned[account] = earned.get(account, 0) + line.cents
    if total == 0 or not earned:
        return {}
    names = sorted(earned)
    shares = split(total, [earned[name] for name in names])
    return {name: share for name, share in zip(names, shares, strict=True) if share}


def _used(
    ended: Ended, quoted: Sequence[Line], tariff: TariffRates, lot_filament: tuple[int, int] | None
) -> tuple[Line, Line | None]:
    kind = ended.kind if ended.kind in {"commanded", "measured", "declared"} else "commanded"
    billed = max(0, ended.seconds - ended.staff_paused_s)
    time_kind = "declared" if kind == "declared" else "measured"
    rest = {"seconds": ended.seconds, "not_billed_s": ended.staff_paused_s}
    time = _line("machine_time", billed, "s", tariff.millicents_per_s, time_kind, "tariff", rest)
    sold = next((line for line in quoted if line.code == "material"), None)
    if sold is None:
        return time, None
    if ended.declared_g is not None:
        mg, kind = max(0, _thousandths(ended.declared_g)), "declared"
    else:
        density, diameter = lot_filament or (sold.data["density_ug_mm3"], sold.data["diameter_um"])
        mg = sum(filament_mg(mm, density, diameter) for mm in ended.commanded_mm)
    return time, _line("material", mg, "mg", sold.rate_millicents, kind, sold.why, sold.data)


def _failed(ended: Ended, verdict: str, stopped_by_member: bool) -> bool:
    if ended.result == "stopped" and stopped_by_member:
        return False
    return verdict == "failed" or (verdict != "good" and ended.result != "succeeded")


def _anything(ended: Ended) -> bool:
    return bool(ended.touched or ended.lines or ended.declared_g or ended.seconds)


def _rule_of_house(lines: Sequence[Line], failed_part: str) -> list[Line]:
    spared = {"free": ("machine_time", "material"), "material": ("machine_time",), "full": ()}[failed_part]
    cents = sum(line.cents for line in lines if line.code in spared)
    return [_reduction("failed_part", -cents, f"failed_part_{failed_part}")] if cents else []


def _fixed(tariff: TariffRates, so_far: int) -> list[Line]:
    lines = []
    if tariff.setup_cents:
        lines.append(_line("setup", 1, "piece", tariff.setup_cents * 1000, "fixed", "tariff"))
    missing = tariff.minimum_cents - so_far - tariff.setup_cents
    if missing > 0:
        data = {"minimum_cents": tariff.minimum_cents}
        lines.append(_line("minimum", 1, "piece", missing * 1000, "fixed", "minimum", data))
    return lines


def _line(
    code: str, quantity: int, unit: str, rate: int, kind: str, why: str, data: Mapping[str, Any] | None = None
) -> Line:
    cents = cents_for(quantity, rate)
    return Line(
        code=code, quantity=quantity, unit=unit, rate_millicents=rate, cents=cents, kind=kind, why=why,
        data=dict(data or {}),
    )  # fmt: skip


def _reduction(code: str, cents: int, why: str) -> Line:
    return Line(code=code, quantity=1, unit="piece", rate_millicents=cents * 1000, cents=cents, kind="fixed", why=why)


def _thousandths(value: float) -> int:
    """A float that came over the wire as an integer count of thousandths: its exact ratio, rounded once."""
    numerator, denominator = value.as_integer_ratio()
    return divide_half_away(1000 * numerator, denominator)
