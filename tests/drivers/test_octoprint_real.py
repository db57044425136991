"""The driver against a real OctoPrint with its Virtual Printer: a whole print, and each way in which one can end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fablab.devices.protocols.contract import (
    Adopt,
    Began,
    Cancel,
    Console,
    EmergencyStop,
    Halted,
    HeatersOff,
    HeldStill,
    Identified,
    LinkLost,
    Pause,
    Print,
    Progressed,
    Ready,
    Refused,
    Replied,
    Resume,
    RunEnded,
    Silent,
    StopSeen,
    Temperatures,
    WentOn,
)
from fablab.gcode.index import IndexedFile
from fablab.gcode.limits import Limits
from fablab.gcode.scan import scan
from tests.builders_octoprint import BadLink, GcodeFile, Watched, watch, write_gcode
from tests.octoprint_server import OctoPrint, start_octoprint


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OctoPrint]:
    with start_octoprint(tmp_path_factory.mktemp("octoprint")) as running:
        yield running


@pytest.fixture
def quick(tmp_path: Path) -> GcodeFile:
    return write_gcode(tmp_path / "quick.gcode", 300)


@pytest.fixture
def slow(tmp_path: Path) -> GcodeFile:
    """A minute and a half long, when nobody stops it."""
    return write_gcode(tmp_path / "slow.gcode", 900, dwell_ms=200)


@pytest.fixture
def octo(server: OctoPrint, tmp_path: Path) -> Iterator[Watched]:
    """Connected, idle; whatever the test leaves running is cancelled."""
    watched = watch(server, tmp_path / "keys")
    assert watched.greet() == Ready()
    yield watched
    watched.hosting.dispose()
    server.call("POST", "/api/job", {"command": "cancel"})
    server.until(lambda: server.call("GET", "/api/job")[1]["state"] in ("Operational", "Offline"), "it stands idle")


def record(server: OctoPrint, run: str) -> tuple[int, int]:
    """How often OctoPrint printed the run's file: (to the end, not to the end)."""
    prints = server.call("GET", f"/api/files/local/{run}.gcode")[1].get("prints", {})
    return prints.get("success", 0), prints.get("failure", 0)


def test_a_print_from_upload_to_end(octo: Watched, server: OctoPrint, quick: GcodeFile) -> None:
    octo.ask(quick.order("end-to-end"))
    octo.until(RunEnded)
    identified, ready, began, ended = octo.told()
    assert isinstance(identified, Identified) and identified.firmware.startswith("OctoPrint 1.")
    assert (ready, began) == (Ready(), Began("end-to-end"))
    assert ended == RunEnded("end-to-end", "succeeded", quick.total)
    marks = [mark.sent for mark in octo.progress()]
    assert marks == sorted(marks)
    assert all(mark.accepted <= mark.sent <= quick.total for mark in octo.progress())
    server.until(lambda: record(server, "end-to-end") == (1, 0), "OctoPrint's own record says so too")


def test_pause_resume_and_cancel(octo: Watched, server: OctoPrint, slow: GcodeFile) -> None:
    octo.ask(slow.order("steered"))
    octo.until(Progressed, when=lambda mark: mark.accepted > 3)
    octo.ask(Pause())
    assert octo.until(HeldStill) == HeldStill(by="host")
    assert server.call("GET", "/api/job")[1]["state"] == "Paused"
    octo.ask(Pause())  # again: still paused, no toggle
    octo.until(Temperatures)
    assert server.call("GET", "/api/job")[1]["state"] == "Paused"
    octo.ask(Resume())
    octo.until(WentOn)
    octo.ask(Cancel())
    ended = octo.until(RunEnded)
    assert (ended.result, ended.code) == ("stopped", "cancelled")
    assert 3 < ended.accepted < slow.total
    server.until(lambda: record(server, "steered") == (0, 1), "one attempt, cancelled")


