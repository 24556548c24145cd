"""Learning from human scores: data sets, raw ratings, and the recipes of the learned models."""

from __future__ import annotations

import importlib
from typing import Any

from vqmeter.errors import UsageError


def need(module: str, extra: str, purpose: str) -> Any:
    """Import an optional library, or say how to get it.

    Raises
        UsageError: it is not installed; the message names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        name = module.partition(".")[0]
        raise UsageError(f"{purpose} needs {name}, which is not installed: pip install 'vqmeter[{extra}]'") from None
