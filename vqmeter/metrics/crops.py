"""Image models on video: which frames are scored, which squares of them are cut out, and one score of many squares.

A frame is scored by the mean over its squares: drawn at random, or a grid of as few as cover the frame. Random places
follow from (seed, frame index, frame size) alone. `prepare` copies the samples of the squares (of the whole frame
where that is less), `score` makes RGB of them and runs the network over the squares of several frames at once.
Squares larger than the frame see it mirrored at its borders.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vqmeter.colour import colour, rgb_matrix
from vqmeter.errors import UsageError, WeightsError
from vqmeter.frames import Frame, Plane
from vqmeter.metric import Clip, Context, QualityMap, Sample, Scale, Score, Stream
from vqmeter.tensors import Batches, Kept, batch_size, computing, feed, keep, normalise, place, reflect_pad, to_rgb
from vqmeter.weights import Weights

DEFAULT_RATE = 25  # frames a second, where a stream does not say
SAMPLED_RATE = 2.0  # frames a second that are enough for models too dear for every frame
MOST_CROPS = 512  # a batch on a GPU
CPU_MAP = 16 << 20  # bytes of a batch's widest map on the CPU: larger ones miss the caches and are asked of the kernel anew


def frame_rate(metric: str, text: str, default: float | None) -> float | None:
    """The option `rate`: frames to score a second, None for all of them.

    Raises
        UsageError: it is not `auto`, `native` or a positive number.
    """
    if text in ("auto", "native"):
        return default if text == "auto" else None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"{metric}: rate is auto, native or frames a second, not '{text}'")
    return value


def random_corners(seed: int, index: int, frame: tuple[int, int], size: int, count: int) -> list[tuple[int, int]]:
    """`count` places (top, left) of squares in a frame (height, width), each drawn by itself, every one as likely.

    By PCG64's bits, which no version of numpy changes. Where there is only one place it is given once.
    """
    height, width = (max(n - size, 0) + 1 for n in frame)
    if height * width == 1:
        return [(0, 0)]
    bits = np.random.PCG64(np.random.SeedSequence([seed % (1 << 64), index, *frame])).random_raw(2 * count) >> np.uint64(32)
    tops, lefts = ((bits[k::2] * np.uint64(n)) >> np.uint64(32) for k, n in ((0, height), (1, width)))
    return [(int(top), int(left)) for top, left in zip(tops, lefts, strict=True)]


def grid_lines(length: int, size: int) -> list[int]:
    """Where the squares of a grid begin: as few as cover `length`, spread evenly, so that neighbours may overlap."""
    return [round(at) for at in np.linspace(0, max(length - size, 0), -(-length // size))]


def grid_corners(frame: tuple[int, int], size: int) -> list[tuple[int, int]]:
    """The places of a grid, row by row."""
    tops, lefts = (grid_lines(n, size) for n in frame)
    return list(itertools.product(tops, lefts))


@dataclass(eq=False)
class Picture:
    """A frame or a window of one, and the RGB that is made of it once where several squares lie in it."""

    kept: Kept
    rgb: Tensor | None = None


@dataclass(frozen=True)
class Crop:
    """A square of a picture that is not cut out yet; pictures smaller than the square are mirrored first."""

    picture: Picture
    top: int
    left: int


def cut(frame: Frame, corners: Sequence[tuple[int, int]], size: int) -> list[Crop]:
    """Squares of a frame that outlive it: each in a window of its own, or all in the whole frame where that is less."""
    info, fmt = frame.info, frame.info.pix_fmt
    sub_y, sub_x = (fmt.sub_y, fmt.sub_x) if fmt.family == "yuv" else (0, 0)
    rows, columns = (-(-(size - 1) >> sub) + 3 for sub in (sub_y, sub_x))  # of chroma, with what is interpolated from
    room = (rows << sub_y) * (columns << sub_x)
    width, height = fmt.chroma_size(info.width, info.height) if fmt.family == "yuv" else (info.width, info.height)
    if rows > height or columns > width or len(corners) * room >= info.height * info.width:
        whole = Picture(keep(frame))
        return [Crop(whole, top, left) for top, left in corners]
    matrix = rgb_matrix(fmt, colour(info))
    out = []
    for top, left in corners:
        y, x = min(max((top >> sub_y) - 1, 0), height - rows), min(max((left >> sub_x) - 1, 0), width - columns)
        planes = [_window(frame.planes[0], y << sub_y, x << sub_x, rows << sub_y, columns << sub_x)]
        planes += [_window(plane, y, x, rows, columns) for plane in frame.planes[1:3]]
        out.append(Crop(Picture(Kept(tuple(planes), fmt, matrix)), top - (y << sub_y), left - (x << sub_x)))
    return out


def _window(plane: Plane, top: int, left: int, rows: int, columns: int) -> Plane:
    """A copy; at an odd frame's end, where luma stops short of its chroma, the last line is repeated and never seen."""
    view = plane[top : top + rows, left : left + columns]
    h, w = view.shape
    return np.array(view, order="C") if (h, w) == (rows, columns) else np.pad(view, ((0, rows - h), (0, columns - w)), "edge")


