"""Eight processes and one balance: exactly one gets it, on both databases."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fablab.billing import accounts, ledger
from fablab.bookings import bookings
from fablab.db import Database
from fablab.sentences import Refusal
from tests.builders_money import NOW, ORG, add_machine, make_place, once

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 8


@pytest.mark.parametrize("means", ["balance", "desk"])
def test_two_holds_on_one_balance(database: Database, tmp_path: Path, until, means: str) -> None:
    with database.write() as session:
        make_place(session)
        if means == "balance":
            ledger.top_up(
                session, NOW, "max", person_id="ana", organisation_id=ORG, amount_cents=1000, means="cash",
                source_id=once(),
            )  # fmt: skip
        else:
            from fablab.space import people

            people.set_desk_limit(session, NOW, "max", person_id="ana", organisation_id=ORG, limit_cents=1000)
    gate = tmp_path / "gate"
    url = database.engine.url.render_as_string(hide_password=False)
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.storage.one_hold", url, "", str(number), "700", str(gate)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(PROCESSES)
    ]  # fmt: skip
    try:
        until(lambda: len(list(tmp_path.glob("gate.*"))) == PROCESSES, seconds=60)
        gate.touch()
        told = [process.communicate(timeout=60) for process in started]
    finally:
        for process in started:
            process.kill()
    answers = sorted(out for out, _ in told)
    assert answers.count("held") == 1, told
    assert set(answers) == {"held", "balance_too_low" if means == "balance" else "desk_limit"}, told
    with database.read() as session:
        kind = "member" if means == "balance" else "to_pay_at_desk"
        account = accounts.find(session, ORG, kind, "ana")
        assert account is not None
        assert accounts.held(session, account.id) == 700
        assert ledger.verify(session) == []


def test_one_hour_and_two_people(database: Database) -> None:
    with database.write() as session:
        make_place(session)
        add_machine(session)
        from fablab.space import people

        for person in ("ana", "bob"):
            people.authorise(session, NOW, "max", person_id=person, machine_id="mk3", level="alone", until=None)
    from datetime import timedelta

    start = NOW + timedelta(days=1)
    ready, answers = threading.Barrier(2), []

    def wish(person: str) -> None:
        ready.wait()
        try:
            with database.write() as session:
                bookings.book(
                    session, NOW, person, machine_id="mk3", person_id=person, starts_at=start,
                    ends_at=start + timedelta(hours=2),
                )  # fmt: skip
            answers.append("booked")
        except Refusal as refusal:
            answers.append(f"{refusal.code} {refusal.data.get('free_at')}")

    threads = [threading.Thread(target=wish, args=(person,)) for person in ("ana", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == [f"already_booked {(start + timedelta(hours=2)).isoformat()}", "booked"]
