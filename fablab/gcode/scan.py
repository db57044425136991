"""The single pass over a file: every line is measured, judged and indexed while it goes by.

Nearly all lines are plain `G1 X… Y… E…`: one regular expression takes a whole block apart and they go straight to the
meter. Everything else is parsed in full; what was parsed and judged once is remembered by its text.
"""

import re
from collections import Counter, deque
from itertools import accumulate
from pathlib import Path

from fablab.gcode.commands import Command, clean, parse
from fablab.gcode.facts import Facts
from fablab.gcode.formats import Source
from fablab.gcode.hazards import Finding, Hazard, judge
from fablab.gcode.index import IndexWriter
from fablab.gcode.limits import Limits
from fablab.gcode.measure import Meter
from fablab.gcode.metadata import WINDOW, Metadata, read
from fablab.gcode.policy import MACROS_ALLOWED, PAUSES
from fablab.gcode.timing import last_dynamics, plan
from fablab.refusals import Refusal

SAME_REASON = 20
"""Findings kept per command and reason; a file with more of the same is not made clearer by them."""

SAME_SEVERITY = 300
"""Findings kept per severity, so that a flood of small ones never hides a grave one."""

LONGEST = 16_384
"""Bytes of a command above which it is not even parsed."""

_N = r"([-0-9.]{1,11})"
_LINE = re.compile(
    rf"((?:G([01])(?: F{_N})?(?: X{_N})?(?: Y{_N})?(?: Z{_N})?(?: E{_N})?(?: F{_N})?|[^\n;]*)[ \t]*(?:;[^\n]*)?\r?\n)"
)
_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\r") + b"\x7f"
_CONTROL = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f]")
_BEGINS_LIKE_GCODE = re.compile(rb"\s*(?:;|[GMTN][0-9])")
_CUT_WORD = re.compile(rb"[A-Za-z](?:[-+.]|[-+]?[0-9]*\.)?\s*$")
REMEMBERED, SHORT = 8192, 200
"""How many judged lines are kept in mind, and up to which length."""

Judgement = tuple[tuple[Command, ...], tuple[Finding, ...], bool]
"""Commands, findings, and whether the line looks like no G-code at all."""


def scan(path: Path, limits: Limits, index: Path | None = None) -> Facts:
    """See `fablab.gcode.facts.understand`."""
    source = Source(path, limits)
    if index is None:
        return _Scan(source, limits, None).run()
    part = index.with_name(index.name + ".part")  # a machine may be reading the old index of the same file
    try:
        with part.open("wb") as file:
            facts = _Scan(source, limits, IndexWriter(file)).run()
        part.replace(index)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return facts


