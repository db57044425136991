"""The OctoPrint engine without any server: what it asks, in which order, and what it makes of every kind of answer.

The answers have the shape that OctoPrint 1.11.8 gave on a trial. An unexpected request fails a test, and so does one
that was expected and not made.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fablab.devices.protocols.contract import (
    Adopt,
    Began,
    Cancel,
    Connect,
    EmergencyStop,
    Event,
    Halted,
    HeatersOff,
    HeldStill,
    HttpAnswer,
    HttpRequest,
    Identified,
    LinkLost,
    Pause,
    Print,
    Progressed,
    Ready,
    Refused,
    Resume,
    RunEnded,
    Silent,
    StartUnknown,
    StopSeen,
    Switch,
    Temperatures,
    Upload,
    Warned,
    WentOn,
)
from fablab.devices.protocols.octoprint import OctoPrintEngine
from fablab.devices.protocols.octoprint_reading import NEXT, Marks, Phase, Printer, Sight, read

FILE = "run-7.gcode"
FILE_URL = f"/api/files/local/{FILE}"
START = (f"POST {FILE_URL}", {"command": "select", "print": True})


@dataclass(frozen=True)
class Line:
    number: int
    end: int
    text: bytes = b"G1 X1"
    layer: int = 0
    mm: tuple[float, ...] = (0.0,)


def lines(count: int = 100) -> Iterator[Line]:
    """Each line is ten bytes long."""
    return (Line(n, n * 10) for n in range(1, count + 1))


def printer(*flags: str, tool: float | None = None) -> tuple[int, Any]:
    """What /api/printer says; no flag at all is a printer that OctoPrint is not connected to."""
    if not flags:
        return 409, {"error": "Printer is not operational"}
    names = ("operational", "printing", "paused", "pausing", "cancelling", "resuming", "finishing", "error", "ready")
    table = {name: name in flags or name == "operational" for name in (*names, "closedOrError")}
    table["closedOrError"] = False
    heat = {} if tool is None else {"tool0": {"actual": tool, "target": 210.0, "offset": 0}}
    return 200, {"temperature": heat, "state": {"text": "?", "flags": table, "error": ""}}


def job(file: str | None = None, pos: int | None = None, state: str = "Operational", **more: Any) -> tuple[int, Any]:
    """What /api/job says of a file of 1000 bytes."""
    progress = {"completion": None if pos is None else pos / 10, "filepos": pos, "printTimeLeft": None}
    table = {"job": {"file": {"name": file, "size": 1000 if file else None}}, "progress": progress, "state": state}
    return 200, table | more


IDLE = (printer("ready"), job())
PRINTING = (printer("printing"), job(FILE, 500, "Printing"))
PAUSED = (printer("paused"), job(FILE, 500, "Paused"))
CANCELLING = (printer("cancelling", "printing"), job(FILE, state="Cancelling"))
CANCELLED = (printer("ready"), job(FILE))
DONE = (printer("ready"), job(FILE, 1000))
OTHERS = (printer("printing"), job("vase.gcode", 20, "Printing"))
GONE = (printer(), job(state="Offline after error", error="Connection lost"))
Look = tuple[tuple[int, Any], tuple[int, Any]]

LOST_CONNECTION = Warned("printer_said", {"text": "Connection lost"})

RECORD_OF = {
    "nothing": (200, {"name": FILE}),
    "success": (200, {"name": FILE, "prints": {"success": 1, "failure": 0}}),
    "failure": (200, {"name": FILE, "prints": {"success": 0, "failure": 1}}),
}


class OctoPrintDesk:
    """Plays OctoPrint's part by hand."""

    def __init__(self) -> None:
        self.engine = OctoPrintEngine()
        self.now = 1000.0
        self.open: list[HttpRequest] = []
        self.events: list[Event] = list(self.engine.tick(self.now))

    def ask(self, intent: Any) -> list[Event]:
        self.engine.tick(self.now)
        return self._take(self.engine.ask(intent))

    def passes(self, seconds: float) -> list[Event]:
        self.now += seconds
        return self._take(self.engine.tick(self.now))

    def due(self) -> list[Event]:
        """Wait as long as the engine wishes."""
        deadline = self.engine.deadline()
        assert deadline is not None, "the engine wants never to be woken"
        return self.passes(max(0.0, deadline - self.now))

    def answer(self, call: str, status: int = 0, json: Any = None, error: str = "") -> list[Event]:
        """Answer the oldest open request, which must be `call`."""
        assert self.open, f"{call} was not asked"
        request = self.open.pop(0)
        assert f"{request.method} {request.path}" == call
        return self._take(self.engine.receive(HttpAnswer(request.number, status, json, error)))

    def sees(self, look: Look) -> list[Event]:
        """One look, when it is due."""
        if not self.open:
            self.due()
        events = self.answer("GET /api/printer?exclude=sd", *look[0]) + self.answer("GET /api/job", *look[1])
        return [event for event in events if not isinstance(event, Progressed | Temperatures)]

    def record(self, record: str, trouble: tuple[int, Any] = (200, {"error": "", "reason": ""})) -> list[Event]:
        return self.answer(f"GET {FILE_URL}", *RECORD_OF[record]) + self.answer("GET /api/printer/error", *trouble)

    def nothing_open(self) -> None:
        assert not self.open, self.open

    def calls(self) -> list[tuple[str, Any]]:
        return [(f"{request.method} {request.path}", request.json) for request in self.open]

    def _take(self, events: Any) -> list[Event]:
        self.open += self.engine.to_write()
        self.events += events
        return list(events)


