"""Numbers, window, history and resends of one Marlin wire. Knows no print, no state of a machine, no clock.

The window keeps what is unacknowledged within the firmware's buffers. An `ok` is counted, never paired; an answer to
M105 is a mark that nothing before it is on its way any more.
"""

from collections import deque

from fablab.devices.protocols.lines import frame
from fablab.devices.protocols.marlin_answers import Ok
from fablab.devices.protocols.marlin_dialect import Dialect

HISTORY = 4096
"""Sent lines that can be sent again."""
RESEND_WAIT = 0.5
"""Seconds that the echoes and the `ok` of a resend request are waited for."""
MAX_SAME_RESEND = 10
HELLO = frame(0, b"M110 N0")
"""This one form works on all firmwares, which disagree on which N of an M110 counts."""


class Wire:
    """What left, what came back, and what may leave next."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._inflight: deque[tuple[int, int, int, bool]] = deque()  # number or -1, bytes, mark, answers with T
        self._bytes = 0
        self._lines_limit = max(1, dialect.queue_lines - 1)
        self._bytes_limit = dialect.buffer_bytes - 1
        self.resends = 0
        self.resend_with_ok = dialect.resend_with_ok
        self._reset_numbers()

    def _reset_numbers(self) -> None:
        self._history: deque[tuple[bytes, int, bool]] = deque(maxlen=HISTORY)  # frame, mark, answers with T
        self._top = 1  # number of the next new line
        self._cursor = 1  # number of the next line to leave; below _top while replaying
        self._taken = 0  # highest number acknowledged
        self._pending = 0  # mark that counts as accepted with the next numbered acknowledgement
        self.accepted = 0
        self._oks_due = 0  # acknowledgements of resend requests, which acknowledge nothing
        self._late_ok = False
        self._echoes = 0
        self._quiet_until: float | None = None
        self._asked = 0
        self._same = 0
        self._last_line: int | None = None
        self._renumber = False
        self._run_from = 1

    def clear(self) -> None:
        """Forget everything: the machine was reset, or the port opened anew."""
        self._inflight.clear()
        self._bytes = 0
        self._reset_numbers()

    # ------------------------------------------------------------ outward

    @property
    def idle(self) -> bool:
        """Nothing is unacknowledged and nothing waits to be sent again."""
        return not self._inflight and self._cursor == self._top and self._quiet_until is None and not self._renumber

    @property
    def waiting(self) -> bool:
        """An answer is due."""
        return bool(self._inflight)

    @property
    def top(self) -> int:
        """Number of the next new line."""
        return self._top

    @property
    def run_began(self) -> bool:
        """A line of the run was acknowledged by itself."""
        return self._taken >= self._run_from

    def start_count(self) -> None:
        """A run begins with the next line, with the numbers running on; the wire is idle."""
        self._run_from = self._top
        self._pending = self.accepted = 0

    def sent_lately(self, text: bytes) -> bool:
        """Did one of the last lines hold exactly this text?"""
        return any(line.partition(b"*")[0].endswith(text) for line, _, _ in list(self._history)[-16:])

    @property
    def replaying(self) -> bool:
        """Lines of the history go first."""
        return self._cursor < self._top or self._renumber

    def has_room(self, size: int) -> bool:
        """May a line of `size` bytes leave now? One may always where nothing is unacknowledged."""
        if self._quiet_until is not None:
            return False
        if not self._inflight:
            return True
        return len(self._inflight) < self._lines_limit and self._bytes + size <= self._bytes_limit

    def hello(self) -> bytes:
        """Start numbering anew; everything before is forgotten."""
        self.clear()
        return self._note(HELLO, 0, 0, False)

    def replay(self) -> bytes | None:
        """The next line of the history that may leave now, if there is one."""
        if self._renumber:
            if not self.has_room(len(HELLO)):
                return None
            self._renumber = False
            return self._note(HELLO, 0, 0, False)
        if self._cursor >= self._top:
            return None
        line, mark, with_t = self._at(self._cursor)
        if not self.has_room(len(line)):
            return None
        self._cursor += 1
        return self._note(line, self._cursor - 1, mark, with_t)

    def framed(self, command: bytes) -> bytes:
        """`command` as it would leave next; not sent yet."""
        return frame(self._top, command)

    def send(self, line: bytes, mark: int, with_t: bool = False) -> bytes:
        """Send what `framed` gave. `mark`: lines of the file done when this one is."""
        self._history.append((line, mark, with_t))
        self._top += 1
        self._cursor += 1
        return self._note(line, self._top - 1, mark, with_t)

    def send_plain(self, command: bytes, with_t: bool = False) -> bytes:
        """Send an unnumbered line."""
        return self._note(command + b"\n", -1, 0, with_t)

    def probe(self) -> bytes:
        """M105 after a silence: older ones are dead, and its answer says that nothing is on its way any more."""
        for entry in [entry for entry in self._inflight if entry[3] and entry[0] < 0]:
            self._inflight.remove(entry)
            self._bytes -= entry[1]
        return self.send_plain(b"M105", True)

    def _note(self, line: bytes, number: int, mark: int, with_t: bool) -> bytes:
        self._inflight.append((number, len(line), mark, with_t))
        self._bytes += len(line)
        return line

    def _at(self, number: int) -> tuple[bytes, int, bool]:
        return self._history[number - self._top + len(self._history)]

    # ------------------------------------------------------------ inward

    def on_ok(self, ok: Ok) -> bool:
        """Count an acknowledgement. False: it was none of ours."""
        if ok.room is not None and self._dialect.advanced_ok:
            self._lines_limit = max(1, self._lines_limit, ok.room)
        if ok.carries_t:
            return self._pop_through([entry[3] for entry in self._inflight], genuine=False)
        if ok.number is not None:
            return self._pop_through([entry[0] == ok.number for entry in self._inflight], genuine=True)
        if ok.room is None and self._swallow():
            return False
        if not self._inflight:
            return False
        if self._inflight[0][3] and self._dialect.m105_ok_carries_t:
            return False  # one too many: the answer to M105 looks different
        self._pop(genuine=True)
        return True

    def _swallow(self) -> bool:
        if self._oks_due:
            self._oks_due -= 1
            if self.resend_with_ok is None:
                self.resend_with_ok = True
            self._end_quiet_when_answered()
            return True
        late, self._late_ok = self._late_ok, False
        return late

    def _pop_through(self, wanted: list[bool], genuine: bool) -> bool:
        if True not in wanted:
            return False
        for _ in range(wanted.index(True) + 1):
            self._pop(genuine=genuine)
        return True

    def _pop(self, genuine: bool) -> None:
        number, size, mark, _ = self._inflight.popleft()
        self._bytes -= size
        if number > self._taken and genuine:
            self._taken = number
            self.accepted = max(self.accepted, self._pending)
            self._pending = max(self._pending, mark)
            self._same = 0

    def on_noise(self, last_line: int | None) -> None:
        """A transmission error was reported; its `Last Line` is a second witness for the number that is asked for."""
        self._last_line = last_line

    def on_resend(self, asked: int, now: float) -> str | None:
        """Take a resend request. Returns a stable code where the wire is beyond repair, else None."""
        self.resends += 1
        number = self._believable(asked)
        self._last_line = None
        if self.resend_with_ok is not False:
            self._oks_due += 1
            self._quiet_until = now + RESEND_WAIT
        if number is None:
            if self._taken == 0 and asked > 0:
                self._void_from(0)
                self._cursor = 1 if len(self._history) == self._top - 1 else self._cursor
                self._renumber = True
                return self._count_same(asked)
            return "resend_unknown_line" if self._count_same(asked) else None
        if number == self._asked and self._echoes > 0:
            self._echoes -= 1
            self._quiet_until = now + RESEND_WAIT
            return None
        if number == self._cursor and not any(entry[0] >= number for entry in self._inflight):
            return None  # it would leave next anyway
        self._asked = number
        self._echoes = max(0, self._void_from(number) - 1)
        self._cursor = number
        self._forget_from(number)
        if self._echoes:
            self._quiet_until = now + RESEND_WAIT
        return self._count_same(number)

    def _believable(self, asked: int) -> int | None:
        oldest = self._top - len(self._history)
        candidates = (asked, None if self._last_line is None else self._last_line + 1)
        return next((n for n in candidates if n is not None and oldest <= n <= self._top and n > 0), None)

    def _count_same(self, number: int) -> str | None:
        self._same += 1
        return "resend_loop" if self._same > MAX_SAME_RESEND else None

    def _void_from(self, number: int) -> int:
        """Take everything from the first line ≥ `number` on out of the window; returns how many numbered ones."""
        kept: deque[tuple[int, int, int, bool]] = deque()
        voided = 0
        for entry in self._inflight:
            if voided or entry[0] >= number:
                voided += entry[0] >= 0
            else:
                kept.append(entry)
        self._inflight = kept
        self._bytes = sum(entry[1] for entry in kept)
        return voided

    def _forget_from(self, number: int) -> None:
        before = self._at(number - 1)[1] if number - 1 >= self._top - len(self._history) and number > 1 else 0
        if number <= self._taken:
            self._taken = number - 1
            self._pending = min(self._pending, before)
            self.accepted = min(self.accepted, before)

    # ------------------------------------------------------------ time

    @property
    def deadline(self) -> float | None:
        return self._quiet_until

    def tick(self, now: float) -> None:
        """After a resend request nobody says more: go on."""
        if self._quiet_until is not None and now >= self._quiet_until:
            if self._oks_due and self.resend_with_ok is None:
                self.resend_with_ok = False
            self._late_ok = bool(self._oks_due) and self.resend_with_ok is True
            self._oks_due = 0
            self._quiet_until = None

    def _end_quiet_when_answered(self) -> None:
        if not self._oks_due and not self._echoes:
            self._quiet_until = None
