"""`fablab probe`: what is on a serial port: speed, firmware, capabilities, the profile that fits."""

import json
import re
import time
from dataclasses import asdict, dataclass

import click

SPEEDS = (115200, 250000, 230400, 57600, 38400, 19200, 9600, 500000, 1000000)
"""1200 is never tried: it starts the bootloader of some boards."""
BOOT_S = 12.0
ANSWER_S = 3.0


@dataclass(frozen=True)
class Probed:
    """The keys of `--json`."""

    port: str
    baud: int
    firmware: str
    capabilities: list[str]
    profile: str | None


class _Talk:
    """A few lines with an unknown board at one speed."""

    def __init__(self, port: str, baud: int) -> None:
        from fablab.devices.transports.serial_port import SerialPort

        self._port = SerialPort(port, baud, pulls_dtr=True)
        self._port.open()
        self.heard = b""

    def listen(self, seconds: float, until: bytes, quiet: float | None = None) -> bool:
        """Read until a line matches `until`, nothing comes for `quiet` seconds, or time is over."""
        end = time.monotonic() + seconds
        last = time.monotonic()
        while (now := time.monotonic()) < end:
            chunk = b"".join(self._port.read())
            if chunk:
                self.heard += chunk
                last = now
                if re.search(until, self.heard, re.M):
                    return True
            elif quiet is not None and now - last > quiet:
                return False
            else:
                time.sleep(0.02)
        return False

    def say(self, text: bytes) -> None:
        self.heard = b""
        self._port.write([text])

    def close(self) -> None:
        self._port.close()


def probe(port: str, speeds: tuple[int, ...] = SPEEDS) -> Probed | None:
    """Ask who is there at each speed in turn. Raises OSError where the port cannot be opened."""
    for baud in speeds:
        talk = _Talk(port, baud)
        try:
            # No command before clean text was read or the line is quiet; the hello is harmless to all of the family.
            talk.listen(BOOT_S, rb"^start\r?$", quiet=1.5)
            talk.listen(BOOT_S, rb"(?!)", quiet=0.7)
            if _garbage(talk.heard):
                continue
            talk.say(b"\nN0 M110 N0*125\n")
            if not talk.listen(ANSWER_S, rb"^(ok|wait|Grbl|error:)") or _garbage(talk.heard):
                continue
            talk.listen(0.3, rb"(?!)")
            talk.say(b"M115\n")
            talk.listen(ANSWER_S, rb"FIRMWARE_NAME[^\n]*\n(.*\n)*?ok|ok FIRMWARE_NAME[^\n]*\n|^error:20")
            found = _read(port, baud, talk.heard)
            if found is not None:
                return found
        finally:
            talk.close()
    return None


def _garbage(heard: bytes) -> bool:
    """Another speed: bytes that are no text."""
    odd = sum(byte >= 0x80 or (byte < 0x20 and byte not in b"\r\n\t") for byte in heard)
    return odd > len(heard) // 10


def _read(port: str, baud: int, heard: bytes) -> Probed | None:
    from fablab.devices.protocols.marlin_answers import read_capability, read_firmware
    from fablab.profiles import match_profile

    lines = [line.strip(b"\r") for line in heard.split(b"\n")]
    firmware = next((found for line in lines if (found := read_firmware(line))), None)
    if firmware is None:
        return None
    name = firmware.get("FIRMWARE_NAME", "")
    capabilities = [cap[0] for line in lines if (cap := read_capability(line)) and cap[1]]
    profile = match_profile(name, firmware.get("MACHINE_TYPE", ""))
    return Probed(port, baud, name, sorted(capabilities), profile.name if profile else None)


@click.command("probe")
@click.argument("port")
@click.option("--json", "as_json", is_flag=True, help="one object on one line")
def probe_command(port: str, as_json: bool) -> None:
    """What is on the serial port PORT, and the profile that fits. Opening a port reboots many boards."""
    from fablab.refusals import Refusal

    try:
        found = probe(port)
    except OSError as error:
        raise Refusal("port_not_open", port=port, why=str(error)) from error
    if found is None:
        raise Refusal("nothing_there", port=port)
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    click.echo(f"{found.port} at {found.baud}: {found.firmware}")
    click.echo(f"capabilities: {', '.join(found.capabilities) or '-'}")
    click.echo(f"profile: {found.profile or '-'}")