def version(text: str = "OctoPrint 1.11.8", server: str = "1.11.8") -> dict[str, str]:
    return {"api": "0.1", "server": server, "text": text}


def connection(state: str = "Operational", ports: tuple[str, ...] = ("VIRTUAL",)) -> dict[str, Any]:
    return {"current": {"state": state}, "options": {"ports": list(ports)}}


def connected() -> OctoPrintDesk:
    desk = OctoPrintDesk()
    desk.ask(Connect())
    desk.answer("GET /api/version", 200, version())
    desk.answer("GET /api/connection", 200, connection())
    assert desk.sees(IDLE) == [Ready()]
    return desk


def uploading() -> OctoPrintDesk:
    desk = connected()
    desk.ask(Print("run-7", lines(), 100, "/jobs/a.gcode"))
    return desk


def uploaded(desk: OctoPrintDesk) -> list[Event]:
    return desk.answer("POST /api/files/local", 201, {"files": {"local": {"path": FILE}}, "effectivePrint": False})


def starting() -> OctoPrintDesk:
    desk = uploading()
    uploaded(desk)
    assert desk.calls() == [START]
    return desk


def running() -> OctoPrintDesk:
    desk = starting()
    desk.answer(START[0], 204)
    assert desk.sees(PRINTING) == [Began("run-7")]
    return desk


# ---------------------------------------------------------------- hello


def test_hello_names_the_server_and_waits_for_the_printer_to_open() -> None:
    desk = OctoPrintDesk()
    desk.ask(Connect())
    assert desk.answer("GET /api/version", 200, version()) == [Identified(firmware="OctoPrint 1.11.8")]
    desk.answer("GET /api/connection", 200, connection("Closed"))
    assert desk.calls() == [("POST /api/connection", {"command": "connect"})]
    desk.answer("POST /api/connection", 204)
    assert desk.sees((printer(), job(state="Detecting serial connection"))) == []
    assert desk.sees(IDLE) == [Ready()]
    desk.nothing_open()
    assert desk.engine.deadline() == desk.now + 5.0


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((403, {"error": "no"}, ""), "wrong_api_key"),
        ((0, None, "unreachable"), "octoprint_unreachable"),
        ((0, None, "not_http"), "octoprint_starting"),
        ((0, None, "broken"), "octoprint_starting"),
        ((503, None, ""), "octoprint_starting"),
        ((0, None, "timeout"), "octoprint_silent"),
        ((404, None, ""), "not_octoprint"),
        ((302, None, ""), "not_octoprint"),
        ((200, {"api": "2.0", "server": "0.8", "text": "PrusaLink 0.8"}, ""), "not_octoprint"),
        ((200, ["?"], ""), "not_octoprint"),
    ],
)
def test_a_hello_that_fails_says_why(answer: tuple[int, Any, str], code: str) -> None:
    desk = OctoPrintDesk()
    desk.ask(Connect())
    assert desk.answer("GET /api/version", *answer) == [LinkLost(code)]
    assert desk.engine.deadline() is None
    with pytest.raises(Refused, match="not_connected"):
        desk.ask(Print("run-7", lines(), 100, "/jobs/a.gcode"))


