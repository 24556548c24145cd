"""The worst frames as pictures: reference beside distorted, read again once the scores are known."""

from __future__ import annotations

import os
from collections.abc import Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqmeter.colour import colour, rgb_matrix
from vqmeter.errors import OutputError, UsageError
from vqmeter.frames import Frame
from vqmeter.report import Result
from vqmeter.sources import Source
from vqmeter.sources.pair import Group, Lane, Selection, walk


@dataclass(frozen=True)
class Worst:
    """How many frames, by which score, into which folder."""

    count: int
    key: str
    folder: str


def worst_frames(result: Result, key: str, count: int) -> list[int]:
    """Indices of the `count` worst frames by score `key`, worst first.

    Raises
        UsageError: no such score, or one that is not given frame by frame.
    """
    series = result.series.get(key)
    if series is None or not series.values:
        raise UsageError(f"--worst-by {key}: no such score of single frames was measured; there are {', '.join(result.series)}")
    values = series.array if series.scale.better == "higher" else -series.array
    return [series.frames[i] for i in np.argsort(values, kind="stable")[:count]]


def export(ref: Source | None, dist: Source, selection: Selection, result: Result, worst: Worst) -> list[str]:
    """Write the worst frames of `result` as PNG and give their paths.

    `ref` and `dist` are freshly opened sources of the files that were measured.

    Raises
        OutputError: the folder cannot be written.
    """
    ranked = worst_frames(result, worst.key, worst.count)
    paths = {}
    with closing(reread(ref, dist, selection, ranked)) as groups:
        for group in groups:
            number = result.columns["n"][group.index]
            name = f"{result.label}_worst{ranked.index(group.index) + 1:02d}_frame{number:06d}.png"
            paths[group.index] = os.path.join(worst.folder, name)
            _save([f for f in (group.ref, group.dists[0]) if f is not None], paths[group.index])
    return [paths[index] for index in ranked if index in paths]


def reread(ref: Source | None, dist: Source, selection: Selection, wanted: Collection[int]) -> Generator[Group, None, None]:
    """The frames of indices `wanted`, in the order of the stream, from freshly opened sources; no further than the last."""
    lanes = [Lane.start(source, selection) for source in (ref, dist) if source is not None]
    left = len(set(wanted))
    try:
        for group in walk(lanes[0] if ref is not None else None, lanes[-1:], selection):
            if group.index in wanted and group.dists[0] is not None:
                yield group
                left -= 1
            if not left:
                break
    finally:
        for lane in lanes:
            lane.close()


def _save(frames: Sequence[Frame], path: str) -> None:
    from PIL import Image

    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        Image.fromarray(np.concatenate([to_rgb(frame) for frame in frames], axis=1)).save(path, "PNG")
    except OSError as error:
        raise OutputError(f"{path}: {(error.strerror or str(error)).lower()}") from None


def to_rgb(frame: Frame) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of a frame, by its stream's matrix and range."""
    from vqmeter.kernels.rgb import rgb
    from vqmeter.kernels.rows import rows

    fmt, planes = frame.info.pix_fmt, [rows(plane) for plane in frame.planes]
    sub = (fmt.sub_x, fmt.sub_y) if fmt.family == "yuv" else (0, 0)
    matrix = rgb_matrix(fmt, colour(frame.info)).astype(np.float32)
    picture = rgb(planes if len(planes) == 3 else planes * 3, frame.info.width, *sub, matrix)
    out: NDArray[np.uint8] = np.rint(picture.transpose(1, 2, 0) * 255).astype(np.uint8)
    return out