class _Scan:
    """What is carried from one block of lines to the next."""

    def __init__(self, source: Source, limits: Limits, writer: IndexWriter | None) -> None:
        self.source, self.limits, self.writer = source, limits, writer
        self.meter = Meter(limits)
        self.hazards: list[Hazard] = []
        self.kept: Counter[tuple[str, str]] = Counter()
        self.known: dict[tuple[str, str], Judgement] = {}
        self.file_line = self.sent = self.strange = 0
        self.offset = 0
        self.seconds = 0.0
        self.dynamics = self.meter.dynamics
        self.layers: list[tuple[int, int]] = []
        self.tools: list[tuple[int, int, tuple[float, ...]]] = []
        self.pauses: list[int] = []
        self.uncertain = False
        self.last = ""

    def run(self) -> Facts:
        head, tail = b"", deque[bytes](maxlen=3)
        for block in self.source.blocks():
            if not head:
                self.offset = self.source.start
            if len(head) < WINDOW:
                head += block[: WINDOW - len(head)]
            tail.append(block)
            self._block(block)
            self._refuse_prose()
        if not self.sent:
            raise Refusal("gcode_no_commands")
        end = head if self.offset - self.source.start <= WINDOW else b"".join(tail)[-WINDOW:]
        said = read(head, end)
        self._refuse_truncated(said)
        return self._facts(said)

    # -- one block

    def _block(self, block: bytes) -> None:
        if b"\0" in block:
            raise Refusal("gcode_nul_bytes" if self.sent or _BEGINS_LIKE_GCODE.match(block) else "not_gcode")
        text = block.decode("latin-1")
        found = _LINE.findall(text)
        before = self.file_line
        meter = self.meter
        move, entries = meter.move, meter.entries
        rows: list[int] = []
        mms: list[float] = []
        layer = meter.layer
        for row, (line, g, f, x, y, z, e, last_f) in enumerate(found):
            if g and meter.plain:
                try:
                    move(x, y, z, e, last_f or f, before + row + 1)
                except ValueError:  # several points or minus signs in one number: read as a firmware would
                    self._other(line, before + row + 1, self.sent + len(rows) + 1)
                rows.append(row)
                mms.append(meter.used)
            elif line[0] == ";":
                meter.comment(line)
            elif self._other(line, before + row + 1, self.sent + len(rows) + 1):
                rows.append(row)
                mms.append(meter.used)
            if meter.layer != layer:
                layer = meter.layer
                self.layers.append((self.sent + len(rows) + (not rows or rows[-1] != row), layer))
        lines = [line[0] for line in found]
        self._strange_bytes(block, lines)
        self._finish_block(lines, rows, mms)
        entries.clear()

    def _other(self, line: str, file_line: int, number: int) -> bool:
        """A line that is no plain move. True when something of it is sent; then it leaves exactly one entry."""
        text = clean(line.encode("latin-1")).decode("latin-1")
        if not text and "(" not in line:
            return False
        if len(text) > LONGEST:
            self._keep((text[:1], "line_too_long", "refuse", {"bytes": len(text), "limit": LONGEST}), file_line)
            self.meter.entries.append(0.0)
            return True
        commands, findings, strange = self._judged(text, line)
        for finding in findings:
            self._keep(finding, file_line)
        if not text:
            return False
        self.strange += strange
        meter, before, tool = self.meter, len(self.meter.entries), self.meter.tool
        for command in commands:
            meter.command(command, file_line)
            if command.code in PAUSES:
                self.pauses.append(number)
        if meter.tool != tool:
            self.tools.append((number, meter.tool, meter.totals()))
        added = meter.entries[before:]
        if len(added) != 1:
            meter.entries[before:] = [sum(plan(added, meter.dynamics))]
        return True

    def _judged(self, text: str, line: str) -> Judgement:
        """Parsed and judged, from memory where the same line was seen before."""
        raw = line if "(" in line else text
        key = text, raw
        found = self.known.get(key)
        if found is None:
            commands = parse(text)
            head = commands[0].code if commands else "G1"
            strange = not (head[0] in "GMT" and (head[1:2].isdigit() or head == "T")) and head not in MACROS_ALLOWED
            found = commands, judge(text, raw, self.limits), strange
            if len(self.known) >= REMEMBERED:
                self.known.clear()
            if len(raw) <= SHORT:
                self.known[key] = found
        return found

    def _keep(self, finding: Finding, file_line: int) -> None:
        code, reason, severity, data = finding
        self.uncertain = self.uncertain or reason in ("macro", "macro_forbidden", "meta_command")
        if self.kept["", severity] < SAME_SEVERITY and self.kept[code, reason] < SAME_REASON:
            self.kept[code, reason] += 1
            self.kept["", severity] += 1
            self.hazards.append(Hazard(line=file_line, code=code, reason=reason, severity=severity, data=data))

    def _strange_bytes(self, block: bytes, lines: list[str]) -> None:
        """Control characters and lone carriage returns, in comments too: some firmware ends a line there."""
        if not block.isascii() and not self.kept["", "not_utf8"]:
            try:
                block.decode("utf-8")
            except UnicodeDecodeError as error:
                where = self.file_line + block.count(b"\n", 0, error.start) + 1
                self._keep(("", "not_utf8", "warn", {}), where)
        if block.count(b"\r") == block.count(b"\r\n") and len(block.translate(None, _CONTROLS)) == len(block):
            return
        for row, line in enumerate(lines):
            if _CONTROL.search(line.rstrip("\r\n")):
                self._keep(("", "control_character", "refuse", {}), self.file_line + row + 1)

    def _finish_block(self, lines: list[str], rows: list[int], mms: list[float]) -> None:
        """Times of the block, its rows in the index, and on to the next one."""
        entries = self.meter.entries
        seconds = list(accumulate(plan(entries, self.dynamics), initial=self.seconds))
        self.dynamics = last_dynamics(entries, self.dynamics)
        starts = list(accumulate(map(len, lines), initial=self.offset))
        if self.writer is not None:
            if self.source.packed:
                raise Refusal("gcode_packed")
            first = self.file_line + 1
            self.writer.block([starts[row] for row in rows], [row + first for row in rows], mms, seconds[1:])
        self.offset = starts[-1]
        self.seconds = seconds[-1]
        self.file_line += len(lines)
        self.sent += len(rows)
        self.last = lines[-1]

    # -- the whole file

    def _refuse_prose(self) -> None:
        """More lines that are no G-code than lines that are: a text, a program, a table."""
        if self.strange * 2 > self.sent:
            raise Refusal("not_gcode")

    def _refuse_truncated(self, said: Metadata) -> None:
        if said.truncated:
            raise Refusal("gcode_truncated", why="end_missing")
        if said.slicer == "Cura" and 0 < self.meter.layer < (said.comments.layers or 0):
            raise Refusal("gcode_truncated", why="layers_missing")
        last = clean(self.last.encode("latin-1"))
        if self.source.ended_with_newline or not last:
            return
        if said.slicer is not None or _CUT_WORD.search(last):
            raise Refusal("gcode_truncated", why="line_cut")
        if last[:1] in b"Gg" and self.meter.used:
            self._keep(("", "no_last_newline", "confirm", {}), self.file_line)

    def _facts(self, said: Metadata) -> Facts:
        meter = self.meter
        for side, (line, furthest) in meter.outside.items():
            data = {"axis": side[0].upper(), "mm": round(furthest, 2)}
            self._keep(("G1", "outside_volume", "refuse", data), line)
        if meter.motors_off is not None and meter.used > meter.motors_off[1] + 0.1:
            self._keep(("M84", "position_lost", "confirm", {}), meter.motors_off[0])
        if self.writer is not None:
            self.writer.close(self.layers, self.tools, self.pauses, self.source.size, self.source.sha256)
        return Facts(
            slicer=said.slicer,
            slicer_version=said.slicer_version,
            dialect=said.dialect,
            printer_model=said.printer_model,
            material=said.material,
            nozzle_mm=said.nozzle_mm,
            layer_height_mm=said.layer_height_mm,
            first_layer_c=said.first_layer_c,
            first_layer_bed_c=said.first_layer_bed_c,
            comments=said.comments,
            measured=meter.measured(self.seconds, self.uncertain),
            hazards=tuple(sorted(self.hazards, key=lambda hazard: hazard.line)),
            lines=self.sent,
            size=self.source.size,
            sha256=self.source.sha256,
        )
