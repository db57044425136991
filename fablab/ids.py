"""Identifiers: UUID version 7 (RFC 9562 §5.7), so that rows sort by the time they were made.

Not for secrets: the first 48 bits are the time. Tokens come from the `secrets` module.
"""

import secrets
import time
from typing import NewType

PersonId = NewType("PersonId", str)
JobId = NewType("JobId", str)
RunId = NewType("RunId", str)
MachineId = NewType("MachineId", str)
CommandId = NewType("CommandId", str)


def new_id() -> str:
    """A new UUIDv7 in its usual 36-character form."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
