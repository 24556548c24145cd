"""vqmeter: how good does this video look?

The public API is `measure`, `Report` and `VqmeterError`; each is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Report", "VqmeterError", "__version__", "measure"]

if TYPE_CHECKING:
    from vqmeter.errors import VqmeterError
    from vqmeter.report import Report
    from vqmeter.session import measure

_HOMES = {"measure": "vqmeter.session", "Report": "vqmeter.report", "VqmeterError": "vqmeter.errors"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vqmeter' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
