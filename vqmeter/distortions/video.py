"""Distortions of a stream of frames: in time, and some in space at the video's own depth.

Every function takes an iterator over frames (tuples of planes as `Frame.planes` has them), what is known of the video,
the value of its level and a source of random numbers, and yields as many frames, each new or kept by nobody else; no
more than a handful is held at a time.
Five of them are those LIVE-APV has besides compression; how they are made here, and how strongly, is ours.

Source, of the types: Z. Shang, J. P. Ebenezer, A. C. Bovik et al., "Assessment of subjective and objective quality of
live streaming sports videos", 2021, arXiv:2106.08431.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqmeter.colour import colour, rgb_matrix
from vqmeter.frames import Frame, PixelFormat, Plane, VideoInfo

LOTS = 10  # frames among which a share of them is drawn

Planes = tuple[Plane, ...]
Draw = Callable[[int], np.random.Generator]  # the random numbers of frame n; -1: of the whole video
#: (frames, info, value, draw) -> frames
Distortion = Callable[[Iterator[Planes], VideoInfo, Any, Draw], Iterator[Planes]]


def _stored(values: NDArray[Any], like: Plane, fmt: PixelFormat) -> Plane:
    out: Plane = np.clip(np.rint(values), 0, fmt.peak).astype(like.dtype)
    return out


def _copy(planes: Planes) -> Planes:
    return tuple(plane.copy() for plane in planes)


def aliasing(frames: Iterator[Planes], info: VideoInfo, factor: int, draw: Draw) -> Iterator[Planes]:
    """Every `factor`-th sample of every `factor`-th line, without a filter, shown `factor` times as wide and high."""
    for planes in frames:
        yield tuple(plane[_nearest(plane.shape[0], factor)][:, _nearest(plane.shape[1], factor)] for plane in planes)


def _nearest(size: int, factor: int) -> NDArray[np.intp]:
    """The samples that stand in for 0..size-1: the middle ones of their groups of `factor`."""
    out: NDArray[np.intp] = np.minimum(np.arange(size) // factor * factor + factor // 2, size - 1)
    return out


def interlacing(frames: Iterator[Planes], info: VideoInfo, delay: int, draw: Draw) -> Iterator[Planes]:
    """Combing: every other line is that of `delay` frames before (of the first frame, while there are fewer)."""
    held: deque[Planes] = deque(maxlen=delay + 1)
    for planes in frames:
        held.append(_copy(planes))
        out = _copy(held[-1])
        for plane, older in zip(out, held[0], strict=True):
            plane[1::2] = older[1::2]
        yield out


def judder(frames: Iterator[Planes], info: VideoInfo, holds: tuple[int, ...], draw: Draw) -> Iterator[Planes]:
    """An uneven cadence: a frame is shown for holds[0] frames, the next one for holds[1], and so on, in time with the
    original: (1, 2) shows frames 0, 1, 1, 3, 4, 4, ... As many frames come out as went in."""
    shown: Planes = ()
    left = turn = 0
    for planes in frames:
        if not left:
            shown, left, turn = _copy(planes), holds[turn % len(holds)], turn + 1
        left -= 1
        yield shown


def framedrop(frames: Iterator[Planes], info: VideoInfo, share: float, draw: Draw) -> Iterator[Planes]:
    """A random `share` of the frames, never the first, is lost; the last one before is shown in its place."""
    lots = even_lots(draw(-1))
    shown: Planes = ()
    for planes in frames:
        if not shown or next(lots) >= share:
            shown = _copy(planes)
        yield shown


def even_lots(rng: np.random.Generator) -> Iterator[float]:
    """Random numbers in 0..1 of which every 10 in a row, counted from the first, are spread evenly: a share of them is
    exact even in a short clip."""
    while True:
        yield from (rng.permutation(LOTS) + 0.5) / LOTS


def flicker(frames: Iterator[Planes], info: VideoInfo, amplitude: float, draw: Draw) -> Iterator[Planes]:
    """Luma (or R, G and B) above black times 1 + `amplitude` x u, with u anew for every frame, even in -1..1."""
    fmt = info.pix_fmt
    luma, black = 3 if fmt.family == "rgb" else 1, np.float32(_black(info))
    rng = draw(-1)
    for planes in frames:
        gain = np.float32(1 + amplitude * rng.uniform(-1, 1))
        bright = tuple(_stored(black + gain * (plane - black), plane, fmt) for plane in planes[:luma])
        yield bright + _copy(planes[luma:])


def _black(info: VideoInfo) -> float:
    """Black as it is stored in luma, grey, or R, G and B."""
    m = rgb_matrix(info.pix_fmt, colour(info))
    if info.pix_fmt.family == "gray":
        return float(-m[0, 3] / m[0, 0])
    return float(np.linalg.solve(m[:, :3], -m[:, 3])[0])


def blur(frames: Iterator[Planes], info: VideoInfo, sigma: float, draw: Draw) -> Iterator[Planes]:
    """Gaussian of `sigma` luma samples on every plane, chroma by its own spacing."""
    from scipy.ndimage import gaussian_filter

    fmt = info.pix_fmt
    for planes in frames:
        out = []
        for n, plane in enumerate(planes):
            sub_y, sub_x = (fmt.sub_y, fmt.sub_x) if n and fmt.family == "yuv" else (0, 0)
            spread = (sigma / (1 << sub_y), sigma / (1 << sub_x))
            out.append(_stored(gaussian_filter(plane.astype(np.float32), spread), plane, fmt))
        yield tuple(out)


def noise(frames: Iterator[Planes], info: VideoInfo, deviation: float, draw: Draw) -> Iterator[Planes]:
    """White noise of standard deviation `deviation` (of 255, whatever the depth) on every plane, anew in every frame."""
    fmt = info.pix_fmt
    scale = np.float32(deviation * fmt.peak / 255)
    for n, planes in enumerate(frames):
        rng = draw(n)
        yield tuple(_stored(plane + scale * rng.standard_normal(plane.shape, np.float32), plane, fmt) for plane in planes)


def picture_by_picture(function: Callable[..., NDArray[np.uint8]]) -> Distortion:
    """A distortion of pictures for video: every frame goes to 8-bit RGB and back, with random numbers of its own."""

    def distort(frames: Iterator[Planes], info: VideoInfo, value: Any, draw: Draw) -> Iterator[Planes]:
        from vqmeter.worst import to_rgb

        for n, planes in enumerate(frames):
            rgb = to_rgb(Frame(info, n, partial(tuple, planes)))
            yield from_rgb(function(rgb, value, draw(n)), info)

    return distort


def from_rgb(rgb: NDArray[np.uint8], info: VideoInfo) -> Planes:
    """(H, W, 3) uint8 as planes in the format, matrix and range of `info`; chroma lies left, as `kernels.rgb` reads it.

    Grey is the luma of BT.601.
    """
    fmt = info.pix_fmt
    m = rgb_matrix(fmt, colour(info))
    values = rgb.transpose(2, 0, 1) / np.float32(255)
    if fmt.family == "gray":
        luma = np.float32(0.299) * values[0] + np.float32(0.587) * values[1] + np.float32(0.114) * values[2]
        return (_planes((luma - m[0, 3]) / m[0, 0], fmt),)
    samples = np.tensordot(np.linalg.inv(m[:, :3]).astype(np.float32), values - m[:, 3, None, None].astype(np.float32), 1)
    if fmt.family == "yuv" and (fmt.sub_x or fmt.sub_y):
        small = [_subsampled(plane, fmt.sub_x, fmt.sub_y) for plane in samples[1:]]
        return tuple(_planes(plane, fmt) for plane in (samples[0], *small))
    return tuple(_planes(plane, fmt) for plane in samples)


def _planes(values: NDArray[Any], fmt: PixelFormat) -> Plane:
    out: Plane = np.clip(np.rint(values), 0, fmt.peak).astype(fmt.dtype)
    return out


def _subsampled(plane: NDArray[Any], sub_x: int, sub_y: int) -> NDArray[Any]:
    """A plane of chroma made smaller: a triangle about every sample it keeps across, the mean of its lines down."""
    from scipy.ndimage import correlate1d

    across, down = 1 << sub_x, 1 << sub_y
    taps = np.bartlett(2 * across + 1)[1:-1].astype(np.float32) / across
    plane = correlate1d(plane, taps, axis=1, mode="nearest")[:, ::across]
    plane = np.pad(plane, ((0, -plane.shape[0] % down), (0, 0)), mode="edge")
    out: NDArray[Any] = plane.reshape(-1, down, plane.shape[1]).mean(axis=1)
    return out
