"""Loads and checks firmware_profiles/*.toml: what a model or firmware is and how it speaks. Data only, no behaviour.

An unknown key is an error. Each file stands for itself: no inheritance, so that what is written is what holds.
"""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from fablab.gcode.limits import Limits
from fablab.refusals import Refusal

FOLDER = Path(__file__).parent / "firmware_profiles"

Corner = tuple[float, float, float]


class Printer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of a printer. Millimetres and °C."""

    volume_mm: tuple[Corner, Corner]  # lowest, highest corner that the nozzle may print in
    nozzle_mm: float = 0.4
    filament_mm: float = 1.75
    tools: int = 1
    hotend_max_c: float = 275.0
    bed_max_c: float = 110.0
    chamber_max_c: float = 0.0  # 0: has no heated chamber
    park_mm: tuple[float, float] | None = None  # where a paused head waits; none: it only lifts
    lift_mm: float = 5.0
    pause_heat_s: float = 1800.0  # a pause keeps the hotend hot this long


class Speech(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How its firmware speaks on the wire. Seconds, bytes; flags as in protocols/marlin_dialect."""

    baud: int = 115200
    reset_by_dtr: bool = True  # opening the port reboots the board; pulling DTR does so on purpose
    resend_with_ok: bool | None = None
    m105_ok_carries_t: bool = True
    advanced_ok: bool = False
    emergency_parser: bool = False  # trusted when the firmware says so too
    buffer_bytes: int = 128
    queue_lines: int = 4
    max_line: int = 96
    g90_affects_e: bool = False
    boot_s: float = 10.0
    quiet_s: float = 1.0
    silence_s: float = 30.0
    busy_silence_s: float = 10.0
    max_silences: int = 5
    settle_s: float = 2.0
    stepper_timeout_s: int = 120
    dead_man_s: int = 0  # M85: firmware stops itself after so long without a move; 0: not used


class Match(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a machine of this profile introduces itself in M115."""

    firmware: tuple[str, ...]  # any of these texts is in FIRMWARE_NAME
    machine: tuple[str, ...] = ()  # any of these texts is in MACHINE_TYPE; empty: any machine


class Gcode(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Codes that the profile permits or refuses beside the house's list."""

    allow: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()


class Profile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file. `models`: what slicers write as `printer_model`; empty: any file is tried.

    `family` is the kind of G-code that it takes (marlin, grbl …); empty where it takes none. `host_death` says what
    becomes of a machine whose host dies: firmware_timer | relay_timer | none.
    """

    name: str
    title: str
    driver: str
    host_death: str = "none"
    family: str = ""
    models: tuple[str, ...] = ()
    match: Match | None = None
    printer: Printer | None = None
    speech: Speech | None = None
    gcode: Gcode = Gcode()

    @property
    def dialects(self) -> frozenset[str]:
        """What slicers call the kind of G-code that it takes; Marlin's two names mean one language to a printer."""
        if self.family == "marlin":
            return frozenset({"marlin", "marlin2"})
        return frozenset({self.family} if self.family else ())

    def limits(self, role: str = "member") -> Limits:
        """The bounds that a file for this machine is held against."""
        base = Limits(role=role, allow=self.gcode.allow, forbid=self.gcode.forbid)
        if self.printer is None or self.speech is None:
            return base
        return msgspec.structs.replace(
            base,
            max_line=self.speech.max_line - 1,
            hotend_max_c=self.printer.hotend_max_c,
            bed_max_c=self.printer.bed_max_c,
            chamber_max_c=self.printer.chamber_max_c,
            volume_mm=self.printer.volume_mm,
            g90_sets_e=self.speech.g90_affects_e,
        )


@cache
def all_profiles() -> dict[str, Profile]:
    """Every shipped profile by name. Raises `Refusal` profile_broken, naming the file and what is wrong in it."""
    found: dict[str, Profile] = {}
    for file in sorted(FOLDER.glob("*.toml")):
        profile = read_profile(file.name, file.read_text(encoding="utf-8"))
        found[profile.name] = profile
    return found


def read_profile(file_name: str, text: str) -> Profile:
    """Check the text of one file. Raises `Refusal` profile_broken."""
    try:
        raw: dict[str, Any] = tomllib.loads(text)
        profile = msgspec.convert(raw, Profile)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Refusal("profile_broken", file=file_name, where=str(error)) from error
    if f"{profile.name}.toml" != file_name:
        raise Refusal("profile_broken", file=file_name, where="name")
    if (profile.speech is None) != (profile.printer is None):
        raise Refusal("profile_broken", file=file_name, where="printer, speech")
    return profile


def find_profile(name: str) -> Profile:
    """The profile of that name. Raises `Refusal` profile_unknown, naming those there are."""
    profile = all_profiles().get(name)
    if profile is None:
        raise Refusal("profile_unknown", profile=name, known=", ".join(sorted(all_profiles())))
    return profile


def match_profile(firmware: str, machine: str) -> Profile | None:
    """The profile that fits what M115 said: one that names the machine before one that takes any of its firmware."""
    fitting = [
        profile
        for profile in all_profiles().values()
        if profile.match is not None
        and any(text in firmware for text in profile.match.firmware)
        and (not profile.match.machine or any(text in machine for text in profile.match.machine))
    ]
    return max(fitting, key=_closeness, default=None)


def _closeness(profile: Profile) -> tuple[bool, int]:
    match = profile.match
    return (bool(match and match.machine), max((len(text) for text in match.firmware), default=0) if match else 0)