def test_a_version_that_nobody_tried_is_named() -> None:
    desk = OctoPrintDesk()
    desk.ask(Connect())
    events = desk.answer("GET /api/version", 200, version("OctoPrint 2.0.0", "2.0.0"))
    assert events[1] == Warned("octoprint_untried", {"version": "2.0.0"})


def test_a_printer_without_a_port_or_that_does_not_open() -> None:
    desk = OctoPrintDesk()
    desk.ask(Connect())
    desk.answer("GET /api/version", 200, version())
    assert desk.answer("GET /api/connection", 200, connection("Closed", ())) == [LinkLost("printer_no_port")]
    desk.ask(Connect())
    desk.answer("GET /api/version", 200, version())
    desk.answer("GET /api/connection", 200, connection("Offline after error"))
    desk.answer("POST /api/connection", 204)
    assert desk.sees(GONE) == []  # may still be the error of last time
    desk.passes(3.0)
    assert desk.sees(GONE) == [LOST_CONNECTION, LinkLost("printer_offline")]


def test_a_port_that_opens_for_ever_is_opened_again() -> None:
    opening = (printer(), job(state="Opening serial connection"))
    desk = OctoPrintDesk()
    desk.ask(Connect())
    desk.answer("GET /api/version", 200, version())
    desk.answer("GET /api/connection", 200, connection("Opening serial connection"))
    assert desk.sees(opening) == []
    desk.passes(40.0)
    assert desk.sees(opening) == [LinkLost("printer_offline")]
    desk.ask(Connect())
    desk.answer("GET /api/version", 200, version())
    desk.answer("GET /api/connection", 200, connection("Opening serial connection"))
    assert desk.calls() == [("POST /api/connection", {"command": "connect"})]


def test_anothers_job_is_shown_and_never_ours() -> None:
    desk = OctoPrintDesk()
    desk.ask(Connect())
    desk.answer("GET /api/version", 200, version())
    desk.answer("GET /api/connection", 200, connection("Printing"))
    assert desk.sees(OTHERS) == [Ready(foreign="vase.gcode")]
    with pytest.raises(Refused, match="machine_busy"):
        desk.ask(Print("run-7", lines(), 100, "/jobs/a.gcode"))
    with pytest.raises(Refused, match="no_run"):
        desk.ask(Cancel())
    assert desk.sees(IDLE) == [Ready()]


def test_what_octoprint_cannot_do_is_refused() -> None:
    with pytest.raises(Refused, match="not_supported"):
        connected().ask(Switch(on=True))


# ---------------------------------------------------------------- a print


def test_a_print_from_upload_to_end() -> None:
    desk = uploading()
    (request,) = desk.open
    assert request.upload == Upload("/jobs/a.gcode", FILE)
    assert request.lane == "upload"
    uploaded(desk)
    assert desk.calls() == [START]
    desk.answer(START[0], 204)
    assert desk.sees(PRINTING) == [Began("run-7")]
    assert desk.events[-1] == Progressed(50, 48, fraction=0.5)
    assert desk.engine.deadline() == desk.now + 1.0
    assert desk.sees(PRINTING) == []
    assert desk.sees(DONE) == [RunEnded("run-7", "succeeded", 100)]
    assert desk.sees(IDLE) == []


def test_a_print_that_is_over_before_the_first_look() -> None:
    desk = starting()
    desk.answer(START[0], 204)
    assert desk.sees(DONE) == [Began("run-7"), RunEnded("run-7", "succeeded", 100)]


@pytest.mark.parametrize("answer", [(204, ""), (0, "timeout"), (0, "broken"), (500, "")])
def test_the_order_to_print_is_not_repeated_when_its_answer_stays_away(answer: tuple[int, str]) -> None:
    desk = starting()
    desk.answer(START[0], answer[0], None, answer[1])
    while desk.now < 1030:
        desk.sees(IDLE)
        if desk.open:
            break
    for _ in range(9):
        assert desk.record("nothing") == []
        desk.sees(IDLE)
    assert desk.record("nothing") == [StartUnknown("run-7", "start_unanswered")]
    desk.nothing_open()
    assert desk.sees(PRINTING) == [Began("run-7")]  # it had only been slow


