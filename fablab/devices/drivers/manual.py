"""Any machine that nobody can drive by wire: a person starts it, ends it and types what it used."""

from typing import ClassVar

from fablab.devices.drivers.driver import Capability, Hosted, Surroundings
from fablab.devices.protocols.manual import Manual
from fablab.devices.transports.none import NoTransport
from fablab.messages import MachineSettings


class ManualMachine:
    """Queue, quote, "started" and "finished" by a tap."""

    kind: ClassVar[str] = "manual"
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.PRINT})
    needs_profile: ClassVar[bool] = False

    @staticmethod
    def build(settings: MachineSettings, surroundings: Surroundings) -> Hosted:  # noqa: ARG004 — the drivers' shape
        return Hosted(Manual(), NoTransport())
