"""OctoPrint as an engine: intents in, HTTP requests out; answers in, events out. Works with 1.8 to 1.11, by polling.

Opens nothing and reads no clock. Here are the five methods, the hello, the looks and the emergency stop; the life of
a run is in octoprint_run, the reading of answers in octoprint_reading.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fablab.devices.protocols.contract import (
    Adopt,
    Cancel,
    Connect,
    Console,
    EmergencyStop,
    Event,
    Halted,
    HeatersOff,
    HttpAnswer,
    HttpRequest,
    Identified,
    Intent,
    LinkLost,
    Pause,
    Print,
    Ready,
    Refused,
    Replied,
    Resume,
    Silent,
    StopSeen,
    Temperatures,
    Warned,
)
from fablab.devices.protocols.octoprint_reading import Marks, Phase, Printer, Seen, Verdict, read
from fablab.devices.protocols.octoprint_run import RunLife
from fablab.devices.protocols.octoprint_talk import Talk, file_url, link_code

POLL_RUNNING = 1.0  # seconds between two looks
POLL_IDLE = 5.0
POLL_HURRIED = 0.3  # while something that was ordered should show
RETRY = 2.0  # seconds until an unanswered look is tried again
GIVE_UP_LOOKS = 3  # unanswered looks without a run: the link is lost
SILENT_AFTER = 10.0  # seconds without an answer during a run
OPENING_SECONDS = 40.0  # OctoPrint tries several speeds by itself
STALE_ERROR_SECONDS = 3.0
REPEAT_EMERGENCY = 1.0  # seconds
EMERGENCY_UNCONFIRMED = 3.0  # seconds until a person is told to press the red button
EMERGENCY_SECONDS = 30.0  # of repeating
TRIED = ("1.8.", "1.9.", "1.10.", "1.11.")

RUN_FILE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.gcode")
"""How the file of a run is called, whoever's run it is."""

SHUT = (Printer.CLOSED, Printer.FAILED)


@dataclass
class _Stop:
    """An emergency stop on its way."""

    since: float
    repeat_at: float
    passed_on: bool = False  # OctoPrint took the order while it had the printer
    told: bool = False


