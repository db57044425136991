"""The palette keeps the contrast that WCAG 2.2 AA asks for, and the vendored files name their licences."""

import re
from pathlib import Path

import fablab.web

STATIC = Path(fablab.web.__file__).parent / "static"
CSS = (STATIC / "css" / "fablab.css").read_text()
COLOURS = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", CSS))
TEXT = [
    ("ink", "paper"), ("ink", "card"), ("quiet", "paper"), ("quiet", "card"), ("accent-dark", "paper"),
    ("accent-dark", "card"), ("accent-dark", "accent-soft"), ("good", "good-soft"), ("busy", "busy-soft"),
    ("wait", "wait-soft"), ("bad", "bad-soft"), ("grey", "grey-soft"), ("bad", "card"), ("good", "card"),
    ("busy", "card"), ("wait", "card"), ("ink", "wait-soft"), ("ink", "good-soft"), ("ink", "bad-soft"),
]  # fmt: skip
PARTS = [("edge", "card"), ("edge", "paper"), ("busy", "busy-soft"), ("busy", "paper")]


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_is_readable() -> None:
    poor = [(a, b) for a, b in TEXT if contrast(COLOURS[a], COLOURS[b]) < 4.5]
    assert not poor
    assert all(contrast("#ffffff", COLOURS[name]) >= 4.5 for name in ("accent", "accent-dark", "good", "bad", "busy"))


def test_edges_of_fields_and_bars_are_seen() -> None:
    assert not [(a, b) for a, b in PARTS if contrast(COLOURS[a], COLOURS[b]) < 3]


def test_vendored_files_have_their_licence() -> None:
    licences = (STATIC / "vendor" / "LICENSES.txt").read_text()
    for file in (STATIC / "vendor").glob("*.js"):
        assert file.name.split(".min")[0].replace("-", " ") in licences
