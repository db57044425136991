"""The contract of a driver that prints, held against every simulated printer: each test could be of any such driver."""

import os
import tty
from pathlib import Path

import pytest

from fablab.devices.drivers import REGISTRY, Capability
from fablab.devices.protocols import contract as c
from tests.builders_marlin import PROFILES, Hosted, as_sent, hosted, simulated, square, wait_for

MODELS = sorted(PROFILES)
HELD_ELSEWHERE = {
    "octoprint": "test_octoprint_http.py",
    "manual": "../unit/devices/test_agent_manual.py",
    "mqtt_relay": "../unit/devices/test_relay_engine.py",
}


def test_every_driver_has_its_contract_tests() -> None:
    for kind in REGISTRY.keys() - {"marlin_serial"}:
        assert (Path(__file__).parent / HELD_ELSEWHERE[kind]).is_file()
    assert Capability.STOP_NOW in REGISTRY["marlin_serial"].capabilities


@pytest.mark.parametrize("model", MODELS)
def test_a_file_is_printed_line_by_line(tmp_path: Path, model: str) -> None:
    with simulated(tmp_path, model) as printer, hosted(printer, model) as host:
        host.connect()
        file = square(300)
        host.print(file)
        ended = host.until(c.RunEnded, 60)
        assert ended == c.RunEnded("run", "succeeded", len(file))
        assert c.Began("run") in host.events
        assert printer.executed() == as_sent(file, model)
        stats = printer.ask("stats")
        assert (stats["starts"], stats["targets"]) == (1, [0.0, 0.0])
        assert stats["extruded_mm"] == pytest.approx(15.0)
        last = [event for event in host.events if isinstance(event, c.Progressed)][-1]
        assert last == c.Progressed(len(file), len(file), done=len(file))


@pytest.mark.parametrize(
    ("model", "fault"), [("mk3", "damage-every 20"), ("mini", "drop-ok 3"), ("big", "double-ok 3")]
)  # each model × each kind of noise: test_marlin_noise.py, on virtual time
def test_noise_changes_nothing_of_what_is_executed(tmp_path: Path, model: str, fault: str) -> None:
    with simulated(tmp_path, model) as printer, hosted(printer, model) as host:
        host.connect()
        file = square(200)
        host.print(file)
        host.until(c.Began)
        printer.ask(fault)
        assert host.until(c.RunEnded, 120).result == "succeeded"
        assert printer.executed() == as_sent(file, model)
        assert ("damage" in fault) == any(isinstance(event, c.Resent) for event in host.events)


@pytest.mark.parametrize("model", MODELS)
def test_pause_parks_and_resume_goes_on_where_it_was(tmp_path: Path, model: str) -> None:
    with simulated(tmp_path, model, 60) as printer, hosted(printer, model) as host:
        host.connect()
        file = square(150)
        host.print(file)
        host.until(c.Progressed, 60, lambda mark: mark.accepted > 40)
        host.ask(c.Pause())
        held = host.until(c.HeldStill)
        assert held.by == "host"
        before = len(printer.executed())
        host.ask(c.Resume())
        host.until(c.WentOn)
        assert host.until(c.RunEnded, 90).result == "succeeded"
        executed = printer.executed()
        back = executed[before:]
        assert "G90" in back
        assert [line for line in executed if line in file[8:158]] == file[8:158]
        assert printer.ask("stats")["extruded_mm"] == pytest.approx(7.5, abs=0.01)


@pytest.mark.parametrize("model", MODELS)
def test_cancel_in_heat_up_leaves_a_cold_machine(tmp_path: Path, model: str) -> None:
    with simulated(tmp_path, model, 5) as printer, hosted(printer, model) as host:
        host.connect()
        host.print(square(50))
        wait_for_heat(host)
        host.ask(c.Cancel())
        ended = host.until(c.RunEnded)
        assert (ended.result, ended.code) == ("stopped", "")
        assert printer.ask("stats")["targets"] == [0.0, 0.0]
        assert not [line for line in printer.executed() if " E0.05" in line]


def wait_for_heat(host: Hosted) -> None:
    host.until(c.Temperatures, 30, lambda seen: (seen.values["bed"][1] or 0) > 0)


@pytest.mark.parametrize("model", MODELS)
def test_halted_firmware_fails_the_run_and_takes_no_order(tmp_path: Path, model: str) -> None:
    with simulated(tmp_path, model) as printer, hosted(printer, model) as host:
        host.connect()
        host.print(square(2000))
        host.until(c.Began)
        printer.ask("halt")
        ended = host.until(c.RunEnded)
        assert (ended.result, ended.code) == ("failed", "thermal_runaway")
        assert any(isinstance(event, c.Halted) for event in host.events)
        with pytest.raises(c.Refused, match="halted"):
            host.print(square(1))
        printer.ask("reset")
        host.until(c.WasReset)
        host.until(c.Ready)


@pytest.mark.parametrize("model", MODELS)
def test_emergency_stop_is_confirmed(tmp_path: Path, model: str) -> None:
    with simulated(tmp_path, model) as printer, hosted(printer, model) as host:
        host.connect()
        host.print(square(2000))
        host.until(c.Began)
        host.events += host.hosting.stop_now(c.EmergencyStop())
        assert host.until(c.StopSeen).how == "firmware"
        assert [(event.result, event.code) for event in host.events if isinstance(event, c.RunEnded)] == [
            ("stopped", "emergency_stop")
        ]
        assert printer.ask("stats")["halted"] is True


def test_unplugged_is_an_error_at_once_and_the_next_hello_works(tmp_path: Path) -> None:
    with simulated(tmp_path, "mk3") as printer, hosted(printer, "mk3") as host:
        host.connect()
        host.print(square(2000))
        host.until(c.Began)
        printer.ask("unplug")
        with pytest.raises(OSError):
            host.until(c.RunEnded)
        host.hosting.close()
        printer.ask("replug")
        wait_for(printer.port.exists, "the port is back")
        host.events += host.hosting.open()
        assert [event.code for event in host.events if isinstance(event, c.RunEnded)] == ["link_lost"]
        host.until(c.Ready)


def test_garbage_is_no_answer(tmp_path: Path) -> None:
    """A port on which something else speaks: nothing but hellos is ever written, and the link is given up."""
    from fablab.devices.drivers import Surroundings, build
    from fablab.devices.protocols.contract import Connect
    from fablab.messages import MachineSettings

    master, slave = os.openpty()
    tty.setraw(slave)
    settings = MachineSettings(id="m", driver="marlin_serial", port=os.ttyname(slave), profile="marlin-2.1")
    engine = build(settings, Surroundings()).engine
    engine.tick(0.0)
    engine.ask(Connect())
    written, now, events = b"", 0.0, []
    while not events and now < 300:
        now += 0.5
        events += [*engine.tick(now), *engine.receive(bytes(range(128, 256)) + b"\xff\0\n" * 3)]
        written += b"".join(engine.to_write())
    os.close(master)
    os.close(slave)
    assert set(written.split(b"\n")) <= {b"", b"N0 M110 N0*125"}


def test_a_port_is_held_alone(tmp_path: Path) -> None:
    with simulated(tmp_path, "mini") as printer, hosted(printer, "mini") as first, hosted(printer, "mini") as second:
        first.connect()
        with pytest.raises(OSError):
            second.hosting.open()