def test_a_doubtful_run_gives_way_to_the_next_order() -> None:
    desk, _ = adopting(IDLE)
    for _ in range(9):
        desk.record("nothing")
        desk.sees(IDLE)
    assert desk.record("nothing") == [StartUnknown("run-7", "print_vanished")]
    desk.ask(Print("run-8", lines(), 100, "/jobs/b.gcode"))
    desk.answer("POST /api/files/local", 201, {"files": {"local": {"path": "run-8.gcode"}}})
    assert [call for call, _ in desk.calls()] == ["POST /api/files/local/run-8.gcode"]


def test_a_start_whose_answer_was_lost_is_seen_to_run() -> None:
    desk = starting()
    desk.answer(START[0], error="timeout")
    assert desk.sees(PRINTING) == [Began("run-7")]


@pytest.mark.parametrize("answer", [(409, ""), (0, "timeout"), (0, "unreachable"), (0, "broken")])
def test_an_answer_that_comes_after_the_print_was_seen_changes_nothing(answer: tuple[int, str]) -> None:
    desk = starting()
    order = desk.open.pop()
    assert desk.passes(1.0) == []
    assert desk.sees(PRINTING) == [Began("run-7")]
    assert desk.engine.receive(HttpAnswer(order.number, answer[0], error=answer[1])) == ()
    desk.nothing_open()
    assert desk.sees(PRINTING) == []


def test_a_start_that_was_refused_ends_the_run_only_after_a_second_look() -> None:
    desk = starting()
    desk.answer(START[0], 409, {"error": "Printer is already printing"})
    for _ in range(9):
        assert desk.record("nothing") == []
        desk.sees(OTHERS)
    assert desk.record("nothing") == [RunEnded("run-7", "failed", 0, "machine_busy")]


def test_a_refusal_that_was_a_mistake() -> None:
    """A proxy repeated the order: the second one was refused because the first was obeyed."""
    desk = starting()
    desk.answer(START[0], 409)
    desk.record("nothing")
    assert desk.sees(PRINTING) == [Began("run-7")]


def test_an_order_that_never_left_is_a_failure_without_doubt() -> None:
    desk = starting()
    assert desk.answer(START[0], error="unreachable") == [RunEnded("run-7", "failed", 0, "octoprint_unreachable")]


def test_an_upload_is_repeated_and_then_given_up() -> None:
    desk = uploading()
    for _ in range(2):
        assert desk.answer("POST /api/files/local", error="broken") == []
        desk.due()
    assert desk.answer("POST /api/files/local", 500) == [RunEnded("run-7", "failed", 0, "upload_refused")]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((201, {"files": {"local": {"path": "run_7.gcode"}}}, ""), "upload_renamed"),
        ((0, None, "no_file"), "file_missing"),
        ((403, None, ""), "wrong_api_key"),
        ((415, None, ""), "upload_refused"),
    ],
)
def test_an_upload_that_fails_says_why_and_starts_nothing(answer: tuple[int, Any, str], code: str) -> None:
    desk = uploading()
    assert desk.answer("POST /api/files/local", *answer) == [RunEnded("run-7", "failed", 0, code)]
    desk.nothing_open()


def test_the_file_of_the_run_before_is_removed_when_the_next_has_begun() -> None:
    desk = running()
    desk.sees(DONE)
    desk.sees(IDLE)
    desk.ask(Print("run-8", lines(), 100, "/jobs/b.gcode"))
    desk.answer("POST /api/files/local", 201, {"files": {"local": {"path": "run-8.gcode"}}})
    desk.answer("POST /api/files/local/run-8.gcode", 204)
    desk.sees((printer("printing"), job("run-8.gcode", 10, "Printing")))
    assert desk.calls() == [(f"DELETE {FILE_URL}", None)]


# ---------------------------------------------------------------- how it ends


