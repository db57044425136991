"""Job files over real HTTP: by hash, with a token, resumed, and believed only when size and hash fit."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fablab.devices.files_client import Abandoned, FilesClient, Wanted
from fablab.refusals import Refusal
from tests.builders_scripted_hub import FileServer

DATA = bytes(range(256)) * 5000


@pytest.fixture
def server() -> Iterator[FileServer]:
    server = FileServer({"/files/a": DATA})
    yield server
    server.close()


def wanted(data: bytes = DATA) -> Wanted:
    return Wanted(hashlib.sha256(data).hexdigest(), len(data), "/files/a", "file-token")


def client_of(server: FileServer, folder: Path) -> FilesClient:
    return FilesClient(server.url, folder, pause=lambda _: None)


def test_a_file_is_fetched_once(server: FileServer, tmp_path: Path) -> None:
    client = client_of(server, tmp_path)
    path = client.fetch(wanted(), threading.Event())
    assert path.read_bytes() == DATA
    assert client.fetch(wanted(), threading.Event()) == path
    assert len(server.requests) == 1


def test_a_line_that_breaks_is_taken_up_where_it_broke(server: FileServer, tmp_path: Path) -> None:
    server.break_after = 400_000
    path = client_of(server, tmp_path).fetch(wanted(), threading.Event())
    assert path.read_bytes() == DATA
    assert server.requests == [None, "bytes=400000-", "bytes=800000-", "bytes=1200000-"]


def test_a_poor_line_may_break_as_often_as_it_likes(server: FileServer, tmp_path: Path) -> None:
    server.break_after = 60_000
    assert client_of(server, tmp_path).fetch(wanted(), threading.Event()).read_bytes() == DATA
    assert len(server.requests) == 22


def test_files_that_no_run_needs_are_deleted(server: FileServer, tmp_path: Path) -> None:
    client = client_of(server, tmp_path)
    path = client.fetch(wanted(), threading.Event())
    assert client.forget({path}, 1e12) == 0
    assert client.forget(set(), 0.0) == 0
    assert client.forget(set(), 1e12) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_copy_on_the_card_is_fetched_again(server: FileServer, tmp_path: Path) -> None:
    client = client_of(server, tmp_path)
    path = client.fetch(wanted(), threading.Event())
    path.write_bytes(b"\xff" + DATA[1:])
    assert client.fetch(wanted(), threading.Event()).read_bytes() == DATA
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sha256": "0" * 64}, "file_differs"),
        ({"size": len(DATA) - 1}, "file_differs"),
        ({"token": "guess"}, "file_refused"),
        ({"path": "/files/b"}, "file_gone"),
        ({"path": "http://elsewhere.example/x"}, "file_refused"),
        ({"path": "//elsewhere.example/x"}, "file_refused"),
        ({"path": "/files/../secret"}, "file_refused"),
        ({"size": 2 * 1024**3}, "file_too_large"),
        ({"size": 0}, "file_too_large"),
        ({"sha256": "../../etc/passwd"}, "file_hash_malformed"),
    ],
)
def test_what_does_not_fit_is_not_kept(
    server: FileServer, tmp_path: Path, change: dict[str, object], code: str
) -> None:
    with pytest.raises(Refusal) as refusal:
        client_of(server, tmp_path).fetch(replace(wanted(), **change), threading.Event())  # type: ignore[arg-type]
    assert refusal.value.code == code
    assert list(tmp_path.iterdir()) == []


def test_a_hub_that_is_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refusal:
        FilesClient("http://127.0.0.1:9", tmp_path, pause=lambda _: None).fetch(wanted(), threading.Event())
    assert refusal.value.code == "hub_unreachable"


def test_nobody_wants_it_any_more(server: FileServer, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Abandoned):
        client_of(server, tmp_path).fetch(wanted(), stop)