class OctoPrintEngine:
    """One printer behind one OctoPrint."""

    def __init__(self) -> None:
        self._talk = Talk()
        self._ready = False
        self._greeting = False  # from Connect until the printer is open
        self._opening_since = 0.0
        self._stuck = False  # the last opening never came to an end
        self._look: dict[str, HttpAnswer] = {}
        self._failures = 0
        self._heard = 0.0
        self._told_silent = False
        self._life: RunLife | None = None
        self._stop: _Stop | None = None
        self._last_file = ""

    # ------------------------------------------------------------ the contract

    def ask(self, intent: Intent) -> Sequence[Event]:
        """Take an order. Raises `Refused`: not_connected, machine_busy, no_run, not_paused, not_supported."""
        match intent:
            case Connect():
                self._connect()
            case Print():
                self._need_ready()
                if self._life is not None and self._life.phase is Phase.DOUBTFUL:
                    self._life = None  # whoever starts the next has settled it with a person
                if self._life is not None or self._talk.foreign:
                    raise Refused("machine_busy", job=self._life.file if self._life else self._talk.foreign)
                self._heard = self._talk.now
                self._life = RunLife(self._talk, intent.run, Marks(intent.lines, intent.total), intent.path)
            case Adopt():
                self._heard = self._talk.now
                self._life = RunLife(self._talk, intent.run, Marks(intent.lines, intent.total), None)
                if self._ready:
                    self._talk.look_soon()
            case Pause() | Resume() | Cancel():
                if self._life is None:
                    raise Refused("no_run")
                return self._after_run(self._life.steer(intent))
            case EmergencyStop():
                return self._emergency()
            case HeatersOff():
                self._talk.heaters_off()
            case Console():
                self._need_ready()
                command = {"command": intent.text.decode("ascii", "replace")}
                self._talk.send("console", "POST", "/api/printer/command", command)
            case _:
                raise Refused("not_supported", intent=type(intent).__name__)
        return ()

    def to_write(self) -> Sequence[HttpRequest]:
        """Requests that should leave now."""
        out, self._talk.out = self._talk.out, []
        return out

    def deadline(self) -> float | None:
        """When `tick` wants to be called next."""
        dues = (
            self._talk.next_look,
            self._life.next_upload if self._life is not None else None,
            self._stop.repeat_at if self._stop is not None else None,
        )
        return min((due for due in dues if due is not None), default=None)

    def tick(self, now: float) -> Sequence[Event]:
        """Be told the time: look at OctoPrint when it is due, repeat a stop that was not seen to work."""
        self._talk.now = now
        events = list(self._watch_stop())
        if self._life is not None and self._life.next_upload is not None and now >= self._life.next_upload:
            self._life.upload()
        if self._talk.next_look is not None and now >= self._talk.next_look:
            self._talk.next_look = None
            self._look.clear()
            self._talk.send("printer", "GET", "/api/printer?exclude=sd")
            self._talk.send("job", "GET", "/api/job")
        return events

    def receive(self, item: HttpAnswer) -> Sequence[Event]:
        """Take an answer; one that nobody waits for any more says nothing."""
        what = self._talk.answered(item)
        match what:
            case "version":
                return self._version(item)
            case "connection":
                return self._connection(item)
            case "open" if item.status not in (0, 204):
                return self._lost("wrong_api_key" if item.status == 403 else "printer_offline")
            case "printer" | "job":
                self._look[what] = item
                return self._looked() if len(self._look) == 2 else ()
            case "upload" | "start" | "record" | "trouble" if self._life is not None:
                return self._after_run(self._of_run(self._life, what, item))
            case "emergency":
                if self._stop is not None and item.status == 204:
                    self._stop.passed_on = True
                self._talk.look_soon()
            case "console":
                self._talk.look_soon()
                return (Replied(""),) if item.status == 204 else (Warned("console_refused", {"status": item.status}),)
            case "pause" | "resume" | "cancel" | "heat":
                self._talk.look_soon()
        return ()

    # ------------------------------------------------------------ saying hello

    def _connect(self) -> None:
        self._greeting, self._ready, self._failures = True, False, 0
        self._talk.begin_again()
        if self._life is not None:
            self._life.link_renewed()
        self._talk.send("version", "GET", "/api/version")

    def _version(self, answer: HttpAnswer) -> Sequence[Event]:
        if answer.status != 200:
            return self._lost(link_code(answer))
        table = answer.json if isinstance(answer.json, dict) else {}
        text, server = str(table.get("text", "")), str(table.get("server", ""))
        if not text.startswith("OctoPrint"):  # PrusaLink and Moonraker answer here too
            return self._lost("not_octoprint")
        self._talk.send("connection", "GET", "/api/connection")
        untried = () if server.startswith(TRIED) else (Warned("octoprint_untried", {"version": server}),)
        return (Identified(firmware=text), *untried)

    def _connection(self, answer: HttpAnswer) -> Sequence[Event]:
        if answer.status != 200 or not isinstance(answer.json, dict):
            return self._lost(link_code(answer))
        state = str((answer.json.get("current") or {}).get("state", ""))
        self._opening_since = self._talk.now
        # an opening that failed (port busy) may be shown as opening for ever: the second time, it is ordered again
        if state.startswith(("Closed", "Offline", "Error")) or (self._stuck and state.startswith("Opening")):
            if not (answer.json.get("options") or {}).get("ports"):
                return self._lost("printer_no_port")
            self._talk.send("open", "POST", "/api/connection", {"command": "connect"})
            self._talk.next_look = self._talk.now + POLL_HURRIED
        else:
            self._talk.look_soon()
        return ()

    def _greet(self, seen: Seen) -> Sequence[Event]:
        """After the hello: wait for the printer to be open."""
        if seen.printer is Printer.OPENING or seen.printer in SHUT:
            # an error that is shown at once may be that of the last connection
            patience = STALE_ERROR_SECONDS if seen.printer is Printer.FAILED else OPENING_SECONDS
            if self._talk.now - self._opening_since < patience:
                self._talk.next_look = self._talk.now + POLL_HURRIED
                return ()
            self._stuck = seen.printer is Printer.OPENING
            return self._lost("printer_offline", seen.error)
        self._greeting, self._ready, self._stuck = False, True, False
        others = self._others(seen)
        if RUN_FILE.fullmatch(others):  # perhaps ours: an Adopt may follow; the next look tells
            others, self._talk.next_look = "", self._talk.now + POLL_HURRIED
        self._talk.foreign = others
        return (Ready(foreign=others),)

    def _lost(self, code: str, error: str = "") -> Sequence[Event]:
        self._greeting, self._ready, self._talk.next_look = False, False, None
        trouble = (Warned("printer_said", {"text": error}),) if error else ()
        return (*trouble, LinkLost(code))

    # ------------------------------------------------------------ looking

    def _looked(self) -> Sequence[Event]:
        printer, job = self._look["printer"], self._look["job"]
        seen = read(printer, job)
        if seen is None:
            return self._look_failed(job if job.status != 200 else printer)
        self._failures, self._heard, self._told_silent = 0, self._talk.now, False
        self._talk.seen = seen
        events: list[Event] = [Temperatures(seen.temperatures)] if seen.temperatures else []
        if self._greeting:
            events += self._greet(seen)
        elif self._ready:
            events += self._notice_others(seen)
        events += self._confirm_stop(seen)
        if self._life is not None and not self._greeting:
            events += self._after_run(self._life.follow(seen))
        if self._talk.next_look is None and (self._ready or self._life is not None or self._stop is not None):
            self._talk.next_look = self._talk.now + self._pace()
        return events

    def _look_failed(self, answer: HttpAnswer) -> Sequence[Event]:
        """A run goes on without us; only where there is none, silence means that the link is lost."""
        self._failures += 1
        self._talk.next_look = self._talk.now + RETRY
        if self._life is not None and not self._greeting:
            silence = self._talk.now - self._heard
            if silence < SILENT_AFTER or self._told_silent:
                return ()
            self._told_silent = True
            return Silent(after=silence), Warned(link_code(answer))
        if self._failures >= GIVE_UP_LOOKS or answer.status in (401, 403):
            return self._lost(link_code(answer))
        return ()

    def _pace(self) -> float:
        if self._stop is not None or (self._life is not None and self._life.hurried):
            return POLL_HURRIED
        return POLL_IDLE if self._life is None else POLL_RUNNING

    def _notice_others(self, seen: Seen) -> Sequence[Event]:
        if seen.printer in SHUT and self._life is None and self._stop is None:
            return self._lost("printer_offline", seen.error)
        others, before = self._others(seen), self._talk.foreign
        self._talk.foreign = others
        return (Ready(foreign=others),) if others != before else ()

    def _others(self, seen: Seen) -> str:
        """Name of a job that runs there and is not ours."""
        ours = self._life.file if self._life is not None else None
        return (seen.file or "?") if seen.busy and seen.file != ours else ""

    # ------------------------------------------------------------ the run

    def _of_run(self, life: RunLife, what: str, answer: HttpAnswer) -> Sequence[Event]:
        if what == "upload":
            return life.uploaded(answer)
        return life.start_answered(answer) if what == "start" else life.recorded(what, answer)

    def _after_run(self, events: Sequence[Event]) -> Sequence[Event]:
        """Let go of a run that ended, and of the file of the one before as soon as the next has begun."""
        life = self._life
        if life is not None and life.began and self._last_file and self._last_file != life.file:
            self._talk.send("delete", "DELETE", file_url(self._last_file))
            self._last_file = ""
        if life is not None and life.ended:
            self._last_file, self._life = life.file, None
        return events

    def _need_ready(self) -> None:
        if not self._ready:
            raise Refused("not_connected")

    # ------------------------------------------------------------ emergency stop

    def _emergency(self) -> Sequence[Event]:
        unsent = self._talk.hold_back()
        if self._stop is None:
            self._stop = _Stop(self._talk.now, self._talk.now + REPEAT_EMERGENCY)
        self._send_emergency()
        return self._after_run(self._life.stop_now(unsent)) if self._life is not None else ()

    def _send_emergency(self) -> None:
        urgent: dict[str, Any] = {"lane": "urgent", "timeout": 3.0}
        self._talk.send("emergency", "POST", "/api/printer/command", {"command": "M112"}, **urgent)
        self._talk.send("cancel", "POST", "/api/job", {"command": "cancel"}, **urgent)

    def _confirm_stop(self, seen: Seen) -> Sequence[Event]:
        """OctoPrint passes M112 on past its queue, then closes the port: more than that no host can see."""
        stop = self._stop
        if stop is None or not stop.passed_on or seen.printer not in SHUT:
            return ()
        events: list[Event] = [StopSeen("firmware")]
        if self._life is not None:
            events += self._after_run(self._life.end(Verdict("stopped", "emergency_stop")))
        # the next look says that the printer is offline, so that the port is opened again by a new hello
        self._stop, self._ready, self._greeting, self._opening_since = None, False, True, -OPENING_SECONDS
        self._talk.next_look = self._talk.now + POLL_IDLE
        return (*events, Halted("emergency_stop", seen.error))

    def _watch_stop(self) -> Iterator[Event]:
        stop = self._stop
        if stop is None or self._talk.now < stop.repeat_at:
            return
        if self._talk.now - stop.since >= EMERGENCY_UNCONFIRMED and not stop.told:
            stop.told = True
            yield StopSeen("none")
        if self._talk.now - stop.since >= EMERGENCY_SECONDS:
            self._stop = None
            return
        stop.repeat_at = self._talk.now + REPEAT_EMERGENCY
        if not self._talk.waits_for("emergency"):
            self._send_emergency()
