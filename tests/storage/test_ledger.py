"""The ledger on both databases: holds, charges, payments, refunds, reversals, and every refusal."""

from datetime import timedelta

import pytest

from fablab.billing import ledger, statements
from fablab.db import Database
from fablab.sentences import Refusal
from tests.builders_money import NOW, ORG, make_place, once, settled


@pytest.fixture
def place(database: Database) -> Database:
    with database.write() as session:
        make_place(session)
    return database


def top_up(session, cents: int, person: str = "ana", actor: str = "max", source: str | None = None):
    return ledger.top_up(
        session, NOW, actor, person_id=person, organisation_id=ORG, amount_cents=cents, means="cash",
        source_id=source or once(),
    )  # fmt: skip


def hold(session, cents: int, job: str = "j1", payer: str = "ana"):
    return ledger.open_hold(session, NOW, payer, job_id=job, payer_id=payer, organisation_id=ORG, amount_cents=cents)


def limit(session, cents: int, person: str = "ana") -> None:
    from fablab.space import people

    people.set_desk_limit(session, NOW, "max", person_id=person, organisation_id=ORG, limit_cents=cents)


def refusal_of(verb, *args, **data) -> Refusal:
    with pytest.raises(Refusal) as caught:
        verb(*args, **data)
    return caught.value


def test_a_print_paid_from_the_balance(place: Database) -> None:
    with place.write() as session:
        top_up(session, 1000)
        held = hold(session, 600)
        money = ledger.person_money(session, "ana")
        assert (held.means, money.balance_cents, money.available_cents) == ("balance", 1000, 400)
        entry = ledger.capture(
            session,
            NOW,
            "system:hub",
            hold_id=held.id,
            run_id="r1",
            settled=settled(300, 150),
            revision=0,
            keep_open=False,
        )
        money = ledger.person_money(session, "ana")
        assert (money.balance_cents, money.available_cents, money.balance_held_cents) == (550, 550, 0)
        receipt = statements.receipt(session, entry.id)
        assert (receipt.total_cents, receipt.payer, receipt.means) == (450, "Ana", "balance")
        assert [line["code"] for line in receipt.lines] == ["machine_time", "material"]
        assert ledger.verify(session, open_jobs=[]) == []


def test_the_same_fact_twice_charges_once(place: Database) -> None:
    with place.write() as session:
        top_up(session, 1000, source="form-1")
        top_up(session, 1000, source="form-1")
        held = hold(session, 600)
        assert hold(session, 600).id == held.id
        what = {"hold_id": held.id, "run_id": "r1", "settled": settled(300), "revision": 0, "keep_open": False}
        first = ledger.capture(session, NOW, "system:hub", **what)
        assert ledger.capture(session, NOW + timedelta(hours=1), "system:hub", **what).id == first.id
        assert ledger.person_money(session, "ana").balance_cents == 700
        ledger.release(session, NOW, "system:hub", held.id)
        assert held.state == "captured"


def test_a_reprint_keeps_the_rest_set_aside(place: Database) -> None:
    with place.write() as session:
        top_up(session, 1000)
        held = hold(session, 600)
        what = {"hold_id": held.id, "revision": 0}
        ledger.capture(session, NOW, "system:hub", run_id="r1", settled=settled(0, 100), keep_open=True, **what)
        assert (held.state, held.amount_cents) == ("open", 500)
        refused = refusal_of(
            ledger.capture, session, NOW, "system:hub", run_id="r2", settled=settled(501), keep_open=False, **what
        )
        assert refused.code == "above_hold"
        ledger.capture(session, NOW, "system:hub", run_id="r2", settled=settled(500), keep_open=False, **what)
        assert ledger.person_money(session, "ana").balance_cents == 400
        again = refusal_of(
            ledger.capture, session, NOW, "system:hub", run_id="r3", settled=settled(1), keep_open=False, **what
        )
        assert again.code == "hold_closed"


