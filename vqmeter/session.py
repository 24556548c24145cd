"""`measure()`: everything the command line can ask for, as one call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from vqmeter.errors import UsageError
from vqmeter.limits import Limit
from vqmeter.onepass import OnePass, Progress
from vqmeter.report import Report
from vqmeter.settings import Settings, parse_sync
from vqmeter.sources import MAX_PIXELS, RAW_SUFFIXES, InputOptions
from vqmeter.sources.cropping import Crop
from vqmeter.sources.geometry import parse_rate, parse_size
from vqmeter.sources.pair import Selection
from vqmeter.sources.scaling import Scale
from vqmeter.worst import Worst


def measure(
    distorted: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    reference: str | os.PathLike[str] | None = None,
    metrics: str | Sequence[str] | None = None,
    models: str | Sequence[str] = (),
    weights: str | None = None,
    model_ref: bool = False,
    size: tuple[int, int] | str | None = None,
    pix_fmt: str | None = None,
    rate: Fraction | float | str | None = None,
    ref_size: tuple[int, int] | str | None = None,
    ref_pix_fmt: str | None = None,
    input_format: str | None = None,
    ref_input_format: str | None = None,
    range: str | None = None,
    matrix: str | None = None,
    start: float = 0.0,
    duration: float | None = None,
    frames: int | None = None,
    subsample: int = 1,
    shortest: bool = False,
    sync: str | int = "off",
    pair: str = "index",
    planes: str = "y",
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    batch: int | None = None,
    seed: int = 0,
    psnr_cap: float | str | None = "auto",
    crop: str | None = None,
    deinterlace: bool = False,
    scale: str = "none",
    map: str | os.PathLike[str] | None = None,
    worst: int = 0,
    worst_by: str | None = None,
    worst_dir: str | os.PathLike[str] = "worst",
    limits: Sequence[Limit] = (),
    cache: str | os.PathLike[str] | None = None,
    max_pixels: int = MAX_PIXELS,
    max_frames: int | None = None,
    progress: Progress | None = None,
    argv: Sequence[str] | None = None,
) -> Report:
    """Measure one distorted video, or several against the same reference.

    `distorted` and `reference` are paths, `-` is stdin. `metrics` (full reference) and `models` (no reference) are
    `NAME[:KEY=VALUE]...[,NAME...]`; with a reference and neither named, `psnr,ssim`. `model_ref` scores the reference
    with the models too and gives the difference. `size` ("1920x1080" or
    (1920, 1080)), `pix_fmt` and `rate` describe headless raw input; `input_format` names the container of stdin, or of
    all inputs where none is stdin. A frame of more than `max_pixels` and
    what comes after `max_frames` frames are refused. `start` and `duration` are in seconds.
    `sync` is `off`, `auto` or by how many frames the distorted lags; `pair` is `index`, or `pts` to go by time.
    `deinterlace` makes one moment of each interlaced frame, `crop` takes `W:H:X:Y` of both, then comes `scale`: `none`,
    `ref` or `WxH`, with `:bicubic`, `:lanczos` or `:bilinear`. `psnr_cap` is in dB, None for no ceiling. Once `limits`
    can only come out one way, a file is read no further. `cache` is a folder where results are kept and looked up.
    `map` is a folder for quality maps, `worst` the number of worst frames (by score `worst_by`, the first one by
    default) to write as pictures into `worst_dir`.

    Returns a `Report`; a file that fails carries its error in its result, and what was scored before is kept.

    Raises
        VqmeterError: the request itself is wrong, or no file could be measured at all is told in `Report.results`.
    """
    paths = [os.fspath(distorted)] if isinstance(distorted, (str, os.PathLike)) else [os.fspath(d) for d in distorted]
    ref = None if reference is None else os.fspath(reference)
    dist_input = InputOptions(
        parse_size(size), pix_fmt, parse_rate(rate), input_format,
        None if range == "auto" else range, None if matrix == "auto" else matrix, threads, max_pixels,
        max_frames, 1 if ref is None else sum(not path.lower().endswith((*RAW_SUFFIXES, ".y4m")) for path in (ref, *paths)),
    )  # fmt: skip
    piped = "-" in (ref, *paths)
    ref_input = replace(
        dist_input, size=parse_size(ref_size) or dist_input.size, pix_fmt=ref_pix_fmt or pix_fmt,
        format=ref_input_format or (None if piped and ref != "-" else input_format),
    )  # fmt: skip
    if piped and ref == "-":
        dist_input = replace(dist_input, format=None)
    if metrics is None:
        metrics = ("psnr", "ssim") if ref is not None else ()
    settings = Settings(
        (metrics,) if isinstance(metrics, str) else tuple(metrics),
        (models,) if isinstance(models, str) else tuple(models),
        Selection(start, duration, frames, subsample, shortest, pair=pair), ref_input, dist_input, planes, device, precision,
        threads, batch, seed, psnr_cap, weights, model_ref, Scale.parse(scale), None if map is None else os.fspath(map),
        Worst(worst, worst_by or "", os.fspath(worst_dir)) if worst else None,
        parse_sync(sync, pair), Crop.parse(crop), deinterlace, tuple(limits), None if cache is None else os.fspath(cache),
    )  # fmt: skip
    words = list(argv) if argv is not None else []
    if ref is not None:
        return OnePass(ref, paths, settings, progress).run(words)
    reports = [OnePass(None, [path], settings, progress).run(words) for path in paths]
    if not reports:
        raise UsageError("no clip named")
    return replace(reports[-1], results=[result for report in reports for result in report.results])