@pytest.mark.parametrize(
    ("look", "record", "trouble", "ended"),
    [
        (CANCELLED, "failure", (200, {"reason": ""}), ("stopped", "stopped_at_machine")),
        (CANCELLED, "failure", (404, None), ("stopped", "stopped_at_machine")),
        (OTHERS, "failure", (200, {"reason": ""}), ("stopped", "stopped_at_machine")),
        (OTHERS, "success", (200, {"reason": ""}), ("succeeded", "")),
        (GONE, "failure", (200, {"reason": "connection"}), ("failed", "printer_lost")),
        (GONE, "failure", (404, None), ("failed", "printer_lost")),
        (GONE, "failure", (200, {"reason": "firmware"}), ("failed", "firmware_error")),
        (GONE, "failure", (200, {"reason": "something new"}), ("failed", "printer_error")),
        (CANCELLED, "failure", (200, {"reason": "resend_loop"}), ("failed", "resend_failed")),
    ],
)
def test_octoprints_own_record_decides(look: Look, record: str, trouble: Any, ended: tuple[str, str]) -> None:
    desk = running()
    foreign = [Ready(foreign="vase.gcode")] if look is OTHERS else []
    assert desk.sees(look) == foreign
    accepted = 100 if ended[0] == "succeeded" else 48
    assert desk.record(record, trouble) == [RunEnded("run-7", ended[0], accepted, ended[1])]


def test_one_odd_look_ends_nothing() -> None:
    desk = running()
    assert desk.sees(CANCELLED) == []
    assert desk.record("nothing") == []
    assert desk.sees(PRINTING) == []
    assert desk.sees(DONE) == [RunEnded("run-7", "succeeded", 100)]


def test_a_server_that_lost_the_print_wrote_no_record() -> None:
    desk = running()
    for _ in range(9):
        desk.sees((printer(), job(state="Offline")))
        assert desk.record("nothing") == []
    desk.sees((printer(), job(state="Offline")))
    assert desk.record("nothing") == [RunEnded("run-7", "failed", 48, "print_vanished")]


def test_a_print_goes_on_when_its_server_is_silent_for_a_while() -> None:
    desk = running()
    heard = desk.now
    told: list[Event] = []
    while not told:
        desk.due()
        desk.answer("GET /api/printer?exclude=sd", error="timeout")
        told = desk.answer("GET /api/job", error="timeout")
    assert 10.0 <= desk.now - heard <= 12.0
    silent, why = told
    assert isinstance(silent, Silent) and silent.after >= 10.0
    assert why == Warned("octoprint_silent")
    assert desk.sees(DONE) == [RunEnded("run-7", "succeeded", 100)]


def test_without_a_run_three_silent_looks_are_a_lost_link() -> None:
    desk = connected()
    for _ in range(2):
        desk.due()
        desk.answer("GET /api/printer?exclude=sd", error="unreachable")
        assert desk.answer("GET /api/job", error="unreachable") == []
    desk.due()
    desk.answer("GET /api/printer?exclude=sd", error="unreachable")
    assert desk.answer("GET /api/job", error="unreachable") == [LinkLost("octoprint_unreachable")]


def test_an_idle_printer_that_is_unplugged_behind_a_living_octoprint() -> None:
    desk = connected()
    assert desk.sees(GONE) == [LOST_CONNECTION, LinkLost("printer_offline")]


# ---------------------------------------------------------------- after a restart of the agent


def adopting(look: Look) -> tuple[OctoPrintDesk, list[Event]]:
    desk = connected()
    desk.ask(Adopt("run-7", lines(), 100))
    return desk, desk.sees(look)


def test_a_run_that_still_prints_goes_on() -> None:
    desk, events = adopting(PRINTING)
    assert events == [Began("run-7")]
    assert Progressed(50, 48, fraction=0.5) in desk.events
    assert desk.sees(DONE) == [RunEnded("run-7", "succeeded", 100)]


def test_a_run_that_is_paused_is_told_so() -> None:
    assert adopting(PAUSED)[1] == [Began("run-7"), HeldStill(by="machine")]


def test_a_run_that_ended_meanwhile_is_found_in_the_record() -> None:
    desk, events = adopting(OTHERS)
    assert events == [Ready(foreign="vase.gcode")]
    assert desk.record("success") == [Began("run-7"), RunEnded("run-7", "succeeded", 100)]


