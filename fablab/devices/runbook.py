"""Counts one run: seconds, pauses, lines, resends → the facts of its end. Pure; told the time, in monotonic seconds."""

from collections.abc import Callable
from dataclasses import dataclass

from fablab.devices.protocols.contract import Progressed, RunEnded
from fablab.messages import Ended

Filament = Callable[[int], tuple[float, ...]]
"""Lines accepted → net commanded millimetres per tool."""


@dataclass(frozen=True)
class RunFacts:
    """What the order said about a run."""

    run: str
    machine: str
    claim_no: int
    job: str
    payer: str
    command: str  # id of the start order
    total_lines: int


@dataclass
class RunBook:
    """One run on one machine. `speed` multiplies the measured seconds of a simulator; it is 1 on real machines.

    The `carried_…` seconds were counted before the agent restarted; the gap itself was measured by nobody.
    """

    facts: RunFacts
    filament: Filament
    speed: int = 1
    carried_s: float = 0.0
    carried_paused_s: float = 0.0
    carried_staff_s: float = 0.0
    accepted: int = 0
    fraction: float | None = None
    remaining_s: int | None = None
    resends: int = 0
    began: bool = False
    adopted: bool = False
    _since: float | None = None
    _held_since: float | None = None
    _held_by_staff: bool = False

    def begin(self, now: float) -> None:
        """The machine took the first line."""
        self.began = True
        self.count_from(now)

    def count_from(self, now: float) -> None:
        """Let the seconds run, whatever is known of the first line."""
        if self._since is None:
            self._since = now

    def hold(self, now: float, by_staff: bool) -> None:
        """Paused, by a member, or by staff or a fault of the machine (`by_staff`: not billed)."""
        if self._held_since is None:
            self._held_since, self._held_by_staff = now, by_staff

    def go_on(self, now: float) -> None:
        """The pause is over."""
        if self._held_since is None:
            return
        length = (now - self._held_since) * self.speed
        if self._held_by_staff:
            self.carried_staff_s += length
        else:
            self.carried_paused_s += length
        self._held_since = None

    @property
    def held(self) -> bool:
        return self._held_since is not None

    def progress(self, event: Progressed) -> None:
        """Marks never go back."""
        self.accepted = max(self.accepted, event.accepted)
        self.fraction = event.fraction
        self.remaining_s = event.remaining_s

    def seconds(self, now: float) -> float:
        """From the first line until now, pauses included."""
        return self.carried_s + ((now - self._since) * self.speed if self._since is not None else 0.0)

    def paused(self, now: float) -> tuple[float, float]:
        """Seconds paused so far: on a person's wish, and by staff or a fault."""
        running = (now - self._held_since) * self.speed if self._held_since is not None else 0.0
        staff = running if self._held_by_staff else 0.0
        return self.carried_paused_s + running - staff, self.carried_staff_s + staff

    def share(self) -> float | None:
        """Progress, 0 … 1."""
        if self.fraction is not None:
            return min(1.0, max(0.0, self.fraction))
        return self.accepted / self.facts.total_lines if self.facts.total_lines else None

    def millimetres(self) -> tuple[float, ...]:
        return self.filament(self.accepted)

    def end(self, now: float, event: RunEnded) -> Ended:
        """The facts of the attempt. A person's figures make it `declared`."""
        self.go_on(now)
        accepted = max(0, min(event.accepted, self.facts.total_lines)) if self.facts.total_lines else event.accepted
        declared = event.minutes is not None or event.grams is not None
        paused, staff = self.paused(now)
        seconds = event.minutes * 60 if event.minutes is not None else round(self.seconds(now))
        return Ended(
            run=self.facts.run,
            machine=self.facts.machine,
            claim_no=self.facts.claim_no,
            job=self.facts.job,
            payer=self.facts.payer,
            result=event.result,
            code=event.code,
            seconds=seconds,
            paused_s=0 if event.minutes is not None else round(paused),
            staff_paused_s=0 if event.minutes is not None else round(staff),
            commanded_mm=event.mm if event.mm is not None else self.filament(accepted),
            declared_g=event.grams,
            kind="declared" if declared else "commanded",
            lines=accepted,
            total_lines=self.facts.total_lines,
            resends=self.resends,
            touched=self.began or self.adopted or accepted > 0,
        )
