"""The whole program in real processes: a member's file, a person's go, a printed part, a settled bill."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.system.lab import Lab, start_lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    running = start_lab(tmp_path_factory.mktemp("lab") / "demo")
    yield running
    assert running.stop() == 0


def ledger_is_whole(lab: Lab) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fablab", "ledger", "verify", "--config", str(lab.folder / "fablab.toml")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_print_from_the_file_to_the_bill(lab: Lab) -> None:
    starts = lab.simulator("mk3", "stats")["starts"]
    job = lab.send("member", "tiny-pla-mk3.gcode", machine="mk3")
    waiting = lab.until_state("member", job["id"], "queued", "assigned")
    assert waiting["price"]["held_cents"] == waiting["price"]["ceiling_cents"] > 0
    run = lab.ready_run("member", job["id"])
    assert lab.simulator("mk3", "stats")["starts"] == starts, "it started without a go"
    gone = lab.call("volunteer", "POST", f"/api/v1/runs/{run['id']}/go")
    assert gone.status_code == 200, gone.text
    ended = lab.until_state("member", job["id"], "to_judge", seconds=120)
    assert ended["runs"][-1]["result"] == "succeeded"
    stats = lab.simulator("mk3", "stats")
    assert stats["starts"] == starts + 1
    assert ended["runs"][-1]["commanded_mm"][0] == pytest.approx(stats["extruded_mm"], abs=0.01)
    judged = lab.call(
        "volunteer", "POST", f"/api/v1/runs/{run['id']}/judge", json={"verdict": "good", "shelf": "A3", "again": False}
    )
    assert judged.status_code == 200, judged.text
    done = lab.until(
        lambda: (j := lab.job("member", job["id"]))["price"]["charged_cents"] is not None and j, "it was never charged"
    )
    assert done["state"] == "done"
    assert 0 < done["price"]["charged_cents"] <= done["price"]["ceiling_cents"]
    ledger_is_whole(lab)


def test_the_manual_driver_bills_what_a_person_declares(lab: Lab) -> None:
    job = lab.send("member", "tiny-pla-mk3.gcode", machine="bambu")
    run = lab.ready_run("member", job["id"])
    gone = lab.call("volunteer", "POST", f"/api/v1/runs/{run['id']}/go")
    assert gone.status_code == 200, gone.text
    lab.until_state("member", job["id"], "running")
    finished = lab.call("volunteer", "POST", f"/api/v1/runs/{run['id']}/finish", json={"minutes": 3, "grams": 1.5})
    assert finished.status_code == 200, finished.text
    lab.until_state("member", job["id"], "to_judge")
    lab.call("volunteer", "POST", f"/api/v1/runs/{run['id']}/judge", json={"verdict": "good", "shelf": "B1"})
    done = lab.until(
        lambda: (j := lab.job("member", job["id"]))["price"]["charged_cents"] is not None and j, "it was never charged"
    )
    assert {line["kind"] for line in done["price"]["lines"] if line["quantity"]} & {"declared"}
    ledger_is_whole(lab)


def test_cancel_while_it_heats_cools_the_machine(lab: Lab) -> None:
    job = lab.send("member", "cube-pla-mk3.gcode", machine="mk3")
    run = lab.ready_run("member", job["id"])
    assert lab.call("volunteer", "POST", f"/api/v1/runs/{run['id']}/go").status_code == 200
    lab.until(lambda: lab.simulator("mk3", "stats")["targets"][0] > 0, "it never heated")
    assert lab.call("member", "POST", f"/api/v1/jobs/{job['id']}/cancel").status_code == 200
    lab.until_state("member", job["id"], "to_judge", "cancelled")
    lab.until(lambda: lab.simulator("mk3", "stats")["targets"] == [0.0, 0.0], "it stayed hot")
    lab.call("volunteer", "POST", f"/api/v1/runs/{run['id']}/judge", json={"verdict": "failed"})


def test_a_member_without_balance_pays_at_the_desk(lab: Lab) -> None:
    """Youssef has no money in, and may owe 20 €."""
    youssef = next(p for p in lab.people_all if p["login"] == "youssef")
    lab.people["debtor"] = youssef
    job = lab.send("debtor", "tiny-pla-mk3.gcode", machine="mk3")
    run = lab.ready_run("debtor", job["id"])
    assert lab.call("volunteer", "POST", f"/api/v1/runs/{run['id']}/go").status_code == 200
    lab.until_state("debtor", job["id"], "to_judge", seconds=120)
    lab.call("volunteer", "POST", f"/api/v1/runs/{run['id']}/judge", json={"verdict": "good", "shelf": "A1"})
    done = lab.until(
        lambda: (j := lab.job("debtor", job["id"]))["price"]["charged_cents"] is not None and j, "it was never charged"
    )
    assert done["price"]["charged_cents"] > 0
    ledger_is_whole(lab)


def test_a_slow_machine_costs_its_minutes_below_the_ceiling(lab: Lab) -> None:
    """The simulator is slowed: the minutes on the bill follow, the estimate stays, the ceiling holds."""
    lab.simulator("mk3", "slow 4")
    try:
        job = lab.send("member", "tiny-pla-mk3.gcode", machine="mk3")
        estimate = lab.until_state("member", job["id"], "queued", "assigned")["estimate"]
        run = lab.ready_run("member", job["id"])
        assert lab.call("volunteer", "POST", f"/api/v1/runs/{run['id']}/go").status_code == 200
        lab.until_state("member", job["id"], "to_judge", seconds=180)
    finally:
        lab.simulator("mk3", "slow 1")
    lab.call("volunteer", "POST", f"/api/v1/runs/{run['id']}/judge", json={"verdict": "good", "shelf": "A1"})
    done = lab.until(
        lambda: (j := lab.job("member", job["id"]))["price"]["charged_cents"] is not None and j, "it was never charged"
    )
    assert done["estimate"] == estimate
    assert done["runs"][-1]["seconds"] > 2 * estimate["seconds"]
    assert done["price"]["charged_cents"] <= done["price"]["ceiling_cents"]


def test_a_machine_that_halts_half_way_is_failed_and_judged(lab: Lab) -> None:
    """Last in this file: a halted board wants a reset by hand."""
    before = lab.simulator("mk3", "stats")
    job = lab.send("member", "cube-pla-mk3.gcode", machine="mk3")
    run = lab.ready_run("member", job["id"])
    assert lab.call("volunteer", "POST", f"/api/v1/runs/{run['id']}/go").status_code == 200
    lab.until(lambda: lab.simulator("mk3", "stats")["extruded_mm"] > before["extruded_mm"] + 20, "nothing came out")
    lab.simulator("mk3", "halt")
    ended = lab.until_state("member", job["id"], "to_judge", seconds=60)
    stats = lab.simulator("mk3", "stats")
    assert ended["runs"][-1]["result"] == "failed"
    charged = ended["runs"][-1]["commanded_mm"][0]
    assert 0 < charged <= stats["extruded_mm"] - before["extruded_mm"] + 1
    judged = lab.call("volunteer", "POST", f"/api/v1/runs/{run['id']}/judge", json={"verdict": "failed"})
    assert judged.status_code == 200, judged.text
    done = lab.until(
        lambda: (j := lab.job("member", job["id"]))["price"]["charged_cents"] is not None and j, "it was never settled"
    )
    assert done["price"]["charged_cents"] == 0  # the house's rule of the demo: a failed part is free
    ledger_is_whole(lab)
