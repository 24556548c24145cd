"""What the numbers of a picture mean: which YUV matrix and range, and the affine map from samples to R, G, B.

Where a stream does not say: range is full for RGB, grey and yuvj*, limited for other YUV; the matrix is BT.2020 where
primaries or transfer say so, else BT.709 from 720 lines up and BT.601 below. This is the only place that decides it.

    Y' = Kr R + Kg G + Kb B,  Cb = (B - Y') / (2 - 2 Kb),  Cr = (R - Y') / (2 - 2 Kr)

Source: Rec. ITU-R BT.601-7, BT.709-6, BT.2020-2 (non-constant luminance); ITU-T H.273 for the names and the ranges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqmeter.errors import InputError
from vqmeter.frames import PixelFormat, VideoInfo

#: matrix -> (Kr, Kb)
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593),
           "smpte240m": (0.212, 0.087), "fcc": (0.30, 0.11)}  # fmt: skip
_MATRIX_NAMES = {
    "smpte170m": "bt601", "bt470bg": "bt601", "470bg": "bt601", "601": "bt601", "709": "bt709",
    "bt2020nc": "bt2020", "bt2020ncl": "bt2020", "bt2020_ncl": "bt2020", "bt2020-ncl": "bt2020",
}  # fmt: skip
_RANGE_NAMES = {"tv": "limited", "mpeg": "limited", "pc": "full", "jpeg": "full"}
_UNSAID = {None, "", "auto", "unknown", "unspecified", "reserved"}
_BT2020_TRANSFERS = {"smpte2084", "arib-std-b67", "bt2020-10", "bt2020-12", "bt2020_10", "bt2020_12"}
HD_LINES = 720


@dataclass(frozen=True)
class Colour:
    """Matrix ("bt601", "bt709", "bt2020" ... or "rgb", "gray") and range ("limited", "full") of a stream.

    `assumed` names those of the two that neither the stream nor the user said.
    """

    matrix: str
    range: str
    assumed: tuple[str, ...] = ()


def colour(info: VideoInfo, matrix: str | None = None, range: str | None = None) -> Colour:
    """How the samples of `info` are to be read; `matrix` and `range` override what the stream says.

    Raises
        InputError: a matrix that is not one of luma and two differences (YCgCo, ICtCp, constant luminance ...).
    """
    assumed = []
    span = _said(range, info.range)
    if span is None:
        assumed.append("range")
        span = "limited" if info.pix_fmt.family == "yuv" and not info.pix_fmt.full_range else "full"
    span = _RANGE_NAMES.get(span, span)
    if info.pix_fmt.family != "yuv":
        return Colour(info.pix_fmt.family, span, ())
    name = _said(matrix, info.matrix)
    if name is None:
        assumed.append("matrix")
        wide = info.primaries == "bt2020" or info.transfer in _BT2020_TRANSFERS
        name = "bt2020" if wide else "bt709" if info.height >= HD_LINES else "bt601"
    name = _MATRIX_NAMES.get(name, name)
    if name not in WEIGHTS:
        raise InputError(f"{info.path}: cannot turn the colour matrix '{name}' into RGB; override it with --matrix")
    return Colour(name, span, tuple(assumed))


def _said(*values: str | None) -> str | None:
    return next((value.lower() for value in values if value is not None and value.lower() not in _UNSAID), None)


def rgb_matrix(fmt: PixelFormat, meaning: Colour) -> NDArray[np.float64]:
    """(3, 4) M with `rgb = M[:, :3] @ samples + M[:, 3]`, samples as stored, rgb nominally in [0, 1].

    Columns go by the planes: luma, Cb, Cr; R, G, B; for grey the first alone counts.
    """
    full = meaning.range == "full"
    step = 1 << (fmt.bit_depth - 8) if fmt.bit_depth >= 8 else 1
    black, white = (0, fmt.peak) if full else (16 * step, 235 * step)
    luma = 1 / (white - black)
    out = np.zeros((3, 4))
    if fmt.family == "rgb":
        np.fill_diagonal(out[:, :3], luma)
        out[:, 3] = -black * luma
        return out
    out[:, 0] = luma
    out[:, 3] = -black * luma
    if fmt.family == "gray":
        return out
    kr, kb = WEIGHTS[meaning.matrix]
    chroma = 1 / (fmt.peak if full else 224 * step)
    middle = 128 * step
    out[:, 1] = np.array([0, -2 * kb * (1 - kb) / (1 - kr - kb), 2 - 2 * kb]) * chroma
    out[:, 2] = np.array([2 - 2 * kr, -2 * kr * (1 - kr) / (1 - kr - kb), 0]) * chroma
    out[:, 3] -= middle * (out[:, 1] + out[:, 2])
    return out
