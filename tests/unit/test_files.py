"""Job files: whole or not at all, once per content, under names that harm nobody."""

import io
from pathlib import Path

import pytest

from fablab import files
from fablab.sentences import Refusal


def test_a_file_is_stored_by_its_content_once(tmp_path: Path) -> None:
    first = files.store(tmp_path, io.BytesIO(b"G28\n"), max_bytes=10)
    second = files.store(tmp_path, io.BytesIO(b"G28\n"), max_bytes=10)
    assert first == second
    assert list(files.stored(tmp_path)) == [first.sha256]
    with files.open_file(tmp_path, first.sha256) as stored:
        assert stored.read() == b"G28\n"


@pytest.mark.parametrize(("content", "code"), [(b"", "file_empty"), (b"x" * 11, "file_too_large")])
def test_what_is_refused_leaves_nothing(tmp_path: Path, content: bytes, code: str) -> None:
    with pytest.raises(Refusal) as caught:
        files.store(tmp_path, io.BytesIO(content), max_bytes=10)
    assert caught.value.code == code
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


class Broken(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise ConnectionResetError
        return super().read(4)


def test_a_sender_who_vanishes_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises((Refusal, ConnectionResetError)):
        files.store(tmp_path, Broken(b"G28\nG1"), max_bytes=100)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_leftovers_of_a_crash_are_swept(tmp_path: Path) -> None:
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "half").write_bytes(b"G2")
    assert files.sweep(tmp_path) == 1
    assert files.sweep(tmp_path) == 0


@pytest.mark.parametrize("digest", ["../../etc/passwd", "", "A" * 64, "0" * 63])
def test_only_a_digest_is_a_path(tmp_path: Path, digest: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        files.path_of(tmp_path, digest)


def test_a_file_that_is_gone_is_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        files.open_file(tmp_path, "0" * 64)
    assert caught.value.code == "job_file_gone"


@pytest.mark.parametrize(
    ("sent", "safe"),
    [
        ("/home/ana/boîte.gcode", "boîte.gcode"),
        ("C:\\Users\\ana\\a b.gcode", "a b.gcode"),
        ("../../x.gcode", "x.gcode"),
        ("a;rm -rf$(x).gcode", "a_rm -rf_(x).gcode"),
        ("\n\0", "__"),
        ("..", "file.gcode"),
        ("x" * 200 + ".gcode", "x" * 114 + ".gcode"),
    ],
)
def test_names_are_made_safe(sent: str, safe: str) -> None:
    assert files.safe_name(sent) == safe