def test_a_cancel_during_heat_up(octo: Watched, tmp_path: Path) -> None:
    # the Virtual Printer heats by 1 °C a second and knows no M108, which OctoPrint sends to end the wait
    file = write_gcode(tmp_path / "hot.gcode", 5, head=("M109 S29",))
    octo.ask(file.order("heating"))
    octo.until(Temperatures, when=lambda seen: (seen.values["tool0"][1] or 0) == 29)
    octo.ask(Cancel())
    ended = octo.until(RunEnded, 15)
    assert (ended.result, ended.code) == ("stopped", "cancelled")
    octo.until(Temperatures, 15, lambda seen: seen.values["tool0"][1] == 0)


def test_somebody_pauses_and_cancels_at_octoprint(octo: Watched, server: OctoPrint, slow: GcodeFile) -> None:
    octo.ask(slow.order("theirs"))
    octo.until(Began)
    server.call("POST", "/api/job", {"command": "pause", "action": "pause"})
    assert octo.until(HeldStill) == HeldStill(by="machine")
    server.call("POST", "/api/job", {"command": "cancel"})
    ended = octo.until(RunEnded)
    assert (ended.result, ended.code) == ("stopped", "stopped_at_machine")


def test_anothers_print_is_shown_and_not_touched(octo: Watched, server: OctoPrint, slow: GcodeFile) -> None:
    octo.ask(slow.order("seed"))
    octo.until(Began)
    octo.ask(Cancel())
    octo.until(RunEnded)
    server.call("POST", "/api/files/local/seed.gcode", {"command": "copy", "destination": "vase.gcode"})
    server.until(lambda: server.call("GET", "/api/job")[1]["state"] == "Operational", "the cancel is through")
    server.call("POST", "/api/files/local/vase.gcode", {"command": "select", "print": True})
    assert octo.until(Ready) == Ready(foreign="vase.gcode")
    with pytest.raises(Refused, match="machine_busy"):
        octo.ask(slow.order("too-late"))
    with pytest.raises(Refused, match="no_run"):
        octo.ask(Cancel())
    server.call("POST", "/api/job", {"command": "cancel"})
    assert octo.until(Ready) == Ready()


def test_an_emergency_stop_closes_the_port_and_a_new_hello_opens_it(octo: Watched, slow: GcodeFile) -> None:
    octo.ask(slow.order("stopped"))
    octo.until(Progressed)
    octo.stop_now(EmergencyStop())
    halted = octo.until(Halted, 10)
    assert halted.code == "emergency_stop"
    assert StopSeen("firmware") in octo.events
    (ended,) = [event for event in octo.events if isinstance(event, RunEnded)]
    assert (ended.result, ended.code) == ("stopped", "emergency_stop")
    octo.hosting.close()
    assert octo.greet() == Ready()


def test_a_new_engine_finds_the_run_of_the_old_one(
    octo: Watched, server: OctoPrint, slow: GcodeFile, tmp_path: Path
) -> None:
    octo.ask(slow.order("survivor"))
    before = octo.until(Progressed, when=lambda mark: mark.accepted > 3)
    octo.hosting.close()
    again = watch(server, tmp_path / "again")
    assert again.greet(Adopt("survivor", slow.lines(), slow.total)) == Ready()
    assert again.until(Began) == Began("survivor")
    assert again.until(Progressed, when=lambda mark: mark.accepted > before.accepted)
    again.ask(Cancel())
    assert again.until(RunEnded).code == "cancelled"
    again.hosting.dispose()


def test_a_run_that_ended_while_nobody_watched_is_found_in_the_record(
    octo: Watched, server: OctoPrint, quick: GcodeFile, tmp_path: Path
) -> None:
    octo.ask(quick.order("unwatched"))
    octo.until(Began)
    octo.hosting.close()
    server.until(lambda: record(server, "unwatched") == (1, 0), "it ends without us")
    again = watch(server, tmp_path / "again")
    again.greet(Adopt("unwatched", quick.lines(), quick.total))
    assert again.until(RunEnded) == RunEnded("unwatched", "succeeded", quick.total)
    again.hosting.dispose()


