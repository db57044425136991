"""The agent as a process, its printer behind a real OctoPrint: printed, paused, stopped, found again after SIGKILL."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fablab.ids import new_id
from fablab.messages import Cancel, EmergencyStop, Pause, Paused, Resume, Resumed, RunUnknown, Start, StopConfirmed
from tests.builders_agent_process import AgentProcess, hub_on
from tests.builders_brokers import embedded, free_port
from tests.builders_octoprint import write_gcode
from tests.builders_scripted_hub import FileServer, prepare
from tests.octoprint_server import OctoPrint, start_octoprint

Until = Callable[..., None]
MACHINE = """
[[machines]]
id = "octo"
driver = "octoprint"
url = "{url}"
api_key_file = "octo.key"
"""


@pytest.fixture(scope="module")
def octoprint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OctoPrint]:
    with start_octoprint(tmp_path_factory.mktemp("octoprint")) as server:
        yield server


class Shop:
    """A broker, a hub with two files, and an agent whose only printer is behind OctoPrint."""

    def __init__(self, folder: Path, octoprint: OctoPrint) -> None:
        self.octoprint = octoprint
        self.quick = write_gcode(folder / "quick.gcode", 200).path.read_bytes()
        self.slow = write_gcode(folder / "slow.gcode", 120, dwell_ms=200).path.read_bytes()
        port = free_port()
        self.broker = embedded(port)
        self.broker.start()
        self.hub, self._bus = hub_on(port)
        self.files = FileServer({"/quick": self.quick, "/slow": self.slow})
        more = f'hub_url = "{self.files.url}"'
        self.agent = AgentProcess(folder / "agent", port, MACHINE.format(url=octoprint.url), more)
        (folder / "agent" / "octo.key").write_text(octoprint.api_key)

    def start(self, until: Until, failpoint: str = "") -> None:
        self.agent.start(failpoint)
        until(lambda: self.hub.state("octo") == "idle", seconds=60, why=self.agent.words())

    def run(self, until: Until, name: str, claim: int = 1) -> str:
        """Prepare and start; what has no answer is said again, as the outbox does."""
        run, data = new_id(), self.quick if name == "quick" else self.slow
        self.hub.order("octo", prepare(data, f"/{name}"), run, claim)
        until(self._pressing(lambda: self.hub.token(run)), seconds=30, why=self.agent.words())
        self.hub.order("octo", Start(token=self.hub.token(run), by="Ada"), run, claim)
        return run

    def _pressing(self, condition: Callable[[], object]) -> Callable[[], object]:
        last = [time.monotonic()]

        def check() -> object:
            if time.monotonic() - last[0] > 0.5:
                last[0] = time.monotonic()
                self.hub.repeat()
            return condition()

        return check

    def printing(self, until: Until, run: str) -> None:
        until(lambda: self.hub.states["octo"].line > 3, seconds=30, why=self.agent.words())
        assert self.hub.states["octo"].run == run

    def record(self, run: str) -> tuple[int, int]:
        """How often OctoPrint printed the run's file: (to the end, not to the end)."""
        status, body = self.octoprint.call("GET", f"/api/files/local/{run}.gcode")
        prints = body.get("prints", {}) if status == 200 else {}
        return prints.get("success", 0), prints.get("failure", 0)

    def close(self) -> None:
        self.agent.kill()
        self._bus.close()
        self.broker.kill()
        self.files.close()
        self.octoprint.call("POST", "/api/job", {"command": "cancel"})
        idle = ("Operational", "Offline")
        self.octoprint.until(lambda: self.octoprint.call("GET", "/api/job")[1]["state"].startswith(idle), "it is idle")


@pytest.fixture
def shop(tmp_path: Path, octoprint: OctoPrint) -> Iterator[Shop]:
    shop = Shop(tmp_path, octoprint)
    yield shop
    shop.close()


def test_a_file_is_fetched_printed_and_counted(shop: Shop, until: Until) -> None:
    shop.start(until)
    run = shop.run(until, "quick")
    until(lambda: shop.hub.ended(run), seconds=30, why=shop.agent.words())
    ended = shop.hub.ended(run)
    assert ended is not None
    assert (ended.result, ended.lines, ended.total_lines) == ("succeeded", 202, 202)
    assert ended.commanded_mm == pytest.approx((2.0,))
    until(lambda: shop.record(run) == (1, 0), why="OctoPrint printed it once")
    assert shop.agent.stop() == 0


