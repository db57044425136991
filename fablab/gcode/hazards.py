"""What in a G-code file is forbidden, needs somebody's yes, or deserves a word."""

from typing import Any

from msgspec import Struct


class Hazard(Struct, frozen=True, kw_only=True):
    """One finding. `code` is the command in canonical spelling (`M502`), `reason` a stable word with a sentence."""

    line: int  # 1-based line of the file; 0: the file as a whole
    code: str
    reason: str
    severity: str  # refuse | confirm | warn
    data: dict[str, Any] = {}
