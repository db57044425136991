"""The HTTP transport on real sockets: lanes, time-outs, uploads with a length, and servers that misbehave."""

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fablab.devices.protocols.contract import HttpAnswer, HttpRequest, Upload
from fablab.devices.transports.http import HttpTransport

Serve = Callable[[socket.socket], None]


@pytest.fixture
def serving() -> Iterator[Callable[[Serve], str]]:
    """Start servers that treat each connection with a function; gives the address."""
    closing: list[Callable[[], None]] = []

    def start(serve: Serve) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        connections: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connections.append(connection)
                threading.Thread(target=treat, args=(connection,)).start()

        def treat(connection: socket.socket) -> None:
            try:
                serve(connection)
            except OSError:
                pass  # the client, or the end of the test, closed it
            finally:
                connection.close()

        def stop() -> None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            for connection in connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

        threading.Thread(target=accept).start()
        closing.append(stop)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for stop in closing:
        stop()


@pytest.fixture
def opened() -> Iterator[Callable[[str], HttpTransport]]:
    transports: list[HttpTransport] = []

    def open_(url: str) -> HttpTransport:
        transport = HttpTransport(url, {"X-Api-Key": "secret"})
        transport.open()
        transports.append(transport)
        return transport

    yield open_
    for transport in transports:
        transport.close()


def answers(transport: HttpTransport, count: int, seconds: float = 10.0) -> list[HttpAnswer]:
    found: list[HttpAnswer] = []
    end = time.monotonic() + seconds
    while len(found) < count:
        assert time.monotonic() < end, f"only {found}"
        transport.wait(0.5, -1, False)
        found += transport.read()
    return found


def head_of(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(4096)
        if not piece:
            raise OSError("closed")
        data += piece
    return data


def says(text: str) -> Serve:
    def serve(connection: socket.socket) -> None:
        while True:
            head_of(connection)
            connection.sendall(text.encode())

    return serve


def ok(body: str) -> str:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}"