def test_pause_resume_and_cancel_by_order(shop: Shop, until: Until) -> None:
    shop.start(until)
    run = shop.run(until, "slow")
    shop.printing(until, run)
    shop.hub.order("octo", Pause(by="Ada"), run, 1)
    until(lambda: shop.hub.bodies(Paused, run))
    assert shop.octoprint.call("GET", "/api/job")[1]["state"] == "Paused"
    shop.hub.order("octo", Resume(by="Ada"), run, 1)
    until(lambda: shop.hub.bodies(Resumed, run))
    shop.hub.order("octo", Cancel(by="Ada"), run, 1)
    until(lambda: shop.hub.ended(run))
    ended = shop.hub.ended(run)
    assert ended is not None
    assert ended.result == "stopped"
    assert 3 <= ended.lines < ended.total_lines


def test_a_killed_agent_finds_its_print_again_and_counts_all_of_it(shop: Shop, until: Until) -> None:
    shop.start(until)
    run = shop.run(until, "slow")
    shop.printing(until, run)
    shop.agent.kill()
    shop.agent.start()
    until(lambda: shop.hub.states["octo"].boot_no == 2 and shop.hub.state("octo") == "running", seconds=30)
    assert not shop.hub.bodies(RunUnknown)
    until(lambda: shop.hub.ended(run), seconds=60, why=shop.agent.words())
    ended = shop.hub.ended(run)
    assert ended is not None
    assert (ended.result, ended.lines) == ("succeeded", ended.total_lines)
    until(lambda: shop.record(run) == (1, 0), why="OctoPrint printed it once")
    assert not shop.hub.conflicts


def test_an_orderly_stop_of_the_agent_leaves_the_print_alone(shop: Shop, until: Until) -> None:
    shop.start(until)
    run = shop.run(until, "slow")
    shop.printing(until, run)
    assert shop.agent.stop() == 0
    assert shop.octoprint.call("GET", "/api/job")[1]["state"] == "Printing"
    shop.agent.start()
    until(lambda: shop.hub.states["octo"].boot_no == 2 and shop.hub.state("octo") == "running", seconds=30)
    shop.hub.order("octo", Cancel(by="Ada"), run, 1)
    until(lambda: shop.hub.ended(run), seconds=30)


@pytest.mark.parametrize("step", ["agent.9", "agent.10"])
def test_killed_around_the_first_byte_a_person_decides_and_nothing_prints_twice(
    shop: Shop, until: Until, step: str
) -> None:
    shop.start(until, step)
    run = shop.run(until, "quick")
    until(shop.agent.reached)
    shop.agent.kill()
    shop.agent.start()
    until(lambda: shop.hub.bodies(RunUnknown, run) or shop.hub.ended(run), seconds=60, why=shop.agent.words())
    start = next(order for _, order in shop.hub.orders.values() if isinstance(order.body, Start))
    shop.hub.send(start)  # the outbox does not know yet
    assert sum(shop.record(run)) <= 1
    if not shop.hub.ended(run):
        shop.hub.order("octo", Cancel(by="Ada"), run, 1)
        until(lambda: shop.hub.ended(run), why=shop.agent.words())
    again = shop.run(until, "quick", claim=2)
    until(lambda: shop.hub.ended(again), seconds=30, why=shop.agent.words())
    assert shop.record(again) == (1, 0)
    assert sum(shop.record(run)) <= 1


def test_an_emergency_stop_is_confirmed_and_the_printer_comes_back(shop: Shop, until: Until) -> None:
    shop.start(until)
    run = shop.run(until, "slow")
    shop.printing(until, run)
    shop.hub.order("octo", EmergencyStop(by="Ada"), stop_no=1)
    until(lambda: shop.hub.bodies(StopConfirmed))
    (confirmed,) = shop.hub.bodies(StopConfirmed)
    assert confirmed.how == "firmware"
    until(lambda: shop.hub.ended(run))
    ended = shop.hub.ended(run)
    assert ended is not None
    assert (ended.result, ended.code) == ("stopped", "emergency_stop")
    until(lambda: shop.octoprint.call("GET", "/api/printer")[0] == 200, seconds=30, why="the port was not opened again")
    until(lambda: shop.hub.states["octo"].latched and shop.hub.state("octo") == "halted", seconds=30)
