"""Printers of the Marlin family on a serial port: the Marlin engine on the serial transport."""

import re
from collections.abc import Callable
from typing import ClassVar

from fablab.devices.drivers.driver import Capability, Hosted, Surroundings
from fablab.devices.protocols.marlin import Marlin
from fablab.devices.protocols.marlin_dialect import Dialect
from fablab.devices.transports.serial_port import SerialPort
from fablab.gcode.hazards import check_line
from fablab.gcode.limits import Limits
from fablab.messages import MachineSettings
from fablab.profiles import Profile, find_profile
from fablab.refusals import Refusal

_PLAIN_MOVE = re.compile(rb"G[01](?: [XYZEF]-?\d*\.?\d+)+")
"""What nearly every line of a file is: one move, nothing hidden in it."""


class MarlinSerial:
    """A printer that is streamed to line by line."""

    kind: ClassVar[str] = "marlin_serial"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.PRINT, Capability.REPORT, Capability.STOP_NOW}
    )
    needs_profile: ClassVar[bool] = True

    @staticmethod
    def build(settings: MachineSettings, surroundings: Surroundings) -> Hosted:
        """A relative port starts at the folder of fablab.toml. Raises `Refusal` port_missing, port_scheme, profile_…"""
        if not settings.port:
            raise Refusal("port_missing", machine=settings.id)
        port = settings.port if "://" in settings.port else str(surroundings.folder / settings.port)
        profile = find_profile(settings.profile or "")
        if profile.speech is None:
            raise Refusal("profile_of_other_driver", machine=settings.id, profile=profile.name)
        engine = Marlin(dialect_of(profile), vet_for(profile.limits()))
        speech = profile.speech
        return Hosted(
            engine,
            SerialPort(port, settings.baud or speech.baud, pulls_dtr=speech.reset_by_dtr),
            profile,
            profile.host_death,
        )


def dialect_of(profile: Profile) -> Dialect:
    """What the engine has to know of a profile. Raises `Refusal` for one without a wire to speak on."""
    speech, printer = profile.speech, profile.printer
    if speech is None or printer is None:
        raise Refusal("profile_of_other_driver", machine="", profile=profile.name)
    return Dialect(
        resend_with_ok=speech.resend_with_ok,
        m105_ok_carries_t=speech.m105_ok_carries_t,
        advanced_ok=speech.advanced_ok,
        emergency_parser=speech.emergency_parser,
        buffer_bytes=speech.buffer_bytes,
        queue_lines=speech.queue_lines,
        max_line=speech.max_line,
        g90_affects_e=speech.g90_affects_e,
        boot_s=speech.boot_s,
        quiet_s=speech.quiet_s,
        silence_s=speech.silence_s,
        busy_silence_s=speech.busy_silence_s,
        max_silences=speech.max_silences,
        tools=printer.tools,
        chamber=printer.chamber_max_c > 0,
        park_mm=printer.park_mm,
        lift_mm=printer.lift_mm,
        pause_heat_s=printer.pause_heat_s,
        settle_s=speech.settle_s,
        stepper_timeout_s=speech.stepper_timeout_s,
        dead_man_s=speech.dead_man_s,
    )


def vet_for(limits: Limits) -> Callable[[bytes], str | None]:
    """The judge at the line: the code of what must not leave, else None. Same judgement as for whole files."""

    def vet(text: bytes) -> str | None:
        if _PLAIN_MOVE.fullmatch(text):
            return None
        return next((hazard.reason for hazard in check_line(text, limits) if hazard.severity == "refuse"), None)

    return vet