def test_a_wrong_key_is_named(server: OctoPrint, tmp_path: Path) -> None:
    watched = watch(server, tmp_path / "keys", key="wrong")
    assert watched.greet() == LinkLost("wrong_api_key")
    watched.hosting.dispose()


def test_the_printer_goes_away_in_the_middle_of_a_print(octo: Watched, server: OctoPrint, slow: GcodeFile) -> None:
    octo.ask(slow.order("unplugged"))
    octo.until(Progressed)
    server.disconnect()
    ended = octo.until(RunEnded)
    assert (ended.result, ended.code) == ("failed", "printer_lost")
    assert octo.until(LinkLost) == LinkLost("printer_offline")
    octo.hosting.close()
    assert octo.greet() == Ready()  # the port is still in the list: it is opened again


def test_the_answer_to_the_order_is_lost_and_the_print_runs_once(
    server: OctoPrint, quick: GcodeFile, tmp_path: Path
) -> None:
    link = BadLink(int(server.url.rpartition(":")[2]))
    watched = watch(server, tmp_path / "keys", url=link.url)
    assert watched.greet() == Ready()
    link.lose = lambda data: b"POST /api/files/local/once.gcode" in data
    watched.ask(quick.order("once"))
    assert watched.until(RunEnded) == RunEnded("once", "succeeded", quick.total)
    assert len(link.lost) == 1
    server.until(lambda: record(server, "once") == (1, 0), "it was printed once")
    watched.hosting.dispose()
    link.close()


def test_octoprint_dies_in_the_middle_of_a_print(tmp_path: Path, slow: GcodeFile) -> None:
    base = tmp_path / "base"
    with start_octoprint(base) as first:
        link = BadLink(int(first.url.rpartition(":")[2]))
        watched = watch(first, tmp_path / "keys", url=link.url)
        assert watched.greet() == Ready()
        watched.ask(slow.order("orphan"))
        watched.until(Progressed, when=lambda mark: mark.accepted > 3)
        link.cut()
    assert watched.until(Silent, 20).after >= 10.0
    with start_octoprint(base, key=first.api_key) as second:
        link.target = int(second.url.rpartition(":")[2])
        ended = watched.until(RunEnded, 40)
    assert (ended.result, ended.code) == ("failed", "print_vanished")
    assert 3 < ended.accepted < slow.total
    watched.hosting.dispose()
    link.close()


def test_heaters_off_and_a_console_line(octo: Watched) -> None:
    octo.ask(Console(b"M104 S60"))
    assert octo.until(Replied) == Replied("")
    octo.until(Temperatures, when=lambda seen: seen.values["tool0"][1] == 60)
    octo.ask(HeatersOff())
    octo.until(Temperatures, when=lambda seen: seen.values["tool0"][1] == 0)


def test_octoprint_counts_the_bytes_as_our_index_does(octo: Watched, server: OctoPrint, tmp_path: Path) -> None:
    """Comments, blanks, CRLF, UTF-8 and bytes that are none: what OctoPrint has read ends with a line of ours."""
    path, index = tmp_path / "odd.gcode", tmp_path / "odd.index"
    odd = [b"; caf\xe9\r\n", "; café — ½\n".encode(), b"\n", b"  \n", b"\xff\xfe;\n", b"G4 P0 ; x\r\n"]
    moves = [odd[n % len(odd)] + f"G1 X{n % 9} E0.05 F600\n".encode() for n in range(300)]
    path.write_bytes(b"G28\nM83\n" + b"".join(moves))
    scan(path, Limits(), index)
    with IndexedFile(path, index) as indexed:
        octo.ask(Print("odd", indexed.lines(), indexed.total, str(path)))
        octo.until(Progressed, when=lambda mark: mark.sent > 20)
        octo.ask(Pause())
        octo.until(HeldStill)
        filepos = server.call("GET", "/api/job")[1]["progress"]["filepos"]
        ends = {line.end: line.number for line in indexed.lines()}
        assert filepos in ends
        octo.until(Progressed, when=lambda mark: mark.sent == ends[filepos])
