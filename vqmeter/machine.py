"""What this process has of its machine: cores, and memory that is freed and at once taken again."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from functools import lru_cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)


@lru_cache(maxsize=1)
def hold_memory() -> None:
    """Let glibc keep what is freed, on the command line: handing large blocks back and taking them again, page by page, costs
    more than a small network's arithmetic, and a third of MS-SSIM. Elsewhere and for other C libraries nothing is changed.
    """
    if sys.platform != "linux" or "vqmeter.cli" not in sys.modules:
        return
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            libc.mallopt(parameter, 1 << 30)


def cpu_count() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
