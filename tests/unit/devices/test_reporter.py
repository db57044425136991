"""Facts that the journal does not take: kept, told in order once it does, and blocking new starts meanwhile."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fablab.clock import ManualClock
from fablab.devices.journal import Journal, ReportRow
from fablab.devices.reporter import Reporter, report_of
from fablab.messages import Answer, Command, Incident, Start, Started

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


class Bench:
    def __init__(self, folder: Path) -> None:
        self.journal = Journal(folder / "journal.db", NOW)
        self.sent: list[ReportRow] = []
        self.reporter = Reporter(self.journal, ManualClock(NOW), self.sent.append)

    def refuse(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(self.journal, "append_report", full)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_cannot_be_written_waits_blocks_and_comes_in_order(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:
        bench.refuse(full)
        assert not bench.reporter.say(Incident(code="first"), also=lambda: bench.journal.close("run", 1, NOW))
        assert not bench.reporter.say(Incident(code="second"))
        assert bench.reporter.blocked
        assert not bench.journal.is_closed("run", 1), "what belongs together is written together"
        bench.reporter.retry()
        assert bench.reporter.blocked
    bench.reporter.retry()
    assert not bench.reporter.blocked
    codes = [report_of(row, "j", "main").body.code for row in bench.sent]  # type: ignore[union-attr]
    assert codes == ["first", "second"]
    assert bench.journal.is_closed("run", 1)


def test_a_known_order_is_answered_with_the_very_same_report_until_it_is_applied(bench: Bench) -> None:
    command = Command(id="c", machine="mk3", run="r", claim_no=2, term=1, body=Start(token="t"))
    bench.journal.insert_command("c", "mk3", "r", 2, "start", "accepted", NOW)
    bench.reporter.answer(command, "accepted")
    bench.reporter.again("c")
    assert [row.seq for row in bench.sent] == [1, 1]
    bench.journal.confirm(1)
    bench.reporter.again("c")
    assert len(bench.sent) == 2, "the hub knows that it was taken: nothing more is to be said yet"
    bench.reporter.answer(command, "succeeded")
    bench.journal.confirm(2)
    bench.reporter.again("c")
    assert [row.seq for row in bench.sent] == [1, 1, 2, 3]
    last = report_of(bench.sent[-1], "j", "main").body
    assert isinstance(last, Answer)
    assert (last.state, last.run, last.claim_no) == ("succeeded", "r", 2)


def test_an_order_nobody_knows_is_not_answered(bench: Bench) -> None:
    bench.reporter.again("nobody")
    assert bench.sent == []
    bench.reporter.say(Started(run="r", machine="mk3", claim_no=1))
    assert [row.seq for row in bench.sent] == [1]
