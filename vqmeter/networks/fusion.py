"""How features of a reference and a distorted picture become one vector, for DIPQA and DIQaM.

The order of the parts is a property of the weights: the published ports differ in it.
"""

from __future__ import annotations

import torch
from torch import Tensor

ORDERS = ("r,d,r-d", "d-r,d,r", "r,d,d-r")


def fuse(dist: Tensor, ref: Tensor, order: str) -> Tensor:
    """(N, C) and (N, C) to (N, 3 C); `order` names the parts: `r`, `d`, `r-d`, `d-r`, with commas between.

    Raises
        ValueError: a part of `order` is none of these.
    """
    parts = {"r": ref, "d": dist, "r-d": ref - dist, "d-r": dist - ref}
    try:
        return torch.cat([parts[name] for name in order.split(",")], dim=1)
    except KeyError as error:
        raise ValueError(f"fusion order '{order}': '{error.args[0]}' is none of {', '.join(parts)}") from None
