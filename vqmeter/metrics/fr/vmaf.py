"""VMAF by libvmaf, run in an ffmpeg that has it: 0..100, higher is better.

A support vector regression of luma features: VIF at four scales, detail loss (ADM2), and motion between reference
frames. One ffmpeg for each meter takes a single stream of double-height grey frames on its stdin, reference above
distorted, splits it in its filter graph, and writes libvmaf's log to its stdout once the stream has ended. No files.

The models look at luma alone, so luma alone is sent, whatever the chroma layout. libvmaf takes no grey pictures: the
graph puts a corner of luma in place of chroma, which no feature reads.

Source: Li et al., "Toward a practical perceptual video quality metric", Netflix 2016; github.com/Netflix/vmaf.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import signal
import subprocess
import threading
import weakref
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader, FileIO
from typing import Any, ClassVar, cast

import numpy as np

from vqmeter.errors import DeviceError, InputError, MismatchError, UsageError, VqmeterError
from vqmeter.metric import About, Clip, Context, Meter, QualityMap, Sample, Scale, Score, Stream

_DEPTHS = (8, 10, 12, 16)  # libvmaf's
_SMALLEST = 32  # pixels a side; libvmaf ends in a segmentation fault at 16
_PIPE_BYTES = 1 << 20
_PATIENCE = 10.0  # seconds for an ffmpeg that has closed its stdin to end by itself
_NEEDS = "a reference; an ffmpeg with libvmaf: pip install 'vqmeter[vmaf]', or one on PATH"
_SOURCE = (
    "Li, Aaron, Katsavounidis, Moorthy, Manohara, Toward a practical perceptual video quality metric, Netflix "
    "Technology Blog 2016; github.com/Netflix/vmaf. "
)
_FEATURES = (
    "Support vector regression, fitted to people's opinions, of six features of luma: VIF at four scales, ADM2 (detail "
    "loss) and motion (the smaller of the mean differences of the blurred reference to its neighbours), clipped to "
    "0..100. In integers, at the stream's depth. Computed by libvmaf's built-in model "
)
_VALIDATED = "by Netflix, on its own data. Identical frames score about 97 to 100, not 100: motion counts."


@dataclass(frozen=True)
class BuiltIn:
    """A model built into libvmaf, and the score it gives."""

    model: ClassVar[str]
    score: ClassVar[str]
    about: ClassVar[About]
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = False
    prefers_cuda: ClassVar[bool] = False

    def scales(self) -> Mapping[str, Scale]:
        return {self.score: Scale("", 0.0, 100.0, "higher", f"VMAF of libvmaf's built-in model {self.model}")}

    def open(self, stream: Stream, context: Context) -> Meter:
        return VmafMeter(stream, self.scales(), f"version={self.model}", context.threads)


@dataclass(frozen=True)
class Vmaf(BuiltIn):
    """Score `vmaf`, 0..100, higher is better; with `phone=true` the score `vmaf_phone`, for a phone's small screen."""

    phone: bool = False

    model: ClassVar[str] = "vmaf_v0.6.1"
    score: ClassVar[str] = "vmaf"
    about: ClassVar[About] = About(
        title="Video multimethod assessment fusion, 1080p model",
        definition=f"{_FEATURES}vmaf_v0.6.1: 1080p on a television from three heights' distance. phone=true maps the score "
        "by libvmaf's enable_transform to a phone's, and calls it vmaf_phone. score is the mean over frames.",
        source=_SOURCE,
        differs="Equal to ffmpeg's libvmaf filter and the vmaf tool. ffmpeg scales other pixel formats silently; here they "
        "are refused.",
        needs=_NEEDS,
        validated=_VALIDATED,
    )

    def scales(self) -> Mapping[str, Scale]:
        return {name + ("_phone" if self.phone else ""): scale for name, scale in super().scales().items()}

    def open(self, stream: Stream, context: Context) -> Meter:
        options = r"\:enable_transform=true" if self.phone else ""
        return VmafMeter(stream, self.scales(), f"version={self.model}{options}", context.threads)


@dataclass(frozen=True)
class VmafNeg(BuiltIn):
    """Score `vmaf_neg`, 0..100, higher is better: VMAF that gives nothing for enhancement."""

    model: ClassVar[str] = "vmaf_v0.6.1neg"
    score: ClassVar[str] = "vmaf_neg"
    about: ClassVar[About] = About(
        title="VMAF without enhancement gain, 1080p model",
        definition=f"{_FEATURES}vmaf_v0.6.1neg, which limits the gain that VIF and ADM give for sharpening and contrast to "
        "none. score is the mean over frames.",
        source=_SOURCE + "Toward a better quality metric for the video community, Netflix Technology Blog 2020.",
        differs="Equal to ffmpeg's libvmaf filter and the vmaf tool with this model.",
        needs=_NEEDS,
        validated=_VALIDATED,
    )


