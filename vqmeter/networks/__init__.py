"""Plain torch modules: layers and state-dict names only, used by metrics and by training.

Nothing here reads pixels, resizes or normalises, and nothing here is trained: weights come from `vqmeter.weights`.
Where a network was published, its state-dict names are the published ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def ignore_keys(module: nn.Module, *prefixes: str) -> None:
    """Let `module.load_state_dict` pass over keys that published files carry and this module has no use for.

    `prefixes` are relative to the module. Every other missing or unexpected key stays an error.
    """

    def drop(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
        dead = tuple(prefix + p for p in prefixes)
        for key in [key for key in state if key.startswith(dead)]:
            del state[key]

    module.register_load_state_dict_pre_hook(drop)


def paired(x: Tensor, channels: int) -> Tensor:
    """A lone clip (1, C, T, H, W) twice over, where a thin network is to run on it: drop what the second one gives.

    On the CPU torch keeps float32 convolutions of one clip with few `channels` from oneDNN; they take six times as long.
    """
    lone = len(x) == 1 and x.device.type == "cpu" and x.dtype == torch.float32 and channels < 64
    return x.expand(2, *x.shape[1:]) if lone else x
