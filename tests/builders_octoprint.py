"""What tests of printing through OctoPrint build: files with lines, a hosted engine that is watched, a bad link."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from fablab.clock import SystemClock
from fablab.devices.drivers import Surroundings, build
from fablab.devices.hosting import Hosting
from fablab.devices.protocols.contract import Event, Intent, LinkLost, Print, Progressed, Ready, Temperatures
from fablab.messages import MachineSettings
from tests.octoprint_server import OctoPrint

E = TypeVar("E")


@dataclass(frozen=True)
class Line:
    """One line of a file, as the index gives it."""

    number: int
    text: bytes
    end: int
    mm: tuple[float, ...]
    layer: int = 0


@dataclass(frozen=True)
class GcodeFile:
    """A file on disk whose n-th line asks for n hundredths of a millimetre of filament in all."""

    path: Path
    total: int

    def lines(self) -> Iterator[Line]:
        position = 0
        for number, raw in enumerate(self.path.read_bytes().splitlines(keepends=True), 1):
            position += len(raw)
            yield Line(number, raw.strip(), position, (number / 100,))

    def order(self, run: str) -> Print:
        return Print(run, self.lines(), self.total, str(self.path))


def write_gcode(path: Path, count: int, dwell_ms: int = 0, head: Sequence[str] = ()) -> GcodeFile:
    """`count` lines, every second one a move of 2 mm, the others a wait of `dwell_ms`."""
    moves = [f"G4 P{dwell_ms}" if n % 2 else f"G1 X{n % 4} E0.02 F60000" for n in range(count)]
    text = "\n".join([*head, "G28", "M83", *moves])
    path.write_text(text + "\n")
    return GcodeFile(path, len(text.splitlines()))


@dataclass
class Watched:
    """A driver's engine on its transport, with every event that it gave."""

    hosting: Hosting
    events: list[Event] = field(default_factory=list)
    _looked_at: int = 0  # events that `until` has passed

    def ask(self, intent: Intent) -> None:
        self.events += self.hosting.ask(intent)

    def stop_now(self, intent: Intent) -> None:
        self.events += self.hosting.stop_now(intent)

    def until(self, kind: type[E], seconds: float = 30.0, when: Callable[[E], bool] = lambda _: True) -> E:
        """Host it until an event of this kind comes that no earlier call has passed."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            while self._looked_at < len(self.events):
                event = self.events[self._looked_at]
                self._looked_at += 1
                if isinstance(event, kind) and when(event):
                    return event
            self.events += self.hosting.step(0.5)
        raise AssertionError(f"no {kind.__name__} within {seconds} s: {self.told()}")

    def told(self) -> list[Event]:
        """Everything but the running figures."""
        return [event for event in self.events if not isinstance(event, Progressed | Temperatures)]

    def progress(self) -> list[Progressed]:
        return [event for event in self.events if isinstance(event, Progressed)]

    def greet(self, *before: Intent) -> Event:
        """Open and say hello; gives the Ready or LinkLost that ends it."""
        for intent in before:
            self.ask(intent)
        self.events += self.hosting.open()
        return self.until(object, 60.0, lambda event: isinstance(event, Ready | LinkLost))  # type: ignore[return-value]


def watch(server: OctoPrint, folder: Path, url: str = "", key: str = "") -> Watched:
    """The driver as the agent builds it, with the key in a file."""
    folder.mkdir(exist_ok=True)
    (folder / "octo.key").write_text(f"{key or server.api_key}\n")
    settings = MachineSettings(id="octo", driver="octoprint", url=url or server.url, api_key_file="octo.key")
    hosted = build(settings, Surroundings(folder=folder))
    return Watched(Hosting(hosted.engine, hosted.transport, SystemClock()))


class BadLink:
    """A relay between client and server that can lose the answers to certain requests, or be cut."""

    def __init__(self, port: int) -> None:
        self.target: int | None = port
        self.lose: Callable[[bytes], bool] = lambda _: False
        self.lost: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every connection, and answer no new one."""
        self.target = None
        for connection in self._open:
            _shut(connection)
        self._open.clear()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.target is None:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self.target))
            self._open += [client, server]
            silent = threading.Event()
            threading.Thread(target=self._carry, args=(client, server, silent, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(server, client, silent, False), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, silent: threading.Event, requests: bool) -> None:
        try:
            while data := source.recv(65536):
                if requests and self.lose(data):
                    self.lost.append(data)
                    silent.set()
                if not requests and silent.is_set():
                    break  # the server has obeyed; its answer is lost with the connection
                sink.sendall(data)
        except OSError:
            pass
        _shut(source)
        _shut(sink)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
    finally:
        connection.close()
