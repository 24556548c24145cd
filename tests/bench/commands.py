"""Command lines of vqmeter and its peers over the same files."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from clips import RATE
from timing import HERE, PeerError, run

SIZE = "1920x1080"


def vqmeter(*args: object) -> list[str]:
    return [sys.executable, "-m", "vqmeter", *map(str, args)]


def fr(ref: Path, dist: Path, metrics: str, score: str, *, frames: int | None = None, pix_fmt: str = "yuv420p",
       size: str = SIZE) -> list[str]:  # fmt: skip
    """`vqmeter fr`, which prints one number as the filters do."""
    limit = [] if frames is None else ["--frames", frames]
    return vqmeter("fr", ref, dist, "-s", size, "-pix_fmt", pix_fmt, "-r", RATE, "-m", metrics, "--score", score, *limit)


@cache
def metrics() -> frozenset[str]:
    """The full-reference metrics `vqmeter models` lists."""
    cards = json.loads(run(vqmeter("models", "-f", "json")).out)
    return frozenset(card["name"] for card in cards if card["family"] == "fr")


@cache
def ffmpeg() -> str:
    """imageio-ffmpeg's ffmpeg, which has libvmaf in it, else the one on PATH.

    Raises
        PeerError: there is none.
    """
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        found = shutil.which("ffmpeg")
    if found is None:
        raise PeerError("no ffmpeg: install imageio-ffmpeg")
    return found


@cache
def ffmpeg_version() -> str:
    return run([ffmpeg(), "-version"]).out.split()[2].split("-")[0].lstrip("n")


def ffmpeg_filter(ref: Path, dist: Path, graph: str, *, frames: int | None = None, pix_fmt: str = "yuv420p",
                  size: str = SIZE) -> list[str]:  # fmt: skip
    """A filter of ffmpeg over two files, raw ones and others, with the threads that ffmpeg takes; no log file."""
    limit = [] if frames is None else ["-t", str(frames / RATE)]
    raw = ["-f", "rawvideo", "-s", size, "-r", str(RATE), "-pix_fmt", pix_fmt]
    inputs = [part for path in (dist, ref)
              for part in (*(raw if path.suffix == ".yuv" else []), *limit, "-i", str(path))]  # fmt: skip
    return [ffmpeg(), "-hide_banner", "-nostdin", "-nostats", *inputs, "-lavfi", graph, "-f", "null", "-"]


def libvmaf(feature: str, threads: int = 2, log: bool = False) -> str:
    """libvmaf's filter with one feature and no model; its log goes to stdout."""
    logged = ":log_fmt=json:log_path=/dev/stdout" if log else ""
    return f"libvmaf=model=:feature=name={feature}:n_threads={threads}{logged}"


def libvmaf_mean(log: str, score: str) -> float | None:
    """The mean that libvmaf's log has of a score."""
    try:
        return float(json.loads(log)["pooled_metrics"][score]["mean"])
    except (ValueError, KeyError):
        return None


def bare_decoding(path: Path) -> list[str]:
    """A Python process that decodes a file through PyAV and does nothing else."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import worker; worker.decode(sys.argv[2])()"
    return [sys.executable, "-c", code, str(HERE), str(path)]


def ffmpeg_psnr(log: str) -> float | None:
    """The average that the psnr filter logs."""
    return _after(log, "PSNR y:", " average:")


def ffmpeg_ssim(log: str) -> float | None:
    """The luma SSIM that the ssim filter logs."""
    return _after(log, "SSIM ", "Y:")


def _after(log: str, line: str, key: str) -> float | None:
    found = [text for text in log.splitlines() if line in text]
    try:
        return float(found[-1].split(key)[1].split()[0])
    except (IndexError, ValueError):
        return None


def imports(argv: Sequence[str], names: Sequence[str]) -> list[str]:
    """Which of the packages `names` a vqmeter command line imports."""
    log = run([argv[0], "-X", "importtime", *argv[1:]]).err
    modules = {line.rpartition("|")[2].strip() for line in log.splitlines() if line.startswith("import time:")}
    return [name for name in names if name in modules]
