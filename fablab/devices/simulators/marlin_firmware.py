"""A Marlin firmware as a value: bytes in, bytes out, told the time. Shares no code with the engine that talks to it.

Written from Marlin's own sources: line numbers and checksums, a command buffer, a planner of 16 moves whose `ok` comes
when a move is queued, heaters with a first-order lag, busy and temperature lines. `speed` hurries machine time.
"""

import math
import re
from collections import deque
from dataclasses import dataclass, field

AMBIENT = 21.0
PLANNER_BLOCKS = 16
COMMANDS = 4
_WORD = re.compile(r"([A-Z])\s*(-?\d*\.?\d*)")


@dataclass(frozen=True)
class Model:
    """What the simulated machine says of itself."""

    m115: str
    caps: tuple[str, ...]
    g90_affects_e: bool
    advanced_ok: bool
    silent_repeat: bool = True  # a line number that was the last or the one before gets no answer at all


_MARLIN = (
    "FIRMWARE_NAME:Marlin 2.1.2 (Jan  1 2023 12:00:00) SOURCE_CODE_URL:github.com/MarlinFirmware/Marlin "
    "PROTOCOL_VERSION:1.0 MACHINE_TYPE:{} EXTRUDER_COUNT:1 UUID:cede2a2f-41a2-4748-9b12-{:012d}"
)
_CAPS = ("AUTOREPORT_TEMP", "EMERGENCY_PARSER", "THERMAL_PROTECTION", "HOST_ACTION_COMMANDS")
MODELS = {
    "mini": Model(_MARLIN.format("Fablab Mini", 1), _CAPS, g90_affects_e=True, advanced_ok=True),
    "big": Model(_MARLIN.format("Fablab Big", 2), _CAPS, g90_affects_e=True, advanced_ok=False),
    "mk3": Model(
        "FIRMWARE_NAME:Prusa-Firmware 3.13.2+7080 based on Marlin FIRMWARE_URL:https://github.com/prusa3d "
        "PROTOCOL_VERSION:1.0 MACHINE_TYPE:Prusa i3 MK3S EXTRUDER_COUNT:1 UUID:00000000-0000-0000-0000-000000000003",
        ("AUTOREPORT_TEMP", "THERMAL_PROTECTION"),
        g90_affects_e=False,
        advanced_ok=False,
        silent_repeat=False,
    ),
}


@dataclass
class Heater:
    """First-order: `gain` degrees per second of machine time towards a target, slower away from it."""

    gain: float
    actual: float = AMBIENT
    target: float = 0.0

    def pass_time(self, seconds: float) -> None:
        aim = max(self.target, AMBIENT)
        step = self.gain * seconds if aim > self.actual else 0.4 * self.gain * seconds
        self.actual = min(aim, self.actual + step) if aim > self.actual else max(aim, self.actual - step)

    @property
    def there(self) -> bool:
        return abs(self.actual - self.target) < 2 or self.target < AMBIENT


@dataclass
class Faults:
    """What tests ask for: oks to swallow or to double, lines to damage on either way, silence, slowness."""

    drop_ok: int = 0
    double_ok: int = 0
    damage: int = 0  # lines that arrive with one flipped bit
    damage_every: int = 0  # the same for every n-th line from now on
    flip: int = 0
    silent: bool = False
    slow: float = 1.0


