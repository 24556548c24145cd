"""The contract between a metric and the session that drives it, and the table of all metrics.

A `Metric` is its options: a frozen dataclass, picklable and cheap. `open` makes a `Meter`, the state of one run over
one stream. The session asks the meter which frames it wants (`plan`), reduces each frame in a pool of threads
(`prepare`), and hands the reduced frames back in stream order (`score`, then `finish`).

Adding a metric is one file, one line in `NAMES` and one test.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import itertools
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vqmeter.errors import UsageError
from vqmeter.frames import Frame, PixelFormat, VideoInfo

#: Metric name -> where it lives. Read without importing any of them.
NAMES: dict[str, dict[str, str]] = {
    "fr": {
        "c3d_fr": "vqmeter.metrics.fr.c3d:C3dFr",
        "dipqa": "vqmeter.metrics.fr.dipqa:Dipqa",
        "diqam": "vqmeter.metrics.fr.diqam:Diqam",
        "fsim": "vqmeter.metrics.fr.fsim:Fsim",
        "fsimc": "vqmeter.metrics.fr.fsim:Fsimc",
        "ipm_fsim": "vqmeter.metrics.fr.ipm:IpmFsim",
        "ipm_srsim": "vqmeter.metrics.fr.ipm:IpmSrsim",
        "ipm_ssim": "vqmeter.metrics.fr.ipm:IpmSsim",
        "ms_ssim": "vqmeter.metrics.fr.ms_ssim:MsSsim",
        "psnr": "vqmeter.metrics.fr.psnr:Psnr",
        "rfsim": "vqmeter.metrics.fr.rfsim:Rfsim",
        "srsim": "vqmeter.metrics.fr.srsim:Srsim",
        "ssim": "vqmeter.metrics.fr.ssim:Ssim",
        "ssim_ffmpeg": "vqmeter.metrics.fr.ssim_ffmpeg:SsimFfmpeg",
        "uqi": "vqmeter.metrics.fr.uqi:Uqi",
        "vmaf": "vqmeter.metrics.fr.vmaf:Vmaf",
        "vmaf_4k": "vqmeter.metrics.fr.vmaf:Vmaf4k",
        "vmaf_neg": "vqmeter.metrics.fr.vmaf:VmafNeg",
        "vsi": "vqmeter.metrics.fr.vsi:Vsi",
        "xpsnr": "vqmeter.metrics.fr.xpsnr:Xpsnr",
    },
    "nr": {
        "brisque": "vqmeter.metrics.nr.brisque:Brisque",
        "c3d": "vqmeter.metrics.nr.c3d:C3d",
        "cnn3d_lstm": "vqmeter.metrics.nr.cnn3d_lstm:Cnn3dLstm",
        "hybrid": "vqmeter.metrics.nr.hybrid:Hybrid",
        "niqe": "vqmeter.metrics.nr.niqe:Niqe",
        "rankiqa": "vqmeter.metrics.nr.rankiqa:Rankiqa",
        "vsfa": "vqmeter.metrics.nr.vsfa:Vsfa",
    },
}


@dataclass(frozen=True)
class Scale:
    """What a score's number means: its unit, its ends (None where there is none) and which way is better."""

    unit: str
    low: float | None
    high: float | None
    better: str = "higher"
    definition: str = ""
    decibels: bool = False  # identical is infinite: null in frames, capped in statistics
    squared_error: bool = False  # 10 log10(1 / MSE) but for a constant: `mse_pooled` stands beside the mean


@dataclass(frozen=True)
class About:
    """What `vqmeter models NAME` and vqmeter-metrics(7) say of a metric, in plain text."""

    title: str
    definition: str
    source: str
    differs: str = ""
    needs: str = "a reference"
    validated: str = ""


@dataclass(frozen=True)
class Stream:
    """What is about to be measured: both videos, the format they are compared in, and how many frames if known."""

    dist: VideoInfo
    ref: VideoInfo | None
    compare_format: PixelFormat
    frames: int | None
    rate: Fraction | None
    planes: str = "y"  # which planes metrics of one plane look at: "y" or "yuv"


@dataclass(frozen=True)
class Context:
    """How to measure: device and precision, threads to use, clips a batch, the seed of every random choice."""

    device: str = "cpu"
    precision: str = "fp32"
    threads: int = 1
    batch: int | None = None
    seed: int = 0
    maps: bool = False  # whether quality maps are wanted from metrics that have them (`has_map`)


