"""What each command does to the simulated printer. One function per group, looked up by code."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fablab.devices.simulators.marlin_firmware import Firmware

_CODE = re.compile(rb"^([GMT])(\d+)")
_WORD = re.compile(rb"([A-Z])(-?\d*\.?\d+)")
_HOMING_S, _LEVELLING_S = 20.0, 60.0
_KNOWN = frozenset(
    [
        "G10",
        "G11",
        "G17",
        "G18",
        "G19",
        "G20",
        "G21",
        "G27",
        "G80",
        "M17",
        "M20",
        "M21",
        "M73",
        "M74",
        "M75",
        "M76",
        "M77",
        "M78",
        "M82",
        "M83",
        "M84",
        "M85",
        "M92",
        "M106",
        "M107",
        "M110",
        "M117",
        "M118",
        "M201",
        "M203",
        "M204",
        "M205",
        "M207",
        "M208",
        "M209",
        "M211",
        "M217",
        "M220",
        "M221",
        "M300",
        "M301",
        "M302",
        "M304",
        "M350",
        "M420",
        "M486",
        "M500",
        "M501",
        "M503",
        "M572",
        "M593",
        "M601",
        "M602",
        "M603",
        "M851",
        "M862",
        "M876",
        "M900",
        "M906",
        "M907",
        "M914",
        "M18",
        "M27",
        "M155",
        "M154",
        "M113",
        "M108",
    ]
)


def execute(board: "Firmware", number: int | None, command: bytes, now: float, real: float) -> None:
    """Run one command; acknowledges at once, or later through `wait_for`."""
    found = _CODE.match(command)
    if not found:
        board.say(f'echo:Unknown command: "{command.decode("ascii", "replace")}"')
        board.ok(number)
        return
    code = (found[1] + b"%d" % int(found[2])).decode("ascii")
    words = {letter.decode("ascii"): float(value) for letter, value in _WORD.findall(command[found.end() :])}
    if code in ("G0", "G1", "G2", "G3"):
        before = board.body.furthest.get(board.body.tool, 0.0)
        board.body.move(words, now, code in ("G2", "G3"))
        gained = board.body.furthest.get(board.body.tool, 0.0) - before
        board.commanded[board.body.tool] = board.commanded.get(board.body.tool, 0.0) + gained
        board.ok(number)
    elif code[0] == "T":
        board.body.tool = int(code[1:])
        board.ok(number)
    elif code[0] == "G":
        _g(board, number, code, words, now)
    else:
        _m(board, number, code, words, now, real)


def _g(board: "Firmware", number: int | None, code: str, words: dict[str, float], now: float) -> None:
    body = board.body
    if code == "G4":
        end = max(body.ends, now) + words.get("S", 0.0) + words.get("P", 0.0) / 1000
        board.wait_for(number, "dwell", lambda: board.now >= end, end)
        return
    if code in ("G28", "G29", "G30", "G80"):
        body.at.update(X=0.0, Y=0.0, Z=0.0)
        body.homed = True
        body.occupy(_HOMING_S if code == "G28" else _LEVELLING_S, now)
        end = body.ends
        board.wait_for(number, "home", lambda: board.now >= end, end)
        return
    if code in ("G90", "G91"):
        body.absolute = code == "G90"
        if "Marlin 2" in board.model.firmware:
            body.e_absolute = body.absolute
    elif code == "G92":
        body.at.update({axis: words[axis] for axis in "XYZE" if axis in words})
    elif code not in _KNOWN:
        board.say(f'echo:Unknown command: "{code}"')
    board.ok(number)


def _m(board: "Firmware", number: int | None, code: str, words: dict[str, float], now: float, real: float) -> None:
    if code in ("M104", "M109", "M140", "M190"):
        _heat(board, number, code, words)
    elif code == "M105":
        board.ok(advanced=False, suffix=" " + board.temperatures())
    elif code == "M400":
        end = board.body.ends
        board.wait_for(number, "motion", lambda: board.now >= end, end)
    elif code == "M114":
        at = board.body.at
        board.say(f"X:{at['X']:.2f} Y:{at['Y']:.2f} Z:{at['Z']:.2f} E:{at['E']:.2f} Count X:0 Y:0 Z:0")
        board.ok(number)
    elif code == "M115":
        _who(board)
        board.ok(number)
    elif code in ("M0", "M1", "M600"):
        board.say("//action:prompt_end", "//action:prompt_begin Paused", "//action:prompt_button Continue")
        board.say("//action:prompt_show")
        board.wait_for(number, "user", lambda: False)
    elif code == "M112":
        board.kill("echo:M112 Shutdown")
    else:
        _set(board, code, words, now, real)
        board.ok(number)


def _set(board: "Firmware", code: str, words: dict[str, float], now: float, real: float) -> None:
    if code == "M155":
        board.report_every = min(60.0, words.get("S", 0.0))
        board.report_at = real + board.report_every
    elif code == "M113":
        board.busy_every = words.get("S", 2.0) or 3600.0
    elif code in ("M82", "M83"):
        board.body.e_absolute = code == "M82"
    elif code in ("M106", "M107"):
        board.body.fan = words.get("S", 255.0) if code == "M106" else 0.0
    elif code == "M85":
        board.dead_man_s = words.get("S", 0.0)
        board.body.moved_at = now
    elif code == "M410":
        board.body.drop(now)
    elif code not in _KNOWN:
        board.say(f'echo:Unknown command: "{code}"')


def _heat(board: "Firmware", number: int | None, code: str, words: dict[str, float]) -> None:
    heater = board.body.heaters["tool0" if code in ("M104", "M109") else "bed"]
    cooling = "R" in words and "S" not in words
    heater.target = words.get("S", words.get("R", heater.target))
    if code in ("M104", "M140") or heater.target == 0:
        board.ok(number)
        return
    board.wait_for(number, "heat", lambda: heater.arrived(cooling))


def _who(board: "Firmware") -> None:
    model = board.model
    board.say(
        f"FIRMWARE_NAME:{model.firmware} SOURCE_CODE_URL:example.org PROTOCOL_VERSION:1.0 "
        f"MACHINE_TYPE:{model.machine} EXTRUDER_COUNT:1 UUID:00000000-0000-4000-8000-000000000000"
    )
    board.say(*(f"Cap:{name}:1" for name in model.caps), *(f"Cap:{name}:0" for name in model.missing))


def board_now(board: "Firmware") -> float:
    """The simulated second that the board was last told."""
    return board.now