@dataclass(frozen=True)
class Vmaf4k(BuiltIn):
    """Score `vmaf_4k`, 0..100, higher is better: the model for 2160p."""

    model: ClassVar[str] = "vmaf_4k_v0.6.1"
    score: ClassVar[str] = "vmaf_4k"
    about: ClassVar[About] = About(
        title="Video multimethod assessment fusion, 2160p model",
        definition=f"{_FEATURES}vmaf_4k_v0.6.1: 2160p on a television from one and a half heights' distance. score is the "
        "mean over frames.",
        source=_SOURCE,
        differs="Equal to ffmpeg's libvmaf filter and the vmaf tool with this model.",
        needs=_NEEDS,
        validated=_VALIDATED,
    )


def find_ffmpeg() -> str:
    """An ffmpeg with libvmaf 2 or newer: imageio-ffmpeg's, else the one on PATH.

    Raises
        UsageError: there is none; says how to get one.
    """
    tried = []
    with contextlib.suppress(ImportError, RuntimeError):
        import imageio_ffmpeg

        tried.append(str(imageio_ffmpeg.get_ffmpeg_exe()))
    on_path = shutil.which("ffmpeg")
    tried += [on_path] if on_path else []
    for path in tried:
        if _has_libvmaf(path):
            return path
    found = f"{' and '.join(tried)} has no libvmaf" if tried else "it needs an ffmpeg with libvmaf, and there is none"
    raise UsageError(f"vmaf: {found}; pip install 'vqmeter[vmaf]' brings one")


@functools.lru_cache
def _has_libvmaf(path: str) -> bool:
    """Whether an ffmpeg has the libvmaf filter with built-in models."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        command = [path, "-hide_banner", "-loglevel", "error", "-h", "filter=libvmaf"]
        told = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        return b"version=vmaf" in told.stdout
    return False


class VmafMeter:
    """Sends luma to an ffmpeg of its own, which starts with the first frame; the scores come at the end."""

    batch = 1

    def __init__(self, stream: Stream, scores: Mapping[str, Scale], model: str, threads: int) -> None:
        fmt, info = stream.compare_format, stream.dist
        if os.name != "posix":
            raise UsageError("vmaf: libvmaf's log cannot be read without a file on this system; it works on Linux and macOS")
        if fmt.family == "rgb" or fmt.bit_depth not in _DEPTHS:
            depths = ", ".join(map(str, _DEPTHS))
            raise MismatchError(f"vmaf: takes grey and YUV of {depths} bits, not {fmt.name}")
        if min(info.width, info.height) < _SMALLEST:
            raise MismatchError(f"vmaf: needs {_SMALLEST}x{_SMALLEST} pixels at least, not {info.width}x{info.height}")
        self.scores = scores
        self._dtype = np.dtype(np.uint8 if fmt.bit_depth == 8 else "<u2")
        self._command = _command(find_ffmpeg(), info.width, info.height, fmt.bit_depth, model, threads)
        self._ffmpeg: Ffmpeg | None = None

    def plan(self) -> Iterator[tuple[int, ...]]:
        return zip(itertools.count())

    def prepare(self, sample: Sample) -> Any:
        """Luma of the reference above luma of the distorted frame: (2 H, W) of the stream's depth."""
        ref, dist = (frame.planes[0] for frame in sample.pair)
        stacked = np.empty((2 * dist.shape[0], dist.shape[1]), self._dtype)
        stacked[: dist.shape[0]] = ref
        stacked[dist.shape[0] :] = dist
        return stacked

    def score(self, batch: Sequence[Clip]) -> Iterator[Score | QualityMap]:
        if self._ffmpeg is None:
            self._ffmpeg = Ffmpeg(self._command)
        for clip in batch:
            self._ffmpeg.write(clip.items[0])
        return iter(())

    def finish(self) -> Iterator[Score | QualityMap]:
        if self._ffmpeg is None:
            return
        (name,) = self.scores
        for n, value in enumerate(self._ffmpeg.scores()):
            yield Score(name, value, range(n, n + 1))

    def close(self) -> None:
        """End ffmpeg if it still runs; needed only where a run is given up before `finish`."""
        if self._ffmpeg is not None:
            self._ffmpeg.close()