@dataclass(frozen=True)
class Sample:
    """One frame to score, with its reference where there is one; `index` counts the frames compared."""

    index: int
    dist: Frame
    ref: Frame | None = None

    @property
    def pair(self) -> tuple[Frame, Frame]:
        """Reference and distorted of a full-reference sample."""
        if self.ref is None:
            raise ValueError("this sample has no reference")
        return self.ref, self.dist


@dataclass(frozen=True)
class Clip:
    """The prepared frames of one element of a plan, in its order."""

    frames: tuple[int, ...]
    items: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """A number under a name; `span` is the frames it covers, None for the whole video."""

    name: str
    value: float
    span: range | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)  # stands beside a whole-video score: raw, mos ...


@dataclass(frozen=True)
class QualityMap:
    """A score for every place of a frame: (H, W) float32, with the ends of its colour bar."""

    name: str
    frame: int
    values: NDArray[np.float32]
    low: float
    high: float


class Meter(Protocol):
    """The state of one run of a metric over one stream."""

    scores: Mapping[str, Scale]
    batch: int  # how many clips `score` likes to get at once

    def plan(self) -> Iterable[tuple[int, ...]]:
        """Lazily, the clips wanted as tuples of frame indices, in non-decreasing order of their first frame."""
        ...

    def prepare(self, sample: Sample) -> Any:
        """Reduce a frame to what `score` needs. Stateless, runs in any thread, keeps no view of the planes."""
        ...

    def score(self, batch: Sequence[Clip]) -> Iterable[Score | QualityMap]:
        """Scores of completed clips. Called from one thread, in stream order."""
        ...

    def finish(self) -> Iterable[Score | QualityMap]:
        """Delayed and whole-video scores, after the last clip."""
        ...


@runtime_checkable
class Metric(Protocol):
    """A frozen dataclass whose fields are the metric's options."""

    about: ClassVar[About]
    needs_length: ClassVar[bool]  # whether `open` must know the exact number of frames
    identical_is_best: ClassVar[bool]
    prefers_cuda: ClassVar[bool]  # whether `--device auto` takes a GPU for it

    def scales(self) -> Mapping[str, Scale]:
        """Every score this metric can give, before a stream is known."""
        ...

    def open(self, stream: Stream, context: Context) -> Meter:
        """A meter for one stream.

        Raises
            UsageError, MismatchError: the stream or the options do not suit the metric.
        """
        ...


@dataclass(frozen=True)
class Mapped:
    """The numbers of a frame together with its quality maps."""

    values: Sequence[float]
    maps: tuple[QualityMap, ...]


class FrameMeter:
    """A meter that scores every frame by itself: subclasses fill `scores` and give `prepare` the numbers.

    `prepare` returns one float for each name of `scores`, in their order, or these as `Mapped` with maps.
    """

    scores: Mapping[str, Scale]
    batch = 1

    def plan(self) -> Iterator[tuple[int, ...]]:
        return zip(itertools.count())

    def prepare(self, sample: Sample) -> Sequence[float] | Mapped:
        raise NotImplementedError

    def score(self, batch: Sequence[Clip]) -> Iterator[Score | QualityMap]:
        for clip in batch:
            n = clip.frames[0]
            span = range(n, n + 1)
            item = clip.items[0]
            if isinstance(item, Mapped):
                yield from item.maps
                item = item.values
            for name, value in zip(self.scores, item, strict=True):
                yield Score(name, value, span)

    def finish(self) -> Iterator[Score | QualityMap]:
        return iter(())


@dataclass(frozen=True)
class Chosen:
    """A metric the user named, and the key its scores go by (`as=`)."""

    name: str
    metric: Metric
    key: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def rename(self, score: str) -> str:
        """The published name of `score`: its own unless `as=` gave another stem."""
        return self.key + score.removeprefix(self.name) if self.key != self.name else score


def split_spec(text: str, separator: str) -> list[str]:
    """Split at `separator`, except where a backslash stands before it; escapes of the other kind are kept."""
    parts, current, chars = [], "", iter(text)
    for char in chars:
        if char == "\\":
            following = next(chars, "")
            current += following if following == separator else char + following
        elif char == separator:
            parts.append(current)
            current = ""
        else:
            current += char
    return [*parts, current]


