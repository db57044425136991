"""Which hub acts: one at a time, by a lease with a growing term. Knows nothing of jobs or machines.

PostgreSQL: a row that lapses by the database's own clock. SQLite: an exclusive lock on a file beside the database,
which the kernel lets go when its holder dies, and the same row for the term. Every transaction that claims or orders
calls `guard`, so that a hub which lost the lease without noticing cannot commit.
"""

import fcntl
import os
import socket
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fablab.clock import Clock
from fablab.db import Database
from fablab.queue.tables import HubLease

LEASE_S = 15
"""How long a PostgreSQL lease holds without being renewed, in seconds. Renew at a third of it."""


class LeaseLost(Exception):
    """Another hub acts by now: whatever was about to be written is rolled back."""


def default_holder() -> str:
    """A name for this process that people recognise in the table: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Lease:
    """One hub's hold on the lease. `term` is 0 while it is not held."""

    def __init__(self, database: Database, clock: Clock, holder: str | None = None, lease_s: int = LEASE_S) -> None:
        self._database = database
        self._clock = clock
        self.holder = holder or default_holder()
        self._lease_s = lease_s
        self._lock_file: int | None = None
        self.term = 0

    @property
    def held(self) -> bool:
        return self.term > 0

    def acquire(self) -> bool:
        """Take the lease if nobody holds it, and count its term up. True when it is ours."""
        if self._database.is_sqlite and not self._lock():
            return False
        try:
            self._ensure_row()
            with self._database.write() as session:
                taken = _one_row(session, self._take())
                if taken:
                    self.term = session.execute(select(HubLease.term).where(HubLease.id == 1)).scalar_one()
        except BaseException:
            self._unlock()
            raise
        if not taken:
            self._unlock()
        return taken

    def renew(self) -> bool:
        """Hold it for another `lease_s`. False, and `term` 0, when another hub has taken it."""
        if not self.held:
            return False
        with self._database.write() as session:
            mine = _one_row(
                session,
                update(HubLease)
                .where(HubLease.id == 1, HubLease.term == self.term, HubLease.holder == self.holder)
                .values(until=self._later()),
            )
        if not mine:
            self._forget()
        return mine

    def guard(self, session: Session) -> None:
        """Fail the session's transaction with LeaseLost unless the lease is ours at this instant, by the database."""
        mine = self.held and _one_row(
            session,
            update(HubLease)
            .where(
                HubLease.id == 1,
                HubLease.term == self.term,
                HubLease.holder == self.holder,
                *(() if self._database.is_sqlite else (HubLease.until > func.clock_timestamp(),)),
            )
            .values(term=HubLease.term),
        )
        if not mine:
            self._forget()
            raise LeaseLost(self.holder)

    def release(self) -> None:
        """Let another hub take over at once."""
        if self.held:
            with self._database.write() as session:
                session.execute(
                    update(HubLease)
                    .where(HubLease.id == 1, HubLease.term == self.term, HubLease.holder == self.holder)
                    .values(until=self._now())
                )
        self._forget()

    def _forget(self) -> None:
        self.term = 0
        self._unlock()

    def _ensure_row(self) -> None:
        with self._database.read() as session:
            if session.get(HubLease, 1) is not None:
                return
        try:
            with self._database.write() as session:
                past = self._clock.now() - timedelta(days=1)
                session.execute(insert(HubLease).values(id=1, term=0, holder="", until=past))
        except IntegrityError:
            pass  # the other hub made the row in the same instant

    def _take(self) -> Any:
        statement = update(HubLease).where(HubLease.id == 1)
        if not self._database.is_sqlite:  # there the file lock decides
            statement = statement.where(HubLease.until < func.clock_timestamp())
        return statement.values(term=HubLease.term + 1, holder=self.holder, until=self._later())

    def _now(self) -> ColumnElement[Any]:
        return literal(self._clock.now()) if self._database.is_sqlite else func.clock_timestamp()

    def _later(self) -> ColumnElement[Any]:
        if self._database.is_sqlite:
            return literal(self._clock.now() + timedelta(seconds=self._lease_s))
        return func.clock_timestamp() + timedelta(seconds=self._lease_s)

    def _lock(self) -> bool:
        if self._lock_file is not None:
            return True
        if self._database.path is None:
            raise ValueError("a hub needs a database in a file")
        path = self._database.path.with_name(self._database.path.name + ".hub-lock")
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._lock_file = handle
        return True

    def _unlock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


def _one_row(session: Session, statement: Any) -> bool:
    return cast("CursorResult[Any]", session.execute(statement)).rowcount == 1
