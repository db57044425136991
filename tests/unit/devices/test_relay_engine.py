"""The plug's engine in virtual time: the lease is renewed, ends, is insisted on; what a plug may say is understood."""

import itertools
import json
from collections.abc import Sequence

import pytest

from fablab.devices.protocols.contract import (
    Connect,
    EmergencyStop,
    Event,
    LinkLost,
    Pause,
    Power,
    Ready,
    Refused,
    StopSeen,
    Switch,
    Warned,
)
from fablab.devices.protocols.relay import Relay, device_topic, pulse_time


class Bench:
    """An engine and the time; answers as a plug does unless told to be mute."""

    def __init__(self, lease_s: int = 90) -> None:
        self.engine = Relay("%prefix%/%topic%/", "saw", lease_s)
        self.now = 1000.0
        self.on = False
        self.mute = False
        self.deaf_to_pulse = False
        self.said: list[tuple[float, str, str]] = []
        self.events: list[Event] = list(self.engine.tick(self.now))

    def ask(self, intent: object) -> None:
        self.events += self.engine.tick(self.now)
        self.events += self.engine.ask(intent)  # type: ignore[arg-type]
        self.settle()

    def settle(self) -> None:
        while items := self.engine.to_write():
            for topic, payload in items:
                text = payload.decode()
                command = topic.rsplit("/", 1)[-1]
                assert topic.startswith("cmnd/saw/")
                self.said.append((self.now, command, text))
                if not self.mute:
                    self.plug(command, text)

    def plug(self, command: str, text: str) -> None:
        if command == "POWER":
            self.on = {"ON": True, "OFF": False}.get(text, self.on)
            self.hear("stat/saw/POWER", "ON" if self.on else "OFF")
        elif command == "PulseTime1" and not self.deaf_to_pulse:
            self.hear("stat/saw/RESULT", json.dumps({"PulseTime1": {"Set": int(text), "Remaining": 0}}))
        elif command == "STATUS" and text == "8":
            self.hear("stat/saw/STATUS8", json.dumps({"StatusSNS": {"ENERGY": {"Power": 12, "Total": 1.5}}}))

    def hear(self, topic: str, text: str) -> None:
        self.events += self.engine.tick(self.now)
        self.events += self.engine.receive((topic, text.encode()))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.engine.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.events += self.engine.tick(self.now)
            self.settle()
        self.now = end
        self.events += self.engine.tick(self.now)
        self.settle()

    def count(self, command: str, text: str) -> int:
        return sum(1 for _, c, t in self.said if (c, t) == (command, text))

    def of(self, kind: type) -> Sequence[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.ask(Connect())
    assert bench.of(Ready)
    return bench


def test_pulse_time_has_two_units() -> None:
    assert (pulse_time(11), pulse_time(90), pulse_time(3600)) == (110, 190, 3700)


def test_topics_follow_full_topic() -> None:
    assert device_topic("tasmota/%topic%/%prefix%/", "saw", "cmnd", "POWER") == "tasmota/saw/cmnd/POWER"


def test_the_timer_is_set_before_anything_is_switched_on(bench: Bench) -> None:
    assert bench.said[0][1:] == ("PulseTime1", "190")


def test_power_is_renewed_every_twenty_seconds_and_ends_by_itself(bench: Bench) -> None:
    bench.ask(Switch(True, 120))
    assert bench.on
    bench.run(119)
    assert bench.count("POWER", "ON") == 6  # at 0, 20, 40, 60, 80, 100
    renewals = [at for at, command, text in bench.said if (command, text) == ("POWER", "ON")]
    assert all(later - earlier <= 20 for earlier, later in itertools.pairwise(renewals))
    bench.run(2)
    assert not bench.on
    assert bench.of(Power)[-1] == Power(on=False) or Power(on=False) in bench.events
    said = len(bench.said)
    bench.run(60)
    assert bench.count("POWER", "ON") == 6
    assert len(bench.said) > said, "it still asks how things stand"


def test_it_asks_every_ten_seconds(bench: Bench) -> None:
    before = bench.count("STATUS", "8")
    bench.run(60)
    assert bench.count("STATUS", "8") - before == 6


def test_an_off_that_nobody_confirms_is_said_again_and_told(bench: Bench) -> None:
    bench.ask(Switch(True, 600))
    bench.mute = True
    bench.ask(Switch(False))
    bench.run(5)
    assert bench.count("POWER", "OFF") >= 4
    assert Warned("off_unconfirmed") in bench.events
    bench.mute = False
    bench.run(2)
    assert not bench.on


def test_an_emergency_stop_is_confirmed_by_the_relay_or_told_to_have_failed(bench: Bench) -> None:
    bench.ask(Switch(True, 600))
    bench.ask(EmergencyStop())
    assert bench.of(StopSeen) == [StopSeen("relay")]
    bench.ask(Switch(True, 600))
    bench.mute = True
    bench.ask(EmergencyStop())
    bench.run(3)
    assert bench.of(StopSeen)[-1] == StopSeen("none")


def test_silence_is_a_lost_link_and_readings_are_forgotten(bench: Bench) -> None:
    bench.mute = True
    bench.run(40)
    assert LinkLost("relay_silent") in bench.events
    assert Power(on=None) in bench.events
    bench.mute = False
    bench.ask(Connect())
    assert len(bench.of(Ready)) == 2


def test_a_closed_line_says_nothing_about_the_plug() -> None:
    bench = Bench()
    bench.ask(Connect())
    bench.now += 300  # nobody ticked: the broker was away
    bench.ask(Connect())
    assert not bench.of(LinkLost)


def test_lwt_offline_is_a_lost_link(bench: Bench) -> None:
    bench.hear("tele/saw/LWT", "Offline")
    assert LinkLost("relay_offline") in bench.events


def test_somebody_pressing_its_button_is_not_switched_on_again(bench: Bench) -> None:
    bench.ask(Switch(True, 600))
    bench.on = False
    bench.hear("stat/saw/POWER", "OFF")
    assert Warned("switched_off_elsewhere") in bench.events
    before = bench.count("POWER", "ON")
    bench.run(100)
    assert bench.count("POWER", "ON") == before


def test_power_without_a_use_is_told(bench: Bench) -> None:
    bench.on = True
    bench.hear("stat/saw/POWER", "ON")
    assert Warned("power_without_use") in bench.events


def test_without_a_timer_of_its_own_a_plug_is_metering_only() -> None:
    bench = Bench()
    bench.deaf_to_pulse = True
    bench.ask(Connect())
    with pytest.raises(Refused, match="lease_unconfirmed"):
        bench.ask(Switch(True, 60))
    bench.hear("stat/saw/RESULT", '{"PulseTime1":{"Set":0,"Remaining":0}}')
    assert Warned("lease_unconfirmed") in bench.events
    with pytest.raises(Refused, match="lease_unconfirmed"):
        bench.ask(Switch(True, 60))
    assert bench.count("POWER", "ON") == 0


@pytest.mark.parametrize(
    ("payload", "watts"),
    [('{"ENERGY":{"Power":2635,"Total":6.294}}', 2635.0), ('{"ENERGY":{"Power":[10,20.5],"Total":1}}', 30.5)],
)
def test_readings(bench: Bench, payload: str, watts: float) -> None:
    bench.hear("tele/saw/SENSOR", payload)
    assert bench.of(Power)[-1].watts == watts  # type: ignore[attr-defined]


@pytest.mark.parametrize("payload", ["", "nope", "[1]", '{"ENERGY":3}', '{"ENERGY":{"Power":true}}', '{"ENERGY":null}'])
def test_nonsense_is_as_good_as_unsaid(bench: Bench, payload: str) -> None:
    before = len(bench.of(Power))
    bench.hear("tele/saw/SENSOR", payload)
    bench.hear("stat/saw/POWER", payload)
    bench.hear("stat/saw/RESULT", payload)
    assert len(bench.of(Power)) == before


def test_a_plug_prints_nothing(bench: Bench) -> None:
    with pytest.raises(Refused):
        bench.ask(Pause())
