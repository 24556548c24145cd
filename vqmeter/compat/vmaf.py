"""What libvmaf's `vmaf` tool does with two videos: a log of models' scores and features, frame by frame and pooled.

PSNR alone is vqmeter's own, which is the same to the last digit: 10 log10(peak^2 / MSE) at most 6 x depth + 12 dB.
Everything else is asked from libvmaf itself, whose SSIM, MS-SSIM, VIF, ADM and motion have definitions of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace

import numpy as np

from vqmeter import __version__
from vqmeter.compat.libvmaf import Feature, Model, Question
from vqmeter.compat.logs import POOLS, Log
from vqmeter.errors import InputError, MismatchError, UsageError, VqmeterError
from vqmeter.frames import Frame, VideoInfo
from vqmeter.sources import InputOptions, Source, name_of, open_video
from vqmeter.sources.pair import Lane, Selection, check_selection, common_format

Progress = Callable[[int, int | None], None]
_FORMATS = {f"yuv{layout}p{depth}" for layout in (420, 422, 444) for depth in ("", 10, 12, 16)}
_SMALLEST = 32  # pixels a side; libvmaf ends in a segmentation fault at 16


@dataclass(frozen=True)
class Request:
    """A call of the tool: two videos, how to read raw ones (None where they say it), and what to ask of which frames.

    `frames` 0 is all of them; `skip_ref` and `skip_dist` are left out at the start; every `subsample`-th is logged.
    """

    ref: str
    dist: str
    raw: InputOptions | None = None
    models: tuple[Model, ...] = ()
    features: tuple[Feature, ...] = ()
    predict: bool = True
    threads: int = 0
    subsample: int = 1
    frames: int = 0
    skip_ref: int = 0
    skip_dist: int = 0


@dataclass
class Answer:
    """The log, the label of each model and its pooled score, what to tell, and what ended the reading too early."""

    log: Log
    scores: list[tuple[str, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: VqmeterError | None = None


def answer(request: Request, progress: Progress | None = None) -> Answer:
    """Do what `request` asks.

    Raises
        UsageError: nothing is asked, two models have one name, libvmaf is not here or lacks what was asked.
        InputError: an input cannot be read, or the two do not fit.
    """
    models, notes = _models(request)
    if not models and not request.features:
        raise UsageError("--no_prediction without --feature and --model leaves nothing to do")
    if request.ref == request.dist == "-":
        raise UsageError("stdin can be read once; only one input may be '-'")
    question = Question(models, tuple(dict.fromkeys(request.features)), request.threads, max(1, request.subsample))
    with ExitStack() as closes:
        ref, dist = (closes.enter_context(closing(open_video(path, request.raw))) for path in (request.ref, request.dist))
        info = _common(ref.info, dist.info)
        lanes = [_start(source, skip, request.frames, closes)
                 for source, skip in ((ref, request.skip_ref), (dist, request.skip_dist))]  # fmt: skip
        pairs = Pairs(lanes[0], lanes[1], progress)
        log = (_own_psnr if _is_ours(question, info) else Question.ask)(question, info, pairs)
    for model in models if not request.predict else ():
        log.drop(model.name)
    labels = {model.name: model.label for model in request.models or models}
    scores = [(label, log.pooled[name]["mean"]) for name, label in labels.items() if name in log.pooled]
    return Answer(log, scores, notes + pairs.notes, pairs.error)


def _models(request: Request) -> tuple[tuple[Model, ...], list[str]]:
    """The models to ask for, and a note on each that is built in where a file was named."""
    asked = request.models or ((Model("vmaf_v0.6.1"),) if request.predict else ())
    names = [model.name for model in asked]
    if len(set(names)) < len(names):
        raise UsageError("every model needs a name of its own; give name=WORD, as --model version=vmaf_v0.6.1neg:name=neg")
    found = tuple(model.found() for model in asked)
    notes = [f"{a.path}: no such file; libvmaf's built-in {b.version} is taken"
             for a, b in zip(asked, found, strict=True) if a != b]  # fmt: skip
    return found, notes


def _is_ours(question: Question, info: VideoInfo) -> bool:
    """Whether vqmeter computes all of this itself by the same definition; libvmaf leaves out half samples of chroma."""
    halves = info.width % (1 << info.pix_fmt.sub_x) or info.height % (1 << info.pix_fmt.sub_y)
    chroma = {("enable_chroma", "true"), ("enable_chroma", "false")}
    own = all(feature.name in ("psnr", "float_psnr") and set(feature.options) <= (chroma if feature.name == "psnr" else set())
              for feature in question.features)  # fmt: skip
    return own and not question.models and not halves


def _common(ref: VideoInfo, dist: VideoInfo) -> VideoInfo:
    """Size and format of both.

    Raises
        MismatchError: they differ, or libvmaf does not take them.
    """
    kinds = [(common_format(i.pix_fmt, i.pix_fmt.bit_depth), f"{i.width}x{i.height}") for i in (ref, dist)]
    (fmt, size), name = kinds[1], name_of(dist.path)
    if kinds[0] != kinds[1]:
        raise MismatchError(f"{name} is {size} {dist.pix_fmt.name}, but its reference {name_of(ref.path)} is {kinds[0][1]} "
                            f"{ref.pix_fmt.name}; libvmaf compares equal sizes, layouts and depths")  # fmt: skip
    if fmt.name.removesuffix("le") not in _FORMATS:
        raise MismatchError(f"{name} is {dist.pix_fmt.name}; libvmaf takes YUV 4:2:0, 4:2:2, 4:4:4 of 8, 10, 12 or 16 bits")
    if min(dist.width, dist.height) < _SMALLEST:
        raise MismatchError(f"{name} is {size}; libvmaf needs {_SMALLEST}x{_SMALLEST} pixels at least")
    return replace(dist, pix_fmt=fmt)


def _start(source: Source, skip: int, frames: int, closes: ExitStack) -> Lane:
    """Frames of `source` from number `skip` on, at most `frames` unless that is 0."""
    selection = Selection(frames=skip + frames if frames else None)
    check_selection(source, selection)
    lane = Lane.start(source, selection)
    closes.callback(lane.close)
    for _ in range(skip):
        lane.next()
    return lane


@dataclass
class Pairs:
    """Frames of the reference and the distorted video in step, until either ends; then what there is to say of it."""

    ref: Lane
    dist: Lane
    progress: Progress | None = None
    notes: list[str] = field(default_factory=list)
    error: VqmeterError | None = None

    def __iter__(self) -> Iterator[tuple[Frame, Frame]]:
        """Raises InputError where there is not one pair."""
        done = 0
        while True:
            ref, dist = self.ref.next(), self.dist.next()
            self.error = self.ref.error or self.dist.error
            if ref is None or dist is None:
                break
            yield ref, dist
            done += 1
            if self.progress is not None:
                self.progress(done, self.dist.source.count)
        if not done:
            name = name_of(self.dist.source.info.path)
            raise self.error or InputError(f"{name}: no frame is left to compare after those skipped")
        if self.error is None and (ref is None) != (dist is None):
            short, long = (self.ref, self.dist) if ref is None else (self.dist, self.ref)
            self.notes.append(f'"{short.source.info.path}" ended before "{long.source.info.path}"')


def _own_psnr(question: Question, info: VideoInfo, pairs: Pairs) -> Log:
    """PSNR by vqmeter's own metric, under libvmaf's names."""
    from vqmeter.metric import Context, Sample, Stream
    from vqmeter.metrics.fr.psnr import Psnr
    from vqmeter.report import pool

    meter = Psnr().open(Stream(info, info, info.pix_fmt, None, info.rate), Context())
    cap = 6.0 * info.pix_fmt.bit_depth + 12
    columns = {name: plane for feature in question.features for name, plane in _columns(feature).items()}
    log = Log(f"vqmeter {__version__}", info.width, info.height, 0.0)
    started, n = time.perf_counter(), -1
    for n, (ref, dist) in enumerate(pairs):
        if n % question.subsample == 0:
            decibels = meter.prepare(Sample(n, dist, ref))
            log.frames.append((n, {name: min(decibels[plane], cap) for name, plane in columns.items()}))
    log.fps = (n + 1) / max(time.perf_counter() - started, 1e-9)
    for name in columns:
        pooled = pool(np.array([scores[name] for _, scores in log.frames]))
        log.pooled[name] = {key: pooled[key] for key in POOLS}
    return log


def _columns(feature: Feature) -> dict[str, int]:
    """The scores of a feature of our own, and the plane each is of."""
    if feature.name == "float_psnr":
        return {"float_psnr": 0}
    planes = ("y",) if ("enable_chroma", "false") in feature.options else ("y", "cb", "cr")
    return {f"psnr_{plane}": n for n, plane in enumerate(planes)}
