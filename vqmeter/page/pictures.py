"""The worst frames once more, as pictures small enough for a page: reference, distorted, and where SSIM lies between them.

The files are read again from the paths in a result, and only where they are what was measured. A result may come from
anybody, so playlists, pipes and devices are never opened for it.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqmeter.errors import InputError, MismatchError, MissingInputError
from vqmeter.frames import Frame
from vqmeter.heatmaps import colours
from vqmeter.inputs import shaped
from vqmeter.metric import Context, Sample, Stream, find
from vqmeter.report import Result
from vqmeter.sources import RAW_SUFFIXES, InputOptions, Source, is_sequence, name_of, open_video
from vqmeter.sources.cropping import Crop
from vqmeter.sources.geometry import parse_rate
from vqmeter.sources.pair import Fit, Group, Selection, at_depth, fit
from vqmeter.sources.scaling import Scale
from vqmeter.worst import reread, to_rgb, worst_frames

WIDTH = 640
_QUALITY = 88


@dataclass(frozen=True)
class Picture:
    """A picture for a page: what it shows, its bytes as a data: URI, its size."""

    title: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Shot:
    """One of the worst frames, by its index among the frames of the result."""

    index: int
    pictures: tuple[Picture, ...]


def worst_shots(result: Result, key: str, count: int) -> list[Shot]:
    """Pictures of the `count` worst frames of `result` by score `key`, worst first.

    Raises
        VqmeterError: there are none to be had, and why: a file is gone, has changed, cannot be read, or no such score.
    """
    ranked = worst_frames(result, key, count)
    selection, shots = _selection(result.settings, result.validity), {}
    with ExitStack() as stack:
        ref, dist = _open_both(result, stack)
        for group in stack.enter_context(closing(reread(ref, dist, selection, ranked))):
            shots[group.index] = Shot(group.index, tuple(_pictures(group)))
    if not shots:
        raise InputError(f"{name_of(result.name)} does not hold its worst frames any more")
    return [shots[index] for index in ranked if index in shots]


def _open_both(result: Result, stack: ExitStack) -> tuple[Source | None, Source]:
    """Reference, where there was one, and distorted, as the session had them."""
    settings = result.settings
    scaled, cropped = settings.get("scale"), settings.get("crop")
    scale = Scale.parse(scaled) if isinstance(scaled, str) else None
    crop = Crop.parse(cropped) if isinstance(cropped, str) else None
    opened: list[Source] = []
    for role in ("reference", "distorted"):
        info = result.inputs.get(role)
        if info is None:
            continue
        source = _open(info)
        stack.callback(source.close)
        source = shaped(source, bool(settings.get("deinterlace")), crop, scale, opened[0].info if opened else None)
        if (source.info.width, source.info.height) != (info.get("width"), info.get("height")):
            raise MismatchError(f"{info['path']} is not the file that was measured: its size is another")
        opened.append(source)
    return (opened[0] if len(opened) == 2 else None), opened[-1]


def _open(info: Mapping[str, Any]) -> Source:
    path = str(info["path"])
    if path == "-":
        raise MissingInputError("it was read from stdin")
    if "width" not in info:
        raise MissingInputError(f"the result does not say how {path} was read")
    if not os.path.isfile(path) and not is_sequence(path):
        raise MissingInputError(f"{path} is not there")
    if isinstance(info.get("size"), int) and os.path.isfile(path) and os.path.getsize(path) != info["size"]:
        raise MismatchError(f"{path} is not the file that was measured: its length in bytes is another")
    said = {key: info[key] for key in ("range", "matrix") if isinstance(info.get(key), str)}
    if info.get("container") != "rawvideo":
        return open_video(path, InputOptions(**said))
    if any(str(note).startswith(("scaled from ", "cropped from ")) for note in info.get("notes") or ()):
        raise InputError(f"{path} is raw video that was scaled or cropped, and the result does not say its own size")
    if not path.lower().endswith(RAW_SUFFIXES):
        raise InputError(f"{path} is not called as raw video is, so it is not shown")
    size = (_whole(info, "width"), _whole(info, "height"))
    rate = info.get("rate")
    return open_video(path, InputOptions(size, str(info.get("pix_fmt")), parse_rate(rate), "rawvideo", **said))


def _selection(settings: Mapping[str, Any], validity: Mapping[str, Any]) -> Selection:
    offset, pair = validity.get("offset", 0), settings.get("pair", "index")
    if not isinstance(offset, int) or abs(offset) > 1 << 20 or pair not in ("index", "pts"):
        raise InputError("the result does not say which frames stood side by side")
    start, duration = (_seconds(settings.get(key)) for key in ("start", "duration"))
    frames = None if settings.get("frames") is None else _whole(settings, "frames")
    every = 1 if settings.get("subsample") is None else _whole(settings, "subsample")
    return Selection(start or 0.0, duration, frames, every, True, offset, pair)


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        raise InputError("the result's settings do not say which part was measured")
    return float(value)


def _whole(facts: Mapping[str, Any], key: str) -> int:
    value = facts.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"the result's {key} is not a number from 1 up")
    return value


def _pictures(group: Group) -> list[Picture]:
    ref, dist = group.ref, group.dists[0]
    pictures = [_picture(title, to_rgb(frame)) for title, frame in (("reference", ref), ("distorted", dist)) if frame]
    if ref is not None and dist is not None:
        fitted = fit(ref.info, dist.info)
        if min(dist.info.width, dist.info.height) >= 11:
            values = _ssim_map(ref, dist, group.index, fitted)
            pictures.append(_picture("SSIM map", colours(values, 0.0, 1.0), (dist.info.width, dist.info.height)))
    return pictures


def _ssim_map(ref: Frame, dist: Frame, index: int, fitted: Fit) -> NDArray[np.float32]:
    depth = fitted.compare_format.bit_depth
    stream = Stream(dist.info, ref.info, fitted.compare_format, None, dist.info.rate)
    meter = find("fr", "ssim").metric.open(stream, Context(maps=True))
    values: NDArray[np.float32] = meter.prepare(Sample(index, at_depth(dist, depth), at_depth(ref, depth))).maps[0].values
    return values


def bar(low: float, high: float) -> Picture:
    """The colours of the map from `low` to `high`, a strip to stand under it."""
    steps = np.linspace(low, high, 128, dtype=np.float32)[None].repeat(8, 0)
    return _picture("colours of the map", colours(steps, low, high))


def _picture(title: str, rgb: NDArray[np.uint8], size: tuple[int, int] | None = None) -> Picture:
    """(H, W, 3) as a JPEG no wider than `WIDTH`; `size` is what it is stretched to before that."""
    from PIL import Image

    image = Image.fromarray(rgb)
    width, height = size or image.size
    if width > WIDTH:
        width, height = WIDTH, max(1, round(height * WIDTH / width))
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BOX)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=_QUALITY, subsampling=0)
    return Picture(title, "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode("ascii"), width, height)
