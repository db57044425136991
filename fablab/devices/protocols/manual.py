"""A machine that only a person can run, as an engine: its states are what people say. Nothing goes over any wire."""

from collections.abc import Sequence
from typing import Any

from fablab.devices.protocols.contract import (
    Adopt,
    Began,
    Cancel,
    Connect,
    Declare,
    EmergencyStop,
    Event,
    HeatersOff,
    HeldStill,
    Identified,
    Intent,
    Pause,
    Print,
    Ready,
    Refused,
    Resume,
    RunEnded,
    StopSeen,
    WentOn,
)

RESULTS = {"finished": "succeeded", "failed": "failed"}


class Manual:
    """One run at a time, begun and ended by a person's word."""

    def __init__(self) -> None:
        self._run = ""
        self._held = False

    def ask(self, intent: Intent) -> Sequence[Event]:
        """Take an order. Raises `Refused`: machine_busy, no_run, not_paused, unknown_result, not_supported."""
        match intent:
            case Connect():
                return (Identified(firmware="manual"), Ready())
            case Print():
                return self._begin(intent.run)
            case Adopt():
                self._run = intent.run
            case Pause():
                self._need_run()
                self._held = True
                return (HeldStill(by="host"),)
            case Resume():
                self._need_run()
                if not self._held:
                    raise Refused("not_paused")
                self._held = False
                return (WentOn(),)
            case Declare():
                self._need_run()
                if intent.what not in RESULTS:
                    raise Refused("unknown_result", what=intent.what)
                return self._end(RESULTS[intent.what], minutes=intent.minutes, grams=intent.grams)
            case Cancel():
                self._need_run()
                return self._end("stopped")
            case EmergencyStop():
                # no wire reaches this machine: only the person at it can stop it, and the page says so
                ended = self._end("stopped", code="emergency_stop") if self._run else ()
                return (*ended, StopSeen("none"))
            case HeatersOff():
                return ()
            case _:
                raise Refused("not_supported", intent=type(intent).__name__)
        return ()

    def receive(self, item: Any) -> Sequence[Event]:
        """Nothing ever comes."""
        return ()

    def to_write(self) -> Sequence[Any]:
        """Nothing ever leaves."""
        return ()

    def deadline(self) -> float | None:
        return None

    def tick(self, now: float) -> Sequence[Event]:
        return ()

    def _begin(self, run: str) -> Sequence[Event]:
        if self._run:
            raise Refused("machine_busy", job=self._run)
        self._run, self._held = run, False
        return (Began(run),)

    def _end(self, result: str, **facts: Any) -> Sequence[Event]:
        run, self._run, self._held = self._run, "", False
        return (RunEnded(run, result, accepted=0, **facts),)

    def _need_run(self) -> None:
        if not self._run:
            raise Refused("no_run")
