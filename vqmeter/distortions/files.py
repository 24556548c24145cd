"""Files distorted into a folder: what is to be made, made in parallel, and the table that says how each was made.

A file is not made again where it is there, no older than its reference, and the table says that it was made the same way.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Any

from vqmeter.distortions import Type, generator, preset
from vqmeter.distortions.table import Row, Table
from vqmeter.errors import InputError, MissingInputError, OutputError, UsageError, VqmeterError
from vqmeter.frames import VideoInfo
from vqmeter.sources import RAW_SUFFIXES, InputOptions, Source, open_video
from vqmeter.writers import whole

_ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm", ".jp2", ".avif"),
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mpg", ".mpeg", ".y4m", ".264", ".h264", ".265"),
    *(".hevc", ".ivf", ".obu", ".flv", ".wmv", ".mxf", ".gif", *RAW_SUFFIXES),
)


@dataclass(frozen=True)
class Input:
    """A file to distort: its path, the stem of its copies' names, and whether it is one picture."""

    path: str
    stem: str
    picture: bool
    info: VideoInfo


@dataclass(frozen=True)
class Task:
    """One file to make."""

    source: Input
    type: Type
    level: int
    form: str
    path: str
    row: Row


def files_in(path: str, folder: str) -> list[str]:
    """`path` itself, or the pictures and videos in the folder `path` by their endings, sorted; copies go to `folder`.

    Raises
        UsageError: standard input, or `folder` is `path` itself.
        MissingInputError: a folder without any, or one that may not be read.
    """
    if path == "-":
        raise UsageError("distort reads its input more than once: give a file, not -")
    if not os.path.isdir(path):
        return [path]
    if os.path.realpath(path) == os.path.realpath(folder):
        raise UsageError(f"{path}: IN and OUTDIR are the same folder; copies would be distorted next time")
    try:
        names = sorted(name for name in os.listdir(path) if name.lower().endswith(_ENDINGS) and not name.startswith("."))
    except OSError as error:
        raise MissingInputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if not names:
        raise MissingInputError(f"{path}: no picture or video in this folder")
    return [os.path.join(path, name) for name in names]


def look(path: str, options: InputOptions) -> Input:
    """What `path` is: one picture, or a video of more frames.

    Raises
        VqmeterError: as `open_video`.
    """
    source = open_video(path, options)
    try:
        count = source.count or source.length()
        stem = re.sub(r"[._-]?%0?\d*d$", "", os.path.splitext(os.path.basename(path))[0]) or "sequence"
        return Input(path, stem, count == 1, source.info)
    finally:
        source.close()


def copies(one: Input, chosen: Sequence[Type], levels: list[int] | None = None) -> Iterator[tuple[Type, list[int]]]:
    """The types among `chosen` that suit an input (its preset where none is named), each at `levels` or at all of its own.

    Raises
        UsageError: a type has no such level.
    """
    for kind in chosen or preset("tid" if one.picture else "video"):
        if kind.kind == "picture" or not one.picture:
            wanted = levels or list(range(1, len(kind.levels) + 1))
            for level in wanted:
                kind.value(level)
            yield kind, wanted


def plan(inputs: Sequence[Input], types: Callable[[Input], Iterable[tuple[Type, Iterable[int]]]], folder: str, seed: int,
         picture_form: str = "png", video_form: str = "mkv") -> list[Task]:  # fmt: skip
    """Every file that is wanted, those of one input together.

    Raises
        UsageError: two inputs whose copies would have the same names.
    """
    tasks: dict[str, Task] = {}
    for source in inputs:
        reference = os.path.relpath(source.path, folder)
        for kind, levels in types(source):
            form = picture_form if source.picture else kind.load().ending[1:] if kind.kind == "codec" else video_form
            for level in levels:
                path = os.path.join(folder, f"{source.stem}_{kind.name}_{level}{_facts(source.info, form)}.{form}")
                if path in tasks and tasks[path].source.path != source.path:
                    raise UsageError(f"{source.path} and {tasks[path].source.path} would both be made into {path}")
                row = Row(os.path.basename(path), reference, kind.name, level, seed, _parameters(source.info, kind, level))
                tasks[path] = Task(source, kind, level, form, path, row)
    return list(tasks.values())


