"""Planes as kernels want them: C-contiguous rows of samples, wider than the picture where rows are padded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray


def rows(plane: NDArray[Any]) -> NDArray[Any]:
    """`plane`, (H, W), as a C-contiguous (H, pitch) array whose first W columns are the picture.

    Copied only if it must be. The padding of the last row may lie outside the plane's memory: read no column beyond W.
    """
    pitch, rest = divmod(plane.strides[0], plane.itemsize)
    if plane.flags.c_contiguous:
        return plane
    if plane.strides[1] != plane.itemsize or rest or pitch < plane.shape[1]:
        return np.ascontiguousarray(plane)
    return as_strided(plane, (plane.shape[0], pitch), writeable=False)
