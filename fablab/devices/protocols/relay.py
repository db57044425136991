"""A metered plug as an engine, in the words of Tasmota: (topic, payload) in and out. Opens nothing, reads no clock.

Power is a lease in the plug: its own PulseTime switches it off when nobody renews. Each `POWER ON` starts that timer
again (Tasmota: ExecuteCommandPower → SetPulseTimer), so renewing is saying ON once more.
"""

import json
from collections.abc import Sequence
from typing import Any

from fablab.devices.protocols.contract import (
    Adopt,
    Connect,
    EmergencyStop,
    Event,
    HeatersOff,
    Identified,
    Intent,
    LinkLost,
    Power,
    Ready,
    Refused,
    StopSeen,
    Switch,
    Warned,
)

RENEW_S = 20.0  # between two renewals of the lease
QUERY_S = 10.0
OFF_AGAIN_S = 1.0  # an OFF that was not confirmed is said again
UNCONFIRMED_S = 2.0  # until a switch-off counts as not confirmed
SILENT_S = 35.0  # three unanswered questions and a little
LEASE_S = (20, 64_800)  # what PulseTime can count in whole seconds and a renewal can keep up with

Item = tuple[str, bytes]


def device_topic(full_topic: str, topic: str, prefix: str, last: str) -> str:
    """Tasmota's FullTopic with its parts filled in: `stat/saw/POWER` for the usual `%prefix%/%topic%/`."""
    head = full_topic.replace("%prefix%", prefix).replace("%topic%", topic)
    return head + ("" if head.endswith("/") else "/") + last


def pulse_time(seconds: int) -> int:
    """PulseTime's own unit: 1 … 111 are tenths of a second, above that seconds + 100 (Tasmota, Commands)."""
    return seconds * 10 if seconds <= 11 else seconds + 100


