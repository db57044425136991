"""Each reason why a machine cannot make a job, alone; and the yes."""

from dataclasses import replace

import pytest

from fablab.queue.matching import Needs, Offer, Reason, Spool, may_wait_for, reasons

NEEDS = Needs(
    printer_model="MK3S",
    dialect="marlin",
    nozzle_mm_x100=40,
    bbox_mm=((10.0, 10.0, 0.0), (200.0, 180.0, 100.0)),
    tool_c=215,
    bed_c=60,
    material_id="pla",
    colour="Orange",
    filament_mg=12_000,
)
OFFER = Offer(
    machine_id="mk3",
    printer_models=frozenset({"MK3", "MK3S"}),
    dialects=frozenset({"marlin"}),
    nozzle_mm_x100=40,
    volume_mm=(250.0, 210.0, 210.0),
    max_tool_c=290,
    max_bed_c=120,
    spool=Spool("lot", "pla", "orange", 300_000),
)


def test_yes() -> None:
    assert reasons(NEEDS, OFFER) == ()


LASTING = {
    "other_machine_wished": (replace(NEEDS, wished_machine="xl"), OFFER),
    "not_for_files": (NEEDS, replace(OFFER, kind="saw")),
    "mode_not_offered": (NEEDS, replace(OFFER, modes=frozenset({"self_service"}))),
    "no_tariff": (NEEDS, replace(OFFER, priced=False)),
    "sliced_for_other": (replace(NEEDS, printer_model="MINI"), OFFER),
    "other_dialect": (replace(NEEDS, dialect="klipper"), OFFER),
    "other_nozzle": (replace(NEEDS, nozzle_mm_x100=60), OFFER),
    "too_few_tools": (replace(NEEDS, tools=2), OFFER),
    "too_big": (NEEDS, replace(OFFER, volume_mm=(180.0, 180.0, 180.0))),
    "hazard": (replace(NEEDS, hazards=("M502",)), OFFER),
    "tool_too_hot": (replace(NEEDS, tool_c=300), OFFER),
    "bed_too_hot": (replace(NEEDS, bed_c=125), OFFER),
}
PASSING = {
    "no_spool": (NEEDS, replace(OFFER, spool=None)),
    "other_material": (NEEDS, replace(OFFER, spool=Spool("lot", "petg", "orange", 300_000))),
    "other_colour": (NEEDS, replace(OFFER, spool=Spool("lot", "pla", "black", 300_000))),
    "spool_too_short": (NEEDS, replace(OFFER, spool=Spool("lot", "pla", "orange", 11_999))),
    "out_of_order": (NEEDS, replace(OFFER, outage="courroie")),
    "latched": (NEEDS, replace(OFFER, latched=True)),
    "waits_for_agent": (NEEDS, replace(OFFER, frozen=True)),
    "rejected_before": (NEEDS, replace(OFFER, not_again=("wrong_model", {}))),
}


@pytest.mark.parametrize("code", sorted(LASTING))
def test_lasting(code: str) -> None:
    found = reasons(*LASTING[code])
    assert [reason.code for reason in found] == [code]
    assert not may_wait_for(found)


@pytest.mark.parametrize("code", sorted(PASSING))
def test_passing(code: str) -> None:
    found = reasons(*PASSING[code])
    assert [reason.code for reason in found] == [code]
    assert may_wait_for(found)


def test_every_reason_is_told_lasting_ones_first() -> None:
    offer = replace(OFFER, outage="courroie", nozzle_mm_x100=60, spool=None)
    assert [reason.code for reason in reasons(NEEDS, offer)] == ["other_nozzle", "no_spool", "out_of_order"]


def test_what_is_not_known_is_no_reason() -> None:
    assert reasons(Needs(), replace(OFFER, printer_models=frozenset(), volume_mm=None, spool=None)) == ()


def test_the_operators_own_reason_is_told() -> None:
    why = Reason("not_authorised", {"machine": "mk3"}, lasting=True)
    assert reasons(NEEDS, replace(OFFER, access=(why,))) == (why,)
