"""Whether a Matroska or WebM file is whole: FFmpeg ends quietly where such a file was cut.

The Segment, which holds everything, begins behind the EBML header and says its own length, but for live recordings.
Format: RFC 8794 (EBML), RFC 9559 (Matroska).
"""

from __future__ import annotations

import os

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_UNKNOWN = {(1 << 7 * length) - 1 for length in range(1, 9)}


def missing_bytes(path: str) -> int:
    """How many bytes the file lacks of what its Segment promises; 0 where it promises nothing, or is another form."""
    with open(path, "rb") as file:
        head = file.read(4096)
        present = os.fstat(file.fileno()).st_size
    if not head.startswith(_EBML):
        return 0
    length, at = _number(head, len(_EBML))
    at += length
    if head[at : at + 4] != _SEGMENT:
        return 0
    length, begin = _number(head, at + 4)
    return 0 if length in _UNKNOWN else max(0, begin + length - present)


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of EBML, whose first byte says how long it is, and where it ends; one that is cut is 0."""
    width = 9 - data[at].bit_length() if at < len(data) else 9
    if width > 8:
        return 0, at + 1
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return value, at + width