def test_adopting_before_hello_keeps_our_own_job_from_looking_foreign() -> None:
    desk = OctoPrintDesk()
    desk.ask(Adopt("run-7", lines(), 100))
    desk.ask(Connect())
    desk.answer("GET /api/version", 200, version())
    desk.answer("GET /api/connection", 200, connection("Printing"))
    assert desk.sees(PRINTING) == [Ready(), Began("run-7")]


def test_a_job_that_may_be_ours_is_called_foreign_only_when_nobody_adopts_it() -> None:
    run = "0195f2c4-7a1b-7c3d-8e4f-0123456789ab"
    theirs = (printer("printing"), job(f"{run}.gcode", 500, "Printing"))
    for adopted in (True, False):
        desk = OctoPrintDesk()
        desk.ask(Connect())
        desk.answer("GET /api/version", 200, version())
        desk.answer("GET /api/connection", 200, connection("Printing"))
        assert desk.sees(theirs) == [Ready()]
        if adopted:
            desk.ask(Adopt(run, lines(), 100))
            assert desk.sees(theirs) == [Began(run)]
        else:
            assert desk.sees(theirs) == [Ready(foreign=f"{run}.gcode")]


def test_nobody_knows_a_run_that_left_no_trace() -> None:
    desk, _ = adopting(IDLE)
    for _ in range(9):
        desk.record("nothing")
        desk.sees(IDLE)
    assert desk.record("nothing") == [StartUnknown("run-7", "print_vanished")]
    assert desk.ask(Cancel()) == [RunEnded("run-7", "stopped", 0, "cancelled")]  # a person has looked


def test_a_renewed_link_forgets_what_was_asked_and_goes_on() -> None:
    desk = running()
    desk.sees(CANCELLED)
    assert len(desk.open) == 2  # record and trouble, which nobody will answer
    desk.open.clear()
    desk.ask(Connect())
    desk.answer("GET /api/version", 200, version())
    desk.answer("GET /api/connection", 200, connection())
    assert desk.sees(CANCELLED) == [Ready()]
    assert desk.record("failure") == [RunEnded("run-7", "stopped", 48, "stopped_at_machine")]


def test_an_upload_that_the_link_took_along_is_made_again() -> None:
    desk = uploading()
    desk.open.clear()
    desk.ask(Connect())
    assert "POST /api/files/local" not in [call for call, _ in desk.calls()]
    desk.due()
    assert [call for call, _ in desk.calls()] == ["GET /api/version", "POST /api/files/local"]


# ---------------------------------------------------------------- pause, resume, cancel


def test_pause_says_which_way_and_is_repeated_until_it_shows() -> None:
    desk = running()
    desk.ask(Pause())
    pause = ("POST /api/job", {"command": "pause", "action": "pause"})
    assert desk.calls() == [pause]
    desk.answer("POST /api/job", error="broken")
    while not desk.open:
        desk.sees(PRINTING)
    assert desk.calls() == [pause]
    desk.answer("POST /api/job", 204)
    assert desk.sees(PAUSED) == [HeldStill(by="host")]
    desk.passes(60)
    assert desk.sees(PAUSED) == []


def test_pausing_what_is_paused_does_not_linger() -> None:
    desk = running()
    desk.sees(PAUSED)
    desk.ask(Pause())
    desk.nothing_open()
    desk.passes(60)
    assert desk.sees(PRINTING) == [WentOn()]  # resumed at the machine, by somebody who may
    desk.nothing_open()


def test_resume_is_never_repeated() -> None:
    desk = running()
    assert desk.sees(PAUSED) == [HeldStill(by="machine")]
    desk.ask(Resume())
    assert desk.calls() == [("POST /api/job", {"command": "pause", "action": "resume"})]
    desk.answer("POST /api/job", error="timeout")
    for _ in range(20):
        assert desk.sees(PAUSED) == []
    assert desk.sees(PRINTING) == [WentOn()]
    with pytest.raises(Refused, match="not_paused"):
        desk.ask(Resume())