def _command(path: str, width: int, height: int, depth: int, model: str, threads: int) -> list[str]:
    suffix = "" if depth == 8 else f"{depth}le"
    chroma = f"crop={-(-width // 2)}:{-(-height // 2)}:0:0"
    merge = f"mergeplanes=map1s=1:map2s=1:format=yuv420p{suffix}"
    graph = (
        f"[0:v]split=4[r][d][c1][c2];[c1]{chroma}[rc];[c2]{chroma}[dc];"
        f"[r]crop={width}:{height}:0:0[ry];[ry][rc]{merge}[ref];"
        f"[d]crop={width}:{height}:0:{height}[dy];[dy][dc]{merge}[dist];"
        f"[dist][ref]libvmaf=model='{model}':n_threads={max(1, threads)}:log_fmt=csv:log_path=/dev/stdout"
    )
    return [
        path, "-hide_banner", "-nostdin", "-nostats", "-loglevel", "error",
        "-f", "rawvideo", "-pix_fmt", f"gray{suffix}", "-video_size", f"{width}x{2 * height}", "-i", "pipe:0",
        "-filter_complex", graph, "-f", "null", "-",
    ]  # fmt: skip


class Ffmpeg:
    """One running ffmpeg: frames go in by its stdin; its stdout and stderr are read by threads, so nothing can jam.

    It is killed when this object is dropped or the program ends before `scores` was asked.
    """

    def __init__(self, command: list[str]) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        self.written = 0
        self._values, self._complaints = array("d"), list[str]()
        self._stdin = cast(FileIO, self.process.stdin)
        _widen(self._stdin.fileno())
        self._readers = [
            threading.Thread(target=_read_log, args=(self.process.stdout, self._values), daemon=True),
            threading.Thread(target=_read_errors, args=(self.process.stderr, self._complaints), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        self.close = weakref.finalize(self, _end, self.process, self._stdin, self._readers)

    def write(self, frame: Any) -> None:
        """Hand over a stacked frame; waits while ffmpeg is behind.

        Raises
            InputError, DeviceError: ffmpeg has ended.
        """
        left = memoryview(frame).cast("B")
        try:
            while left:
                left = left[self._stdin.write(left) :]
        except BrokenPipeError:
            raise self._failure() from None
        self.written += 1

    def scores(self) -> Iterator[float]:
        """The score of every frame written, after the last one.

        Raises
            InputError, DeviceError: ffmpeg failed.
        """
        self._stdin.close()
        for reader in self._readers:
            reader.join()
        if self.process.wait() != 0 or len(self._values) != self.written:
            raise self._failure()
        self.close()
        return iter(self._values)

    def _failure(self) -> VqmeterError:
        """Why ffmpeg did not do its work, once it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_PATIENCE)
        code = self.process.poll()
        self.close()
        where = f"vmaf: ffmpeg ended at frame {self.written}"
        if code is not None and code < 0:
            return DeviceError(f"{where}, killed by {signal.Signals(-code).name}; not enough memory?")
        why = self._complaints[0] if self._complaints else f"it gave {len(self._values)} scores"
        return InputError(f"{where} (exit code {code}): {why}")


def _widen(pipe: int) -> None:
    """Let a pipe hold more than 64 KiB, where the system allows: fewer turns for every frame."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _read_log(stdout: FileIO, values: array[float]) -> None:
    """In a thread: the column `vmaf` of libvmaf's CSV, row by row; the features beside it are let go."""
    with BufferedReader(stdout) as log:
        header = next(log, b"").strip().split(b",")
        column = header.index(b"vmaf") if b"vmaf" in header else len(header)
        for line in log:
            with contextlib.suppress(ValueError, IndexError):  # a score too few is an error where they are counted
                values.append(float(line.split(b",")[column]))


def _read_errors(stderr: FileIO, complaints: list[str]) -> None:
    """In a thread: what ffmpeg complains of. The first line names the cause; those after it, what followed."""
    with BufferedReader(stderr) as lines:
        for line in lines:
            if line.strip() and len(complaints) < 8:
                complaints.append(line.decode("utf-8", "replace").strip())


def _end(process: subprocess.Popen[bytes], stdin: FileIO, readers: list[threading.Thread]) -> None:
    """Leave nothing of an ffmpeg behind, whatever its state."""
    if process.poll() is None:
        process.kill()
        process.wait()
    stdin.close()
    for reader in readers:
        reader.join(_PATIENCE)
