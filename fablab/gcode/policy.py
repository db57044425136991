"""The house's list of commands: what any file may say, what needs a yes, what is never sent. Data only.

Source: the command references of Marlin 2.1, Prusa 3.14, RepRapFirmware 3.5 and Klipper; reasons are words of
`fablab.sentences`.
"""


def _codes(letter: str, *numbers: int | tuple[int, int] | str) -> frozenset[str]:
    """`_codes("M", 3, (5, 7), "862.3")` → M3, M5, M6, M7, M862.3."""
    found: set[str] = set()
    for number in numbers:
        first, last = number if isinstance(number, tuple) else (number, number)
        if isinstance(first, int) and isinstance(last, int):
            found.update(f"{letter}{n}" for n in range(first, last + 1))
        else:
            found.add(f"{letter}{first}")
    return frozenset(found)


ALLOWED = (
    _codes("G", (0, 5), (10, 12), (17, 21), (26, 32), 34, 35, 42, (53, 54), 60, 61, (80, 82), (90, 94), 150)
    | _codes("M", 17, 18, 20, 21, 22, 27, 31, 48, (73, 78), 82, 83, 84, (104, 107), 109, (113, 119))
    | _codes("M", 122, 123, 125, 126, 127, 140, 141, 145, 150, 154, 155, (163, 166), (190, 193), (200, 205), (207, 209))
    | _codes("M", (217, 221), 240, 250, 256, 300, (400, 407), 412, 413, 420, 486, 555, 566, 567, 572, 593, 600, 602)
    | _codes("M", 605, (620, 624), (701, 709), 808, 862, 864, 870, 900, "862.1", "862.2", "862.3", "862.4", "862.5")
    | _codes("M", "862.6", "486.1", "73.2")
    | _codes("G", "29.1", "92.1", "92.2", "92.3")
    | frozenset({"T", "TX", "TC"})
)
"""Codes of ordinary slicer output. What stands in no list is unknown and needs a yes."""

REASONS: dict[str, tuple[str, frozenset[str]]] = {
    "stores_settings": ("refuse", _codes("M", (500, 505))),
    "machine_settings": (
        "refuse",
        _codes("M", 92, 301, (303, 310), 350, 569, 574, 584, 667, 669, 671, (911, 916), 919, 425, 12, 871),
    ),
    "offsets": ("refuse", _codes("M", 206, 428, 665, 666, 851, 852, 421) | _codes("G", "10L", "28.1", "30.1", "92X")),
    "cold_extrusion": ("refuse", _codes("M", 302)),
    "firmware": ("refuse", _codes("M", 98, 471, (550, 554), (556, 560), (586, 589), (997, 999))),
    "files": ("refuse", _codes("M", 23, 24, 26, 28, 29, 30, (32, 34), (36, 39), 470, 472, 928, 929)),
    "pins": ("refuse", _codes("M", 42, 43, 260, 261)),
    "host_protocol": ("refuse", _codes("M", 108, 110, 111, 112, 410, 524, 575, 876)),
    "limits_off": ("refuse", _codes("M", 120, 121, 564)),
    "safety_timer": ("refuse", _codes("M", (85, 87))),
    "units": ("refuse", _codes("M", 149)),
    "debug": ("refuse", _codes("D", (0, 99))),
    "settings": ("refuse", frozenset({"$"})),
    "host_command": ("refuse", frozenset({"@"})),
    "realtime": ("refuse", frozenset({"!", "~", "?"})),
    "meta_command": (
        "refuse",
        frozenset({"{", "IF", "ELIF", "ELSE", "WHILE", "BREAK", "CONTINUE", "ECHO", "ABORT", "VAR", "GLOBAL", "SET"}),
    ),
    "power": ("confirm", _codes("M", 80, 81, 280, 282, 355, 380, 381)),
    "motor_current": ("confirm", _codes("M", 906, 908, 909, 910)),
    "calibrates": ("confirm", _codes("G", 33, 76, 425) | _codes("M", 290, 603)),
    "spindle": ("confirm", _codes("M", (3, 9))),
    "pauses": ("warn", _codes("M", 0, 1, 25, 226, 601)),
    "waits": ("warn", _codes("M", 600, 125)),
    "motor_current_usual": ("warn", _codes("M", 907)),
}
"""Reason → (severity, codes)."""

POLICY: dict[str, tuple[str, str]] = {
    code: (severity, reason) for reason, (severity, codes) in REASONS.items() for code in codes
}
"""Code → (severity, reason)."""

PAUSES = REASONS["pauses"][1]
"""The firmware would wait for a knob; the host pauses its own run instead and does not send the line."""

MACROS_ALLOWED = frozenset(
    {"SET_PRESSURE_ADVANCE", "SET_VELOCITY_LIMIT", "SET_PRINT_STATS_INFO", "TIMELAPSE_TAKE_FRAME", "TEMPERATURE_WAIT"}
    | {"EXCLUDE_OBJECT_DEFINE", "EXCLUDE_OBJECT_START", "EXCLUDE_OBJECT_END", "ACTIVATE_EXTRUDER"}
)

MACROS_REFUSED = (
    *("RUN_SHELL_COMMAND", "FIRMWARE_RESTART", "RESTART", "SAVE_CONFIG", "UPDATE_DELAYED_GCODE", "EMERGENCY_STOP"),
    *("SET_HEATER_TEMPERATURE", "SET_PIN", "SET_TMC_", "INIT_TMC", "SET_GCODE_OFFSET", "Z_OFFSET_APPLY_", "FORCE_MOVE"),
    *("SET_KINEMATIC_POSITION", "STEPPER_BUZZ", "PID_CALIBRATE", "MPC_CALIBRATE", "PROBE_CALIBRATE", "SET_STEPPER_"),
    *("SDCARD_", "DUMP_", "PRUSA", "SHUTDOWN", "REBOOT", "SET_EXTRUDER_", "SET_GCODE_VARIABLE", "SAVE_VARIABLE"),
    *("CLEAR_PAUSE", "CANCEL_PRINT", "RESUME", "TESTZ", "Z_ENDSTOP_CALIBRATE", "MANUAL_STEPPER", "SET_INPUT_SHAPER"),
)
"""Beginnings of macro names that reach the host, the heaters or the configuration by another door."""

TECHNICIAN_MAY = frozenset({"stores_settings", "machine_settings", "offsets", "cold_extrusion", "pins", "settings"})
"""Reasons that a technician, asked once more, may overrule."""