def test_cancel_is_repeated_until_it_shows_and_turns_the_heat_off() -> None:
    desk = running()
    desk.ask(Cancel())
    cancel = ("POST /api/job", {"command": "cancel"})
    assert desk.calls() == [cancel]
    desk.answer("POST /api/job", error="timeout")
    while not desk.open:
        desk.sees(PRINTING)
    assert desk.calls() == [cancel]
    desk.answer("POST /api/job", 204)
    desk.sees(CANCELLING)
    desk.nothing_open()
    desk.sees(CANCELLED)
    assert desk.record("failure") == [RunEnded("run-7", "stopped", 48, "cancelled")]
    assert [call for call, _ in desk.calls()] == [
        "POST /api/printer/tool",
        "POST /api/printer/bed",
        "POST /api/printer/command",
    ]


def test_a_cancel_during_the_upload_starts_nothing() -> None:
    desk = uploading()
    assert desk.ask(Cancel()) == [RunEnded("run-7", "stopped", 0, "cancelled")]
    assert uploaded(desk) == []
    desk.sees(IDLE)
    desk.nothing_open()


def test_a_cancel_between_order_and_start_waits_for_our_own_job_to_show() -> None:
    desk = starting()
    desk.ask(Cancel())
    assert desk.calls() == [START]
    desk.answer(START[0], 204)
    desk.sees(OTHERS)
    desk.nothing_open()
    assert desk.sees(PRINTING) == [Ready(), Began("run-7")]
    assert desk.calls() == [("POST /api/job", {"command": "cancel"})]


# ---------------------------------------------------------------- emergency stop and heat


def test_an_emergency_stop_goes_first_and_is_confirmed_by_the_closed_port() -> None:
    desk = running()
    desk.due()
    assert desk.ask(EmergencyStop()) == []
    urgent = [request for request in desk.open if request.lane == "urgent"]
    assert [request.json for request in urgent] == [{"command": "M112"}, {"command": "cancel"}]
    desk.answer("GET /api/printer?exclude=sd", *PRINTING[0])
    desk.answer("GET /api/job", error="timeout")
    desk.answer("POST /api/printer/command", 204)
    desk.answer("POST /api/job", 409)
    assert desk.sees(GONE) == [
        StopSeen("firmware"),
        RunEnded("run-7", "stopped", 48, "emergency_stop"),
        Halted("emergency_stop", "Connection lost"),
    ]
    with pytest.raises(Refused, match="not_connected"):
        desk.ask(Print("run-8", lines(), 100, "/jobs/b.gcode"))
    assert desk.engine.deadline() == desk.now + 5.0
    assert desk.sees(GONE) == [LOST_CONNECTION, LinkLost("printer_offline")]
    desk.ask(Connect())
    desk.answer("GET /api/version", 200, version())
    desk.answer("GET /api/connection", 200, connection("Offline after error"))
    assert desk.calls() == [("POST /api/connection", {"command": "connect"})]


def test_an_emergency_stop_that_octoprint_cannot_pass_on_is_not_confirmed() -> None:
    """The printer was gone before: a closed port proves nothing then."""
    desk = connected()
    desk.ask(EmergencyStop())
    asked = 1
    for _ in range(40):
        desk.passes(1.0)
        for request in list(desk.open):
            asked += request.json == {"command": "M112"}
            status, body = {"/api/job": job(state="Offline"), "/api/printer?exclude=sd": printer()}.get(
                request.path, (409, None)
            )
            desk.answer(f"{request.method} {request.path}", 409 if request.method == "POST" else status, body)
    stops = [event for event in desk.events if isinstance(event, StopSeen)]
    assert stops == [StopSeen("none")]
    assert asked > 10
    assert not any(isinstance(event, Halted) for event in desk.events)


def test_an_emergency_stop_without_an_answer_does_not_pile_up() -> None:
    desk = running()
    desk.ask(EmergencyStop())
    for _ in range(5):
        desk.passes(1.0)
    stops = [request for request in desk.open if request.json == {"command": "M112"}]
    assert len(stops) == 1
    desk.engine.receive(HttpAnswer(stops[0].number, 0, error="timeout"))
    desk.passes(1.0)
    assert [request.json for request in desk.open].count({"command": "M112"}) == 2


def test_after_an_emergency_stop_during_the_upload_nothing_starts() -> None:
    desk = uploading()
    upload = desk.open.pop()
    assert desk.ask(EmergencyStop()) == [RunEnded("run-7", "stopped", 0, "emergency_stop")]
    answer = HttpAnswer(upload.number, 201, {"files": {"local": {"path": FILE}}})
    desk._take(desk.engine.receive(answer))
    assert START not in desk.calls()