def test_a_run_that_costs_nothing_is_settled_without_a_posting(place: Database) -> None:
    with place.write() as session:
        top_up(session, 1000)
        held = hold(session, 600)
        entry = ledger.capture(
            session, NOW, "system:hub", hold_id=held.id, run_id="r1", settled=settled(0), revision=0, keep_open=False
        )
        assert statements.receipt(session, entry.id).total_cents == 0
        assert ledger.person_money(session, "ana").available_cents == 1000
        assert ledger.verify(session, open_jobs=[]) == []


def test_without_balance_or_limit_the_refusal_says_what_is_missing(place: Database) -> None:
    with place.write() as session:
        top_up(session, 100)
        refused = refusal_of(hold, session, 250)
        assert refused.code == "balance_too_low"
        assert refused.data == {"needed_cents": 250, "available_cents": 100, "missing_cents": 150}


def test_a_member_with_a_limit_prints_and_pays_at_the_desk(place: Database) -> None:
    with place.write() as session:
        limit(session, 2000)
        held = hold(session, 1500)
        assert held.means == "desk"
        refused = refusal_of(hold, session, 501, "j2")
        assert (refused.code, refused.data["limit_cents"], refused.data["held_cents"]) == ("desk_limit", 2000, 1500)
        ledger.capture(
            session, NOW, "system:hub", hold_id=held.id, run_id="r1", settled=settled(1200), revision=0, keep_open=False
        )
        assert [(row.name, row.owed_cents) for row in statements.owed_at_desk(session, ORG)] == [("Ana", 1200)]
        assert hold(session, 800, "j2").means == "desk"
        pay = {"person_id": "ana", "organisation_id": ORG, "means": "cash"}
        more = refusal_of(ledger.desk_payment, session, NOW, "max", amount_cents=1201, source_id="p1", **pay)
        assert (more.code, more.data["owed_cents"]) == ("more_than_owed", 1200)
        for _ in range(2):
            ledger.desk_payment(session, NOW, "max", amount_cents=1200, source_id="p1", **pay)
        assert ledger.person_money(session, "ana").owed_cents == 0
        assert statements.owed_at_desk(session, ORG) == []
        assert ledger.verify(session, open_jobs=["j2"]) == []


def test_nobody_handles_her_own_money(place: Database) -> None:
    with place.write() as session:
        pay = {"organisation_id": ORG, "amount_cents": 100, "means": "cash", "source_id": once()}
        assert refusal_of(ledger.top_up, session, NOW, "max", person_id="max", **pay).code == "own_account"
        assert refusal_of(ledger.top_up, session, NOW, "bob", person_id="ana", **pay).code == "not_allowed"
        assert refusal_of(ledger.top_up, session, NOW, "tom", person_id="ana", **pay).code == "not_allowed"
        assert refusal_of(ledger.top_up, session, NOW, "max", person_id="who", **pay).code == "unknown_person"
        pay["means"] = "shells"
        assert refusal_of(ledger.top_up, session, NOW, "max", person_id="ana", **pay).code == "unknown_means"
        assert refusal_of(top_up, session, 0).code == "bad_amount"
        assert refusal_of(top_up, session, -5).code == "bad_amount"


def test_a_charge_is_reversed_and_charged_again_with_a_higher_revision(place: Database) -> None:
    with place.write() as session:
        top_up(session, 1000)
        held = hold(session, 600)
        entry = ledger.capture(
            session, NOW, "system:hub", hold_id=held.id, run_id="r1", settled=settled(500), revision=0, keep_open=False
        )
        again = {
            "payer_id": "ana", "organisation_id": ORG, "means": "balance", "job_id": "j1", "run_id": "r1",
            "settled": settled(300),
        }  # fmt: skip
        assert refusal_of(ledger.charge, session, NOW, "max", revision=1, **again).code == "charged_already"
        undone = ledger.reversal(session, NOW, "max", entry_id=entry.id, reason="wrong tariff")
        assert ledger.reversal(session, NOW, "max", entry_id=entry.id, reason="again").id == undone.id
        assert undone.reverses_id == entry.id
        assert ledger.person_money(session, "ana").balance_cents == 1000
        assert refusal_of(ledger.reversal, session, NOW, "max", entry_id=undone.id, reason="").code == "unknown_entry"
        for _ in range(2):
            ledger.charge(session, NOW, "max", revision=1, **again)
        assert ledger.person_money(session, "ana").balance_cents == 700
        assert statements.receipt(session, entry.id).reversed
        assert ledger.verify(session, open_jobs=[]) == []


