"""Finds the picture that a slicer put into the comments of a G-code file. Pure: bytes in, bytes out."""

import base64
import binascii
import re

LONGEST = 400_000
"""Largest picture in bytes that is handed on."""
WINDOW = 1_000_000
"""How much of a file's beginning is looked at."""
_BLOCK = re.compile(
    rb"; thumbnail(?:_JPG)? begin ([0-9]{1,4})[xX]([0-9]{1,4}) [0-9]+\s*\n(.*?); thumbnail(?:_JPG)? end", re.S
)
_KINDS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


def thumbnail(head: bytes) -> tuple[str, bytes] | None:
    """Media type and bytes of the largest PNG or JPEG picture in a file's first bytes; None where there is none."""
    best: tuple[int, str, bytes] | None = None
    for found in _BLOCK.finditer(head[:WINDOW]):
        area = int(found[1]) * int(found[2])
        picture = _decode(found[3])
        if picture is not None and (best is None or area > best[0]):
            best = (area, *picture)
    return None if best is None else (best[1], best[2])


def _decode(block: bytes) -> tuple[str, bytes] | None:
    text = b"".join(line.strip().lstrip(b";").strip() for line in block.splitlines())
    if len(text) > LONGEST * 4 // 3:
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    for magic, kind in _KINDS:
        if data.startswith(magic):
            return kind, data
    return None