@dataclass(frozen=True)
class Recipe:
    """What a weight file says its network takes: the order of colours, and ((0..255) / divide - mean) / std."""

    order: str = "RGB"
    divide: float = 1.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    @classmethod
    def of(cls, weights: Weights, default: Recipe) -> Recipe:
        """What is in a file's `preprocessing`, `default` for what it leaves unsaid; a WeightsError where it makes no sense."""
        said = {key: weights.preprocessing.get(key, getattr(default, key)) for key in ("order", "divide", "mean", "std")}
        mean, std = tuple(said["mean"]), tuple(said["std"])
        order, divide = str(said["order"]).upper(), float(said["divide"] or 0)
        if order not in ("RGB", "BGR") or not divide or len(mean) != 3 or len(std) != 3 or 0 in std:
            raise WeightsError(f"{weights.path}: cannot prepare pictures as it says: {dict(weights.preprocessing)}")
        return cls(order, divide, mean, std)

    def pixels(self, crops: Sequence[Crop], size: int, device: str) -> Tensor:
        """(N, 3, size, size) float32 on the device."""
        pictures = list(dict.fromkeys(crop.picture for crop in crops))
        if len(pictures) == len(crops):
            frames = iter(self._rgb(pictures, size, device))
        else:
            for picture in pictures:
                picture.rgb = self._rgb([picture], size, device)[0] if picture.rgb is None else picture.rgb
            frames = (crop.picture.rgb for crop in crops)
        return self._normal(
            torch.stack([rgb[:, c.top : c.top + size, c.left : c.left + size] for rgb, c in zip(frames, crops, strict=True)])
        )

    def of_rgb(self, rgb: Tensor) -> Tensor:
        """What `pixels` makes, of pictures (N, 3, H, W) that are R, G, B in [0, 1] already."""
        return self._normal((rgb if self.order == "RGB" else rgb.flip(1)) * (255 / self.divide))

    def _normal(self, x: Tensor) -> Tensor:
        plain = not any(self.mean) and all(s == 1 for s in self.std)
        return x if plain else normalise(x, self.mean, self.std)

    def _rgb(self, pictures: Sequence[Picture], size: int, device: str) -> Tensor:
        kept = [picture.kept for picture in pictures]
        return reflect_pad(to_rgb(kept, device, order=self.order, scale=255 / self.divide), (size, size))


@dataclass
class Ticks:
    """Picks the frames nearest to every 1/rate seconds from the first frame on, by their times; all with `rate` None.

    A frame is picked if it is the first that comes later than half a frame before the next tick.
    """

    rate: float | None
    frame: float  # seconds a frame nominally lasts
    origin: float | None = None
    reached: int = 0

    def pick(self, time: float) -> bool:
        if self.rate is None:
            return True
        if self.origin is None:
            self.origin = time
        reached = max(1, math.ceil((time - self.origin + self.frame / 2) * self.rate - 1e-6))
        picked, self.reached = reached > self.reached, max(reached, self.reached)
        return picked


@dataclass(frozen=True)
class Taken:
    """The squares of one frame (of a pair of frames), the first `counted` for its score, the rest for its map."""

    time: float
    squares: Sequence[Any]
    counted: int