def test_a_spent_top_up_cannot_be_taken_back(place: Database) -> None:
    with place.write() as session:
        entry = top_up(session, 1000)
        hold(session, 600)
        assert refusal_of(ledger.reversal, session, NOW, "max", entry_id=entry.id, reason="").code == "balance_too_low"


def test_refunds_never_exceed_the_charge(place: Database) -> None:
    with place.write() as session:
        top_up(session, 1000)
        held = hold(session, 600)
        entry = ledger.capture(
            session,
            NOW,
            "system:hub",
            hold_id=held.id,
            run_id="r1",
            settled=settled(300, 200),
            revision=0,
            keep_open=False,
        )
        back = {"charge_id": entry.id, "reason": "warped"}
        for _ in range(2):
            ledger.refund(session, NOW, "max", amount_cents=200, to="account", source_id="f1", **back)
        ledger.refund(session, NOW, "max", amount_cents=250, to="cash", source_id="f2", **back)
        refused = refusal_of(ledger.refund, session, NOW, "max", amount_cents=51, to="cash", source_id="f3", **back)
        assert (refused.code, refused.data["left_cents"]) == ("more_than_charged", 50)
        assert ledger.person_money(session, "ana").balance_cents == 700
        assert statements.receipt(session, entry.id).refunded_cents == 450
        assert refusal_of(ledger.reversal, session, NOW, "max", entry_id=entry.id, reason="").code == "refunded_already"
        assert ledger.verify(session, open_jobs=[]) == []


def test_what_was_paid_at_the_desk_and_reversed_is_a_credit_there(place: Database) -> None:
    with place.write() as session:
        limit(session, 500)
        held = hold(session, 400)
        entry = ledger.capture(
            session,
            NOW,
            "system:hub",
            hold_id=held.id,
            run_id="r1",
            settled=settled(400),
            revision=0,
            keep_open=False,
        )
        pay = {"person_id": "ana", "organisation_id": ORG, "means": "cash", "amount_cents": 400}
        ledger.desk_payment(session, NOW, "max", source_id="p1", **pay)
        ledger.reversal(session, NOW, "max", entry_id=entry.id, reason="wrong machine")
        money = ledger.person_money(session, "ana")
        assert (money.owed_cents, money.desk_credit_cents, money.desk_free_cents) == (0, 400, 900)
        assert hold(session, 900, "j2").means == "desk"
        assert ledger.verify(session, open_jobs=["j2"]) == []


def test_a_balance_is_paid_out_as_far_as_it_is_free(place: Database) -> None:
    with place.write() as session:
        top_up(session, 1000)
        hold(session, 600)
        out = {"person_id": "ana", "organisation_id": ORG, "means": "bank"}
        assert refusal_of(ledger.cash_out, session, NOW, "max", amount_cents=401, source_id="o1", **out).code == (
            "balance_too_low"
        )
        for _ in range(2):
            ledger.cash_out(session, NOW, "max", amount_cents=400, source_id="o1", **out)
        assert ledger.person_money(session, "ana").available_cents == 0


def test_a_refused_verb_leaves_nothing_behind(place: Database) -> None:
    with pytest.raises(Refusal), place.write() as session:
        top_up(session, 100)
        hold(session, 500)
    with place.read() as session:
        assert ledger.person_money(session, "ana").balance_cents == 0
        assert statements.movements(session, "ana") == []


def test_verify_finds_a_hold_of_a_job_that_is_over(place: Database) -> None:
    with place.write() as session:
        top_up(session, 1000)
        hold(session, 600)
        assert [item.code for item in ledger.verify(session, open_jobs=[])] == ["hold_of_ended_job"]
        assert ledger.verify(session, open_jobs=["j1"]) == []