def test_an_order_to_print_that_has_not_left_is_dropped_by_an_emergency_stop() -> None:
    desk = uploading()
    (request,) = desk.open
    desk.engine.receive(HttpAnswer(request.number, 201, {"files": {"local": {"path": FILE}}}))
    assert desk.ask(EmergencyStop()) == [RunEnded("run-7", "stopped", 0, "emergency_stop")]
    assert START not in desk.calls()


def test_heaters_off_names_every_heater_that_was_seen() -> None:
    desk = connected()
    desk.sees((printer("ready", tool=205.0), job()))
    assert desk.events[-1] == Temperatures({"tool0": (205.0, 210.0)})
    desk.ask(HeatersOff())
    assert desk.calls() == [
        ("POST /api/printer/tool", {"command": "target", "targets": {"tool0": 0}}),
        ("POST /api/printer/command", {"command": "M107"}),
    ]


# ---------------------------------------------------------------- whatever comes

ANSWERS = st.sampled_from(
    [
        (204, None, ""),
        (201, {"files": {"local": {"path": FILE}}}, ""),
        (409, None, ""),
        (403, None, ""),
        (500, None, ""),
    ]
    + [(0, None, error) for error in ("timeout", "broken", "unreachable", "not_http", "dropped")]
    + [(status, body, "") for look in (IDLE, PRINTING, PAUSED, CANCELLED, DONE, OTHERS, GONE) for status, body in look]
    + [(status, body, "") for status, body in RECORD_OF.values()]
)
ORDERS = st.sampled_from([Pause(), Resume(), Cancel(), EmergencyStop(), Connect(), HeatersOff()])


@given(st.lists(st.one_of(ANSWERS, ORDERS, st.sampled_from([0.3, 1.0, 25.0])), max_size=60))
def test_whatever_is_answered_the_order_to_print_leaves_at_most_once(story: list[Any]) -> None:
    desk = uploading()
    starts, stopped_before, ends = 0, False, 0
    for step in story:
        if isinstance(step, float):
            desk.passes(step)
        elif isinstance(step, tuple):
            if not desk.open:
                desk.passes(1.0)
            if desk.open:
                request = desk.open.pop(0)
                desk._take(desk.engine.receive(HttpAnswer(request.number, *step)))
        else:
            try:
                desk.ask(step)
            except Refused:
                continue
            stopped_before |= isinstance(step, Cancel | EmergencyStop) and starts == 0
        new = [request for request in desk.open if (f"{request.method} {request.path}", request.json) == START]
        for request in new:
            starts += 1
            desk.open.remove(request)
            desk._take(desk.engine.receive(HttpAnswer(request.number, 0, error="timeout")))
        assert not (new and stopped_before)
    assert starts <= 1
    ends = sum(isinstance(event, RunEnded) for event in desk.events)
    assert ends <= 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["job", "file", "state", "flags", "progress", "filepos", "temperature", "tool0", "actual"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, JSON, st.sampled_from([200, 409]))
def test_any_json_is_read_without_an_error(one: Any, other: Any, status: int) -> None:
    seen = read(HttpAnswer(1, status, one), HttpAnswer(2, 200, other))
    assert seen is not None
    assert seen.printer in Printer


@given(st.lists(st.integers(1, 80), min_size=1, max_size=60), st.lists(st.integers(0, 6000), max_size=20))
def test_marks_are_a_lower_bound_of_what_was_read(lengths: list[int], looks: list[int]) -> None:
    ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
    marks = Marks((Line(n, end) for n, end in enumerate(ends, 1)), len(ends))
    furthest = 0
    for filepos in looks:
        marks.up_to(filepos)
        furthest = max(furthest, filepos)
        assert marks.sent == sum(end <= furthest for end in ends)
        assert marks.accepted <= marks.sent


def test_every_phase_that_can_be_watched_knows_every_sign_of_life() -> None:
    watched = set(Phase) - {Phase.UPLOADING}
    for phase in watched:
        assert NEXT[phase, Sight.PRINTING] is Phase.RUNNING
        assert NEXT[phase, Sight.PAUSED] is Phase.PAUSED
    assert not any(phase is Phase.UPLOADING for phase, _ in NEXT)
