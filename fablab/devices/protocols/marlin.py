"""The Marlin engine: a file in, numbered lines out, three marks per run. Bytes only; owns no port, clock or thread.

`vet` judges every line of a file on its bytes just before it leaves and returns a code where it must not.
"""

from collections.abc import Callable, Iterator, Sequence

from fablab.devices.protocols import contract as c
from fablab.devices.protocols import marlin_scripts as scripts
from fablab.devices.protocols.lines import frame
from fablab.devices.protocols.marlin_dialect import Dialect
from fablab.devices.protocols.marlin_link import STOP_CONFIRM_S, Link, Step
from fablab.devices.protocols.marlin_modes import HeatWait, Modes, heat_and_wait, words
from fablab.devices.protocols.marlin_states import RUNNING, State

PROGRESS_S = 0.25
SHORT_NUMBERS = 64
"""More than any window holds, so that a firmware that missed the M110 asks for a line that cannot be meant."""
_PAUSES = {("M", 0), ("M", 1), ("M", 25), ("M", 601)}
Vet = Callable[[bytes], str | None]


class Marlin(Link):
    """One printer. Intents: Connect, Print, Pause, Resume, Cancel, EmergencyStop, HeatersOff, Console, AnswerPrompt."""

    def __init__(self, dialect: Dialect, vet: Vet) -> None:
        super().__init__(dialect)
        self._vet = vet
        self._run = ""
        self._reset_run()

    def _reset_run(self) -> None:
        self._lines: Iterator[c.PrintLine] = iter(())
        self._out = 0  # lines of the file that are out
        self._next: tuple[int, bytes, bytes, int, HeatWait | None] | None = None
        self._began = False
        self._finished = False
        self._result: tuple[str, str] = ("stopped", "")
        self._held_by: tuple[str, str] = ("host", "")
        self._machine_holds = ""
        self._retracted = False
        self._shown: tuple[int, int] = (0, 0)
        self._shown_at = self._now
        self._paused_at: float | None = None

    # ------------------------------------------------------------ intents

    def ask(self, intent: c.Intent) -> Sequence[c.Event]:
        """Take an order. Raises `Refused` not_connected | not_ready | not_running | halted | not_supported."""
        match intent:
            case c.Connect():
                self._connect()
            case c.Print():
                self._print(intent)
            case c.Pause():
                self._need(State.PRINTING, State.RESUMING)
                self._pause("host", "")
            case c.Resume():
                self._need(State.PAUSED)
                self._go("resume")
                self._script = self._resume_script()
            case c.Cancel():
                self._need(*(RUNNING - {State.CANCELLING}))
                self._cancel("stopped", "")
            case c.EmergencyStop():
                self._emergency_stop()
            case c.HeatersOff():
                self._off()
            case c.Console():
                self._need(State.READY, State.PAUSED)
                self._console = True
                self._orders.append(intent.text)
                self.modes.note(intent.text, self.dialect.g90_affects_e)
            case c.AnswerPrompt():
                self._need(State.READY, *RUNNING)
                self._urgent.append(self.wire.send_plain(b"M876 S%d" % intent.choice))
            case _:
                raise c.Refused("not_supported", intent=type(intent).__name__)
        self._advance()
        return self._take_events()

    def _need(self, *states: State) -> None:
        if self.state in states:
            return
        if self.state is State.HALTED:
            raise c.Refused("halted")
        if self.state in (State.CLOSED, State.HELLO, State.ASKING, State.SETTLING):
            raise c.Refused("not_connected")
        raise c.Refused("not_running" if State.READY not in states else "not_ready", state=str(self.state))

    def _connect(self) -> None:
        self._end_run("failed", "link_lost")
        self._go("reset")
        self._forget()
        self._timer = self._now + self.dialect.quiet_s

    def _print(self, intent: c.Print) -> None:
        self._need(State.READY)
        self._reset_run()
        self._run, self._lines = intent.run, self._read(intent.lines)
        self._go("print")
        self._polled_at = self._now
        self.modes = Modes()  # the head is only moved by the host once this file has homed it
        self._script = self._number_anew()

    def _number_anew(self) -> Iterator[Step]:
        """Long numbers start anew. Short ones run on: a lost M110 must never leave both counters nearly alike."""
        if self.wire.top > SHORT_NUMBERS:
            self._urgent.append(self.wire.hello())
        else:
            self.wire.start_count()
        yield []

    def _emergency_stop(self) -> None:
        if self.state is State.CLOSED:
            raise c.Refused("not_connected")
        number = self.wire.top
        self._end_run("stopped", "emergency_stop")
        self._go("stop")
        self._forget()
        self._urgent = [b"\nM112\n", frame(number, b"M112")]
        self._timer = self._now + STOP_CONFIRM_S

    def _off(self) -> None:
        if self.state in (State.CLOSED, State.HALTED, State.STOPPING):
            raise c.Refused("halted" if self.state is State.HALTED else "not_connected")
        self._orders.extend(scripts.heaters_off(self.dialect))
        self.modes.targets.clear()

    # ------------------------------------------------------------ pause, resume, cancel, end

    def _break_heating(self, always: bool) -> None:
        """M108 ends a heat-up that the firmware itself waits for, where it can be told."""
        can = self.dialect.emergency_parser and "EMERGENCY_PARSER" in self._capabilities
        warming = self._now - self._warming_at < 4
        if can and self.wire.waiting and (always or warming):
            self._urgent.append(self.wire.send_plain(b"M108"))

    def _pause(self, by: str, code: str) -> None:
        self._go("pause")
        self._held_by = (by, code)
        self._orders.clear()
        self._heat = None
        self._break_heating(always=False)
        self._script = self._pause_script()

    def _pause_script(self) -> Iterator[Step]:
        yield [b"M400"]
        self._position = None
        yield [b"M114"]
        self._retracted = self._hot()
        yield scripts.park(self.dialect, self.modes, self._retracted)

    def _resume_script(self) -> Iterator[Step]:
        self._paused_at = None
        at = self._position or {}
        yield scripts.heat_again(self.modes)
        for sensor, target in self.modes.targets.items():
            if target > 0 and sensor in self._temperatures:
                yield HeatWait(sensor, target)
        yield scripts.come_back(self.dialect, self.modes, at, self._retracted)

    def _cancel(self, result: str, code: str) -> None:
        self._go("cancel")
        self._result = (result, code)
        self._orders.clear()
        self._heat = None
        self._next = None
        self._break_heating(always=True)
        self._script = iter([scripts.give_up(self.dialect, self.modes, self._hot())])

    def _finish_script(self) -> Iterator[Step]:
        yield [b"M400"]
        self._position = None
        yield [b"M114"]
        for _ in range(10):  # acknowledgements may have been lost: one more numbered line tells
            if self.wire.accepted >= self._out:
                break
            yield [b"M400"]

    def _hot(self) -> bool:
        reading = self._temperatures.get(f"tool{self.modes.tool}") or self._temperatures.get("tool0")
        return reading is not None and reading[0] >= scripts.HOT_ENOUGH

    def _script_done(self) -> None:
        if self.state is State.PRINTING:
            return  # numbers start anew: the file may flow
        state = self.state
        self._go("done")
        if state is State.FINISHING:
            complete = self.wire.accepted >= self._out
            self._finished = complete
            self._end_run("succeeded" if complete else "failed", "" if complete else "not_acknowledged")
        elif state is State.CANCELLING:
            self._end_run(*self._result)
        elif state is State.PAUSING:
            self._paused_at = self._now
            self._show(at_once=True)
            self._events.append(c.HeldStill(*self._held_by))
        elif state is State.RESUMING:
            self._events.append(c.WentOn())

    def _end_run(self, result: str, code: str) -> None:
        if not self._run:
            return
        self._show(at_once=True)
        accepted = min(self.wire.accepted, self._out)
        if not self._began and accepted:
            self._events.append(c.Began(self._run))
        self._events.append(c.RunEnded(self._run, result, accepted, code))
        self._run = ""
        self._reset_run()

    # ------------------------------------------------------------ the file

    def _run_is_on(self) -> bool:
        return bool(self._run)

    def _mark(self) -> int:
        return self._out

    def _next_file_line(self) -> bytes | None:
        if self.state is not State.PRINTING or self._script is not None or self._heat or self._machine_holds:
            return None
        if self._next is None:
            self._next = self._pull()
            if self._next is None:
                return None
        number, text, framed, order, wait = self._next
        if number != self.wire.top:
            framed, number = self.wire.framed(text), self.wire.top
            self._next = (number, text, framed, order, wait)
        if not self.wire.has_room(len(framed)):
            return None
        self._next = None
        self._out = order
        self._heat, self._reached_at = wait, None
        if not self.wire.waiting:
            self._life_at = self._now
        return self.wire.send(framed, order, text.startswith(b"M105"))

    def _pull(self) -> tuple[int, bytes, bytes, int, HeatWait | None] | None:
        """The next line of the file that goes over the wire, framed; None at the end, at a pause, at a refusal."""
        for line in self._lines:
            text, wait = line.text, None
            refused = self._vet(text)
            if refused:
                self._fail(refused, line.number)
                return None
            if text[:3] not in (b"G1 ", b"G0 "):
                if getattr(line, "pause", False) or _is_pause(text):
                    self._out = line.number
                    self._pause("rule", "file_pause")
                    return None
                if b"M110" in text:
                    self._out = line.number  # would upset the numbering, inside a text too
                    continue
                text, wait = self._own_waiting(text)
            elif b"F" in text:
                self.modes.feed_line = text
            framed = self.wire.framed(text)
            if len(framed) > self.dialect.max_line:
                self._fail("line_too_long", line.number)
                return None
            return self.wire.top, text, framed, line.number, wait
        if self.state is State.PRINTING:
            self._go("file_out")
            self._script = self._finish_script()
        return None

    def _read(self, lines: Iterator[c.PrintLine]) -> Iterator[c.PrintLine]:
        try:
            yield from lines
        except (OSError, ValueError):
            self._fail("file_unreadable", self._out)

    def _own_waiting(self, text: bytes) -> tuple[bytes, HeatWait | None]:
        """Heat-and-wait becomes heat where the firmware could not be told to stop waiting."""
        waiting = heat_and_wait(text, self.modes)
        self.modes.note(text, self.dialect.g90_affects_e)
        if waiting is None or (self.dialect.emergency_parser and "EMERGENCY_PARSER" in self._capabilities):
            return text, None
        return waiting

    def _fail(self, code: str, line: int) -> None:
        self._warn(code, line=line)
        self._cancel("failed", code)

    # ------------------------------------------------------------ what the machine says about the run

    def _on_taken(self) -> None:
        if self._run and not self._began and self.wire.run_began and self.state is not State.CANCELLING:
            self._began = True
            self._events.append(c.Began(self._run))
        if self._machine_holds == "busy":
            self._machine_holds = ""
            self._events.append(c.WentOn())
        if self._console and not self.wire.waiting and not self._orders:
            self._console = False

    def _on_busy(self, what: str) -> None:
        if what.startswith("paused") and self.state in (State.PRINTING, State.FINISHING) and not self._machine_holds:
            self._machine_holds = "busy"
            self._events.append(c.HeldStill("machine", what.replace(" ", "_")))

    def _on_action(self, name: str, text: str) -> None:
        if name.startswith("prompt_"):
            self._on_prompt(name, text)
        elif name == "pause" and self.state in (State.PRINTING, State.RESUMING):
            self._pause("machine", "asked_at_machine")
        elif name == "paused" and self.state is State.PRINTING and not self._machine_holds:
            self._machine_holds = "action"
            self._events.append(c.HeldStill("machine", "paused_at_machine"))
        elif name == "resumed" and self._machine_holds:
            self._machine_holds = ""
            self._events.append(c.WentOn())
        elif name == "resume" and self.state is State.PAUSED:
            self._go("resume")
            self._script = self._resume_script()
        elif name == "cancel" and self.state in RUNNING and self.state is not State.CANCELLING:
            self._cancel("stopped", "cancelled_at_machine")
        elif name in ("filament_runout", "out_of_filament"):
            self._warn("filament_runout", tool=text)

    def _on_spoilt(self, code: str) -> None:
        if self.state is State.PRINTING:
            self._pause("machine", code)

    def _on_unknown_error(self, text: str) -> None:
        self._warn("firmware_error", text=text)
        if self.state in RUNNING and self.state is not State.CANCELLING:
            self._cancel("failed", "firmware_error")

    # ------------------------------------------------------------ time

    def _own_deadline(self) -> float | None:
        due = []
        if self._run and self._marks() != self._shown:
            due.append(self._shown_at + PROGRESS_S)
        if self._paused_at is not None:
            due.append(self._paused_at + self.dialect.pause_heat_s)
        return min(due, default=None)

    def _own_tick(self) -> None:
        if self._run and self._now >= self._shown_at + PROGRESS_S:
            self._show(at_once=False)
        if self._paused_at is not None and self._now >= self._paused_at + self.dialect.pause_heat_s:
            self._paused_at = None
            self._orders.extend(command for command in scripts.heaters_off(self.dialect) if b"M104" in command)
            self._warn("pause_cooled")

    def _marks(self) -> tuple[int, int]:
        return self._out, min(self.wire.accepted, self._out)

    def _show(self, at_once: bool) -> None:
        marks = self._marks()
        if marks != self._shown or (at_once and self._finished):
            self._shown, self._shown_at = marks, self._now
            self._events.append(c.Progressed(*marks, done=marks[1] if self._finished else 0))


def _is_pause(text: bytes) -> bool:
    first = words(text[:8])
    return bool(first) and first[0][1] is not None and (first[0][0], int(first[0][1])) in _PAUSES
