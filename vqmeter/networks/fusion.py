"""How features of a reference and a distorted picture become one, for DIPQA, DIQaM and C3D.

The order of the parts is a property of the weights: the published ports differ in it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ORDERS = ("r,d,r-d", "d-r,d,r", "r,d,d-r")
_PARTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "r": lambda d, r: r,
    "d": lambda d, r: d,
    "r-d": lambda d, r: r - d,
    "d-r": lambda d, r: d - r,
    "|r-d|": lambda d, r: (r - d).abs(),
}


def fuse(dist: Tensor, ref: Tensor, order: str) -> Tensor:
    """(N, C, ...) and (N, C, ...) to (N, parts C, ...); `order` names the parts, with commas between.

    Raises
        ValueError: a part of `order` is none of `r`, `d`, `r-d`, `d-r`, `|r-d|`.
    """
    try:
        parts = [_PARTS[name] for name in order.split(",")]
    except KeyError as error:
        raise ValueError(f"fusion order '{order}': '{error.args[0]}' is none of {', '.join(_PARTS)}") from None
    return torch.cat([part(dist, ref) for part in parts], dim=1)
