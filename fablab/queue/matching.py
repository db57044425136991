"""Which machine can make a job, and every reason why one cannot. Pure: facts in, reasons out.

A *lasting* reason is about the machine as it is (too small, another nozzle): the job will never go there. A passing one
is about today (out of order, another spool in): the job may wait for it, and its price there counts for the hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_PURGE = (5.0, 5.0, 1.0)
"""How far below the lowest corner a slicer's purge line may begin, in mm."""
ALL_MODES = frozenset({"self_service", "accompanied", "queue"})


@dataclass(frozen=True)
class Reason:
    """Why not: a stable code with its data. The sentence is made at the edge."""

    code: str
    data: Mapping[str, Any] = field(default_factory=dict)
    lasting: bool = False


@dataclass(frozen=True)
class Needs:
    """What a file and its choices ask of a machine. None: the file or the person does not say.

    Lengths in mm, temperatures in °C, filament in mg.
    """

    kind: str = "printer"
    mode: str = "queue"  # queue | self_service: the job has her booking
    wished_machine: str | None = None
    printer_model: str | None = None
    dialect: str | None = None
    nozzle_mm_x100: int | None = None
    bbox_mm: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    tool_c: float | None = None
    bed_c: float | None = None
    tools: int = 1
    material_id: str | None = None
    colour: str | None = None
    filament_mg: int = 0
    hazards: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spool:
    """The lot that is in the machine, as a person said."""

    lot_id: str
    material_id: str
    colour: str
    remaining_mg: int


@dataclass(frozen=True)
class Offer:
    """One machine as it stands: what it can do, and what stands against it today."""

    machine_id: str
    kind: str = "printer"
    prints_files: bool = True  # its driver can print, or a person does it by hand
    modes: frozenset[str] = ALL_MODES
    printer_models: frozenset[str] = frozenset()  # empty: not known, anything is tried
    dialects: frozenset[str] = frozenset()  # empty: a machine that we do not speak to
    nozzle_mm_x100: int | None = None
    volume_mm: tuple[float, float, float] | None = None  # highest corner
    lowest_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    max_tool_c: float | None = None
    max_bed_c: float | None = None
    tools: int = 1
    spool: Spool | None = None
    spool_asked: bool = True  # False: a person feeds it and says what she took
    allowed_hazards: frozenset[str] = frozenset()
    priced: bool = True  # a tariff is valid
    outage: str | None = None  # the reason, in the words of who declared it
    latched: bool = False
    frozen: bool = False
    not_again: tuple[str, Mapping[str, Any]] | None = None  # its last rejection of this very job
    access: tuple[Reason, ...] = ()  # why the operator may not, where her authorisation counts


def reasons(needs: Needs, offer: Offer) -> tuple[Reason, ...]:
    """Every reason why `offer` does not suit `needs`, lasting ones first; empty: yes."""
    found = [*_by_wish(needs, offer), *_by_build(needs, offer), *_by_heat(needs, offer), *_by_material(needs, offer)]
    found += _by_today(offer)
    return tuple(sorted(found, key=lambda reason: not reason.lasting))


def may_wait_for(found: tuple[Reason, ...]) -> bool:
    """Whether the job may still go to the machine some day: no lasting reason stands against it."""
    return not any(reason.lasting for reason in found)


def _by_wish(needs: Needs, offer: Offer) -> list[Reason]:
    found = []
    if needs.wished_machine not in (None, offer.machine_id):
        found.append(Reason("other_machine_wished", {"wished": needs.wished_machine}, lasting=True))
    if not offer.prints_files or needs.kind != offer.kind:
        found.append(Reason("not_for_files", {"kind": offer.kind}, lasting=True))
    if needs.mode not in offer.modes:
        found.append(Reason("mode_not_offered", {"mode": needs.mode}, lasting=True))
    if not offer.priced:
        found.append(Reason("no_tariff", lasting=True))
    return [*found, *offer.access]


