"""Link × firmware × noise on virtual time: what the firmware executed is the file, or the run failed and said why."""

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from fablab.devices.drivers.marlin_serial import dialect_of, vet_for
from fablab.devices.protocols import contract as c
from fablab.devices.protocols.marlin import Marlin
from fablab.devices.simulators.marlin_firmware import MODELS, Firmware
from fablab.profiles import find_profile
from tests.builders_marlin import OWN, PROFILES, as_sent, square
from tests.builders_transcripts import file_of


@dataclass
class Link:
    """A wire with a latency and seeded noise between one engine and one firmware; time is a number."""

    model: str
    seed: int
    damaged: float  # share of lines to the machine with one flipped bit
    lost_oks: float
    doubled_oks: float
    now: float = 0.0
    events: list[c.Event] = field(default_factory=list)
    executed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        profile = find_profile(PROFILES[self.model])
        self.engine = Marlin(dialect_of(profile), vet_for(profile.limits()))
        self.firmware = Firmware(MODELS[self.model], 600)
        self.random = random.Random(self.seed)
        self.noisy = False
        self.engine.tick(0.0)
        self.engine.ask(c.Connect())

    def turn(self) -> None:
        due = self.engine.deadline()
        wait = 0.004 if self.firmware._queue or self.firmware._waiting else 0.05
        self.now += wait if due is None else max(0.004, min(wait, due - self.now))
        for line in b"".join(self.engine.to_write()).splitlines(keepends=True):
            self.firmware.receive(self._on_the_way(line))
        said = self.firmware.step(self.now)
        self.executed += self.firmware.executed
        self.firmware.executed.clear()
        self.events += self.engine.tick(self.now)
        self.events += self.engine.receive(b"".join(map(self._on_the_way_back, said.splitlines(keepends=True))))

    def _on_the_way(self, line: bytes) -> bytes:
        if not self.noisy or self.random.random() >= self.damaged:
            return line
        at = self.random.randrange(len(line) - 1)
        bad = line[at] ^ (1 << self.random.randrange(7))
        if bad in b"\r\n;":
            return line  # cuts a line in two or hides its end: the protocol has no defence against a bare command
        return line[:at] + bytes([bad]) + line[at + 1 :]

    def _on_the_way_back(self, line: bytes) -> bytes:
        if not self.noisy or not line.startswith(b"ok"):
            return line
        if self.random.random() < self.lost_oks:
            return b""
        return line * 2 if self.random.random() < self.doubled_oks else line

    def until(self, kind: type[c.Event], longest: float = 3000) -> c.Event:
        while True:
            found = next((event for event in self.events if isinstance(event, kind)), None)
            if found is not None:
                return found
            assert self.now < longest, f"{kind.__name__} never came: {self.engine.state} {self.events[-3:]}"
            self.turn()


@settings(max_examples=150)
@given(
    st.sampled_from(sorted(MODELS)),
    st.integers(0, 2**32),
    st.sampled_from(
        [(0.0, 0.0, 0.0), (0.03, 0.0, 0.0), (0.0, 0.03, 0.0), (0.0, 0.0, 0.03), (0.02, 0.02, 0.02), (0.1, 0.1, 0.1)]
    ),
)
def test_executed_is_the_file_or_the_run_failed(model: str, seed: int, noise: tuple[float, float, float]) -> None:
    link = Link(model, seed, *noise)
    link.until(c.Ready)
    link.noisy = True
    file = square(120)
    link.engine.tick(link.now)
    link.engine.ask(c.Print("run", file_of(file), len(file)))
    ended = link.until(c.RunEnded)
    assert isinstance(ended, c.RunEnded)
    executed = [line for line in link.executed if line.split()[0] not in OWN]
    wanted = as_sent(file, model)
    if ended.result == "succeeded":
        assert executed == wanted
        assert ended.accepted == len(file)
    else:
        assert ended.code
        assert executed[: ended.accepted] == wanted[: ended.accepted]
    if noise == (0.0, 0.0, 0.0):
        assert ended.result == "succeeded"
        assert not any(isinstance(event, c.Resent | c.Silent) for event in link.events)
