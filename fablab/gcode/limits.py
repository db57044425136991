"""What a file may be and ask for: bounds from the machine's profile and the asker's role. Data only."""

from msgspec import Struct

MIB = 1024 * 1024


class Limits(Struct, frozen=True, kw_only=True):
    """Bounds that `understand` and `check_line` hold a file against. The defaults fit an unknown printer."""

    max_bytes: int = 256 * MIB  # of the file as it lies on disk
    max_unpacked_bytes: int = 1024 * MIB  # of a .gcode.gz once unpacked
    max_ratio: int = 100  # unpacked : packed; above is a decompression bomb
    max_line: int = 95  # bytes of a framed line, number and checksum included (Marlin: MAX_CMD_SIZE 96)
    hotend_max_c: float = 300.0
    bed_max_c: float = 130.0
    chamber_max_c: float = 80.0
    volume_mm: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None  # lowest, highest corner
    margin_mm: float = 5.0  # purge lines and parking lie a little outside the printable volume
    g90_sets_e: bool = False  # True on Marlin 2: G90/G91 also switch the extruder
    role: str = "member"  # member | technician
    allow: tuple[str, ...] = ()  # codes or macro names the profile permits, e.g. ("M851", "PRINT_START")
    forbid: tuple[str, ...] = ()  # codes or macro names the profile refuses beside the house's list
