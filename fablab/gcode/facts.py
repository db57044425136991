"""Everything known about one G-code file in one value, and the verb that finds it out in a single pass."""

from pathlib import Path

from msgspec import Struct

from fablab.gcode.hazards import Hazard
from fablab.gcode.limits import Limits
from fablab.gcode.measure import Measured
from fablab.gcode.metadata import Comments


class Facts(Struct, frozen=True, kw_only=True):
    """What a file is, needs and does. Its JSON keys are those of `fablab inspect --json`."""

    slicer: str | None  # PrusaSlicer, OrcaSlicer, BambuStudio, Cura, …
    slicer_version: str | None
    dialect: str | None  # the firmware the slicer wrote for: marlin, klipper, reprapfirmware, grbl, …
    printer_model: str | None
    material: str | None  # PLA, PETG; several joined by ;
    nozzle_mm: float | None
    layer_height_mm: float | None
    first_layer_c: float | None  # hotend
    first_layer_bed_c: float | None
    comments: Comments
    measured: Measured
    hazards: tuple[Hazard, ...]
    lines: int  # commands to be sent
    size: int  # bytes of the file
    sha256: str


def understand(path: Path, limits: Limits, index: Path | None = None) -> Facts:
    """Read a file once: check, measure, judge and, where `index` names a file, write its index there.

    Raises `Refusal` for anything that is not a whole, plain G-code file within `limits`. Slow and hungry for a large
    file: servers call it through `fablab.children.run_limited`.
    """
    from fablab.gcode.scan import scan

    return scan(path, limits, index)


__all__ = ["Comments", "Facts", "Hazard", "Limits", "Measured", "understand"]
