"""`fablab print`: one file to one printer from the terminal, without server, database or configuration."""

import json
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fablab.devices.hosting import Hosting
    from fablab.devices.protocols.contract import Event, Intent
    from fablab.gcode.index import IndexedFile

CONNECT_S = 60.0


@dataclass
class Outcome:
    """What `--json` prints at the end."""

    state: str = "failed"
    lines: int = 0
    resends: int = 0
    seconds: float = 0.0
    extruded_mm: list[float] = field(default_factory=list)
    error: str | None = None


class Printing:
    """One print from the terminal: connect, stream, end; Ctrl-C cancels, a second one stops at once."""

    def __init__(self, hosting: "Hosting", file: "IndexedFile", say: bool) -> None:
        self.hosting = hosting
        self.file = file
        self.outcome = Outcome()
        self._say = say
        self._over = False
        self._ready = False
        self._interrupts = 0
        self._obeyed = 0

    def run(self) -> Outcome:
        """Print the file. Raises OSError where the port cannot be opened."""
        from fablab.devices.protocols.contract import Print

        before = signal.signal(signal.SIGINT, self._interrupt)
        terminate = signal.signal(signal.SIGTERM, self._interrupt)
        started = time.monotonic()
        try:
            self._take(self.hosting.open())
            self._until(lambda: self._ready, started + CONNECT_S)
            if self._ready and not self._interrupts:
                started = time.monotonic()
                self._ask(Print("terminal", self.file.lines(), self.file.total))
                self._until(lambda: False, None)
            elif not self.outcome.error:
                self.outcome.error = "cancelled" if self._interrupts else "no_answer"
        except OSError as error:
            self.outcome.error = self.outcome.error or f"link_lost: {error}"
        finally:
            signal.signal(signal.SIGINT, before)
            signal.signal(signal.SIGTERM, terminate)
            self.hosting.dispose()
        self.outcome.seconds = round(time.monotonic() - started, 3)
        self.outcome.extruded_mm = [round(mm, 4) for mm in self.file.at(self.outcome.lines).mm]
        return self.outcome

    def _until(self, enough: "Any", limit: float | None) -> None:
        while not self._over and not enough():
            if limit is not None and time.monotonic() > limit:
                return
            self._take(self.hosting.step(0.5))
            self._obey_interrupts()

    def _interrupt(self, *_: object) -> None:
        self._interrupts += 1
        self.hosting.wake()

    def _obey_interrupts(self) -> None:
        from fablab.devices.protocols.contract import Cancel, EmergencyStop, Refused

        if self._interrupts == self._obeyed:
            return
        self._obeyed += 1
        if not self._ready:
            self._over = True
            return
        self._note("cancelling; once more to stop at once" if self._obeyed == 1 else "emergency stop")
        try:
            if self._obeyed == 1:
                self._ask(Cancel())
            else:
                self._take(self.hosting.stop_now(EmergencyStop()))
        except Refused:
            self._note("nothing is left to stop")

    def _ask(self, intent: "Intent") -> None:
        self._take(self.hosting.ask(intent))

    def _take(self, events: "Sequence[Event]") -> None:
        for event in events:
            self._on(event)

    def _on(self, event: "Event") -> None:
        from fablab.devices.protocols import contract as c

        match event:
            case c.Ready():
                self._ready = True
            case c.Identified(firmware=firmware):
                self._note(firmware)
            case c.Resent():
                self.outcome.resends += 1
            case c.Progressed(accepted=accepted):
                self._progress(accepted)
            case c.HeldStill(code=code):
                self._note(f"paused {code}; answer at the machine, or Ctrl-C to cancel")
                self._go_on(event)
            case c.Warned(code=code):
                self._note(f"warning: {code} {event.data or ''}")
            case c.RunEnded():
                self.outcome.state, self.outcome.lines = event.result, event.accepted
                self.outcome.error = event.code or ("cancelled" if event.result == "stopped" else None)
                self._over = event.code != "emergency_stop"
            case c.StopSeen(how=how):
                self._note(f"emergency stop: {how}")
                self._over = True
            case c.LinkLost(code=code) | c.Halted(code=code):
                self.outcome.error = self.outcome.error or code
                self._over = True

    def _go_on(self, event: "Event") -> None:
        """A pause that the file asks for ends with a key where there is a keyboard."""
        from fablab.devices.protocols.contract import Resume

        if getattr(event, "by", "") == "rule" and sys.stdin.isatty():
            click.pause("press a key to go on", err=True)
            self._ask(Resume())

    def _progress(self, accepted: int) -> None:
        if self._say and sys.stderr.isatty():
            share = accepted / max(1, self.file.total)
            bar = "#" * int(share * 40)
            text = f"\r[{bar:<40}] {share:6.1%}  line {accepted} of {self.file.total}"
            click.echo(text, err=True, nl=accepted == self.file.total)

    def _note(self, text: str) -> None:
        if self._say:
            click.echo(text, err=True)


@click.command("print")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--port", required=True, help="serial port, e.g. /dev/serial/by-id/…")
@click.option("--profile", "name", help="firmware profile; without it the printer is asked first")
@click.option("--json", "as_json", is_flag=True, help="one object on one line at the end")
def print_command(file: Path, port: str, name: str | None, as_json: bool) -> None:
    """Print FILE without server: to commission a machine. Exit status 0 only when every line was acknowledged."""
    from fablab.clock import SystemClock
    from fablab.devices.drivers.driver import Surroundings
    from fablab.devices.drivers.marlin_serial import MarlinSerial
    from fablab.devices.hosting import Hosting
    from fablab.gcode.index import IndexedFile
    from fablab.messages import MachineSettings

    profile_name = name or _recognised(port)
    settings = MachineSettings(id="terminal", driver="marlin_serial", port=port, profile=profile_name)
    hosted = MarlinSerial.build(settings, Surroundings(Path.cwd()))
    with tempfile.TemporaryDirectory(prefix="fablab-print-") as folder:
        index = Path(folder) / "index"
        _check(file, index, hosted.profile)
        with IndexedFile(file, index) as indexed:
            outcome = Printing(Hosting(hosted.engine, hosted.transport, SystemClock()), indexed, not as_json).run()
    if as_json:
        click.echo(json.dumps(outcome.__dict__))
    else:
        figures = f"{outcome.lines} lines, {outcome.resends} resends, {outcome.seconds:.0f} s"
        click.echo(f"{outcome.state}: {figures} {outcome.error or ''}".rstrip(), err=True)
    if outcome.state != "succeeded":
        sys.exit(1)


def _recognised(port: str) -> str:
    """The profile that fits the printer at `port`. Raises `Refusal` nothing_there, no_profile_fits."""
    from fablab.cli_probe import probe
    from fablab.refusals import Refusal

    found = probe(port)
    if found is None:
        raise Refusal("nothing_there", port=port)
    if found.profile is None:
        raise Refusal("no_profile_fits", port=port, firmware=found.firmware)
    return found.profile


def _check(file: Path, index: Path, profile: "Any") -> None:
    """Read the whole file before a byte leaves. Raises `Refusal` for a hazard, another model, another dialect."""
    from fablab.devices.preparing import check_dialect, check_hazards, check_model
    from fablab.gcode.facts import understand

    facts = understand(file, profile.limits(role="technician"), index)
    check_model(facts.printer_model, profile)
    check_dialect(facts.dialect, profile)
    check_hazards(facts)
