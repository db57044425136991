"""What the slicer wrote into its comments. Never trusted for billing or permission: anybody can edit a comment."""

from msgspec import Struct


class Comments(Struct, frozen=True, kw_only=True):
    """The slicer's own estimates; None where the file does not say."""

    time_s: float | None = None
    filament_mm: float | None = None  # all tools together
    filament_g: float | None = None
    filament_mm_per_tool: tuple[float, ...] = ()
    layers: int | None = None
