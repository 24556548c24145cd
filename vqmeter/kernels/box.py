"""Box downsampling D(F) of the FSIM family: the sums of F x F windows, one in every F samples each way.

    D(F)[i, j] = sum over an F x F window of x / F^2      F = max(1, round(min(h, w) / 256)), halves away from zero

It is MATLAB's `conv2(x, ones(F) / F^2, 'same')(1:F:end, 1:F:end)`: samples outside the picture are zero, so border
sums darken, and a window starts `F - 1 - F // 2` before its first sample. Such windows do not overlap: every sample
is read once. Sums are returned undivided: whole numbers, exact in float32 below 2^24, so for every F to 16 at 16 bits.
"""

import numpy as np
from numpy.typing import NDArray

from vqmeter.kernels.compiled import compiled


def factor(width: int, height: int) -> int:
    """F of a picture: MATLAB's rounding, so 640 gives 3 and 1152 gives 5."""
    return max(1, (2 * min(width, height) + 256) // 512)


def box_sum(plane: np.ndarray, width: int, factor: int) -> NDArray[np.float32]:
    """Window sums of the first `width` columns of a `(h, pitch)` plane: `(ceil(h / F), ceil(width / F))` float32."""
    out = np.empty((-(-plane.shape[0] // factor), -(-width // factor)), np.float32)
    _box_sum(plane, width, factor, np.empty((out.shape[1] + 1) * factor, np.int32), out)
    return out


@compiled
def _box_sum(plane, width, factor, sums, out):
    h = plane.shape[0]
    lead = factor - 1 - factor // 2
    for i in range(out.shape[0]):
        sums[:] = 0
        for y in range(max(0, i * factor - lead), min(h, (i + 1) * factor - lead)):
            row, to = plane[y, :width], sums[lead : lead + width]
            for x in range(width):
                to[x] = np.int32(to[x] + np.int32(row[x]))
        fold(sums, factor, out[i])


@compiled
def fold(sums, factor, out):
    """Sums of every `factor` neighbours of a row: `out` may be shorter than the row allows."""
    if factor == 1:
        for j in range(out.size):
            out[j] = sums[j]
        return
    for j in range(out.size):
        total = sums[j * factor]
        for k in range(1, factor):
            total += sums[j * factor + k]
        out[j] = total
