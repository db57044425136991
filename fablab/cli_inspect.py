"""`fablab inspect`: what a G-code file is, needs and does, in words or as one JSON object. Needs no configuration."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from fablab.gcode.facts import Facts, Limits, understand
from fablab.gcode.hazards import Hazard
from fablab.sentences import sentence
from fablab.terminal import terminal_language

MAX_BYTES = 4 * 1024**3
"""A file on one's own disk may be large: only the index, which is not made here, needs less than 4 GiB."""


@click.command("inspect")
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One object on one line.")
@click.option("--config", "_config", type=click.Path(path_type=Path), hidden=True, help="Not needed, not read.")
def inspect_command(file: Path, as_json: bool, _config: Path | None) -> None:
    """What a G-code file is, needs and does, and what is hazardous in it."""
    facts = understand(file, Limits(max_bytes=MAX_BYTES, max_unpacked_bytes=MAX_BYTES))
    language = terminal_language()
    if as_json:
        click.echo(msgspec.json.encode(as_dict(facts, language)).decode())
        return
    for line in in_words(facts, file.name, language):
        click.echo(line)


def as_dict(facts: Facts, language: str) -> dict[str, Any]:
    """The keys of the public contract; each hazard also has its sentence as `text`."""
    found: dict[str, Any] = msgspec.to_builtins(facts)
    found["hazards"] = [
        {**msgspec.to_builtins(hazard), "text": hazard_text(hazard, language)} for hazard in facts.hazards
    ]
    return found


def hazard_text(hazard: Hazard, language: str) -> str:
    """The sentence for a hazard; its code is `hazard_` and the reason."""
    return sentence(f"hazard_{hazard.reason}", language, code=hazard.code, line=hazard.line, **hazard.data)


def in_words(facts: Facts, name: str, language: str) -> Iterator[str]:
    """The file in a dozen lines for a person. Figures say whether the slicer states them or we measured them."""

    def say(code: str, **data: Any) -> str:
        return sentence(f"inspect_{code}", language, **data)

    measured, stated = facts.measured, facts.comments
    slicer = " ".join(part for part in (facts.slicer, facts.slicer_version) if part)
    yield say("file", name=name, lines=facts.lines, megabytes=round(facts.size / 1e6, 2))
    yield say("made_by", slicer=slicer) if slicer else say("made_by_unknown")
    yield say("made_for", model=facts.printer_model, material=facts.material, nozzle_mm=facts.nozzle_mm)
    yield say("time_measured", time_s=measured.time_s)
    if stated.time_s is not None:
        yield say("time_stated", time_s=stated.time_s)
    yield say("filament_measured", metres=[round(mm / 1000, 2) for mm in measured.filament_mm])
    if stated.filament_mm is not None:
        yield say("filament_stated", metres=round(stated.filament_mm / 1000, 2), grams=stated.filament_g)
    if measured.bbox_mm is not None:
        low, high = measured.bbox_mm
        size = " × ".join(f"{top - bottom:.1f}" for bottom, top in zip(low, high, strict=True))
        yield say("size", size=size, layers=measured.layers)
    for heater, celsius in measured.max_temperatures.items():
        yield say("heat", heater=heater, celsius=celsius)
    if measured.uncertain:
        yield say("uncertain")
    if not facts.hazards:
        yield say("no_hazards")
    for hazard in facts.hazards:
        yield say(f"hazard_{hazard.severity}", line=hazard.line, text=hazard_text(hazard, language))
