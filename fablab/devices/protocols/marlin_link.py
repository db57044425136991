"""The connection half of the Marlin engine: hello, what is heard, silences, reports, the host's own commands.

Knows that a run may be going on, not what a run is: `marlin.py` fills in the hooks at the end of the class.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from fablab.devices.protocols import marlin_answers as answers
from fablab.devices.protocols import marlin_scripts as scripts
from fablab.devices.protocols.contract import (
    Event,
    Halted,
    Identified,
    LinkLost,
    Prompted,
    Ready,
    Replied,
    Resent,
    Silent,
    StopSeen,
    Temperatures,
    Warned,
    WasReset,
)
from fablab.devices.protocols.lines import LineCutter
from fablab.devices.protocols.marlin_dialect import Dialect
from fablab.devices.protocols.marlin_modes import HeatWait, Modes
from fablab.devices.protocols.marlin_states import TABLE, State
from fablab.devices.protocols.marlin_wire import Wire

HELLO_AGAIN_S = 3.0
STOP_CONFIRM_S = 1.0
SYNC_S = 10.0
"""An M105 so often keeps the count of acknowledgements honest although the firmware reports by itself."""
_DEAF = frozenset({State.CLOSED, State.HELLO, State.ASKING, State.STOPPING, State.HALTED})
Step = list[bytes] | HeatWait
"""What a script of the host waits for: commands to be taken, or a temperature."""


class Link:
    """Everything between the wire and a run."""

    def __init__(self, dialect: Dialect) -> None:
        self.state = State.CLOSED
        self.dialect = dialect
        self.wire = Wire(dialect)
        self._now = 0.0
        self._events: list[Event] = []
        self._forget()

    def _forget(self) -> None:
        """As after a reset: nothing is known of the machine."""
        self.wire.clear()
        self.modes = Modes()
        self._cutter = LineCutter()
        self._urgent: list[bytes] = []
        self._orders: deque[bytes] = deque()
        self._script: Iterator[Step] | None = None
        self._heat: HeatWait | None = None
        self._reached_at: float | None = None
        self._temperatures: dict[str, tuple[float, float | None]] = {}
        self._position: dict[str, float] | None = None
        self._firmware: dict[str, str] = {}
        self._capabilities: set[str] = set()
        self._timer: float | None = None
        self._attempts = 0
        self._heard_at = self._life_at = self._polled_at = self._now
        self._busy_seen = False
        self._warming_at = float("-inf")  # last line of a heat-up that the firmware waits for
        self._silences = 0
        self._probe_out = False
        self._halt: tuple[str, str] | None = None
        self._unconfirmed = False
        self._console = False
        self._prompt: tuple[str, list[str]] = ("", [])

    def _go(self, event: str) -> None:
        """The only place that changes the state."""
        self.state = TABLE[self.state, event]

    # ------------------------------------------------------------ inward

    def receive(self, item: bytes) -> Sequence[Event]:
        """Take bytes from the port, cut anywhere."""
        for line in self._cutter.feed(item):
            if line == b"ok" and self.state not in _DEAF:
                self._heard_at = self._life_at = self._now
                self._silences = 0
                if self.wire.on_ok(answers.PLAIN_OK):
                    self._on_taken()
            else:
                self._hear(line)
        self._advance()
        return self._take_events()

    def _take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _hear(self, line: bytes) -> None:
        if not line.strip() or self.state is State.CLOSED:
            return
        self._heard_at = self._now
        if line == b"start":
            self._on_start()
        elif self.state is State.HALTED:
            return
        elif (fatal := answers.read_fatal(line)) is not None:
            self._on_fatal(fatal, line)
        elif self.state is State.STOPPING:
            return
        elif self.state is State.HELLO:
            self._hear_hello(line)
        elif (ok := answers.read_ok(line)) is not None:
            self._on_ok(ok, line)
        elif (number := answers.read_resend(line)) is not None:
            self._on_resend(number)
        elif line.startswith(b"Error:"):
            self._on_error(line)
        else:
            self._hear_report(line)

    def _hear_report(self, line: bytes) -> None:
        if line == b"wait":
            if self.wire.waiting and self._now - self._life_at > 1 and self.wire.on_ok(answers.PLAIN_OK):
                self._on_taken()
        elif (busy := answers.read_busy(line)) is not None:
            self._busy_seen, self._life_at, self._silences = True, self._now, 0
            self._on_busy(busy)
        elif (action := answers.read_action(line)) is not None:
            self._on_action(*action)
        elif (capability := answers.read_capability(line)) is not None:
            self._on_capability(*capability)
        elif (firmware := answers.read_firmware(line)) is not None:
            self._firmware = firmware
        elif (position := answers.read_position(line)) is not None:
            self._position = position
        elif line.lstrip().startswith((b"T:", b"T0:", b"B:")):
            self._on_temperatures(line)
        elif (unknown := answers.read_unknown(line)) is not None:
            known = self.wire.sent_lately(unknown)
            self._warn("unknown_command" if known else "line_damage", text=unknown.decode("ascii", "replace"))
        elif b"extrusion prevented" in line:
            self._on_spoilt("cold_extrusion" if b"cold" in line else "long_extrusion")
        if self._console:
            self._events.append(Replied(line.decode("ascii", "replace")))

    def _hear_hello(self, line: bytes) -> None:
        if self._attempts == 0:
            self._timer = self._now + self.dialect.quiet_s  # boot text: wait until it is over
        elif answers.read_ok(line) is not None or line == b"wait":
            self._go("answered")
            self.wire.clear()
            self._attempts = 0
            self._ask_who()
        elif answers.read_resend(line) is not None:
            self._timer = self._now  # the hello was damaged: say it again

    def _ask_who(self) -> None:
        self._attempts += 1
        self._timer = self._now + 5.0
        self._urgent.append(b"M115\n")

    def _on_ok(self, ok: answers.Ok, line: bytes) -> None:
        self._life_at = self._now
        self._silences = 0
        if self.state is State.ASKING:
            self._firmware = answers.read_firmware(line) or self._firmware
            if self._firmware:
                self._identified()
            return
        if ok.carries_t:
            self._probe_out = False
            self._on_temperatures(line)
        if (position := answers.read_position(line)) is not None:
            self._position = position
        if self.wire.on_ok(ok):
            self._on_taken()

    def _identified(self) -> None:
        self._timer = None
        self._attempts = 0
        self._go("identified")
        name = self._firmware.get("FIRMWARE_NAME", "")
        known = frozenset(self._capabilities)
        self._events.append(
            Identified(name, self._firmware.get("MACHINE_TYPE", ""), self._firmware.get("UUID", ""), known)
        )
        self._script = iter([scripts.settle(self.dialect, known)])

    def _on_capability(self, name: str, on: bool) -> None:
        if on:
            self._capabilities.add(name)
        elif name == "THERMAL_PROTECTION":
            self._warn("no_thermal_protection")

    def _on_resend(self, number: int) -> None:
        self._life_at = self._now
        self._events.append(Resent(number))
        beyond_repair = self.wire.on_resend(number, self._now)
        if beyond_repair:
            self._lost(beyond_repair)

    def _on_error(self, line: bytes) -> None:
        if answers.is_noise(line):
            self.wire.on_noise(answers.read_last_line(line))
        elif not answers.is_card_error(line):
            self._on_unknown_error(line.decode("ascii", "replace"))

    def _on_fatal(self, code: str, line: bytes) -> None:
        text = line.removeprefix(b"Error:").strip().decode("ascii", "replace")
        if self._halt is None or self._halt[0] in ("killed", "stopped"):
            self._halt = (code, text)
        if answers.is_final(line):
            self._halted()
        else:
            self._timer = self._now + 1.0  # the cause may stand on two lines

    def _halted(self) -> None:
        code, text = self._halt or ("killed", "")
        if self.state is State.STOPPING:
            code = "emergency_stop"
            self._events.append(StopSeen("firmware"))
        self._end_run("failed", code)
        self._go("halt")
        self._forget()
        self._events.append(Halted(code, text))

    def _on_start(self) -> None:
        if self.state is State.HELLO:
            self._attempts = 0
            self._timer = self._now + self.dialect.quiet_s
            return
        if self.state is State.STOPPING or self._unconfirmed:
            self._events.append(StopSeen("reset"))
        self._end_run("failed", "printer_reset")
        self._events.append(WasReset())
        self._go("reset")
        self._forget()
        self._timer = self._now + self.dialect.quiet_s

    def _on_temperatures(self, line: bytes) -> None:
        found = answers.read_temperatures(line)
        if b" W:" in line:
            self._warming_at = self._life_at = self._now
        if not found:
            return
        self._temperatures = {**self._temperatures, **found}
        self._events.append(Temperatures(dict(self._temperatures)))
        self._check_heat()

    def _check_heat(self) -> None:
        wait = self._heat
        if wait is None:
            return
        reading = self._temperatures.get(wait.sensor) or self._temperatures.get("tool0")
        if reading is None:
            return
        actual = reading[0]
        if actual < wait.target - 1 or (wait.both_ways and actual > wait.target + 2):
            self._reached_at = None
        elif self._reached_at is None:
            self._reached_at = self._now

    def _on_prompt(self, name: str, text: str) -> None:
        if name == "prompt_begin":
            self._prompt = (text, [])
        elif name in ("prompt_button", "prompt_choice"):
            self._prompt[1].append(text)
        elif name == "prompt_show":
            self._events.append(Prompted(self._prompt[0], tuple(self._prompt[1])))
        elif name == "prompt_end" and self._prompt[0]:
            self._prompt = ("", [])
            self._events.append(Prompted(""))

    def _warn(self, code: str, **data: object) -> None:
        self._events.append(Warned(code, dict(data)))

    # ------------------------------------------------------------ outward

    def to_write(self) -> Sequence[bytes]:
        """Urgent lines first, then as much as the firmware's buffers have room for."""
        out, self._urgent = self._urgent, []
        if self.state not in _DEAF:
            self._fill(out)
            self._advance()  # the end of a file or a pause inside it begins here
            if self._orders:
                self._fill(out)
        return out

    def _fill(self, out: list[bytes]) -> None:
        wire = self.wire
        while True:
            if wire.replaying:
                line = wire.replay()
            elif self._poll_due() and wire.has_room(5):
                self._probe_out, self._polled_at = True, self._now
                line = wire.send_plain(b"M105", True)
            elif self._orders:
                line = self._send_order()
            else:
                line = self._next_file_line()
            if line is None:
                return
            if len(out) == 0 and not wire.waiting:
                self._life_at = self._now
            out.append(line)

    def _send_order(self) -> bytes | None:
        command = self._orders[0]
        framed = self.wire.framed(command)
        if not self.wire.has_room(len(framed)):
            return None
        if not self.wire.waiting:
            self._life_at = self._now
        self._orders.popleft()
        return self.wire.send(framed, self._mark(), command.startswith(b"M105"))

    def _poll_due(self) -> bool:
        return not self._probe_out and self._now >= self._next_poll()

    def _next_poll(self) -> float:
        """When the next M105 is due: seldom where the firmware reports by itself."""
        if "AUTOREPORT_TEMP" in self._capabilities:
            return self._polled_at + SYNC_S if self._run_is_on() else float("inf")
        warm = any(target for _, target in self._temperatures.values())
        return self._polled_at + (1.0 if self._heat else 2.0 if warm else 5.0)

    def _advance(self) -> None:
        """Take the next step of the running script when the step before is taken by the machine."""
        while self._script is not None and self.state not in _DEAF and self._step_done():
            step = next(self._script, None)
            if step is None:
                self._script = None
                self._done()
            elif isinstance(step, HeatWait):
                self._heat, self._reached_at = step, None
                self._check_heat()
            else:
                self._orders.extend(step)

    def _step_done(self) -> bool:
        return not self._orders and not self._urgent and self._heat is None and self.wire.idle

    def _done(self) -> None:
        if self.state is State.SETTLING:
            self._go("done")
            self._polled_at = float("-inf")
            self._events.append(Ready())
        else:
            self._script_done()

    # ------------------------------------------------------------ time

    def deadline(self) -> float | None:
        """The next instant at which something is due even when nothing comes."""
        if self.state is State.CLOSED:
            return None
        if self._events:
            return self._now
        due = [self._timer, self.wire.deadline, self._own_deadline()]
        if self.state not in _DEAF:
            due.append(self._silent_at())
            if not self._probe_out and self.wire.has_room(5):
                due.append(self._next_poll())
        if self._reached_at is not None and self._heat is not None:
            due.append(self._reached_at + self.dialect.settle_s)
        times = [instant for instant in due if instant is not None and instant != float("inf")]
        return max(min(times), self._now) if times else None

    def tick(self, now: float) -> Sequence[Event]:
        """Be told the time, monotonic seconds."""
        self._now = now
        self.wire.tick(now)
        if self._timer is not None and now >= self._timer:
            self._timer = None
            self._on_timer()
        if self.state not in _DEAF:
            if self._heat and self._reached_at is not None and now >= self._reached_at + self.dialect.settle_s:
                self._heat = None
            if now >= self._silent_at():
                self._on_silence()
            self._own_tick()
        self._advance()
        return self._take_events()

    def _on_timer(self) -> None:
        if self._halt is not None:
            self._halted()
        elif self.state is State.STOPPING:
            self._go("halt")
            self._unconfirmed = True
            self._events.append(StopSeen("none"))
        elif self.state in (State.HELLO, State.ASKING):
            self._say_hello_again()

    def _say_hello_again(self) -> None:
        if self._attempts >= 2 + self.dialect.boot_s / HELLO_AGAIN_S:
            self._lost("no_answer")
        elif self.state is State.ASKING:
            self._ask_who()
        else:
            self._attempts += 1
            self._timer = self._now + HELLO_AGAIN_S
            self._urgent.append(b"\n" + self.wire.hello())

    def _silence(self) -> float:
        return self.dialect.busy_silence_s if self._busy_seen else self.dialect.silence_s

    def _silent_at(self) -> float:
        since = self._life_at if self.wire.waiting else self._heard_at
        return since + self._silence()

    def _on_silence(self) -> None:
        after = self._silence()
        self._silences = self._silences + 1 if self._now - self._heard_at >= after else 0
        self._events.append(Silent(after))
        if self._silences > self.dialect.max_silences:
            self._lost("silent")
            return
        self._life_at = self._now
        self._heard_at = self._heard_at if self.wire.waiting else self._now
        self._probe_out, self._polled_at = True, self._now
        self._urgent.append(self.wire.probe())

    def _lost(self, code: str) -> None:
        self._end_run("failed", code)
        self._go("lost")
        self._forget()
        self._events.append(LinkLost(code))

    # ------------------------------------------------------------ hooks for the run

    def _run_is_on(self) -> bool:
        raise NotImplementedError

    def _mark(self) -> int:
        """Lines of the file that are out."""
        raise NotImplementedError

    def _next_file_line(self) -> bytes | None:
        raise NotImplementedError

    def _end_run(self, result: str, code: str) -> None:
        raise NotImplementedError

    def _script_done(self) -> None:
        raise NotImplementedError

    def _on_taken(self) -> None:
        raise NotImplementedError

    def _on_busy(self, what: str) -> None:
        raise NotImplementedError

    def _on_action(self, name: str, text: str) -> None:
        raise NotImplementedError

    def _on_spoilt(self, code: str) -> None:
        raise NotImplementedError

    def _on_unknown_error(self, text: str) -> None:
        raise NotImplementedError

    def _own_deadline(self) -> float | None:
        raise NotImplementedError

    def _own_tick(self) -> None:
        raise NotImplementedError
