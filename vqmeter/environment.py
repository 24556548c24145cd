"""Where a report was made: processor, GPU, versions, memory; and its command line without credentials."""

from __future__ import annotations

import os
import platform
import re
import sys
from typing import Any

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def environment(threads: int) -> dict[str, Any]:
    """The `environment` block. What was not imported is not imported for it: torch and gpu are None then."""
    torch, av = sys.modules.get("torch"), sys.modules.get("av")
    gpu = None
    if torch is not None and torch.cuda.is_available():
        gpu = torch.cuda.get_device_name(0)
    return {"cpu": _cpu(), "gpu": gpu, "threads": threads, "torch": getattr(torch, "__version__", None),
            "av": getattr(av, "__version__", None)}  # fmt: skip


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def peak_rss_mib() -> float | None:
    """The most memory this process ever held, in MiB; None where the system does not say."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:  # ru_maxrss would count a large parent's memory too
            for line in file:
                if line.startswith("VmHWM"):
                    return round(int(line.split()[1]) / 1024, 1)
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def redact(argv: list[str]) -> list[str]:
    """`argv` with user names and passwords struck out of URLs."""
    return [_CREDENTIALS.sub("***@", os.fspath(word)) for word in argv]
