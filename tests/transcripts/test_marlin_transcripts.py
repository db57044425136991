"""Every transcript beside this file, both directions, with its time."""

from pathlib import Path

import pytest

from tests.builders_transcripts import run_transcript

FOLDER = Path(__file__).parent
ALL = sorted(FOLDER.glob("*/*.txt"))


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_transcript(path: Path) -> None:
    run_transcript(path)


def test_a_wrong_byte_fails(tmp_path: Path) -> None:
    """The runner itself can fail: a checksum that is one off, an event too many, a line nobody expected."""
    good = (FOLDER / "marlin-2.1" / "print.txt").read_text(encoding="utf-8")
    for wrong in (
        good.replace("G28*17", "G28*19", 1),
        good + "= WentOn()\n",
        good.replace("> M115\n", "", 1),
        good.replace("result='succeeded'", "result='failed'"),
    ):
        assert wrong != good
        path = tmp_path / "wrong.txt"
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(AssertionError):
            run_transcript(path)
