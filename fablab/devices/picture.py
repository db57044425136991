"""What one machine looks like: gathers events into snapshot and telemetry. Never billed from."""

from dataclasses import dataclass, field

from fablab.devices.protocols.contract import Event, Identified, Power, Prompted, Silent, Temperatures, Warned
from fablab.devices.runbook import RunBook
from fablab.messages import StateSnapshot, Telemetry, Temperature

HOT_C = 50.0
"""A heater above this, or with any target, makes a machine hot."""
MAX_WARNINGS = 12


@dataclass
class Picture:
    """The latest of everything that a machine says about itself."""

    firmware: str = ""
    temperatures: dict[str, Temperature] = field(default_factory=dict)
    relay_on: bool | None = None
    watts: float | None = None
    prompt: str = ""
    warnings: tuple[str, ...] = ()

    def take(self, event: Event) -> None:
        """Look at an event; most say nothing about looks."""
        match event:
            case Identified():
                self.firmware = event.firmware
            case Temperatures():
                self.temperatures = {
                    name: Temperature(actual, target) for name, (actual, target) in event.values.items()
                }
            case Power():
                self.relay_on = event.on
                self.watts = event.watts if event.watts is not None or event.on is not None else None
            case Prompted():
                self.prompt = event.text[:500]
            case Warned():
                self.warn(event.code)
            case Silent():
                self.warn("silent")
            case _:
                pass

    def warn(self, code: str) -> None:
        """Remember a code once; the oldest give way."""
        if code not in self.warnings:
            self.warnings = (*self.warnings, code)[-MAX_WARNINGS:]

    def forget(self) -> None:
        """The link is gone: readings of before say nothing about now."""
        self.temperatures, self.relay_on, self.watts, self.prompt, self.warnings = {}, None, None, "", ()

    @property
    def hot(self) -> bool:
        return any((heat.target or 0) > 0 or heat.actual > HOT_C for heat in self.temperatures.values())


@dataclass(frozen=True)
class Frame:
    """What surrounds the picture: who, when, which state."""

    machine: str
    journal_id: str
    boot_no: int
    rev: int
    at: str
    state: str
    code: str
    driver: str
    latched: bool
    stop_no: int
    host_death: str
    speed: int


def snapshot(frame: Frame, picture: Picture, book: RunBook | None, layer: tuple[int, int], now: float) -> StateSnapshot:
    """The whole picture; `now` is monotonic seconds."""
    return StateSnapshot(
        machine=frame.machine,
        journal_id=frame.journal_id,
        boot_no=frame.boot_no,
        rev=frame.rev,
        at=frame.at,
        state=frame.state,
        code=frame.code,
        driver=frame.driver,
        run="" if book is None else book.facts.run,
        job="" if book is None else book.facts.job,
        progress=None if book is None else book.share(),
        line=0 if book is None else book.accepted,
        lines=0 if book is None else book.facts.total_lines,
        layer=layer[0],
        layers=layer[1],
        seconds=0 if book is None else round(book.seconds(now)),
        remaining_s=None if book is None else book.remaining_s,
        commanded_mm=() if book is None else book.millimetres(),
        temperatures=dict(picture.temperatures),
        relay_on=picture.relay_on,
        watts=picture.watts,
        latched=frame.latched,
        stop_no=frame.stop_no,
        firmware=picture.firmware,
        warnings=picture.warnings,
        prompt=picture.prompt,
        host_death=frame.host_death,
        speed=frame.speed,
    )


def telemetry_of(full: StateSnapshot) -> Telemetry:
    """The moving parts of a snapshot."""
    return Telemetry(
        machine=full.machine,
        at=full.at,
        progress=full.progress,
        line=full.line,
        layer=full.layer,
        seconds=full.seconds,
        commanded_mm=full.commanded_mm,
        temperatures=full.temperatures,
        watts=full.watts,
    )
