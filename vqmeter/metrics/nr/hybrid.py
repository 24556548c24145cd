"""Hybrid: how good coded video looks, from its pixels and from what its bitstream spent on them.

    raw = mean over networks of sigmoid(w3 tanh(W2 tanh(W1 z + b1) + b2) + b3),    z = clip((x - mean) / std, -limit, limit)

x is one vector for the whole video (`FEATURES`); behind z stands a 1 for its codec among zeros. Of a frame at full, half
and quarter size, in blocks of 8x8 samples of the full one, levels in 8-bit steps of limited range:

    edges_s, spread_s   mean and deviation of log2(1/4 + mean dx^2 + dy^2) over the blocks, s = 1, 2, 4
    mixed_s             log2 of the mean square of mixed differences over that of plain ones: what fine detail is left
    still, grid         share of samples without any step; steps at every eighth row and column over the others, log2
    contrast, chroma    log2 of luma's deviation at quarter size; mean log2(1/4 + dx^2 + dy^2) of both chroma planes

Of a frame and the one before it, at quarter size in blocks of 8x8: `change` and `left`, mean log2(1/20 + square), before
and after each block may shift; `left_spread`, its deviation; `static`, the share of blocks that do not change. These are
averaged over frames. `intra_bits` and `other_bits` are the log2 of the mean bits a pixel of I frames and of the others.
Nothing hangs on length, size or rate, nor on how often there are I frames.

Source: ours; the kind is that of Rec. ITU-T P.1204.5, which knows the bitstream by its bitrate and codec alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vqmeter.colour import colour
from vqmeter.errors import InputError, MismatchError, WeightsError
from vqmeter.frames import Frame, VideoInfo
from vqmeter.metric import About, Clip, Context, Meter, QualityMap, Sample, Scale, Score, Stream
from vqmeter.metrics.fr.ssim import luma
from vqmeter.sources import name_of
from vqmeter.weights import Weights, load_arrays

PIXELS = (
    "edges_1", "spread_1", "edges_2", "spread_2", "edges_4", "spread_4", "mixed_1", "mixed_2", "still", "grid", "contrast",
    "chroma",
)  # fmt: skip
TIME = ("change", "left", "left_spread", "static")
BITS = ("intra_bits", "other_bits")
FEATURES = PIXELS + TIME + BITS
BLOCK, SHRUNK = 8, 4
SMALLEST = BLOCK * SHRUNK  # one block at quarter size
#: What stands for nothing in logarithms: of gradients and their means, of changes (all in squared steps), of bits a pixel.
FLAT, NOTHING, STILL, NO_BITS = 0.25, 0.01, 0.05, 1e-4

#: FFmpeg's decoders that are not called what they decode.
DECODERS = {"libdav1d": "av1", "libaom-av1": "av1", "libgav1": "av1", "libvpx-vp9": "vp9"}

Floats = NDArray[np.float64]
_SCALE = Scale("", 0.0, 100.0, "higher", "networks on features of pixels and bitstream, fitted to VMAF; of the whole video")


@dataclass(frozen=True)
class Hybrid:
    """Score `hybrid`, 0 to 100, higher is better: one for the whole video, of codecs that the weights were fitted to."""

    weights: str | None = None

    about: ClassVar[About] = About(
        title="Pixels and bitstream together, for coded video",
        definition="A few small networks, averaged, on 18 numbers and the codec's name. From pixels: gradients of luma in 8x8 "
        "blocks at full, half and quarter size, their spread, how much of them is fine detail, the share of samples without "
        "any step, steps on the grid of 8, contrast, gradients of chroma; change between frames before and after blocks may "
        "shift, its spread, the share of blocks that stand still. From the bitstream: log2 bits a pixel of I frames and, "
        "apart from them, of all others. Averaged over frames; what a video lacks counts as usual in the "
        "data fitted to, bits of a type it lacks as those of the other. Looks at all frames: --subsample changes the score.",
        source="Ours. Of the kind of Rec. ITU-T P.1204.5.",
        differs="P.1204.5 knows bitrate, codec, size and rate, and predicts opinions of what a screen shows; here bits are "
        "counted apart for I frames and others, size and rate are left out, and the numbers follow VMAF.",
        needs="no reference; a bitstream of H.264, HEVC, AV1 or VP9; weights of hybrid",
        validated="Against VMAF alone, on contents it was not fitted to; the card of the weights has the figures. No human "
        "scores: agreement with VMAF is not agreement with people.",
    )
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = False
    prefers_cuda: ClassVar[bool] = False

    def scales(self) -> Mapping[str, Scale]:
        return {"hybrid": _SCALE}

    def open(self, stream: Stream, context: Context) -> Meter:
        return HybridMeter(self, stream)


@dataclass(frozen=True)
class Seen:
    """What is kept of a frame: its numbers (`PIXELS`), luma at quarter size, its bits a pixel and whether it is an I frame."""

    numbers: Floats
    small: NDArray[np.float32]
    bits: float | None
    intra: bool


def look(frame: Frame) -> Seen:
    """The numbers of one frame, by itself; NaN for those of chroma where it has none."""
    from vqmeter.kernels.rows import rows
    from vqmeter.kernels.shrink import shrink
    from vqmeter.kernels.texture import texture

    info, plane = frame.info, luma(frame)
    step = _step(info)
    full, width = rows(plane), plane.shape[1]
    half = shrink(full, width, 2)
    small = shrink(half, half.shape[1], 2)
    levels, mixed = [], []
    for size, columns, side in ((small, small.shape[1], 2), (half, half.shape[1], 4), (full, width, BLOCK)):
        (edges, fine, still), across, down = texture(size, columns, side, step**2)
        unit = (side * step) ** 2
        level = np.log2(edges / unit + FLAT)
        levels.append((level.mean(), level.std()))
        mixed.append(_log2(fine.mean() / unit, NOTHING) - _log2(edges.mean() / unit, NOTHING))
    grid = (_grid(across / (len(plane) * step)) + _grid(down / (width * step))) / 2
    numbers = [*np.ravel(levels[::-1]), mixed[2], mixed[1], still.mean() / BLOCK**2, grid, _log2(small.std() / step, 0.5),
               _chroma(frame, step)]  # fmt: skip
    bits = None if frame.bytes is None else 8 * frame.bytes / (info.width * info.height)
    return Seen(np.array(numbers), small / np.float32(step), bits, frame.type == "I")


def _step(info: VideoInfo) -> float:
    """What one step of 8-bit limited range is in samples of a video."""
    limited = colour(info, matrix="bt601").range == "limited"
    return (1 << info.pix_fmt.bit_depth) / 256 if limited else info.pix_fmt.peak / 219


def _log2(value: float, nothing: float) -> float:
    return float(np.log2(value + nothing))


def _grid(steps: Floats) -> float:
    """How much larger mean steps are across the borders of 8x8 blocks than elsewhere, log2."""
    border = np.arange(len(steps)) % BLOCK == BLOCK - 1
    return _log2(steps[border].mean(), STILL) - _log2(steps[~border].mean(), STILL)


def _chroma(frame: Frame, step: float) -> float:
    from vqmeter.kernels.rows import rows
    from vqmeter.kernels.texture import texture

    if frame.info.pix_fmt.family != "yuv":
        return np.nan
    sums = [texture(rows(plane), plane.shape[1], BLOCK, 0.0)[0][0] for plane in frame.planes[1:]]
    return float(np.mean([np.log2(edges / (BLOCK * step) ** 2 + FLAT).mean() for edges in sums]))


def moved(before: Seen, after: Seen) -> Floats:
    """The numbers (`TIME`) of a frame and the one before it."""
    from vqmeter.kernels.texture import motion

    change, left = motion(before.small, after.small, BLOCK) / BLOCK**2
    rest = np.log2(left + STILL)
    return np.array([np.log2(change + STILL).mean(), rest.mean(), rest.std(), (change < STILL).mean()])


class Gathered:
    """What frames add up to, one after another."""

    def __init__(self) -> None:
        self._before: Seen | None = None
        self._pixels: list[Floats] = []
        self._time: list[Floats] = []
        self._bits: dict[bool, list[float]] = {True: [], False: []}

    def add(self, seen: Seen) -> None:
        self._pixels.append(seen.numbers)
        if self._before is not None:
            self._time.append(moved(self._before, seen))
        if seen.bits is not None:
            self._bits[seen.intra].append(seen.bits)
        self._before = seen

    def features(self) -> Floats:
        """(18,) float64 in the order of `FEATURES`; NaN where the video has nothing of the kind."""
        time = np.mean(self._time, 0) if self._time else np.full(len(TIME), np.nan)
        bits = [_log2(float(np.mean(found)), NO_BITS) if found else np.nan for found in self._bits.values()]
        return np.array([*np.mean(self._pixels, 0), *time, *bits])


def codec_of(info: VideoInfo, known: Sequence[str]) -> str:
    """What a video is coded with, if that is one of `known`.

    Raises
        InputError: it is not.
    """
    codec = DECODERS.get(info.codec or "", info.codec)
    if codec not in known:
        what = "raw video" if codec in (None, "rawvideo") else codec
        raise InputError(f"{name_of(info.path)}: hybrid reads what encoders of {', '.join(known)} leave in a file, and this is "
                         f"{what}; use --model vsfa")  # fmt: skip
    return str(codec)


def inputs(features: Floats, codecs: Sequence[str], state: Mapping[str, Any], known: Sequence[str], limit: float) -> Floats:
    """(N, F + C) as the networks want it, of (N, F) features, by `mean` and `std` (F,) of `state`.

    What a video lacks is as usual, and bits of one type of frame are as unusual as those of the other.
    """
    z = (features - state["mean"]) / state["std"]
    intra, other = (FEATURES.index(name) for name in BITS)
    for one, instead in ((intra, other), (other, intra)):
        z[:, one] = np.where(np.isnan(z[:, one]), z[:, instead], z[:, one])
    ones = np.array([[codec == name for name in known] for codec in codecs], np.float64)
    return np.concatenate([np.clip(np.nan_to_num(z), -limit, limit), ones], 1)


@dataclass(frozen=True)
class Ensemble:
    """The fitted networks, as arrays: F features, C codecs, N networks of H units a layer.

    `state` has `mean`, `std` (F,), `hidden1.weight` (N, F + C, H), `hidden1.bias` (N, 1, H), `hidden2.*` alike,
    `out.weight` (N, H, 1) and `out.bias` (N, 1, 1).
    """

    state: Mapping[str, Floats]
    codecs: tuple[str, ...]
    limit: float

    @classmethod
    def of(cls, state: Mapping[str, Any], weights: Weights) -> Ensemble:
        """Of a weight file.

        Raises
            WeightsError: it was fitted to other numbers than this version has, or is not whole.
        """
        options = weights.options
        if tuple(options.get("features", ())) != FEATURES:
            raise WeightsError(f"{weights.path}: fitted to other features than this version of vqmeter has")
        try:
            arrays = {key: np.asarray(value, np.float64) for key, value in state.items()}
            made = cls(arrays, tuple(options["codecs"]), float(options["limit"]))
            made(np.zeros((1, len(FEATURES))), made.codecs[:1])
        except (KeyError, TypeError, ValueError):
            raise WeightsError(f"{weights.path}: not the networks of hybrid") from None
        return made

    def __call__(self, features: Floats, codecs: Sequence[str]) -> Floats:
        """(N,) raw numbers in 0..1 of (N, F) features and N codecs."""
        z = inputs(features, codecs, self.state, self.codecs, self.limit)
        for layer in ("hidden1", "hidden2"):
            z = np.tanh(z @ self.state[f"{layer}.weight"] + self.state[f"{layer}.bias"])
        out = z @ self.state["out.weight"] + self.state["out.bias"]
        raw: Floats = (1 / (1 + np.exp(-out))).mean((0, 2))
        return raw


class FeatureMeter:
    """Gathers the numbers of a video and scores nothing: what fitting looks through."""

    batch = 1

    def __init__(self, stream: Stream) -> None:
        info = stream.dist
        if min(info.width, info.height) < SMALLEST:
            raise MismatchError(f"{name_of(info.path)}: {info.width}x{info.height} is too small for hybrid, which wants "
                                f"{SMALLEST}x{SMALLEST} at least")  # fmt: skip
        self.scores: Mapping[str, Scale] = {}
        self.info, self.gathered = info, Gathered()

    def plan(self) -> Iterator[tuple[int, ...]]:
        return zip(count())

    def prepare(self, sample: Sample) -> Seen:
        return look(sample.dist)

    def score(self, batch: Sequence[Clip]) -> Iterable[Score | QualityMap]:
        for clip in batch:
            self.gathered.add(clip.items[0])
        return ()

    def finish(self) -> Iterable[Score | QualityMap]:
        return ()


class HybridMeter(FeatureMeter):
    """Gathers, and in the end asks the networks."""

    def __init__(self, metric: Hybrid, stream: Stream) -> None:
        super().__init__(stream)
        self.scores = {"hybrid": _SCALE}
        state, self.weights = load_arrays("hybrid", metric.weights)
        self.weights.score(0.0)  # without a scale there is no score: better told now
        self._networks = Ensemble.of(state, self.weights)
        self._codec = codec_of(stream.dist, self._networks.codecs)

    def finish(self) -> Iterable[Score | QualityMap]:
        features = self.gathered.features()
        if np.isnan(features[-len(BITS) :]).all():
            raise InputError(f"{name_of(self.info.path)}: does not tell how large its frames are, which hybrid must know")
        raw, label = float(self._networks(features[None], [self._codec])[0]), self.weights.label
        if label is None:
            return []
        return [Score("hybrid", label.score(raw), None, {"raw": raw, "mos": label.value(raw)})]