def choose(family: str, specs: Iterable[str]) -> list[Chosen]:
    """The metrics named by `NAME[:KEY=VALUE]...[,NAME...]` strings.

    Raises
        UsageError: an unknown name, option or value (with the nearest known one), or two scores of one name.
    """
    chosen = [find(family, one) for spec in specs for one in split_spec(spec, ",") if one.strip()]
    if not chosen:
        raise UsageError(f"no metric named; choose from {', '.join(sorted(NAMES[family]))}")
    names: set[str] = set()
    for one in chosen:
        scores = {one.rename(score) for score in one.metric.scales()}
        if names & scores:
            raise UsageError(f"two metrics give a score called '{min(names & scores)}'; rename one with as=KEY")
        names |= scores
    return chosen


def find(family: str, spec: str) -> Chosen:
    """The one metric that `NAME[:KEY=VALUE]...` names, its options converted to the types of its fields."""
    name, *pairs = (part.strip() for part in split_spec(spec, ":"))
    cls = metric_class(family, name)
    options, key = convert_options(name, cls, pairs, renamed=True)
    return Chosen(name, cls(**options), key or name, options)


def convert_options(name: str, cls: Any, pairs: Sequence[str], renamed: bool = False) -> tuple[dict[str, Any], str | None]:
    """`KEY=VALUE` strings as values of the dataclass `cls`'s fields, and the value of `as` where that is `renamed`.

    Raises
        UsageError: an option that `name` does not have, a value of another type, an option given twice.
    """
    fields, hints = {f.name: f for f in dataclasses.fields(cls)}, typing.get_type_hints(cls)
    options: dict[str, Any] = {}
    key = None
    for pair in pairs:
        option, found, value = pair.partition("=")
        if not found:
            raise UsageError(f"{name}: '{pair}' is not KEY=VALUE")
        if option in options or (option == "as" and key is not None):
            raise UsageError(f"{name}: option '{option}' is given twice")
        if option == "as" and renamed:
            key = value
        elif option in fields:
            options[option] = _convert(name, fields[option], hints[option], value)
        else:
            raise UsageError(f"{name} has no option '{option}'{nearest(option, [*fields, *(['as'] if renamed else [])])}")
    return options, key


def metric_class(family: str, name: str) -> Any:
    """The class behind `name`, its module imported.

    Raises
        UsageError: no metric of that name, with the nearest ones.
    """
    where = NAMES[family].get(name)
    if where is None:
        other = "nr" if family == "fr" else "fr"
        if name in NAMES[other]:
            instead = f"fr --model {name}" if other == "nr" else f"fr REF DIST -m {name}"
            raise UsageError(f"'{name}' is a {'no' if other == 'nr' else 'full'}-reference metric; ask for it with {instead}")
        raise UsageError(f"unknown metric '{name}'{nearest(name, NAMES[family])}; 'vqmeter models' lists all")
    module, _, attribute = where.partition(":")
    return getattr(importlib.import_module(module), attribute)


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint behind a miss: the nearest known words, or all of them."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=2) or difflib.get_close_matches(word.lower(), known, n=2)
    return f" (did you mean {' or '.join(near)}?)" if near else f" (known: {', '.join(sorted(known))})"


def _convert(metric: str, option: dataclasses.Field[Any], hint: Any, text: str) -> Any:
    """`text` as the type of a dataclass field: bool, int, float, str, Literal, or one of these or None."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(h for h in typing.get_args(hint) if h is not type(None))
    if typing.get_origin(hint) is typing.Literal:
        allowed = [str(value) for value in typing.get_args(hint)]
        if text not in allowed:
            raise UsageError(f"{metric}: {option.name} is one of {', '.join(allowed)}, not '{text}'")
        return typing.get_args(hint)[allowed.index(text)]
    if hint is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in words:
            raise UsageError(f"{metric}: {option.name} is true or false, not '{text}'")
        return words[text.lower()]
    try:
        return hint(text)
    except ValueError:
        kind = {int: "a whole number", float: "a number"}.get(hint, hint.__name__)
        raise UsageError(f"{metric}: {option.name} is {kind}, not '{text}'") from None
