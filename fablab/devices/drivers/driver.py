"""What every driver is: a kind, what it can do, and how its engine and its transport are made. No driver lives here."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol

from fablab.devices.protocols.contract import Engine, Transport
from fablab.messages import MachineSettings


class Capability(StrEnum):
    """What a kind of machine can be asked for."""

    PRINT = "CanPrint"  # takes Print, Pause, Resume, Cancel
    SWITCH = "CanSwitch"  # takes Switch
    REPORT = "CanReport"  # tells temperatures, power or progress by itself
    STOP_NOW = "CanStopNow"  # takes EmergencyStop and says how it was confirmed


@dataclass(frozen=True)
class Surroundings:
    """What a driver may need beside its settings.

    `folder`: where relative paths of secret files start (the folder of fablab.toml). `bus`: the site's broker for
    drivers of MQTT devices, None where there is none; its type is the business of the transport that uses it.
    """

    folder: Path = field(default_factory=Path)
    bus: Any = None


@dataclass(frozen=True)
class Hosted:
    """An engine and the transport it speaks through, ready for a worker, which owns both alone.

    `profile` is the firmware profile in use (`fablab.profiles.Profile`), None for machines without one.
    `host_death` says what becomes of the machine when its host dies: firmware_timer | relay_timer | none.
    """

    engine: Engine
    transport: Transport
    profile: Any = None
    host_death: str = "none"


class Driver(Protocol):
    """One kind of machine. Classes, never instances, stand in the registry."""

    kind: ClassVar[str]
    capabilities: ClassVar[frozenset[Capability]]
    needs_profile: ClassVar[bool]

    @staticmethod
    def build(settings: MachineSettings, surroundings: Surroundings) -> Hosted:
        """Make engine and transport; opens nothing yet. Raises `Refusal` where the settings do not suffice."""
        ...