def test_an_answer_comes_back_under_its_number_and_makes_the_pipe_readable(
    serving: Callable[[Serve], str], opened: Callable[[str], HttpTransport]
) -> None:
    seen: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        seen.append(head_of(connection))
        connection.sendall(ok('{"api": "0.1"}').encode())

    transport = opened(serving(serve))
    assert transport.write([HttpRequest(7, "GET", "/api/version")]) is False
    assert answers(transport, 1) == [HttpAnswer(7, 200, {"api": "0.1"})]
    assert answers(transport, 0) == []
    assert b"GET /api/version HTTP/1.1" in seen[0]
    assert b"x-api-key: secret" in seen[0].lower()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (
            "Not found",
            HttpAnswer(1, 0, error="broken"),
        ),  # an OctoPrint that is starting: cannot be told from hanging up
        ("Not found\r\n\r\n", HttpAnswer(1, 0, error="not_http")),
        ("HTTP/1.1 204 No Content\r\n\r\n", HttpAnswer(1, 204)),
        (ok("no json"), HttpAnswer(1, 200)),
        (ok("\x00\x01"), HttpAnswer(1, 200)),
        ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", HttpAnswer(1, 302)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{", HttpAnswer(1, 0, error="broken")),
        (ok("9" * 5_000_000), HttpAnswer(1, 0, error="broken")),
    ],
)
def test_whatever_a_server_says_is_an_answer(
    serving: Callable[[Serve], str], opened: Callable[[str], HttpTransport], text: str, answer: HttpAnswer
) -> None:
    def serve(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(text.encode())
        connection.shutdown(socket.SHUT_WR)

    transport = opened(serving(serve))
    transport.write([HttpRequest(1, "GET", "/api/job")])
    assert answers(transport, 1) == [answer]


def test_a_server_that_hangs_up_or_stays_silent_may_have_obeyed(
    serving: Callable[[Serve], str], opened: Callable[[str], HttpTransport]
) -> None:
    hanging_up = opened(serving(lambda connection: (head_of(connection), connection.close())[1]))
    hanging_up.write([HttpRequest(1, "POST", "/api/job", {"command": "start"})])
    assert answers(hanging_up, 1) == [HttpAnswer(1, 0, error="broken")]

    silent = opened(serving(lambda connection: (head_of(connection), connection.recv(4096), connection.recv(1))[2]))
    silent.write([HttpRequest(1, "POST", "/api/job", {"command": "start"}, timeout=0.3)])
    assert answers(silent, 1) == [HttpAnswer(1, 0, error="timeout")]


def test_a_server_that_hangs_up_after_each_answer_breaks_nothing(
    serving: Callable[[Serve], str], opened: Callable[[str], HttpTransport]
) -> None:
    def serve(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(ok("{}").encode())  # promises to keep the connection, and closes it

    transport = opened(serving(serve))
    for number in range(5):
        transport.write([HttpRequest(number, "POST", "/api/job", {"command": "cancel"})])
        assert answers(transport, 1) == [HttpAnswer(number, 200, {})]


def test_nobody_there_is_certain(opened: Callable[[str], HttpTransport]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # bound and not listening: nobody else takes the port
        transport = opened(f"http://127.0.0.1:{probe.getsockname()[1]}")
        transport.write([HttpRequest(1, "POST", "/api/job", {"command": "start"})])
        assert answers(transport, 1) == [HttpAnswer(1, 0, error="unreachable")]


def test_a_name_that_nobody_knows_or_a_wrong_scheme_does_not_open() -> None:
    for url in ("http://printer.invalid", "ftp://127.0.0.1"):
        with pytest.raises(OSError):
            HttpTransport(url).open()


def test_a_stop_waits_neither_for_an_upload_nor_for_a_slow_answer(
    serving: Callable[[Serve], str], opened: Callable[[str], HttpTransport], tmp_path: Path
) -> None:
    big = tmp_path / "big.gcode"
    big.write_bytes(b"G1 X1\n" * 2_000_000)

    def serve(connection: socket.socket) -> None:
        head = head_of(connection)
        if b"/api/printer/command" in head:
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            stopping.wait(20)  # neither reads the file nor answers

    stopping = threading.Event()
    try:
        transport = opened(serving(serve))
        transport.write([HttpRequest(1, "POST", "/api/files/local", upload=Upload(str(big), "a.gcode"), lane="upload")])
        transport.write([HttpRequest(2, "GET", "/api/job")])
        begun = time.monotonic()
        transport.write([HttpRequest(3, "POST", "/api/printer/command", {"command": "M112"}, lane="urgent")])
        assert answers(transport, 1) == [HttpAnswer(3, 204)]
        assert time.monotonic() - begun < 2.0
    finally:
        stopping.set()


def test_what_has_not_left_can_be_dropped(
    serving: Callable[[Serve], str], opened: Callable[[str], HttpTransport]
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def serve(connection: socket.socket) -> None:
        while True:
            head_of(connection)
            reached.set()
            go_on.wait(10)
            connection.sendall(ok("{}").encode())

    transport = opened(serving(serve))
    transport.write([HttpRequest(n, "GET", "/api/job") for n in (1, 2, 3)])
    assert reached.wait(10)
    transport.drop_pending()
    go_on.set()
    found = {answer.number: answer for answer in answers(transport, 3)}
    assert found == {
        1: HttpAnswer(1, 200, {}),
        2: HttpAnswer(2, 0, error="dropped"),
        3: HttpAnswer(3, 0, error="dropped"),
    }


def test_an_upload_is_streamed_with_its_length(
    serving: Callable[[Serve], str], opened: Callable[[str], HttpTransport], tmp_path: Path
) -> None:
    file = tmp_path / "job.gcode"
    file.write_bytes(b"G1 X1\n" * 200_000)
    heads: list[bytes] = []
    bodies: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        head, _, body = head_of(connection).partition(b"\r\n\r\n")
        heads.append(head.lower())
        length = int(heads[0].partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += connection.recv(65536)
        bodies.append(body)
        connection.sendall(b'HTTP/1.1 201 Created\r\nContent-Length: 13\r\n\r\n{"done":true}')

    transport = opened(serving(serve))
    upload = Upload(str(file), "run-7.gcode")
    transport.write([HttpRequest(1, "POST", "/api/files/local", upload=upload, lane="upload")])
    assert answers(transport, 1) == [HttpAnswer(1, 201, {"done": True})]
    assert b"transfer-encoding" not in heads[0]
    assert b'name="file"; filename="run-7.gcode"' in bodies[0]
    assert file.read_bytes() in bodies[0]
    transport.write(
        [HttpRequest(2, "POST", "/api/files/local", upload=Upload(str(tmp_path / "x"), "x"), lane="upload")]
    )
    assert answers(transport, 1) == [HttpAnswer(2, 0, error="no_file")]


def test_a_wake_pipe_ends_the_wait_and_a_closed_transport_answers_nobody(
    serving: Callable[[Serve], str], opened: Callable[[str], HttpTransport]
) -> None:
    go_on = threading.Event()

    def serve(connection: socket.socket) -> None:
        head_of(connection)
        go_on.wait(10)
        connection.sendall(ok("{}").encode())

    transport = opened(serving(serve))
    wake, waker = os.pipe()
    try:
        os.write(waker, b"!")
        begun = time.monotonic()
        transport.wait(5.0, wake, False)
        assert time.monotonic() - begun < 1.0
        transport.write([HttpRequest(1, "GET", "/api/job")])
        transport.close()
        transport.open()
        go_on.set()
        poll = select.poll()
        poll.register(transport._readable, select.POLLIN)
        assert poll.poll(300) == []
        transport.write([HttpRequest(1, "GET", "/api/job")])
        assert answers(transport, 1) == [HttpAnswer(1, 200, {})]
    finally:
        os.close(wake)
        os.close(waker)
