"""Box downsampling of the SSIM family: the means of F x F windows, one in every F samples each way.

    out[i, j] = mean over an F x F window of x       F = max(1, round(min(h, w) / 256)) or, between scales of MS-SSIM, 2

It is MATLAB's `imfilter(x, ones(F) / F^2, 'symmetric')(1:F:end, 1:F:end)`: a window starts `(F - 1) // 2` before its
first sample, and what it covers outside the picture is mirrored, the border sample included. `box` has the same windows
with a border of zeros and has `factor`, the rule for F. Sums stay whole numbers below 2^24, exact in float32.
"""

import numpy as np
from numpy.typing import NDArray

from vqmeter.kernels.box import fold
from vqmeter.kernels.compiled import compiled


def shrink(plane: np.ndarray, width: int, factor: int) -> NDArray[np.float32]:
    """Window means of the first `width` columns of a `(h, pitch)` uint8, uint16 or float32 plane.

    Returns
        `(ceil(h / F), ceil(width / F))` float32. `h` and `width` are `factor` at least.
    """
    out = np.empty((-(-plane.shape[0] // factor), -(-width // factor)), np.float32)
    _shrink(plane, width, factor, np.empty((out.shape[1] + 1) * factor, np.float32), out)
    return out


@compiled
def _shrink(plane, width, factor, sums, out):
    h, columns = plane.shape[0], out.shape[1]
    lead = (factor - 1) // 2
    for i in range(out.shape[0]):
        sums[:] = 0
        for y in range(i * factor - lead, (i + 1) * factor - lead):
            mirrored = -1 - y if y < 0 else 2 * h - 1 - y if y >= h else y
            _add(plane[mirrored, :width], sums[lead : lead + width])
        for k in range(lead):
            sums[lead - 1 - k] = sums[lead + k]
        for k in range(columns * factor - lead - width):
            sums[lead + width + k] = sums[lead + width - 1 - k]
        if factor == 2:
            _pairs(sums, out[i])
        else:
            fold(sums, factor, out[i])
        _scale(out[i], np.float32(1 / (factor * factor)))


@compiled
def _add(row, sums):
    for x in range(row.size):
        sums[x] += np.float32(row[x])


@compiled
def _pairs(sums, out):
    """What `fold` does for two neighbours, vectorised."""
    for j in range(out.size):
        out[j] = sums[2 * j] + sums[2 * j + 1]


@compiled
def _scale(row, by):
    for x in range(row.size):
        row[x] *= by
