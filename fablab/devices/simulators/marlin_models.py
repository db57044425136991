"""The printers that the Marlin simulator can play: what they say of themselves and how they treat the wire."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """One simulated printer. Rates in °C/s, volumes in mm."""

    firmware: str
    machine: str
    caps: tuple[str, ...]
    missing: tuple[str, ...] = ()  # capabilities named with 0
    advanced_ok: bool = False
    resend_ok: bool = True
    emergency_parser: bool = False
    early_kill: bool = True  # M112 is seen as soon as its bytes are there
    silent_repeat: bool = True  # a repeated line number gets no answer at all
    checksum_needs_number: bool = False
    resend_form: str = "Resend: {n}"
    error_form: bool = True
    hotend_rate: float = 2.5
    bed_rate: float = 0.8
    ring: int = 128
    queue: int = 4
    planner: int = 16


_FULL = (
    "AUTOREPORT_TEMP",
    "EEPROM",
    "THERMAL_PROTECTION",
    "EMERGENCY_PARSER",
    "PROMPT_SUPPORT",
    "HOST_ACTION_COMMANDS",
)
MODELS = {
    "mk3": Model(
        "Prusa-Firmware 3.13.2+7080 based on Marlin", "Prusa i3 MK3S", ("AUTOREPORT_TEMP", "PRUSA_MMU2"),
        silent_repeat=False, checksum_needs_number=True,
    ),
    "mini": Model("Marlin 2.1.2 (Jan  1 2023)", "Fablab Mini", _FULL, advanced_ok=True, emergency_parser=True),
    "marlin": Model("Marlin 2.1.2 (Jan  1 2023)", "3D Printer", _FULL, emergency_parser=True),
    "big": Model(
        "Marlin 2.0.9 (Jan  1 2021)", "Fablab Big", ("EEPROM",), missing=("AUTOREPORT_TEMP", "THERMAL_PROTECTION"),
        hotend_rate=3.0, bed_rate=0.5, silent_repeat=False,
    ),
    "smoothie": Model(
        "Smoothieware, FIRMWARE_VERSION:edge-94de12c", "Smoothieboard", (),
        resend_ok=False, resend_form="rs N{n}", error_form=False, silent_repeat=False,
    ),
}  # fmt: skip
