"""A simulated Marlin printer behind a real pseudo-terminal, as a process of its own.

    python -m fablab.devices.simulators.marlin --model mk3 --speed 60 --link ports/mk3 [--control FILE] [--log FILE]

`--link` becomes a symbolic link to the terminal. `--control` is a unix socket that takes one command a line and
answers one line of JSON: stats, slow FACTOR, halt, reset, unplug, replug, silent 0|1, drop-ok N, double-ok N,
damage N (the next lines arrive with a flipped bit), damage-every N, flip N (the same for answers).
"""

import argparse
import contextlib
import json
import os
import select
import signal
import socket
import time
import tty
from pathlib import Path

from fablab.devices.simulators.marlin_firmware import MODELS, Firmware
from fablab.lifeline import end_with_parent

MOST_WAITING = 65536
"""Bytes that wait for a host that does not read; what comes after is lost, as on a real wire."""


class Port:
    """The pseudo-terminal and its link; can be pulled out and put back under another name."""

    def __init__(self, link: Path) -> None:
        self._link = link
        self.master = self._slave = -1
        self.waiting = b""
        self.plug()

    def plug(self) -> None:
        self.master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.master, False)
        draft = self._link.with_name(self._link.name + ".new")
        draft.unlink(missing_ok=True)
        draft.symlink_to(os.ttyname(self._slave))
        draft.replace(self._link)

    def unplug(self) -> None:
        self._link.unlink(missing_ok=True)
        for handle in (self._slave, self.master):
            if handle >= 0:
                os.close(handle)
        self.master = self._slave = -1
        self.waiting = b""

    def read(self) -> bytes:
        try:
            return os.read(self.master, 4096)
        except (BlockingIOError, OSError):
            return b""

    def write(self, data: bytes) -> None:
        self.waiting = (self.waiting + data)[:MOST_WAITING]
        while self.waiting and self.master >= 0:
            try:
                self.waiting = self.waiting[os.write(self.master, self.waiting) :]
            except (BlockingIOError, OSError):
                return


class Control:
    """One command a line, one line of JSON back."""

    def __init__(self, path: Path, firmware: Firmware, port: Port) -> None:
        self._firmware, self._port = firmware, port
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        path.chmod(0o600)
        self.listener.listen(4)

    def serve(self) -> None:
        client, _ = self.listener.accept()
        with client, contextlib.suppress(OSError), client.makefile("rw", encoding="utf-8") as talk:
            client.settimeout(1)
            answer = self._do(talk.readline().split())
            talk.write(json.dumps(answer) + "\n")

    def _do(self, words: list[str]) -> dict[str, object]:
        firmware, port = self._firmware, self._port
        match words:
            case ["slow", factor]:
                firmware.faults.slow = max(0.001, float(factor))
            case ["halt"]:
                firmware.halt()
            case ["reset"]:
                port.write(firmware.boot())
            case ["unplug"]:
                port.unplug()
            case ["replug"]:
                port.plug()
            case ["silent", flag]:
                firmware.faults.silent = flag == "1"
            case ["drop-ok", count]:
                firmware.faults.drop_ok = int(count)
            case ["double-ok", count]:
                firmware.faults.double_ok = int(count)
            case ["damage", count]:
                firmware.faults.damage = int(count)
            case ["damage-every", count]:
                firmware.faults.damage_every = int(count)
            case ["flip", count]:
                firmware.faults.flip = int(count)
            case ["stats"]:
                pass
            case _:
                return {"error": "unknown command"}
        return {
            "lines_executed": firmware.lines_executed,
            "starts": firmware.starts,
            "extruded_mm": round(firmware.extruded_mm, 5),
            "hottest": round(firmware.hottest, 1),
            "targets": [firmware.tool.target, firmware.bed.target],
            "halted": firmware.halted,
        }


def run(model: str, speed: float, link: Path, control_path: Path | None, log_path: Path | None) -> None:
    """Be the printer until SIGTERM."""
    firmware = Firmware(MODELS[model], speed)
    link.parent.mkdir(parents=True, exist_ok=True)
    port = Port(link)
    control = None if control_path is None else Control(control_path, firmware, port)
    log = None if log_path is None else log_path.open("a", encoding="utf-8")
    going = [True]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: going.clear())
    while going:
        handles = [handle for handle in (port.master,) if handle >= 0]
        if control is not None:
            handles.append(control.listener.fileno())
        with contextlib.suppress(InterruptedError):
            ready, _, _ = select.select(handles, [], [], firmware.due())
            if control is not None and control.listener.fileno() in ready:
                control.serve()
            if port.master in ready:
                firmware.receive(port.read())
        port.write(firmware.step(time.monotonic()))
        if firmware.executed and log is not None:
            log.write("".join(f"{line}\n" for line in firmware.executed))
            log.flush()
        firmware.executed.clear()
    port.unplug()


def main() -> None:
    end_with_parent()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(MODELS), default="mk3")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--link", type=Path, required=True)
    parser.add_argument("--control", type=Path)
    parser.add_argument("--log", type=Path)
    asked = parser.parse_args()
    run(asked.model, asked.speed, asked.link, asked.control, asked.log)


if __name__ == "__main__":
    main()
