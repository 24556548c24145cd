"""A warm process of the bench: does one task each time a line comes in, and answers how long it took.

`python worker.py TASK '{"option": ...}'`; a line is `null`, or another task for once, `{"task": ..., "option": ...}`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Work = Callable[[], "float | None"]


class MissingError(Exception):
    """A library this task needs is not here."""


def measure(ref: str, dist: str, metrics: str, frames: int | None = None, pix_fmt: str = "yuv420p", threads: int = 0,
            size: str = "1920x1080", score: str | None = None) -> Work:  # fmt: skip
    """What the command line does, without its start-up; gives a score, or else the mean of the first one."""
    import vqmeter.cli  # noqa: F401  # in its processes freed memory is kept
    from vqmeter import measure as vqmeter_measure

    raw = {"size": size, "pix_fmt": pix_fmt, "rate": 25}

    def work() -> float:
        report = vqmeter_measure(dist, reference=ref, metrics=metrics, frames=frames, threads=threads, **raw)
        if report.exit_code:
            raise RuntimeError(str(report.only.error))
        if score:
            return float(report.only.statistic(score))
        return float(next(iter(report.pooled.values()))["mean"])

    return work


def decode(path: str, frames: int | None = None, threads: int = 0) -> Work:
    """Bare decoding through PyAV; the pictures are thrown away."""
    import av

    def work() -> None:
        with av.open(path) as container:
            container.streams.video[0].thread_type = "AUTO"
            container.streams.video[0].codec_context.thread_count = threads
            for n, _ in enumerate(container.decode(video=0), 1):
                if n == frames:
                    break

    return work


def read_memory(mib: int, threads: int) -> Work:
    """Adds up an array far larger than the caches, each thread a part of it."""
    import numba
    import numpy as np

    @numba.njit(nogil=True, boundscheck=False)  # type: ignore[untyped-decorator, unused-ignore]
    def add(values: Any) -> Any:
        total = np.uint64(0)
        for n in range(values.size):
            total += values[n]
        return total

    parts = np.array_split(np.ones(mib << 17, np.uint64), threads)
    pool = ThreadPoolExecutor(threads)

    def work() -> float:
        return float(sum(pool.map(add, parts)))

    return work


def read_file(ref: str, dist: str, block: int, frames: int, threads: int) -> Work:
    """Reads both files by position, frames in turn over the threads, each into a buffer of its own; looks at nothing."""
    import numpy as np

    files = [os.open(path, os.O_RDONLY) for path in (ref, dist)]
    pool = ThreadPoolExecutor(threads)
    buffers = [[np.full(block, 1, np.uint8) for _ in files] for _ in range(threads)]

    def read(thread: int) -> int:
        return sum(
            os.preadv(file, [buffer], n * block)
            for n in range(thread, frames, threads)
            for file, buffer in zip(files, buffers[thread], strict=True)
        )

    def work() -> float:
        return float(sum(pool.map(read, range(threads))))

    return work


def matmul(side: int, dtype: str, threads: int) -> Work:
    """Two square matrices of torch, multiplied: 2 side^3 operations."""
    import torch

    torch.set_num_threads(threads)
    a, b = (torch.ones(side, side, dtype=getattr(torch, dtype)) for _ in range(2))

    def work() -> None:
        torch.mm(a, b)

    return work


def _lumas(ref: str, dist: str, frames: int) -> list[tuple[Any, Any]]:
    import numpy as np

    size, luma = 1920 * 1080 * 3 // 2, 1920 * 1080
    return [
        tuple(np.fromfile(p, np.uint8, luma, offset=n * size).reshape(1080, 1920) for p in (ref, dist))  # type: ignore[misc]
        for n in range(frames)
    ]


def skimage_ssim(ref: str, dist: str, frames: int) -> Work:
    """scikit-image with the settings of Wang 2004, float64, on luma in memory."""
    import numpy as np
    from skimage.metrics import structural_similarity

    pairs = _lumas(ref, dist, frames)

    def work() -> float:
        total = 0.0
        for a, b in pairs:
            total += structural_similarity(
                a.astype(np.float64), b.astype(np.float64), gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                data_range=255,
            )  # fmt: skip
        return total / frames

    return work


def torch_ssim(ref: str, dist: str, frames: int, threads: int = 2) -> Work:
    """SSIM the way Python libraries of torch have it: five moments by depthwise 11x11 convolutions in float32."""
    import torch
    from torch.nn.functional import conv2d

    torch.set_num_threads(threads)
    taps = torch.exp(-((torch.arange(11, dtype=torch.float32) - 5) ** 2) / (2 * 1.5**2))
    window = torch.outer(taps, taps)
    window = (window / window.sum())[None, None]
    pairs = [(torch.from_numpy(a)[None, None], torch.from_numpy(b)[None, None]) for a, b in _lumas(ref, dist, frames)]
    c1, c2 = 0.01**2, 0.03**2

    def similarity(x: Any, y: Any) -> float:
        x, y = x.float() / 255, y.float() / 255
        mean_x, mean_y, xx, yy, xy = (conv2d(plane, window) for plane in (x, y, x * x, y * y, x * y))
        var_x, var_y, covariance = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
        structure = (2 * covariance + c2) / (var_x + var_y + c2)
        return float(((2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1) * structure).mean())

    def work() -> float:
        with torch.no_grad():
            return sum(similarity(x, y) for x, y in pairs) / frames

    return work


def piq_ssim(ref: str, dist: str, frames: int, threads: int = 2) -> Work:
    """piq itself, where it is installed and can be imported (it wants torchvision)."""
    try:
        import piq
    except ImportError as error:
        raise MissingError(f"piq is not measured: {error}") from None
    import torch

    torch.set_num_threads(threads)
    pairs = [(torch.from_numpy(a)[None, None], torch.from_numpy(b)[None, None]) for a, b in _lumas(ref, dist, frames)]

    def work() -> float:
        with torch.no_grad():
            values = [piq.ssim(y / 255, x / 255, kernel_size=11, downsample=False) for x, y in pairs]
        return float(sum(values)) / frames

    return work


_TASKS = (measure, decode, read_memory, read_file, matmul, skimage_ssim, torch_ssim, piq_ssim)
TASKS = {f.__name__: f for f in _TASKS}


def main() -> None:
    say = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints is no answer
    sys.path.pop(0)  # the vqmeter that is installed
    try:
        work = TASKS[sys.argv[1]](**json.loads(sys.argv[2]))
        work()
    except MissingError as error:
        print(json.dumps({"missing": str(error)}), file=say, flush=True)
        return
    print(json.dumps({"ready": True}), file=say, flush=True)
    for line in sys.stdin:
        other = json.loads(line)
        once = TASKS[other.pop("task")](**other) if other else work
        started = time.perf_counter()
        value = once()
        print(json.dumps({"seconds": time.perf_counter() - started, "value": value}), file=say, flush=True)


if __name__ == "__main__":
    main()
