"""Which pictures of the machines leave, and when: a change at once, numbers once a second, all after a connect."""

from collections.abc import Iterable

from fablab import topics
from fablab.clock import Clock
from fablab.devices.picture import telemetry_of
from fablab.devices.wire import Wire
from fablab.devices.worker import Worker
from fablab.messages import StateSnapshot

TELEMETRY_S = 1.0
IDLE_S = 30.0
"""Any picture is published again after this long: one that was lost on the way must not stay wrong."""
DRAWS_W = 20.0
"""From here on a machine behind a plug is doing something."""
RUNNING_S = 10.0
"""A retained picture of a machine whose numbers move is never older than this."""


class Pictures:
    """Remembers what was published last, per machine."""

    def __init__(self, wire: Wire, site: str, clock: Clock) -> None:
        self._wire = wire
        self._site = site
        self._clock = clock
        self._last: dict[str, tuple[tuple[object, ...], float]] = {}
        self._told: dict[str, tuple[StateSnapshot, float]] = {}

    def forget(self) -> None:
        """The broker may have lost everything: publish each picture again."""
        self._last.clear()

    def publish(self, workers: Iterable[Worker], everything: bool = False) -> None:
        """Publish what is due."""
        now = self._clock.monotonic()
        for worker in workers:
            full = worker.latest
            if full is None:
                continue
            key = _key(full)
            last, at = self._last.get(full.machine, ((), 0.0))
            moves = bool(full.run or full.temperatures) or full.watts is not None
            stale = now - at >= (RUNNING_S if moves else IDLE_S)
            if everything or key != last or stale:
                topic = topics.state(self._site, full.machine)
                if self._wire.publish(topic, full, retain=True):
                    self._last[full.machine] = (key, now)
            self._tell(full, now)

    def _tell(self, full: StateSnapshot, now: float) -> None:
        before, at = self._told.get(full.machine, (None, 0.0))
        if before is full or now - at < TELEMETRY_S:
            return
        if full.run or full.temperatures or full.watts is not None:
            self._wire.publish(topics.telemetry(self._site, full.machine), telemetry_of(full), qos=0)
            self._told[full.machine] = (full, now)


def _key(full: StateSnapshot) -> tuple[object, ...]:
    """What makes a picture another one, numbers that move left out."""
    targets = tuple((name, heat.target) for name, heat in sorted(full.temperatures.items()))
    return (
        *(full.journal_id, full.boot_no, full.state, full.code, full.run, full.latched, full.stop_no, full.firmware),
        *(full.warnings, full.prompt, full.relay_on, full.layer, targets),
        full.watts is not None and full.watts >= DRAWS_W,
    )
