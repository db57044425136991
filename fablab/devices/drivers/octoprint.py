"""A printer behind an OctoPrint server: the OctoPrint engine on the HTTP transport, with the key from its file."""

from typing import ClassVar

from fablab.devices.drivers.driver import Capability, Hosted, Surroundings
from fablab.devices.protocols.octoprint import OctoPrintEngine
from fablab.devices.transports.http import HttpTransport
from fablab.messages import MachineSettings
from fablab.outgoing import AddressRefused, check
from fablab.sentences import Refusal


class OctoPrint:
    """A printer that is given whole files and prints on by itself when the agent is away."""

    kind: ClassVar[str] = "octoprint"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.PRINT, Capability.REPORT, Capability.STOP_NOW}
    )
    needs_profile: ClassVar[bool] = False

    @staticmethod
    def build(settings: MachineSettings, surroundings: Surroundings) -> Hosted:
        """Raises `Refusal` url_missing, address_…, api_key_file_missing, api_key_malformed."""
        if not settings.url:
            raise Refusal("url_missing", machine=settings.id)
        try:
            check(settings.url)
        except AddressRefused as refused:
            raise Refusal(refused.code, machine=settings.id, **refused.data) from refused
        key = _read_key(settings, surroundings)
        return Hosted(OctoPrintEngine(), HttpTransport(settings.url, {"X-Api-Key": key}))


def _read_key(settings: MachineSettings, surroundings: Surroundings) -> str:
    name = settings.api_key_file or ""
    try:
        key = (surroundings.folder / name).read_text(encoding="utf-8").strip() if name else ""
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal("api_key_file_missing", machine=settings.id, file=name) from error
    if not key:
        raise Refusal("api_key_file_missing", machine=settings.id, file=name)
    if not (key.isascii() and key.isprintable() and " " not in key and len(key) <= 256):
        raise Refusal("api_key_malformed", machine=settings.id, file=name)
    return key