@dataclass
class Firmware:
    """One board. `receive` takes bytes, `step` does what is due, `due` says when it wants to be stepped again."""

    model: Model
    speed: float = 1.0
    faults: Faults = field(default_factory=Faults)
    executed: list[str] = field(default_factory=list)
    lines_executed: int = 0
    starts: int = 0
    extruded_mm: float = 0.0
    hottest: float = AMBIENT
    halted: bool = False

    def __post_init__(self) -> None:
        self._reset()
        self._now = 0.0

    def _reset(self) -> None:
        self.tool, self.bed = Heater(4.0), Heater(1.2)
        self._partial = b""
        self._arrived = 0
        self._queue: deque[tuple[str, int | None]] = deque()
        self._last = 0
        self._out: list[bytes] = []
        self._position = {"X": 0.0, "Y": 0.0, "Z": 0.0, "E": 0.0}
        self._absolute = self._absolute_e = True
        self._feed = 1500.0
        self._moves: deque[float] = deque()  # machine-time ends of planned moves
        self._busy_until = 0.0
        self._waiting: str = ""  # "tool", "bed", "moves", "user"
        self._pending: int | None = None
        self._auto = self._next_auto = self._next_word = 0.0
        self._furthest = 0.0
        self._e_total = 0.0

    # ---------------------------------------------------------------- the outside

    def boot(self) -> bytes:
        """Power on, or the reset line: everything is forgotten, and said so."""
        self._reset()
        self.halted = False
        return b"start\necho:Marlin 2.1.2\n"

    def receive(self, data: bytes) -> None:
        if self.halted:
            return
        self._partial += data
        *lines, self._partial = self._partial.replace(b"\r", b"\n").split(b"\n")
        self._partial = self._partial[-96:]
        for line in map(self._damaged, lines):
            text = line.split(b";")[0].strip().decode("ascii", "replace")
            if text:
                self._take(text)

    def _damaged(self, line: bytes) -> bytes:
        faults = self.faults
        self._arrived += 1
        if len(line) < 4 or not (faults.damage or (faults.damage_every and self._arrived % faults.damage_every == 0)):
            return line
        faults.damage = max(0, faults.damage - 1)
        at = self._arrived * 7 % len(line)
        return line[:at] + bytes([line[at] ^ (1 << self._arrived % 7)]) + line[at + 1 :]

    def step(self, now: float) -> bytes:
        """Let time pass up to `now` (seconds, real), do what is due, and return what the board says."""
        passed = max(0.0, now - self._now) * self.speed / self.faults.slow
        self._now = now
        self._clock = getattr(self, "_clock", 0.0) + passed
        for heater in (self.tool, self.bed):
            heater.pass_time(passed)
        self.hottest = max(self.hottest, self.tool.actual)
        while self._moves and self._moves[0] <= self._clock:
            self._moves.popleft()
        if not self.halted:
            self._work()
            self._speak()
        out, self._out = self._out, []
        return b"" if self.faults.silent else b"".join(out)

    def due(self) -> float:
        """Seconds until something is due (real)."""
        return 0.002 if self._queue or self._waiting or self._moves else 0.1

    # ---------------------------------------------------------------- lines

    def _take(self, text: str) -> None:
        upper = text.upper()
        bare = re.sub(r"^N\d+\s*", "", upper).split("*")[0].strip()
        word = bare.split(" ")[0] if bare else ""
        if word == "M112":
            self._kill()
        elif word == "M108" and "EMERGENCY_PARSER" in self.model.caps and self._waiting in {"tool", "bed", "user"}:
            self._waiting = ""
            self._ok(self._pending)
        elif word == "M410":
            self._moves.clear()
        if self.halted:
            return None
        # the early look takes nothing away: a numbered M108 still counts, and is acknowledged as a line like any other
        number = re.match(r"^N(-?\d+)", upper)
        if number is None:
            self._queue.append((text, None))
            return None
        body, star, told = text.rpartition("*")
        if not star or not told.strip().isdigit():
            return self._complain("No Checksum with line number")
        checksum = 0
        for byte in body.encode("ascii", "replace"):
            checksum ^= byte
        if checksum != int(told):
            return self._complain("checksum mismatch")
        n = int(number.group(1))
        if bare.startswith("M110"):
            found = re.search(r"M110\s*N(-?\d+)", bare)
            self._last = int(found.group(1)) if found else n
        elif self.model.silent_repeat and n in (self._last, self._last - 1):
            return None
        elif n != self._last + 1:
            return self._complain("Line Number is not Last Line Number+1")
        else:
            self._last = n
        self._queue.append((re.sub(r"^[Nn]\d+\s*", "", body).strip(), n))
        return None

    def _complain(self, why: str) -> None:
        self._say(f"Error:{why}, Last Line: {self._last}")
        self._say(f"Resend: {self._last + 1}")
        self._out.append(b"ok\n")

    def _kill(self) -> None:
        self.halted = True
        self.tool.target = self.bed.target = 0.0
        self._queue.clear()
        self._moves.clear()
        self._waiting = ""
        self._say("Error:Printer halted. kill() called!")

    def halt(self) -> None:
        """A fault of the machine: thermal runaway."""
        self._say("Error:Thermal Runaway, system stopped! Heater_ID: 0")
        self._kill()

    # ---------------------------------------------------------------- work

    def _work(self) -> None:
        for _ in range(200):
            if self._clock < self._busy_until:
                return
            if self._waiting and not self._done_waiting():
                return
            if self._waiting:
                self._waiting = ""
                self._ok(self._pending)
            if not self._queue:
                return
            if len(self._moves) >= PLANNER_BLOCKS:
                return
            text, number = self._queue.popleft()
            self._execute(text, number)

    def _done_waiting(self) -> bool:
        if self._waiting == "tool":
            return self.tool.there
        if self._waiting == "bed":
            return self.bed.there
        return self._waiting == "moves" and not self._moves

    def _execute(self, text: str, number: int | None) -> None:
        words = dict(_WORD.findall(text.upper()))
        code = re.match(r"^([GMT])\s*0*(\d+)", text.upper())
        name = "" if code is None else f"{code.group(1)}{code.group(2)}"
        if number is not None and name != "M110":
            self.lines_executed += 1
            self.executed.append(text)
            self.starts += name == "G28"
        handler = getattr(self, f"_do_{name.lower()}", None)
        if handler is not None:
            if handler(words, number):
                return
        elif name in {"M104", "M140", "M109", "M190"}:
            if self._heat(name, words, number):
                return
        elif not name:
            self._say(f'echo:Unknown command: "{text}"')
        self._ok(number)

    def _heat(self, name: str, words: dict[str, str], number: int | None) -> bool:
        heater = self.tool if name in {"M104", "M109"} else self.bed
        target = words.get("S") or words.get("R")
        if target:
            heater.target = float(target)
        if name in {"M104", "M140"}:
            return False
        self._waiting, self._pending = ("tool" if heater is self.tool else "bed"), number
        return True

    def _do_g0(self, words: dict[str, str], _number: int | None) -> bool:
        if words.get("F"):
            self._feed = max(1.0, float(words["F"]))
        before = dict(self._position)
        for axis in "XYZE":
            value = words.get(axis)
            if value in (None, "", "-", "."):
                continue
            absolute = self._absolute_e if axis == "E" else self._absolute
            self._position[axis] = float(value) + (0.0 if absolute else before[axis])
        moved = self._position["E"] - before["E"]
        self._e_total += moved
        if self._e_total > self._furthest:
            self.extruded_mm += self._e_total - self._furthest
            self._furthest = self._e_total
        path = math.dist([before[a] for a in "XYZ"], [self._position[a] for a in "XYZ"]) or abs(moved)
        begin = self._moves[-1] if self._moves else self._clock
        self._moves.append(max(begin, self._clock) + path * 60 / self._feed + 0.005)
        return False

    _do_g1 = _do_g0

    def _do_g4(self, words: dict[str, str], _number: int | None) -> bool:
        self._busy_until = self._clock + float(words.get("S") or 0) + float(words.get("P") or 0) / 1000
        return False

    def _do_g28(self, _words: dict[str, str], number: int | None) -> bool:
        self._position.update(X=0.0, Y=0.0, Z=0.0)
        self._moves.append(self._clock + 12.0)
        self._waiting, self._pending = "moves", number
        return True

    _do_g29 = _do_g80 = _do_g28

    def _do_g90(self, _words: dict[str, str], _number: int | None) -> bool:
        self._absolute = True
        if self.model.g90_affects_e:
            self._absolute_e = True
        return False

    def _do_g91(self, _words: dict[str, str], _number: int | None) -> bool:
        self._absolute = False
        if self.model.g90_affects_e:
            self._absolute_e = False
        return False

    def _do_m82(self, _words: dict[str, str], _number: int | None) -> bool:
        self._absolute_e = True
        return False

    def _do_m83(self, _words: dict[str, str], _number: int | None) -> bool:
        self._absolute_e = False
        return False

    def _do_g92(self, words: dict[str, str], _number: int | None) -> bool:
        for axis in "XYZE":
            if words.get(axis):
                self._position[axis] = float(words[axis])
        return False

    def _do_m0(self, _words: dict[str, str], number: int | None) -> bool:
        self._waiting, self._pending = "user", number
        return True

    _do_m1 = _do_m600 = _do_m0

    def _do_m105(self, _words: dict[str, str], _number: int | None) -> bool:
        self._out.append(f"ok{self._temperatures()}\n".encode())
        return True

    def _do_m114(self, _words: dict[str, str], _number: int | None) -> bool:
        p = self._position
        self._say(f"X:{p['X']:.2f} Y:{p['Y']:.2f} Z:{p['Z']:.2f} E:{p['E']:.2f} Count X:0 Y:0 Z:0")
        return False

    def _do_m115(self, _words: dict[str, str], _number: int | None) -> bool:
        self._say(self.model.m115)
        for cap in self.model.caps:
            self._say(f"Cap:{cap}:1")
        return False

    def _do_m155(self, words: dict[str, str], _number: int | None) -> bool:
        self._auto = float(words.get("S") or 0)
        self._next_auto = self._now + self._auto
        return False

    def _do_m400(self, _words: dict[str, str], number: int | None) -> bool:
        self._waiting, self._pending = "moves", number
        return True

    # ---------------------------------------------------------------- speech

    def _speak(self) -> None:
        if self._auto and self._now >= self._next_auto:
            self._next_auto = self._now + self._auto
            self._out.append(f"{self._temperatures()}\n".encode())
        if self._now < self._next_word:
            return
        self._next_word = self._now + 1.0
        if self._waiting in {"tool", "bed"}:
            self._out.append(f"{self._temperatures()} W:?\n".encode())
        elif self._waiting == "user":
            self._say("echo:busy: paused for user")
        elif self._waiting or self._clock < self._busy_until or (self._queue and self._moves):
            self._say("echo:busy: processing")

    def _temperatures(self) -> str:
        return (
            f" T:{self.tool.actual:.1f} /{self.tool.target:.1f} B:{self.bed.actual:.1f} /{self.bed.target:.1f} @:0 B@:0"
        )

    def _say(self, text: str) -> None:
        line = text.encode() + b"\n"
        if self.faults.flip > 0 and len(line) > 4:
            self.faults.flip -= 1
            line = line[:2] + bytes([line[2] ^ 4]) + line[3:]
        self._out.append(line)

    def _ok(self, number: int | None) -> None:
        if self.faults.drop_ok > 0:
            self.faults.drop_ok -= 1
            return
        if self.faults.double_ok > 0:
            self.faults.double_ok -= 1
            self._out.append(b"ok\n")
        if self.model.advanced_ok:
            n = "" if number is None else f" N{number}"
            free = max(0, COMMANDS - len(self._queue) - 1)
            self._out.append(f"ok{n} P{PLANNER_BLOCKS - min(PLANNER_BLOCKS, len(self._moves))} B{free}\n".encode())
            return
        self._out.append(b"ok\n")
