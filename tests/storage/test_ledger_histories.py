"""Any history of the ledger: it sums to zero, nobody falls below her limit, and a fact told twice is one fact."""

import os
from pathlib import Path
from shutil import copyfile
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select

from fablab.billing import accounts, ledger
from fablab.billing.tables import Hold, Posting
from fablab.database import upgrade
from fablab.db import Database
from fablab.sentences import Refusal
from fablab.space import people
from tests.builders_money import NOW, ORG, make_place, once, settled

PEOPLE = st.sampled_from(["ana", "bob"])
CENTS = st.integers(1, 2000)


class Ledger(RuleBasedStateMachine):
    """Random verbs on one place; every verb is told twice."""

    holds = Bundle("holds")
    charges = Bundle("charges")
    folder: Path
    count = 0

    @initialize()
    def open(self) -> None:
        Ledger.count += 1
        file = self.folder / f"{Ledger.count}.db"
        copyfile(self.folder / "template.db", file)
        self.database = Database(f"sqlite:///{file}")
        self.limits = {"ana": 0, "bob": 0}

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.dispose()

    def twice(self, verb: Any, *args: Any, **data: Any) -> Any:
        """Do it, do it again, and see that the second time changed nothing; None where it was refused."""
        try:
            with self.database.write() as session:
                first = verb(session, NOW, *args, **data)
        except Refusal:
            return None
        before = self.totals()
        try:
            with self.database.write() as session:
                second = verb(session, NOW, *args, **data)
            assert getattr(second, "id", None) == getattr(first, "id", None)
        except Refusal:
            pass
        assert self.totals() == before
        return first

    def totals(self) -> list[tuple[str, int]]:
        with self.database.read() as session:
            rows = session.execute(
                select(Posting.account_id, func.sum(Posting.amount_cents)).group_by(Posting.account_id)
            )
            held = session.execute(select(Hold.id, Hold.amount_cents).where(Hold.state == "open"))
            return sorted([*((name, int(cents)) for name, cents in rows), *((name, cents) for name, cents in held)])

    @rule(person=PEOPLE, cents=CENTS, means=st.sampled_from(["cash", "card", "bank"]))
    def top_up(self, person: str, cents: int, means: str) -> None:
        self.twice(
            ledger.top_up, "max", person_id=person, organisation_id=ORG, amount_cents=cents, means=means,
            source_id=once(),
        )  # fmt: skip

    @rule(person=PEOPLE, cents=CENTS)
    def pay_at_the_desk(self, person: str, cents: int) -> None:
        self.twice(
            ledger.desk_payment, "max", person_id=person, organisation_id=ORG, amount_cents=cents, means="cash",
            source_id=once(),
        )  # fmt: skip

    @rule(person=PEOPLE, cents=CENTS)
    def take_out(self, person: str, cents: int) -> None:
        self.twice(
            ledger.cash_out, "max", person_id=person, organisation_id=ORG, amount_cents=cents, means="cash",
            source_id=once(),
        )  # fmt: skip

    @rule(person=PEOPLE, cents=st.integers(0, 3000))
    def allow(self, person: str, cents: int) -> None:
        self.limits[person] = max(cents, self.limits[person])  # a limit that was lowered later binds new holds only
        with self.database.write() as session:
            people.set_desk_limit(
                session, NOW, "max", person_id=person, organisation_id=ORG, limit_cents=self.limits[person]
            )

    @rule(target=holds, person=PEOPLE, cents=st.integers(0, 2000))
    def hold(self, person: str, cents: int) -> Any:
        made = self.twice(
            ledger.open_hold, person, job_id=once(), payer_id=person, organisation_id=ORG, amount_cents=cents
        )
        return multiple() if made is None else made.id

    @rule(target=charges, hold=consumes(holds), part=st.integers(0, 110), material=st.integers(0, 100))
    def capture(self, hold: str, part: int, material: int) -> Any:
        with self.database.read() as session:
            cents = session.get_one(Hold, hold).amount_cents * part // 100
        share = cents * material // 100
        made = self.twice(
            ledger.capture, "system:hub", hold_id=hold, run_id=once(), settled=settled(cents - share, share),
            revision=0, keep_open=False,
        )  # fmt: skip
        return multiple() if made is None else made.id

    @rule(target=charges, hold=holds, part=st.integers(0, 50))
    def reprint(self, hold: str, part: int) -> Any:
        with self.database.read() as session:
            row = session.get_one(Hold, hold)
            cents = row.amount_cents * part // 100
        made = self.twice(
            ledger.capture,
            "system:hub",
            hold_id=hold,
            run_id=once(),
            settled=settled(cents),
            revision=0,
            keep_open=True,
        )
        return multiple() if made is None else made.id

    @rule(hold=consumes(holds))
    def release(self, hold: str) -> None:
        self.twice(ledger.release, "system:hub", hold)

    @rule(charge=charges, cents=CENTS, to=st.sampled_from(["account", "cash"]))
    def refund(self, charge: str, cents: int, to: str) -> None:
        self.twice(ledger.refund, "max", charge_id=charge, amount_cents=cents, to=to, reason="warped", source_id=once())

    @rule(charge=charges)
    def reverse(self, charge: str) -> None:
        self.twice(ledger.reversal, "max", entry_id=charge, reason="mistake")

    @invariant()
    def the_books_are_whole(self) -> None:
        if not hasattr(self, "database"):
            return
        with self.database.read() as session:
            assert int(session.scalar(select(func.sum(Posting.amount_cents))) or 0) == 0
            assert ledger.verify(session) == []
            for person, limit in self.limits.items():
                for kind, least in (("member", 0), ("to_pay_at_desk", -limit)):
                    account = accounts.find(session, ORG, kind, person)
                    assert account is None or accounts.available(session, account.id) >= least


def test_every_history_adds_up(tmp_path: Path) -> None:
    Ledger.folder = tmp_path
    template = Database(f"sqlite:///{tmp_path / 'template.db'}")
    upgrade(template)
    with template.write() as session:
        make_place(session)
    with template.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    template.dispose()
    few = settings(max_examples=12, stateful_step_count=20, phases=(Phase.explicit, Phase.generate))
    many = settings(max_examples=300, stateful_step_count=50)
    run_state_machine_as_test(Ledger, settings=many if os.environ.get("FABLAB_SOAK") else few)
