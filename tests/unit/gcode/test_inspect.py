"""`fablab inspect` as a program: keys, words, exit status, and what it does not load."""

import json
import re
import subprocess
import sys
from pathlib import Path

from fablab.cli_inspect import in_words
from fablab.gcode import policy
from fablab.gcode.facts import Limits, understand
from fablab.sentences import has_sentence

FIXTURES = Path(__file__).parents[2] / "fixtures" / "gcode"


def inspect(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "fablab", "inspect", *arguments), capture_output=True, text=True, check=False
    )


def test_json_has_the_keys_of_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "cube.gcode"
    path.write_bytes((FIXTURES / "cube-pla-mk3.gcode").read_bytes().replace(b"\nG28\n", b"\nG28\nM502\n", 1))
    done = inspect("--json", str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    found = json.loads(done.stdout)
    assert found["slicer"] == "PrusaSlicer"
    assert found["printer_model"] == "MK3S"
    assert found["comments"]["time_s"] == 386
    assert {"time_s", "filament_mm", "filament_g"} <= set(found["comments"])
    assert {"time_s", "filament_mm", "bbox_mm", "layers", "max_temperatures"} <= set(found["measured"])
    assert isinstance(found["measured"]["filament_mm"], list)
    assert [len(corner) for corner in found["measured"]["bbox_mm"]] == [3, 3]
    (hazard,) = found["hazards"]
    line = path.read_text().splitlines().index("M502") + 1
    assert (hazard["line"], hazard["code"], hazard["reason"]) == (line, "M502", "stores_settings")


def test_a_refusal_is_one_line_and_status_2(tmp_path: Path) -> None:
    path = tmp_path / "empty.gcode"
    path.touch()
    for arguments in ((str(path),), ("--json", str(path))):
        done = inspect(*arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert len(done.stderr.strip().splitlines()) == 1
    assert inspect(str(tmp_path / "nowhere.gcode")).returncode == 2


def test_words_say_each_thing_once() -> None:
    facts = understand(FIXTURES / "cube-pla-mk3.gcode", Limits(hotend_max_c=200))
    lines = list(in_words(facts, "cube.gcode", "fr"))
    assert len(lines) == 10 + len(facts.hazards)
    assert any("215 °C" in line and "REFUSÉ" in line for line in lines)


def test_every_reason_and_refusal_has_its_sentence_in_both_languages() -> None:
    folder = Path(policy.__file__).parent
    text = "".join(path.read_text() for path in folder.glob("*.py"))
    reasons = set(policy.REASONS) | set(re.findall(r'"([a-z0-9_]+)", "(?:refuse|confirm|warn)"', text))
    codes = {f"hazard_{reason}" for reason in reasons} | set(re.findall(r'Refusal\(\s*"([a-z_0-9]+)"', text))
    assert len(codes) > 50
    assert [(code, lang) for code in sorted(codes) for lang in ("fr", "en") if not has_sentence(code, lang)] == []


def test_neither_flask_nor_database_is_loaded() -> None:
    script = "import sys, fablab.cli_inspect; print([m for m in ('flask', 'sqlalchemy', 'paho') if m in sys.modules])"
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
