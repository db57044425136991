"""Firmware profiles: every shipped file is right, wrong ones are refused, and a printer finds its own."""

import pytest

from fablab.devices.drivers import REGISTRY
from fablab.devices.drivers.marlin_serial import dialect_of, vet_for
from fablab.profiles import FOLDER, all_profiles, find_profile, match_profile, read_profile
from fablab.refusals import Refusal


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.toml")))
def test_every_shipped_profile_is_whole(name: str) -> None:
    profile = find_profile(name)
    assert profile.driver in REGISTRY
    if profile.driver == "marlin_serial":
        assert dialect_of(profile).queue_lines >= 2
        assert profile.printer is not None
        low, high = profile.printer.volume_mm
        assert all(a < b for a, b in zip(low, high, strict=True))


@pytest.mark.parametrize(
    ("firmware", "machine", "name"),
    [
        ("Prusa-Firmware 3.13.2+7080 based on Marlin", "Prusa i3 MK3S", "prusa-mk3"),
        ("Marlin 2.1.2 (Jan  1 2023)", "Ender-3", "marlin-2.1"),
        ("Marlin 2.1.2 (Jan  1 2023)", "Fablab Mini", "marlin-mini"),
        ("Smoothieware", "", "smoothieware"),
        ("Klipper", "", None),
    ],
)
def test_a_printer_finds_its_profile(firmware: str, machine: str, name: str | None) -> None:
    found = match_profile(firmware, machine)
    assert (found.name if found else None) == name


def test_an_unknown_key_is_an_error_that_names_file_and_key() -> None:
    text = (FOLDER / "prusa-mk3.toml").read_text(encoding="utf-8")
    with pytest.raises(Refusal) as refused:
        read_profile("prusa-mk3.toml", text.replace("[speech]\n", "[speech]\nresend_with_okay = true\n"))
    assert refused.value.code == "profile_broken"
    assert "resend_with_okay" in refused.value.data["where"]
    with pytest.raises(Refusal):
        read_profile("other.toml", text)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(Refusal) as refused:
        find_profile("prusa-mk33")
    assert "prusa-mk3" in refused.value.data["known"]
    assert set(all_profiles()) >= {"prusa-mk3", "marlin-2.1"}


@pytest.mark.parametrize(
    "line",
    [b"M104 S400", b"m0104 s400", b"M140 S200", b"G1 X1 M104 S400", b"M502", b"M112", b"N5 M502*3", b"M 104 S400"],
)
def test_what_a_machine_must_never_get_is_stopped_at_the_line(line: bytes) -> None:
    assert vet_for(find_profile("prusa-mk3").limits())(line)


@pytest.mark.parametrize("line", [b"G1 X1 Y2 E.5 F1800", b"M104 S215", b"G28", b'M862.3 P "MK3S"', b"T0"])
def test_ordinary_lines_pass(line: bytes) -> None:
    assert vet_for(find_profile("prusa-mk3").limits())(line) is None
