"""A Tasmota plug with a laser behind it, as a process of its own on a broker. Shares no code with the engine.

    python -m fablab.devices.simulators.relay --topic laser --port 1883 --user devices --password-file FILE

Says what a plug says (LWT, POWER, RESULT, SENSOR, STATUS…), keeps its own PulseTime, and obeys `simulate/<topic>/…`:
`load` (watts while on), `button` (somebody presses it), `mute` (1: hears and says nothing), `boot` (power cut).
"""

import argparse
import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion


class Plug:
    """The plug's memory: relay, timer, meter. Real seconds, times `speed`."""

    def __init__(self, topic: str, speed: float, seed: int) -> None:
        self.topic, self.speed = topic, speed
        self.on = False
        self.pulse = 0
        self.off_at: float | None = None
        self.load = 0.0
        self.total_kwh = 6.294
        self.mute = False
        self.counted_at = time.monotonic()
        self.random = random.Random(seed)  # noqa: S311 — noise of a meter

    def switch(self, on: bool) -> None:
        self.count()
        self.on = on
        seconds = self.pulse / 10 if self.pulse <= 111 else float(self.pulse - 100)
        self.off_at = time.monotonic() + seconds if on and self.pulse else None

    def watts(self) -> float:
        if not self.on:
            return 0.0
        return round(8.0 + (self.load * self.random.uniform(0.97, 1.03) if self.load else 0.0), 1)

    def count(self) -> None:
        now = time.monotonic()
        self.total_kwh += self.watts() * (now - self.counted_at) * self.speed / 3_600_000
        self.counted_at = now

    def energy(self) -> dict[str, Any]:
        self.count()
        watts = self.watts()
        return {
            "TotalStartTime": "2026-01-05T09:12:00",
            "Total": round(self.total_kwh, 6),
            "Yesterday": 0.0,
            "Today": 0.0,
            "Period": 0,
            "Power": watts,
            "ApparentPower": watts,
            "ReactivePower": 0,
            "Factor": 1.0,
            "Voltage": 230,
            "Current": round(watts / 230, 3),
        }


class Simulator:
    """The plug on its broker."""

    def __init__(self, plug: Plug, arguments: argparse.Namespace, password: str) -> None:
        self.plug = plug
        self._period = arguments.period
        self._next = 0.0
        self._lock = threading.RLock()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"plug-{plug.topic}", protocol=mqtt.MQTTv311)
        if arguments.user:
            self._client.username_pw_set(arguments.user, password)
        self._client.will_set(f"tele/{plug.topic}/LWT", "Offline", 1, True)
        self._client.reconnect_delay_set(1, 5)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.connect_async(arguments.host, arguments.port, 10)

    def run(self) -> None:
        """For ever: the timer of the relay and the meter's reports."""
        self._client.loop_start()
        while True:
            time.sleep(0.05)
            with self._lock:
                self._tick(time.monotonic())

    def _tick(self, now: float) -> None:
        plug = self.plug
        if plug.off_at is not None and now >= plug.off_at:
            plug.switch(False)
            self._say_power()
            print(f"timer off {now:.3f}", flush=True)  # noqa: T201 — tests read what was executed here
        if now >= self._next:
            self._next = now + self._period
            self._say("tele", "SENSOR", {"Time": _local(), "ENERGY": plug.energy()})

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
        if reason.is_failure:
            print(f"refused {reason}", flush=True)  # noqa: T201
            return
        client.subscribe([(f"cmnd/{self.plug.topic}/#", 1), (f"simulate/{self.plug.topic}/#", 1)])
        client.publish(f"tele/{self.plug.topic}/LWT", "Online", 1, True)
        self._say_power()

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        prefix, _, command = message.topic.split("/", 2)
        text = message.payload.decode("utf-8", "replace").strip()
        with self._lock:
            if prefix == "simulate":
                self._controlled(command, text)
            elif not self.plug.mute:
                self._ordered(command.upper(), text)

    def _ordered(self, command: str, text: str) -> None:
        plug = self.plug
        if command in {"POWER", "POWER1"}:
            if text.upper() in {"ON", "1", "OFF", "0", "TOGGLE"}:
                plug.switch(not plug.on if text.upper() == "TOGGLE" else text.upper() in {"ON", "1"})
                print(f"power {'on' if plug.on else 'off'} {time.monotonic():.3f}", flush=True)  # noqa: T201
            self._say("stat", "RESULT", {"POWER": "ON" if plug.on else "OFF"})
            self._say_power()
        elif command in {"PULSETIME", "PULSETIME1"}:
            if text.isdigit():
                plug.pulse = min(64_900, int(text))
            self._say("stat", "RESULT", {"PulseTime1": {"Set": plug.pulse, "Remaining": self._remaining()}})
        elif command == "STATUS" and text == "8":
            self._say("stat", "STATUS8", {"StatusSNS": {"Time": _local(), "ENERGY": plug.energy()}})
        elif command == "STATUS" and text == "2":
            self._say("stat", "STATUS2", {"StatusFWR": {"Version": "14.2.0(tasmota)", "Hardware": "ESP8285N08"}})
        else:
            self._say("stat", "RESULT", {"Command": "Unknown"})

    def _controlled(self, command: str, text: str) -> None:
        plug = self.plug
        if command == "load":
            plug.count()
            plug.load = float(text)
            self._next = 0.0
        elif command == "button":
            plug.switch(not plug.on)
            self._say_power()
        elif command == "mute":
            plug.mute = text == "1"
        elif command == "boot":
            plug.switch(False)
            self._client.reconnect()

    def _remaining(self) -> int:
        if self.plug.off_at is None:
            return 0
        left = self.plug.off_at - time.monotonic()
        return round(left * 10) if left <= 11 else round(left + 100)

    def _say_power(self) -> None:
        self._say("stat", "POWER", "ON" if self.plug.on else "OFF")

    def _say(self, prefix: str, last: str, body: dict[str, Any] | str) -> None:
        if not self.plug.mute:
            payload = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
            self._client.publish(f"{prefix}/{self.plug.topic}/{last}", payload, 0)


def _local() -> str:
    """Tasmota's Time: local, without a zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S")


def main() -> None:
    """Read the command line and be a plug until killed."""
    parser = argparse.ArgumentParser(prog="python -m fablab.devices.simulators.relay")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--user", default="")
    parser.add_argument("--password-file", type=Path, default=None)
    parser.add_argument("--period", type=float, default=5.0, help="seconds between two SENSOR messages (TelePeriod)")
    parser.add_argument("--load", type=float, default=0.0, help="watts while on")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    password = arguments.password_file.read_text(encoding="utf-8").strip() if arguments.password_file else ""
    plug = Plug(arguments.topic, arguments.speed, arguments.seed)
    plug.load = arguments.load
    Simulator(plug, arguments, password).run()


if __name__ == "__main__":
    from fablab.lifeline import end_with_parent

    end_with_parent()
    main()
