"""The registry of drivers: kind → class, one explicit line each, plus the shape that they share.

To add a driver: write `devices/drivers/<name>.py` with a class of the shape `Driver`, import it here and add its line
to `REGISTRY`. The contract tests in tests/drivers then run over it by themselves.
"""

from fablab.devices.drivers.driver import Capability, Driver, Hosted, Surroundings
from fablab.devices.drivers.manual import ManualMachine
from fablab.devices.drivers.marlin_serial import MarlinSerial
from fablab.devices.drivers.mqtt_relay import MqttRelay
from fablab.devices.drivers.octoprint import OctoPrint
from fablab.messages import MachineSettings
from fablab.sentences import Refusal

REGISTRY: dict[str, type[Driver]] = {
    MarlinSerial.kind: MarlinSerial,
    OctoPrint.kind: OctoPrint,
    ManualMachine.kind: ManualMachine,
    MqttRelay.kind: MqttRelay,
}


def build(settings: MachineSettings, surroundings: Surroundings) -> Hosted:
    """Make engine and transport for one machine. Raises `Refusal` (unknown_driver, or what the driver misses)."""
    driver = REGISTRY.get(settings.driver)
    if driver is None:
        raise Refusal("unknown_driver", machine=settings.id, driver=settings.driver, known=", ".join(sorted(REGISTRY)))
    if driver.needs_profile and not settings.profile:
        raise Refusal("profile_missing", machine=settings.id)
    return driver.build(settings, surroundings)


__all__ = ["REGISTRY", "Capability", "Driver", "Hosted", "Surroundings", "build"]
