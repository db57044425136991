"""A process of its own that tries to hold money once a file appears: what the test of two holds starts eight times."""

import sys
import time
from pathlib import Path

from fablab.billing import ledger
from fablab.db import Database
from fablab.sentences import Refusal
from tests.builders_money import NOW, ORG


def main(url: str, password: str, number: str, cents: str, gate: str) -> None:
    database = Database(url, password or None)
    with database.read() as session:
        ledger.person_money(session, "ana")
    Path(f"{gate}.{number}").touch()
    deadline = time.monotonic() + 60
    while not Path(gate).exists():
        if time.monotonic() > deadline:
            sys.exit(3)
        time.sleep(0.001)
    try:
        with database.write() as session:
            ledger.open_hold(
                session, NOW, "ana", job_id=f"j{number}", payer_id="ana", organisation_id=ORG, amount_cents=int(cents)
            )
    except Refusal as refusal:
        sys.stdout.write(refusal.code)
    else:
        sys.stdout.write("held")


if __name__ == "__main__":
    main(*sys.argv[1:])
