"""The command sequences of the host's own: off, park, return, settle. Pure: modes and position in, commands out."""

from fablab.devices.protocols.marlin_dialect import Dialect
from fablab.devices.protocols.marlin_modes import Modes

HOT_ENOUGH = 170.0
"""°C above which filament may be pushed or pulled."""


def number(value: float) -> bytes:
    """As firmwares read it: no exponent, no needless zeros."""
    return (b"%.3f" % value).rstrip(b"0").rstrip(b".")


def settle(dialect: Dialect, capabilities: frozenset[str]) -> list[bytes]:
    """After M115: what makes the firmware report by itself."""
    commands = []
    if "AUTOREPORT_TEMP" in capabilities:
        commands.append(b"M155 S2")
    if "PROMPT_SUPPORT" in capabilities:
        commands.append(b"M876 P1")
    if dialect.dead_man_s:
        commands.append(b"M85 S%d" % dialect.dead_man_s)
    return commands


def heaters_off(dialect: Dialect) -> list[bytes]:
    """All heaters and the part fan off."""
    if dialect.tools == 1:
        tools = [b"M104 S0"]
    else:
        tools = [b"M104 T%d S0" % tool for tool in range(dialect.tools)]
    chamber = [b"M141 S0"] if dialect.chamber else []
    return [*tools, b"M140 S0", *chamber, b"M107"]


def give_up(dialect: Dialect, modes: Modes, hot: bool) -> list[bytes]:
    """Cancel: heaters off first, then away from the part where the head knows where it is, then motors off."""
    commands = [*heaters_off(dialect), b"M220 S100", b"M221 S100"]
    if modes.homed:
        commands += [b"G91", b"M83"]
        commands += [b"G1 E-2 F1800"] if hot else []
        commands += [b"G1 Z%b F600" % number(dialect.lift_mm), b"G90", b"M82"]
    return [*commands, b"M84", b"M400"]


def park(dialect: Dialect, modes: Modes, hot: bool) -> list[bytes]:
    """Pause: relieve the nozzle, lift, go aside; motors stay on. Empty moves where the head does not know its place."""
    commands = [b"M84 S0"] if dialect.stepper_timeout_s else []
    if not modes.homed:
        return commands
    commands += [b"M83"]
    commands += [b"G1 E-1 F1800"] if hot else []
    commands += [b"G91", b"G1 Z%b F600" % number(dialect.lift_mm), b"G90"]
    if dialect.park_mm:
        commands.append(b"G1 X%b Y%b F6000" % tuple(map(number, dialect.park_mm)))
    return [*commands, b"M400"]


def heat_again(modes: Modes) -> list[bytes]:
    """Resume: the targets as they were before the pause."""
    commands = []
    for sensor, target in modes.targets.items():
        if sensor == "bed":
            commands.append(b"M140 S%b" % number(target))
        elif sensor == "chamber":
            commands.append(b"M141 S%b" % number(target))
        else:
            commands.append(b"M104 T%d S%b" % (int(sensor.removeprefix("tool")), number(target)))
    return commands


def come_back(dialect: Dialect, modes: Modes, at: dict[str, float], hot: bool) -> list[bytes]:
    """Resume: back over the part, down, pressure up, and every mode as the file left it."""
    commands = [b"M84 S%d" % dialect.stepper_timeout_s] if dialect.stepper_timeout_s else []
    if modes.homed and {"X", "Y", "Z"} <= at.keys():
        commands.append(b"G90")
        if dialect.park_mm:
            commands.append(b"G1 X%b Y%b F6000" % (number(at["X"]), number(at["Y"])))
        commands.append(b"G1 Z%b F600" % number(at["Z"]))
        commands += [b"M83", b"G1 E1 F1800"] if hot else []
        if "E" in at:
            commands.append(b"G92 E%b" % number(at["E"]))
    commands.append(b"G90" if modes.absolute else b"G91")
    commands.append(b"M82" if modes.e_absolute else b"M83")
    feed = modes.feed()
    if feed:
        commands.append(b"G1 F%b" % number(feed))
    commands.append(b"M106 S%b" % number(modes.fan) if modes.fan else b"M107")
    return commands