def _parameters(info: VideoInfo, kind: Type, level: int) -> str:
    """The value of a level, and of codecs the encoder, its speed and the pixel format where it is not the source's."""
    if kind.kind != "codec":
        return kind.describe(level)
    from vqmeter.distortions.codecs import planar_format

    encoder = kind.load()
    taken = encoder.format(info.pix_fmt)
    speed = next((f" {key}={encoder.options[key]}" for key in ("preset", "cpu-used") if key in encoder.options), "")
    other = f" pix_fmt={taken}" if taken != planar_format(info.pix_fmt).name else ""
    return f"{kind.describe(level)} encoder={encoder.codec}{speed}{other}"


def _facts(info: VideoInfo, form: str) -> str:
    """What the name of a headless file must say."""
    if form != "yuv":
        return ""
    from vqmeter.distortions.codecs import planar_format, rate_of

    return f"_{info.width}x{info.height}_{planar_format(info.pix_fmt).name}_{round(float(rate_of(info)), 3):g}fps"


def run(tasks: Sequence[Task], folder: str, options: InputOptions, jobs: int, overwrite: bool = False,
        progress: Callable[[int, int], None] | None = None) -> Iterator[VqmeterError]:  # fmt: skip
    """Make what is not there yet, `jobs` files at a time, and keep the table; yields what failed, each message once.

    Raises
        UsageError: a file is there that was made another way, and `overwrite` is not set.
        OutputError: the folder or a file in it cannot be written.
    """
    table = Table(folder)
    todo = [task for task in tasks if overwrite or not table.has(task.row, task.path, task.source.path)]
    stop, said = threading.Event(), set()
    done = len(tasks) - len(todo)
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="vqmeter-distort")
    pending: dict[Future[None], Task] = {pool.submit(_make, task, options, stop): task for task in todo}
    try:
        while pending:
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                task = pending[future]
                done += 1
                if progress is not None:
                    progress(done, len(tasks))
                try:
                    future.result()
                    table.add(task.row)
                    del pending[future]
                except OutputError:
                    raise
                except VqmeterError as error:
                    del pending[future]
                    if str(error) not in said:
                        said.add(str(error))
                        yield error
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        for future, task in pending.items():  # finished while the run was being broken off
            if not future.cancelled() and future.exception() is None:
                table.add(task.row)
        table.save()


def _make(task: Task, options: InputOptions, stop: threading.Event) -> None:
    source = open_video(task.source.path, options)
    try:
        picture = _picture(task, source) if task.source.picture else None
        with whole(task.path, f".{task.form}") as temporary:
            if picture is not None:
                picture.save(temporary)
            else:
                _make_video(task, source, temporary, stop)
    finally:
        source.close()


def _picture(task: Task, source: Source) -> Any:
    from PIL import Image

    from vqmeter.worst import to_rgb

    rgb = to_rgb(next(iter(source.frames())))
    value, rng = task.type.value(task.level), generator(task.row.seed, task.source.stem, task.type.name)
    return Image.fromarray(task.type.load()(rgb, value, rng))


def _make_video(task: Task, source: Source, path: str, stop: threading.Event) -> None:
    from vqmeter.distortions.codecs import FFV1, write, write_raw
    from vqmeter.distortions.video import picture_by_picture

    kind, info, value = task.type, source.info, task.type.value(task.level)
    frames = _planes(source, stop)
    if kind.kind == "codec":
        return write(frames, info, path, kind.load(), value)
    distort = picture_by_picture(kind.load()) if kind.kind == "picture" else kind.load()
    draw = partial(generator, task.row.seed, task.source.stem, kind.name)
    frames = distort(frames, info, value, draw)
    return write(frames, info, path, FFV1) if task.form == "mkv" else write_raw(frames, info, path, task.form == "y4m")


class _StoppedError(InputError):
    """The run was broken off."""


def _planes(source: Source, stop: threading.Event) -> Iterator[tuple]:  # type: ignore[type-arg]
    for frame in source.frames():
        if stop.is_set():
            raise _StoppedError(f"{source.info.path}: broken off")
        yield frame.planes
        frame.release()
