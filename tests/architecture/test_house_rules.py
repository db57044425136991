"""Rules of the house that a script can hold: imports, clocks, environment, file and function size, float in billing."""

import ast
import queue
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "fablab"
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
# Files that are longer, with the reason; the list may only shrink.
LONGER_FILES: dict[str, int] = {
    "fablab/devices/protocols/contract.py": 417,  # a vocabulary: every intent and event of every engine
    "fablab/messages.py": 454,  # a vocabulary: every order and report
    "fablab/devices/protocols/marlin_link.py": 470,
    "fablab/devices/simulators/marlin_firmware.py": 406,
}
LONGER_FUNCTIONS: dict[str, int] = {}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "migrations/versions" not in str(path))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_standard_librarys_queue_is_the_real_one() -> None:
    assert hasattr(queue, "SimpleQueue")
    assert "fablab" not in str(queue.__file__)


@pytest.mark.parametrize("command", ["inspect", "print", "probe"])
def test_the_terminal_commands_load_neither_flask_nor_sqlalchemy(command: str) -> None:
    code = f"""
import sys
from fablab.cli import fablab
try:
    fablab(["{command}", "--help"])
except SystemExit:
    pass
loaded = {{"flask", "sqlalchemy"}} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_the_agent_loads_neither_flask_nor_sqlalchemy() -> None:
    code = "import fablab.devices.agent, sys; assert not {'flask', 'sqlalchemy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_only_the_clock_reads_the_clock() -> None:
    wanted = {"clock.py", "ids.py"}
    for path in modules():
        if path.name in wanted or "simulators" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in {"utcnow", "today"}:
                pytest.fail(f"{name_of(path)}:{node.lineno} reads a clock")
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "now"
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "datetime"
            ):
                pytest.fail(f"{name_of(path)}:{node.lineno} reads the wall clock")


def test_only_the_configuration_reads_the_environment() -> None:
    allowed = {"config.py", "lifeline.py", "tree.py", "failpoints.py", "terminal.py", "children.py"}
    for path in modules():
        if path.name not in allowed and "os.environ" in path.read_text(encoding="utf-8"):
            pytest.fail(f"{name_of(path)} reads the environment")


def test_no_float_and_no_decimal_in_billing() -> None:
    for path in (PACKAGE / "billing").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name) and node.id in {"Decimal"}:
                pytest.fail(f"{name_of(path)}:{node.lineno} uses Decimal")
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                pytest.fail(f"{name_of(path)}:{node.lineno} has the float {node.value}")


def test_files_fit_in_a_head() -> None:
    long = {}
    for path in modules():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > LONGER_FILES.get(name_of(path), LONGEST_FILE):
            long[name_of(path)] = lines
    assert not long


def test_functions_fit_on_a_screen() -> None:
    long = {}
    for path in modules():
        for function in functions(ast.parse(path.read_text(encoding="utf-8"))):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            name = f"{name_of(path)}:{function.name}"
            if lines > LONGER_FUNCTIONS.get(name, LONGEST_FUNCTION):
                long[name] = lines
    assert not long


def test_every_module_says_what_it_is() -> None:
    for path in modules():
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), name_of(path)


def test_the_import_contract_holds() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
