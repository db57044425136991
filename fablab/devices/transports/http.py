"""Carries an engine's HTTP requests to one server and brings the answers back. Knows no protocol above HTTP.

Each lane is a thread of its own with a client of its own, so that a long upload delays no question and neither delays
a stop. A pipe becomes readable when answers wait, so that a worker can wait on it beside its wake-pipe.
"""

import contextlib
import os
import queue
import select
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec

from fablab import outgoing
from fablab.devices.protocols.contract import HttpAnswer, HttpRequest

_json = msgspec.json.Decoder()
CONNECT_SECONDS = 5.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""What a server may answer at most; a longer answer is cut off and counts as broken."""


class HttpTransport:
    """One server, reached at a trusted address; opened and closed as often as the worker likes."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self._url = url
        self._headers = headers or {}
        self._lanes: dict[str, _Lane] = {}
        self._answers: queue.SimpleQueue[HttpAnswer] = queue.SimpleQueue()
        self._readable, self._signal = -1, -1
        self._destination: outgoing.Destination | None = None

    def open(self) -> None:
        """Looks the name up; connections follow with the first request. Raises OSError."""
        self.close()
        try:
            self._destination = outgoing.trusted(self._url)
        except outgoing.AddressRefused as refused:
            raise OSError(refused.code) from refused
        self._answers = queue.SimpleQueue()
        self._readable, self._signal = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def wait(self, timeout: float | None, wake_fd: int, writing: bool) -> None:
        """Block until an answer is there, `wake_fd` is readable or the timeout is over; writing never blocks."""
        poll = select.poll()
        poll.register(self._readable, select.POLLIN)
        if wake_fd >= 0:
            poll.register(wake_fd, select.POLLIN)
        poll.poll(None if timeout is None else max(0, int(timeout * 1000 + 0.999)))

    def read(self) -> Sequence[HttpAnswer]:
        """Answers that have come."""
        try:
            while os.read(self._readable, 4096):
                pass
        except BlockingIOError:
            pass
        answers: list[HttpAnswer] = []
        while True:
            try:
                answers.append(self._answers.get_nowait())
            except queue.Empty:
                return answers

    def write(self, items: Sequence[HttpRequest]) -> bool:
        """Hand requests to their lanes."""
        for request in items:
            lane = self._lanes.get(request.lane)
            if lane is None:
                assert self._destination is not None, "not open"  # noqa: S101
                lane = _Lane(request.lane, self._destination, self._headers, _Reply(self._answers, self._signal))
                self._lanes[request.lane] = lane
            lane.put(request)
        return False

    def drop_pending(self) -> None:
        """Forget requests that have not left; each is answered with `dropped`."""
        for lane in self._lanes.values():
            lane.drop_pending()

    def reset_board(self) -> bool:
        return False

    def close(self) -> None:
        """Stop all lanes without waiting for an answer; what is still under way is answered to nobody."""
        lanes, self._lanes = list(self._lanes.values()), {}
        for lane in lanes:
            lane.close()
        for end in (self._readable, self._signal):
            if end >= 0:
                os.close(end)
        self._readable, self._signal = -1, -1


class _Reply:
    """Where a lane puts its answers; after `stop` nowhere, so that a closed pipe's number is never written to."""

    def __init__(self, answers: "queue.SimpleQueue[HttpAnswer]", signal: int) -> None:
        self._answers = answers
        self._signal = signal
        self._lock = threading.Lock()
        self._open = True

    def __call__(self, answer: HttpAnswer) -> None:
        with self._lock:
            if not self._open:
                return
            self._answers.put(answer)
            with contextlib.suppress(BlockingIOError):  # a full pipe is readable enough
                os.write(self._signal, b".")

    def stop(self) -> None:
        with self._lock:
            self._open = False


class _Lane:
    """One thread, one client, one request after the other."""

    def __init__(self, name: str, to: outgoing.Destination, headers: dict[str, str], reply: _Reply) -> None:
        self._client = outgoing.client(to, headers)
        self._base = to.base
        self._queue: queue.SimpleQueue[HttpRequest | None] = queue.SimpleQueue()
        self._reply = reply
        threading.Thread(target=self._run, name=f"http-{name}", daemon=True).start()

    def put(self, request: HttpRequest) -> None:
        self._queue.put(request)

    def drop_pending(self) -> None:
        while True:
            try:
                request = self._queue.get_nowait()
            except queue.Empty:
                return
            if request is None:
                self._queue.put(None)
                return
            self._reply(HttpAnswer(request.number, 0, error="dropped"))

    def close(self) -> None:
        self._reply.stop()
        self.drop_pending()
        self._queue.put(None)

    def _run(self) -> None:
        with self._client:
            while (request := self._queue.get()) is not None:
                self._reply(self._perform(request))

    def _perform(self, request: HttpRequest) -> HttpAnswer:
        timeout = httpx.Timeout(request.timeout, connect=min(CONNECT_SECONDS, request.timeout))
        try:
            if request.upload is None:
                return self._exchange(request, timeout)
            with Path(request.upload.path).open("rb") as file:
                # a file with a length makes httpx stream it with Content-Length, which OctoPrint insists on
                files = {"file": (request.upload.name, file, "application/octet-stream")}
                return self._exchange(request, timeout, files=files)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            return HttpAnswer(request.number, 0, error="unreachable")
        except httpx.TimeoutException:
            return HttpAnswer(request.number, 0, error="timeout")
        except httpx.RemoteProtocolError as error:
            # "illegal status line": something answers that is no HTTP server yet; else the server hung up
            illegal = "illegal" in str(error)
            return HttpAnswer(request.number, 0, error="not_http" if illegal else "broken")
        except httpx.HTTPError:
            return HttpAnswer(request.number, 0, error="broken")
        except OSError:
            return HttpAnswer(request.number, 0, error="no_file" if request.upload is not None else "broken")

    def _exchange(self, request: HttpRequest, timeout: httpx.Timeout, **body: Any) -> HttpAnswer:
        if request.json is not None:
            body["json"] = request.json
        with self._client.stream(request.method, self._base + request.path, timeout=timeout, **body) as answer:
            raw = bytearray()
            for piece in answer.iter_bytes():
                raw += piece
                if len(raw) > MAX_ANSWER_BYTES:
                    return HttpAnswer(request.number, 0, error="broken")
        return HttpAnswer(request.number, answer.status_code, _decoded(bytes(raw)))


def _decoded(raw: bytes) -> Any:
    try:
        return _json.decode(raw) if raw else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
