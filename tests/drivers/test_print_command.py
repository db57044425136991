"""`fablab print` and `fablab probe` as a person runs them: real processes, a real port, a whole file."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.builders_marlin import PROFILES, Simulated, as_sent, simulated, square, wait_for

FABLAB = [sys.executable, "-m", "fablab"]


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG"))}
    return subprocess.Popen(
        [*FABLAB, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def fablab(*arguments: str) -> tuple[int, str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def print_it(printer: Simulated, model: str, file: Path) -> tuple[int, dict[str, Any]]:
    code, out, err = fablab("print", str(file), "--port", str(printer.port), "--profile", PROFILES[model], "--json")
    assert len(out.splitlines()) == 1, err
    answer: dict[str, Any] = json.loads(out)
    return code, answer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "square.gcode"
    path.write_text("; a square\n" + "\n".join(square(400)) + "\n", encoding="ascii")
    return path


@pytest.mark.parametrize(
    ("model", "fault"), [("mk3", ""), ("mini", ""), ("big", "damage-every 25"), ("mini", "drop-ok 2")]
)
def test_a_whole_file_is_executed_as_it_stands(tmp_path: Path, file: Path, model: str, fault: str) -> None:
    with simulated(tmp_path, model) as printer:
        if fault:
            printer.ask(fault)
        code, answer = print_it(printer, model, file)
        assert code == 0
        assert answer["state"] == "succeeded"
        assert answer["lines"] == len(square(400))
        assert answer["extruded_mm"] == [pytest.approx(20.0)]
        assert answer.keys() >= {"state", "lines", "resends", "seconds", "extruded_mm", "error"}
        assert printer.executed() == as_sent(square(400), model)
        assert (answer["resends"] > 0) == fault.startswith("damage")


def test_the_first_interrupt_cancels_with_heaters_off(tmp_path: Path, file: Path) -> None:
    file.write_text("\n".join(square(3000)) + "\n", encoding="ascii")
    with simulated(tmp_path, "mk3", 60) as printer:
        process = start("print", str(file), "--port", str(printer.port), "--profile", "prusa-mk3", "--json")
        wait_for(lambda: len(printer.executed()) > 50, "it prints", 60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1, err
        assert json.loads(out)["state"] == "stopped"
        assert printer.ask("stats")["targets"] == [0.0, 0.0]


def test_the_second_interrupt_is_an_emergency_stop(tmp_path: Path, file: Path) -> None:
    file.write_text("\n".join([*square(10)[:6], "G4 S20000", "G1 X1"]) + "\n", encoding="ascii")
    with simulated(tmp_path, "mini", 60) as printer:
        process = start("print", str(file), "--port", str(printer.port), "--profile", "marlin-mini", "--json")
        wait_for(lambda: "G4 S20000" in printer.executed(), "it dwells", 60)
        process.send_signal(signal.SIGINT)
        wait_for(lambda: printer.ask("stats")["halted"] or process.poll() is None, "it hears the first", 5)
        process.send_signal(signal.SIGINT)
        wait_for(lambda: _pressed(process, printer), "it stops", 30)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 1, err
        assert json.loads(out)["error"] == "emergency_stop"


def _pressed(process: subprocess.Popen[str], printer: Simulated) -> bool:
    """Two signals in one turn of the loop are one: press again until the board has halted."""
    if printer.ask("stats")["halted"]:
        return True
    process.send_signal(signal.SIGINT)
    return False


def test_unplugged_in_mid_print_is_a_failure(tmp_path: Path, file: Path) -> None:
    file.write_text("\n".join(square(3000)) + "\n", encoding="ascii")
    with simulated(tmp_path, "big", 60) as printer:
        process = start("print", str(file), "--port", str(printer.port), "--profile", "marlin-big", "--json")
        wait_for(lambda: len(printer.executed()) > 30, "it prints", 60)
        printer.ask("unplug")
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 1
        answer = json.loads(out)
        assert answer["state"] == "failed"
        assert answer["error"].startswith("link_lost")


def test_a_file_that_is_too_hot_never_reaches_the_port(tmp_path: Path, file: Path) -> None:
    file.write_text("G28\nM104 S400\nG1 X1\n", encoding="ascii")
    with simulated(tmp_path, "mk3") as printer:
        code, out, err = fablab("print", str(file), "--port", str(printer.port), "--profile", "prusa-mk3")
        assert (code, out) == (2, "")
        assert "400" in err or "machine" in err
        assert printer.executed() == []


def test_probe_names_the_printer_and_its_profile(tmp_path: Path) -> None:
    with simulated(tmp_path, "mk3") as printer:
        code, out, _ = fablab("probe", str(printer.port), "--json")
        answer = json.loads(out)
        assert code == 0
        assert answer.keys() == {"port", "baud", "firmware", "capabilities", "profile"}
        assert answer["profile"] == "prusa-mk3"
        assert answer["baud"] == 115200


def test_the_commands_load_neither_flask_nor_sqlalchemy() -> None:
    code = (
        "import sys, fablab.cli_print, fablab.cli_probe, fablab.devices.drivers, fablab.devices.preparing;"
        "print([name for name in ('flask', 'sqlalchemy', 'apscheduler') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