def _by_build(needs: Needs, offer: Offer) -> list[Reason]:
    found = []
    if (
        needs.printer_model
        and offer.printer_models
        and needs.printer_model.casefold() not in {model.casefold() for model in offer.printer_models}
    ):
        wanted = ", ".join(sorted(offer.printer_models))
        found.append(Reason("sliced_for_other", {"model": needs.printer_model, "machine_model": wanted}, lasting=True))
    if needs.dialect and offer.dialects and needs.dialect not in offer.dialects:
        found.append(Reason("other_dialect", {"dialect": needs.dialect}, lasting=True))
    if needs.nozzle_mm_x100 and offer.nozzle_mm_x100 and needs.nozzle_mm_x100 != offer.nozzle_mm_x100:
        data = {"wanted_mm": needs.nozzle_mm_x100 / 100, "mounted_mm": offer.nozzle_mm_x100 / 100}
        found.append(Reason("other_nozzle", data, lasting=True))
    if needs.tools > offer.tools:
        found.append(Reason("too_few_tools", {"wanted": needs.tools, "mounted": offer.tools}, lasting=True))
    found += _too_big(needs, offer)
    for hazard in needs.hazards:
        if hazard not in offer.allowed_hazards:
            found.append(Reason("hazard", {"hazard": hazard}, lasting=True))
    return found


def _too_big(needs: Needs, offer: Offer) -> list[Reason]:
    """The box must lie inside the volume, with 2 mm of grace, and 5 mm more in front, where purge lines lie."""
    if needs.bbox_mm is None or offer.volume_mm is None:
        return []
    grace = 2.0
    low, high = needs.bbox_mm
    outside = [
        axis
        for axis in range(3)
        if high[axis] > offer.volume_mm[axis] + grace or low[axis] < offer.lowest_mm[axis] - grace - _PURGE[axis]
    ]
    if not outside:
        return []
    data = {
        "axes": "".join("XYZ"[axis] for axis in outside),
        "needs_mm": [round(high[axis], 1) for axis in range(3)],
        "has_mm": list(offer.volume_mm),
    }
    return [Reason("too_big", data, lasting=True)]


def _by_heat(needs: Needs, offer: Offer) -> list[Reason]:
    found = []
    if needs.tool_c is not None and offer.max_tool_c is not None and needs.tool_c > offer.max_tool_c:
        data = {"wanted_c": needs.tool_c, "max_c": offer.max_tool_c}
        found.append(Reason("tool_too_hot", data, lasting=True))
    if needs.bed_c is not None and offer.max_bed_c is not None and needs.bed_c > offer.max_bed_c:
        found.append(Reason("bed_too_hot", {"wanted_c": needs.bed_c, "max_c": offer.max_bed_c}, lasting=True))
    return found


def _by_material(needs: Needs, offer: Offer) -> list[Reason]:
    spool = offer.spool
    if spool is None:
        if not offer.spool_asked or (needs.material_id is None and needs.filament_mg == 0):
            return []
        return [Reason("no_spool", {"wanted": needs.material_id or ""})]
    if needs.material_id is not None and spool.material_id != needs.material_id:
        return [Reason("other_material", {"wanted": needs.material_id, "loaded": spool.material_id})]
    found = []
    if needs.colour is not None and spool.colour.casefold() != needs.colour.casefold():
        found.append(Reason("other_colour", {"wanted": needs.colour, "loaded": spool.colour}))
    if needs.filament_mg > spool.remaining_mg:
        data = {"needs_g": -(-needs.filament_mg // 1000), "left_g": max(spool.remaining_mg, 0) // 1000}
        found.append(Reason("spool_too_short", data))
    return found


def _by_today(offer: Offer) -> list[Reason]:
    found = []
    if offer.outage is not None:
        found.append(Reason("out_of_order", {"reason": offer.outage}))
    if offer.latched:
        found.append(Reason("latched"))
    if offer.frozen:
        found.append(Reason("waits_for_agent"))
    if offer.not_again is not None:
        code, data = offer.not_again
        found.append(Reason("rejected_before", {"why": code, **data}))
    return found