class CropMeter:
    """Scores chosen frames by the mean over squares, and the video by the mean over frames.

    Subclasses give `squares` and `values`. `count` is the number of random squares, None for the grid. Frames wait for
    a batch here and not with the session, so that those which are not chosen never do: `batch` is 1. A map is of the
    grid's squares, whichever ones are counted.
    """

    batch = 1
    has_map = False

    def __init__(self, name: str, network: nn.Module, weights: Weights, stream: Stream, context: Context, *,
                 size: int, count: int | None, rate: float | None, recipe: Recipe) -> None:  # fmt: skip
        weights.score(0.0)  # refuses weights without a scale before the work
        self.name, self.weights, self.size, self.recipe = name, weights, size, recipe
        self._context, self._rate = context, float(stream.dist.rate or DEFAULT_RATE)
        self._count, self._ticks = count, Ticks(rate, 1 / self._rate)
        self.network = place(network, context)
        said = f"{count or 'all'} squares of {size}x{size} in {'every frame' if rate is None else f'{rate:g} frames a second'}"
        self.scores: Mapping[str, Scale] = {name: Scale("", 0.0, 100.0, "higher", f"the mean over {said}; {weights.name}")}
        self._maps = self.has_map and context.maps
        self._frame = (stream.dist.height, stream.dist.width)
        each = sum(len(corners) for corners in self._corners(0))
        together = self._together() * (context.threads if context.device == "cpu" else 1)
        self._frames = context.batch or -(-together // each)
        self._batches = Batches(self._together())
        self._waiting: list[tuple[int, Taken]] = []
        self._raw: list[float] = []

    def _together(self) -> int:
        """Squares a batch, by the memory that the network's first map takes."""
        channels = next((m.out_channels for m in self.network.modules() if isinstance(m, nn.Conv2d)), 64)
        bytes_each = 4 * self.size**2 * channels
        if self._context.device == "cpu":
            return max(2, min(32, CPU_MAP // bytes_each))
        return batch_size(replace(self._context, batch=None), 3 * bytes_each, MOST_CROPS)

    def squares(self, sample: Sample, corners: Sequence[tuple[int, int]]) -> Sequence[Any]:
        """The squares of a sample, one for each corner."""
        raise NotImplementedError

    def values(self, squares: Sequence[Any]) -> Tensor:
        """(N, 2) float32: quality and weight of each square."""
        raise NotImplementedError

    def fed(self, crops: Sequence[Crop]) -> Tensor:
        """Crops as the network takes them."""
        return feed(self.recipe.pixels(crops, self.size, self._context.device), self._context)

    def plan(self) -> Iterator[tuple[int, ...]]:
        return zip(itertools.count())

    def prepare(self, sample: Sample) -> Taken:
        frame = sample.dist
        counted, shown = self._corners(frame.index)
        time = frame.index / self._rate if frame.time is None else frame.time
        return Taken(time, self.squares(sample, counted + shown), len(counted))

    def _corners(self, index: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """The squares of a frame's score, and those of its map that are not among them."""
        if self._count is None:
            return grid_corners(self._frame, self.size), []
        drawn = random_corners(self._context.seed, index, self._frame, self.size, self._count)
        return drawn, grid_corners(self._frame, self.size) if self._maps else []

    def score(self, batch: Sequence[Clip]) -> Iterator[Score | QualityMap]:
        for clip in batch:
            if self._ticks.pick(clip.items[0].time):
                self._waiting.append((clip.frames[0], clip.items[0]))
        return self._flush() if len(self._waiting) >= self._frames else iter(())

    def _flush(self) -> Iterator[Score | QualityMap]:
        waiting, self._waiting = self._waiting, []
        if waiting:
            values = self._run([square for _, taken in waiting for square in taken.squares])
            parts = values.split([len(taken.squares) for _, taken in waiting])
            for (n, taken), part in zip(waiting, parts, strict=True):
                yield from self._of_frame(n, taken, part)

    def _run(self, squares: Sequence[Any]) -> Tensor:
        """(N, 2) float64. On the CPU every thread takes batches of its own, which never wait for one another."""

        def run(part: Sequence[Any]) -> Tensor:
            with computing(replace(self._context, threads=1)):
                return self._batches.run(self.values, part).double().cpu()

        if self._context.device != "cpu":
            return run(squares)
        share = max(1, min(self._batches.size, -(-len(squares) // self._context.threads)))
        with ThreadPoolExecutor(self._context.threads, "vqmeter-crops") as pool:
            return torch.cat(list(pool.map(run, (squares[at : at + share] for at in range(0, len(squares), share)))))

    def _of_frame(self, n: int, taken: Taken, values: Tensor) -> Iterator[Score | QualityMap]:
        quality, weight = values[: taken.counted].unbind(1)
        total = float(weight.sum())
        raw = float((quality * weight).sum()) / total if total > 0 else float(quality.mean())
        self._raw.append(raw)
        if self._maps:
            yield self._map(n, values[:, 0])
        yield Score(self.name, self.weights.score(raw), range(n, n + 1))

    def _map(self, n: int, quality: Tensor) -> QualityMap:
        """The grid's squares, each a place of the map; they are the last ones."""
        rows, columns = (len(grid_lines(length, self.size)) for length in self._frame)
        places = [self.weights.score(float(q)) for q in quality[-rows * columns :]]
        return QualityMap(self.name, n, np.array(places, np.float32).reshape(rows, columns), 0.0, 100.0)

    def finish(self) -> Iterator[Score | QualityMap]:
        yield from self._flush()
        if self._raw and self.weights.label is not None:
            raw = math.fsum(self._raw) / len(self._raw)
            yield Score(self.name, self.weights.score(raw), None, {"raw": raw, "mos": self.weights.label.value(raw)})