class Relay:
    """One plug with one relay. `lease_s`: how long it stays on without being renewed."""

    def __init__(self, full_topic: str, topic: str, lease_s: int = 90) -> None:
        if not LEASE_S[0] <= lease_s <= LEASE_S[1]:
            raise Refused("lease_out_of_range", seconds=lease_s, least=LEASE_S[0], most=LEASE_S[1])
        self._full, self._topic = full_topic, topic
        self._pulse = pulse_time(lease_s)
        self._renew_s = min(RENEW_S, lease_s / 3)
        self._now = 0.0
        self._out: list[Item] = []
        self._ready = False
        self._connected = False
        self._heard = 0.0
        self._query_at = 0.0
        self._on: bool | None = None  # as the plug said last
        self._lease_ok: bool | None = None  # its timer is set as we want it
        self._until: float | None = None  # we keep it on until then
        self._renew_at = 0.0
        self._off_since: float | None = None  # an OFF that waits to be confirmed
        self._off_again = 0.0
        self._told = False
        self._stopping = False

    # ---- the contract

    def ask(self, intent: Intent) -> Sequence[Event]:
        """Take an order. Raises `Refused`: not_connected, lease_unconfirmed, not_supported."""
        match intent:
            case Connect():
                self._ready, self._connected, self._heard = False, True, self._now
                self._say("PulseTime1", str(self._pulse))
                self._say("STATUS", "2")
                self._query()
            case Switch(on=True):
                self._switch_on(intent.seconds)
            case Switch():
                self._switch_off()
            case EmergencyStop():
                self._stopping = True
                self._switch_off()
            case HeatersOff() | Adopt():
                pass
            case _:
                raise Refused("not_supported", intent=type(intent).__name__)
        return ()

    def receive(self, item: Item) -> Sequence[Event]:
        """Take a message of the plug; what cannot be understood is as good as unsaid."""
        topic, payload = item
        last = topic.rsplit("/", 1)[-1]
        text = payload.decode("utf-8", "replace").strip()
        if last == "LWT":
            return self._presence(text)
        self._heard = self._now
        events: list[Event] = [] if self._ready else self._greet()
        if last in {"POWER", "POWER1"} and topic.startswith(self._prefix("stat")):
            return [*events, *self._power(text)]
        body = _table(text)
        if last == "RESULT":
            return [*events, *self._result(body)]
        if last == "STATUS2":
            version = _inside(body, "StatusFWR", "Version")
            return [*events, Identified(firmware=f"Tasmota {version}")] if isinstance(version, str) else events
        if last == "STATUS8":
            return [*events, *self._energy(_inside(body, "StatusSNS", "ENERGY"))]
        if last == "SENSOR":
            return [*events, *self._energy(body.get("ENERGY"))]
        return events

    def to_write(self) -> Sequence[Item]:
        out, self._out = self._out, []
        return out

    def deadline(self) -> float | None:
        if not self._connected:
            return None
        dues = [self._query_at, self._heard + SILENT_S]
        if self._until is not None:
            dues += [self._renew_at, self._until]
        if self._off_since is not None:
            dues.append(self._off_again)
        return min(dues)

    def tick(self, now: float) -> Sequence[Event]:
        """Be told the time: ask, renew, end what is over, insist on an OFF."""
        listened = now - self._now < SILENT_S  # else the line was closed, and silence says nothing about the plug
        self._now = now
        if not self._connected:
            return ()
        if not listened:
            self._heard = now
        if now - self._heard >= SILENT_S:
            return self._lost("relay_silent")
        if self._until is not None and now >= self._until:
            self._switch_off()
        elif self._until is not None and now >= self._renew_at:
            self._say("POWER", "ON")
            self._renew_at = now + self._renew_s
        if now >= self._query_at:
            self._query()
        return self._insist(now)

    # ---- orders

    def _switch_on(self, seconds: int) -> None:
        if not self._ready:
            raise Refused("not_connected")
        if not self._lease_ok:
            raise Refused("lease_unconfirmed")
        self._off_since, self._stopping = None, False
        self._until = self._now + seconds
        self._say("POWER", "ON")
        self._renew_at = self._now + self._renew_s

    def _switch_off(self) -> None:
        self._until = None
        if self._off_since is None:
            self._off_since, self._told = self._now, False
        self._say("POWER", "OFF")
        self._off_again = self._now + OFF_AGAIN_S

    def _insist(self, now: float) -> Sequence[Event]:
        if self._off_since is None:
            return ()
        if now >= self._off_again:
            self._say("POWER", "OFF")
            self._off_again = now + OFF_AGAIN_S
        if now - self._off_since < UNCONFIRMED_S or self._told:
            return ()
        self._told = True
        return (StopSeen("none"),) if self._stopping else (Warned("off_unconfirmed"),)

    def _query(self) -> None:
        self._say("POWER", "")
        self._say("STATUS", "8")
        self._query_at = self._now + QUERY_S

    def _say(self, command: str, payload: str) -> None:
        self._out.append((device_topic(self._full, self._topic, "cmnd", command), payload.encode()))

    def _prefix(self, prefix: str) -> str:
        return device_topic(self._full, self._topic, prefix, "")

    # ---- what the plug says

    def _greet(self) -> list[Event]:
        self._ready = True
        return [Ready()]

    def _presence(self, text: str) -> Sequence[Event]:
        if text == "Offline":
            return self._lost("relay_offline")
        if text == "Online" and self._connected:
            # it may have booted, and what it was told before is in its flash at best: say it again
            self._say("PulseTime1", str(self._pulse))
            self._query()
        return ()

    def _lost(self, code: str) -> Sequence[Event]:
        self._ready = self._connected = False
        self._on = None
        return (Power(on=None), LinkLost(code))

    def _power(self, text: str) -> Sequence[Event]:
        if text not in {"ON", "OFF"}:
            return ()
        before, self._on = self._on, text == "ON"
        events: list[Event] = [Power(on=self._on)]
        if self._on and self._until is None and self._off_since is None and before is not True:
            events.append(Warned("power_without_use"))
        if not self._on:
            if self._off_since is not None and self._stopping:
                events.append(StopSeen("relay"))
            if self._until is not None and before is True:
                self._until = None  # somebody pressed its button, or the lease ended: never on again by itself
                events.append(Warned("switched_off_elsewhere"))
            self._off_since, self._stopping = None, False
        return events

    def _result(self, body: dict[str, Any]) -> Sequence[Event]:
        events: list[Event] = []
        if isinstance(body.get("POWER"), str):
            events += self._power(body["POWER"])
        pulse = body.get("PulseTime1")
        if isinstance(pulse, dict):
            ok = pulse.get("Set") == self._pulse
            if not ok and self._lease_ok is not False:
                events.append(Warned("lease_unconfirmed"))
            self._lease_ok = ok
        return events

    def _energy(self, energy: Any) -> Sequence[Event]:
        if not isinstance(energy, dict):
            return ()
        watts, total = _number(energy.get("Power")), _number(energy.get("Total"))
        if watts is None and total is None:
            return ()
        return (Power(on=self._on, watts=watts, wh_total=None if total is None else total * 1000),)


def _table(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _inside(body: dict[str, Any], first: str, second: str) -> Any:
    inner = body.get(first)
    return inner.get(second) if isinstance(inner, dict) else None


def _number(value: Any) -> float | None:
    """A figure; plugs with several channels say a list, whose sum is meant."""
    if isinstance(value, list):
        figures = [_number(item) for item in value]
        return sum(figure for figure in figures if figure is not None) if figures else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
