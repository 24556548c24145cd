"""Whether this installation measures what it should: known scores, hashes of weights, the decoder, CPU against CUDA.

Every full-reference metric scores a built-in pair, every model a built-in coded clip (`clips`). The numbers are held
against `vqmeter/golden.json`, those of the machine that made the release; a score may be off by 1e-4 of its scale. Models
are held against it only where their weights are the ones it names. `python -m vqmeter.selfcheck` writes that file anew.
"""

from __future__ import annotations

import json
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from importlib.resources import files
from typing import Any

from vqmeter import __version__
from vqmeter.environment import environment
from vqmeter.errors import DeviceError, UsageError, VqmeterError, WeightsError
from vqmeter.machine import cpu_count
from vqmeter.metric import NAMES, metric_class
from vqmeter.report import Result, gravest
from vqmeter.selfcheck.clips import CODED, make, samples_of
from vqmeter.session import measure

TOLERANCE = 1e-4  # of the scale's width; of 1 where it has no end
_LIBRARIES = ("av", "click", "llvmlite", "numba", "numpy", "pillow", "rich", "safetensors", "scikit-image", "scipy", "torch")


@dataclass(frozen=True)
class Check:
    """One thing looked at. `status` is ok, or wrong (`code` says how grave), or missing or other: not compared, and why."""

    part: str  # weights, decoder, score, cuda
    name: str
    status: str
    code: int = 0
    value: float | None = None
    expected: float | None = None
    note: str = ""
    seconds: float = 0.0


def golden() -> dict[str, Any]:
    """Score -> value, and the SHA-256 of the weights where it has any."""
    found: dict[str, Any] = json.loads(files("vqmeter").joinpath("golden.json").read_text("utf-8"))
    return found


def run() -> Iterator[Check]:
    """Every check, one after another as it is done."""
    yield from _weights()
    with tempfile.TemporaryDirectory(prefix="vqmeter-") as folder:
        pair, known = make(folder), golden()
        yield _decoder(known)
        for family, name in everything():
            yield from _scores(family, name, pair, known)
        yield from _cuda(pair)


def everything() -> list[tuple[str, str]]:
    return [(family, name) for family, table in NAMES.items() for name in table]


def score(family: str, name: str, pair: tuple[str, str], device: str = "cpu") -> Result:
    """One metric's scores of the pair, one model's of the coded clip.

    Raises
        VqmeterError: it cannot be measured here.
    """
    if family == "fr":
        result = measure(pair[1], reference=pair[0], metrics=name, device=device).only
    else:
        result = measure(CODED, models=name, device=device).only
    if result.error is not None:
        raise result.error
    return result


def _weights() -> Iterator[Check]:
    """The hash and the tensors of every set that is here, and of every one that should be."""
    from vqmeter.weights import catalogue, verify

    for entry in catalogue():
        started = time.perf_counter()
        if entry.path is None:
            if entry.bundled:
                yield Check("weights", entry.name, "missing", note="does not come with this installation")
            continue
        try:
            found = verify(entry.name)
            note = f"SHA-256 {found.sha256[:16]}" + ("" if entry.bundled else f", {found.path}")
            yield Check("weights", entry.name, "ok", note=note, seconds=time.perf_counter() - started)
        except VqmeterError as error:
            yield Check("weights", entry.name, "wrong", error.exit_code, note=str(error))


def _decoder(known: Mapping[str, Any]) -> Check:
    """Whether FFmpeg gives the samples of the coded clip that every decoder must give."""
    started = time.perf_counter()
    try:
        digest = samples_of(str(CODED))
    except VqmeterError as error:
        return Check("decoder", "h264", "wrong", error.exit_code, note=str(error))
    good = digest == known[CODED.name]["samples"]
    return Check("decoder", "h264", *(("ok", 0) if good else ("wrong", 1)), note=f"samples' SHA-256 {digest[:16]}",
                 seconds=time.perf_counter() - started)  # fmt: skip


def _scores(family: str, name: str, pair: tuple[str, str], known: Mapping[str, Any]) -> Iterator[Check]:
    """One metric against the numbers it should give."""
    started = time.perf_counter()
    try:
        result = score(family, name, pair)
    except WeightsError as error:
        yield Check("score", name, *(("wrong", error.exit_code) if _has_weights(name) else ("missing", 0)), note=str(error))
        return
    except UsageError as error:  # a program or a library that is an extra
        yield Check("score", name, "missing", note=str(error))
        return
    except VqmeterError as error:
        yield Check("score", name, "wrong", error.exit_code, note=str(error))
        return
    seconds = time.perf_counter() - started
    for key, pooled in result.pooled.items():
        facts, entry, value = result.metrics[key], known.get(key, {}), float(pooled["score"])
        expected, digest = entry.get("score"), facts["weights_sha256"]
        if expected is None:
            yield Check("score", key, "other", 0, value, note="nothing is known to compare it with", seconds=seconds)
        elif digest != entry.get("weights"):
            yield Check("score", key, "other", 0, value, note=f"other weights ({(digest or 'none')[:16]})", seconds=seconds)
        else:
            good = abs(value - expected) <= TOLERANCE * _width(facts)
            yield Check("score", key, *(("ok", 0) if good else ("wrong", 1)), value, expected, seconds=seconds)


def _cuda(pair: tuple[str, str]) -> Iterator[Check]:
    """What prefers a GPU, on CPU and GPU, where there is a GPU."""
    import torch

    if not torch.cuda.is_available():
        yield Check("cuda", "CUDA", "missing", note="no CUDA device: not compared")
        return
    for family, name in everything():
        if not metric_class(family, name).prefers_cuda:
            continue
        started = time.perf_counter()
        try:
            here, there = (score(family, name, pair, device) for device in ("cpu", "cuda"))
        except (WeightsError, UsageError):
            continue  # told among the scores
        except VqmeterError as error:
            yield Check("cuda", name, "wrong", error.exit_code, note=str(error))
            continue
        for key, pooled in there.pooled.items():
            value, expected = float(pooled["score"]), float(here.pooled[key]["score"])
            good = abs(value - expected) <= TOLERANCE * _width(here.metrics[key])
            yield Check("cuda", key, *(("ok", 0) if good else ("wrong", DeviceError.exit_code)), value, expected,
                        torch.cuda.get_device_name(0), time.perf_counter() - started)  # fmt: skip


@lru_cache
def _has_weights(name: str) -> bool:
    """Whether some file of weights for this model is here."""
    from vqmeter.weights import catalogue

    return any(entry.path is not None and name in (entry.name, entry.model) for entry in catalogue())


def _width(facts: Mapping[str, Any]) -> float:
    return 1.0 if facts["low"] is None or facts["high"] is None else float(facts["high"] - facts["low"])


def document(checks: list[Check]) -> dict[str, Any]:
    """All that is known, as plain values."""
    return {"schema": "vqmeter-selfcheck/1", "vqmeter": __version__, "environment": environment(cpu_count()),
            "versions": versions(), "checks": [{**vars(check), "seconds": round(check.seconds, 3)} for check in checks],
            "code": gravest(check.code for check in checks)}  # fmt: skip


def versions() -> dict[str, str]:
    """Of Python, of the system, and of the libraries that compute."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found
