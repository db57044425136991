"""Printers of the Marlin family on a serial port: the Marlin engine on the serial transport."""

from typing import ClassVar

from fablab.devices.drivers.driver import Capability, Hosted, Surroundings
from fablab.devices.protocols.marlin import Marlin
from fablab.devices.transports.serial_port import SerialPort
from fablab.gcode.vetting import vet_for
from fablab.messages import MachineSettings
from fablab.profiles import find_profile
from fablab.sentences import Refusal


class MarlinSerial:
    """A printer that is streamed to line by line."""

    kind: ClassVar[str] = "marlin_serial"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.PRINT, Capability.REPORT, Capability.STOP_NOW}
    )
    needs_profile: ClassVar[bool] = True

    @staticmethod
    def build(settings: MachineSettings, surroundings: Surroundings) -> Hosted:
        """Raises `Refusal` port_missing, port_scheme, profile_unknown."""
        if not settings.port:
            raise Refusal("port_missing", machine=settings.id)
        profile = find_profile(settings.profile or "")
        engine = Marlin(profile.dialect_for_engine(), vet_for(profile))
        transport = SerialPort(settings.port, settings.baud or profile.baud, resets_on_open=profile.reset_by_dtr)
        return Hosted(engine, transport, profile, profile.host_death)
