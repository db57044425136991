"""The agent's own SQLite file: what it was told, what it did, what it said. Facts only; it decides nothing.

Every write is on the disk when its method returns: synchronous=FULL is asserted on the connection. WAL, because one
small append and one fsync a commit is what SD cards bear best, and a reader never blocks the writer.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fablab.ids import new_id

KEEP = timedelta(days=30)
"""How long confirmed reports and results of orders are kept; closed claims stay for ever."""
MIN_FREE_BYTES = 64 * 1024 * 1024
"""Below this much room nothing is prepared any more."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE machines (
    machine TEXT PRIMARY KEY, highest_claim INTEGER NOT NULL DEFAULT 0, stop_no INTEGER NOT NULL DEFAULT 0,
    latched INTEGER NOT NULL DEFAULT 0, hot INTEGER NOT NULL DEFAULT 0, plate_unsure TEXT NOT NULL DEFAULT '',
    started_run TEXT NOT NULL DEFAULT '', started_claim INTEGER NOT NULL DEFAULT 0, started_command TEXT NOT NULL
    DEFAULT '', job TEXT NOT NULL DEFAULT '', payer TEXT NOT NULL DEFAULT '', path TEXT NOT NULL DEFAULT '',
    line INTEGER NOT NULL DEFAULT 0, seconds REAL NOT NULL DEFAULT 0, paused_s REAL NOT NULL DEFAULT 0,
    staff_paused_s REAL NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE closed (
    run TEXT NOT NULL, claim_no INTEGER NOT NULL, at TEXT NOT NULL, PRIMARY KEY (run, claim_no)
) STRICT;
CREATE TABLE commands (
    id TEXT PRIMARY KEY, machine TEXT NOT NULL, run TEXT NOT NULL, claim_no INTEGER NOT NULL, nature TEXT NOT NULL,
    boot_no INTEGER NOT NULL, at TEXT NOT NULL, state TEXT NOT NULL, answer BLOB NOT NULL DEFAULT x'',
    seq INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE reports (seq INTEGER PRIMARY KEY, body BLOB NOT NULL, at TEXT NOT NULL, boot_no INTEGER NOT NULL) STRICT;
"""


@dataclass(frozen=True)
class MachineRow:
    """What the journal knows of one machine. A `started_run` has no reported end."""

    machine: str
    highest_claim: int = 0
    stop_no: int = 0
    latched: bool = False
    hot: bool = False
    plate_unsure: str = ""
    started_run: str = ""
    started_claim: int = 0
    started_command: str = ""
    job: str = ""
    payer: str = ""
    path: str = ""  # of the job file, beside its index
    line: int = 0  # accepted lines, at most a second old
    seconds: float = 0.0
    paused_s: float = 0.0
    staff_paused_s: float = 0.0


@dataclass(frozen=True)
class CommandRow:
    """An order that was taken: its last answer (encoded) is given again when it is repeated."""

    id: str
    machine: str
    run: str
    claim_no: int
    nature: str
    boot_no: int
    state: str
    answer: bytes
    seq: int  # number of the report that carried the last answer; 0: none of this journal


@dataclass(frozen=True)
class ReportRow:
    seq: int
    body: bytes
    at: str
    boot_no: int


@dataclass(frozen=True)
class Position:
    """How far a run is, written once a second."""

    machine: str
    run: str
    line: int
    seconds: float
    paused_s: float
    staff_paused_s: float
    hot: bool


class Journal:
    """One file, one connection, shared by the agent's threads under one lock."""

    def __init__(self, path: Path, now: datetime) -> None:
        self.path = path
        self.fresh = not path.exists()
        """Whether the file is new: a new card, or a first start."""
        self.given_up = False
        """Whether an older journal lay here and could not be read."""
        self._lock = threading.RLock()
        self._depth = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.fresh:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._check_durable()
        with self.transaction():
            self._create(now)
            self.unclean = self._get("clean", "1") == "0"
            """Whether the agent that wrote last had no time to say goodbye."""
            self.boot_no = int(self._get("boot_no", "0")) + 1
            self._set("boot_no", str(self.boot_no))
            self._set("clean", "0")
            self._forget(now)

    def _check_durable(self) -> None:
        (level,) = self._db.execute("PRAGMA synchronous").fetchone()
        if level != 2:
            raise RuntimeError("the journal is not synchronous=FULL")

    def check(self) -> None:
        """Raises sqlite3.DatabaseError where the file is damaged."""
        found = self._query("PRAGMA quick_check(1)")
        if found != [("ok",)]:
            raise sqlite3.DatabaseError(str(found))

    def _create(self, now: datetime) -> None:
        there = self._db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetchone()[0]
        if not there:
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self.fresh = True
            self._set("journal_id", new_id())
            self._set("next_seq", "1")
            self._set("made_at", _iso(now))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, on the disk at the end; may be nested, the outermost one commits."""
        with self._lock:
            if self._depth:
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1
                return
            self._db.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
            except BaseException:
                self._depth = 0
                self._db.execute("ROLLBACK")
                raise
            self._depth = 0
            self._db.execute("COMMIT")

    # ---- what it is

    @property
    def journal_id(self) -> str:
        return self._get("journal_id", "")

    @property
    def next_seq(self) -> int:
        return int(self._get("next_seq", "1"))

    @property
    def epoch(self) -> str:
        """The hub's database epoch as last heard; empty before the first word."""
        return self._get("epoch", "")

    @property
    def term(self) -> int:
        """The highest lease term of a hub ever heard."""
        return int(self._get("term", "0"))

    @property
    def applied(self) -> int:
        """The highest N ever told for this journal."""
        return int(self._get("applied", "0"))

    @property
    def last_time(self) -> datetime:
        """The latest instant that was written down: a clock without battery must not go behind it."""
        row = self._query("SELECT max(at) FROM (SELECT at FROM reports UNION SELECT at FROM commands)")[0][0]
        return datetime.fromisoformat(row or self._get("made_at", "1970-01-01T00:00:00+00:00"))

    def heard_term(self, term: int) -> None:
        if term > self.term:
            self._set("term", str(term))

    def begin_anew(self, now: datetime) -> None:
        """A new identity: the hub knows more reports of this journal than were ever written into it.

        Machines, closed claims and orders stay. Reports of this boot, which nobody has seen yet, are numbered anew.
        """
        with self.transaction():
            rows = self._query("SELECT body, at, boot_no FROM reports WHERE boot_no = ? ORDER BY seq", self.boot_no)
            self._db.execute("DELETE FROM reports")
            self._db.executemany(
                "INSERT INTO reports VALUES (?, ?, ?, ?)", [(seq, *row) for seq, row in enumerate(rows, start=1)]
            )
            self._db.execute("UPDATE commands SET seq = 0")
            new = {"journal_id": new_id(), "next_seq": str(len(rows) + 1), "applied": "0", "made_at": _iso(now)}
            for key, value in new.items():
                self._set(key, value)

    def greeted(self, epoch: str, applied: int, term: int) -> None:
        """What the hub said in its answer to our hello: it counts even where it is less than we had heard."""
        with self.transaction():
            if epoch != self.epoch:
                self._set("epoch", epoch)
                self._set("term", str(term))
            self.heard_term(term)
            self._set("applied", str(min(applied, self.next_seq - 1)))

    def say_goodbye(self) -> None:
        """The last word of a graceful stop."""
        self._set("clean", "1")

    def free_bytes(self) -> int:
        """Room on the file's disk."""
        stat = os.statvfs(self.path.parent)
        return stat.f_bavail * stat.f_frsize

    def setting(self, key: str) -> str:
        """A text that was kept with `keep_setting`, or empty."""
        return self._get(f"kept:{key}", "")

    def keep_setting(self, key: str, value: str) -> None:
        self._set(f"kept:{key}", value)

    # ---- machines

    def machine(self, machine: str) -> MachineRow:
        """The row of a machine; a blank one for one never heard of."""
        names = ", ".join(MachineRow.__dataclass_fields__)
        rows = self._query(f"SELECT {names} FROM machines WHERE machine = ?", machine)  # noqa: S608 — our own names
        if not rows:
            return MachineRow(machine)
        values = dict(zip(MachineRow.__dataclass_fields__, rows[0], strict=True))
        return MachineRow(**{**values, "latched": bool(values["latched"]), "hot": bool(values["hot"])})

    def machines(self) -> list[MachineRow]:
        return [self.machine(row[0]) for row in self._query("SELECT machine FROM machines ORDER BY machine")]

    def update_machine(self, machine: str, **values: Any) -> None:
        """Set columns of a machine's row."""
        unknown = set(values) - set(MachineRow.__dataclass_fields__)
        if unknown or not values:
            raise ValueError(unknown)
        with self.transaction():
            self._db.execute("INSERT INTO machines (machine) VALUES (?) ON CONFLICT DO NOTHING", (machine,))
            columns = ", ".join(f"{key} = ?" for key in values)
            plain = [int(value) if isinstance(value, bool) else value for value in values.values()]
            self._db.execute(f"UPDATE machines SET {columns} WHERE machine = ?", (*plain, machine))  # noqa: S608

    def forget_start(self, machine: str) -> None:
        """The started run has a reported end."""
        self.update_machine(
            machine, started_run="", started_claim=0, started_command="", job="", payer="", path="",
            line=0, seconds=0.0, paused_s=0.0, staff_paused_s=0.0,
        )  # fmt: skip

    def write_positions(self, positions: Sequence[Position]) -> None:
        """Once a second, one transaction for all machines; a position of a run that has ended meanwhile is dropped."""
        with self.transaction():
            for p in positions:
                self._db.execute("UPDATE machines SET hot = ? WHERE machine = ?", (int(p.hot), p.machine))
                self._db.execute(
                    "UPDATE machines SET line = ?, seconds = ?, paused_s = ?, staff_paused_s = ?"
                    " WHERE machine = ? AND started_run = ?",
                    (p.line, p.seconds, p.paused_s, p.staff_paused_s, p.machine, p.run),
                )

    # ---- claims that are closed for ever

    def close(self, run: str, claim_no: int, now: datetime) -> None:
        self._write("INSERT INTO closed VALUES (?, ?, ?) ON CONFLICT DO NOTHING", run, claim_no, _iso(now))

    def is_closed(self, run: str, claim_no: int) -> bool:
        return bool(self._query("SELECT 1 FROM closed WHERE run = ? AND claim_no = ?", run, claim_no))

    # ---- orders

    def command(self, command_id: str) -> CommandRow | None:
        rows = self._query(
            "SELECT id, machine, run, claim_no, nature, boot_no, state, answer, seq FROM commands WHERE id = ?",
            command_id,
        )
        return CommandRow(*rows[0]) if rows else None

    def insert_command(
        self, command_id: str, machine: str, run: str, claim_no: int, nature: str, state: str, now: datetime
    ) -> bool:
        """Write an order down; False where its id is there already."""
        done = self._write(
            "INSERT INTO commands (id, machine, run, claim_no, nature, boot_no, at, state)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            command_id, machine, run, claim_no, nature, self.boot_no, _iso(now), state,
        )  # fmt: skip
        return done == 1

    def set_answer(self, command_id: str, state: str, answer: bytes, seq: int) -> None:
        """The last word about an order, and the report that carries it."""
        self._write("UPDATE commands SET state = ?, answer = ?, seq = ? WHERE id = ?", state, answer, seq, command_id)

    def forget_command(self, command_id: str) -> None:
        """As if an order had never come: for those that may be done again."""
        self._write("DELETE FROM commands WHERE id = ?", command_id)

    def has_started(self, run: str) -> bool:
        """Whether a start of this run was ever taken and not rejected."""
        states = "('succeeded', 'unknown', 'failed')"
        sql = f"SELECT 1 FROM commands WHERE run = ? AND nature = 'start' AND state IN {states}"  # noqa: S608
        return bool(self._query(sql, run))

    def unfinished(self) -> list[CommandRow]:
        """Orders that were accepted and have no result, oldest first."""
        rows = self._query(
            "SELECT id, machine, run, claim_no, nature, boot_no, state, answer, seq FROM commands"
            " WHERE state = 'accepted' ORDER BY at, id"
        )
        return [CommandRow(*row) for row in rows]

    # ---- reports

    def append_report(self, body: bytes, now: datetime) -> ReportRow:
        """Write the next report down."""
        with self.transaction():
            row = ReportRow(self.next_seq, body, _iso(now), self.boot_no)
            self._db.execute("INSERT INTO reports VALUES (?, ?, ?, ?)", (row.seq, row.body, row.at, row.boot_no))
            self._set("next_seq", str(row.seq + 1))
        return row

    def reports_after(self, seq: int, limit: int = 500) -> list[ReportRow]:
        """Reports above a number, in order."""
        rows = self._query("SELECT seq, body, at, boot_no FROM reports WHERE seq > ? ORDER BY seq LIMIT ?", seq, limit)
        return [ReportRow(*row) for row in rows]

    def confirm(self, up_to: int) -> bool:
        """The hub has applied reports up to this number; False where that was known, or cannot be."""
        with self.transaction():
            if not self.applied < up_to < self.next_seq:
                return False
            self._set("applied", str(up_to))
        return True

    # ---- inside

    def _forget(self, now: datetime) -> None:
        before = _iso(now - KEEP)
        self._db.execute("DELETE FROM reports WHERE at < ? AND seq <= ?", (before, self.applied))
        self._db.execute("DELETE FROM commands WHERE at < ? AND state <> 'accepted'", (before,))

    def _get(self, key: str, otherwise: str) -> str:
        rows = self._query("SELECT value FROM meta WHERE key = ?", key)
        return str(rows[0][0]) if rows else otherwise

    def _set(self, key: str, value: str) -> None:
        self._write("INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)

    def _query(self, sql: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def _write(self, sql: str, *values: Any) -> int:
        with self.transaction():
            return self._db.execute(sql, values).rowcount

    def shut(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()


def _iso(instant: datetime) -> str:
    """UTC with microseconds, so that text sorts by time."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")
