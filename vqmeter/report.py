"""What was measured: scores frame by frame, pooled statistics, and the `vqmeter/1` document they make.

`harmonic_mean` is n / sum(1 / (s + 1)) - 1 as libvmaf has it; percentiles are linear; `mse_pooled` is the PSNR of the
mean squared error. A frame identical to its reference has an infinite PSNR: null in `frames`, and in the statistics
the ceiling of 6 x depth + 12 dB (libvmaf's), so that a better frame never lowers a mean.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqmeter.errors import EXIT_PRECEDENCE, UsageError, VqmeterError
from vqmeter.metric import Scale, Score, nearest

SCHEMA = "vqmeter/1"
_PERCENTILES = {"p1": 1, "p5": 5, "p10": 10, "median": 50, "p90": 90}
#: Every statistic that may stand behind a score's name, as in `psnr_y.p5`.
STATISTICS = ("score", "mean", "harmonic_mean", "min", "max", "std", *_PERCENTILES, "mse_pooled")
_ORDER_STATISTICS = {"min", "max", *_PERCENTILES}


def pool(values: NDArray[np.float64], squared_error: bool = False, cap: float | None = None) -> dict[str, float]:
    """All statistics of one score's values, (N,) float64; `cap` stands for infinite ones."""
    capped = values if cap is None else np.minimum(values, cap)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        stats = {
            "score": float(capped.mean()), "mean": float(capped.mean()), "harmonic_mean": _harmonic_mean(capped),
            "min": float(capped.min()), "max": float(capped.max()), "std": float(capped.std()),
        }  # fmt: skip
        ordered = np.sort(capped)
        stats |= {name: _percentile(ordered, p) for name, p in _PERCENTILES.items()}
        if squared_error:
            mse = float(np.mean(10 ** (-values / 10)))
            stats["mse_pooled"] = -10 * math.log10(mse) if mse > 0 else (math.inf if cap is None else cap)
    return stats


def _percentile(ordered: NDArray[np.float64], percent: float) -> float:
    """Linear between neighbours, as numpy's default, and right where the upper ones are infinite."""
    place = percent / 100 * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return float(low if low == high or place.is_integer() else low + (high - low) * (place % 1))


def _harmonic_mean(values: NDArray[np.float64]) -> float:
    if np.any(values <= -1):
        return math.nan
    return float(len(values) / np.sum(1 / (values + 1)) - 1)


@dataclass
class Series:
    """The values of one score, one a frame it was given for, in order."""

    scale: Scale
    cap: float | None = None
    frames: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, frame: int, value: float) -> None:
        self.frames.append(frame)
        self.values.append(value)

    @property
    def array(self) -> NDArray[np.float64]:
        return np.frombuffer(self.values, np.float64) if self.values else np.empty(0)

    def statistic(self, name: str, infinite: float | None = None) -> float:
        """One statistic for a person or a limit: order statistics are infinite where their frame is, means where all are.

        `infinite` is what an identical frame counts as in a mean, at least; the ceiling by default.
        """
        bare = pool(self.array, self.scale.squared_error)[name]
        if self.cap is None or (math.isinf(bare) and (name in _ORDER_STATISTICS or np.isinf(self.array).all())):
            return bare
        return pool(self.array, self.scale.squared_error, self.cap if infinite is None else max(self.cap, infinite))[name]


@dataclass
class Result:
    """The scores of one distorted file or clip.

    `columns` are the facts of each frame (`n`, `pts`, `t`, `type`, `bytes`), `series` its scores.
    """

    inputs: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    validity: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, list[Any]] = field(default_factory=lambda: {k: [] for k in ("n", "pts", "t", "type", "bytes")})
    series: dict[str, Series] = field(default_factory=dict)
    clips: list[dict[str, Any]] = field(default_factory=list)
    whole: dict[str, dict[str, Any]] = field(default_factory=dict)
    truncated: bool = False
    error: VqmeterError | None = None
    timing: dict[str, Any] = field(default_factory=dict)
    label: str = ""  # what pictures of it are called: the file's name, numbered where an earlier result has the same

    @property
    def name(self) -> str:
        """The path of the distorted file or clip."""
        return str(self.inputs["distorted"]["path"])

    def add(self, score: Score, name: str) -> None:
        """Take in a score under its published name."""
        if score.span is None:
            self.whole[name] = {"score": score.value, **score.extra}
        elif len(score.span) == 1 and name in self.series:
            self.series[name].add(score.span.start, score.value)
        else:
            self.clips.append({"first": score.span.start, "last": score.span.stop - 1, name: score.value})

    @property
    def frames(self) -> Mapping[str, NDArray[Any]]:
        """Columns by name: `n`, `t` and every per-frame score as (N,) float64, infinite where the frame is identical."""
        table = {"n": np.array(self.columns["n"], np.int64), "t": np.array(self.columns["t"], np.float64)}
        return table | {name: series.array.copy() for name, series in self.series.items() if series.values}

    @property
    def pooled(self) -> dict[str, dict[str, Any]]:
        """Statistics by score name; `score` is always there."""
        table: dict[str, dict[str, Any]] = {}
        for name, series in self.series.items():
            if series.values:
                table[name] = pool(series.array, series.scale.squared_error, series.cap)
        for name, values in self.whole.items():
            table[name] = table.get(name, {}) | values
        return table

    def statistic(self, key: str, infinite: float | None = None) -> float:
        """The number behind `KEY[.STAT]`, as `--score` prints it.

        Raises
            UsageError: no such score or statistic.
        """
        name, _, stat = key.partition(".")
        if name not in self.series and name not in self.whole:
            raise UsageError(f"no score '{name}' here{nearest(name, [*self.series, *self.whole])}")
        whole = self.whole.get(name, {})
        if (stat or "score") in whole:
            return float(whole[stat or "score"])
        if stat and stat not in STATISTICS:
            raise UsageError(f"no statistic '{stat}'{nearest(stat, STATISTICS)}")
        series = self.series.get(name)
        if series is None or (stat == "mse_pooled" and not series.scale.squared_error):
            raise UsageError(f"{name} has no {stat or 'score'}")
        return series.statistic(stat or "score", infinite) if series.values else math.nan

    def to_json(self) -> dict[str, Any]:
        """This result as the schema has it; what is not finite is null."""
        error = None if self.error is None else {"code": self.error.exit_code, "message": str(self.error)}
        return {
            "inputs": self.inputs, "settings": self.settings, "metrics": self.metrics, "validity": self.validity,
            "frames": list(self.rows()), "clips": self.clips, "pooled": strict(self.pooled),
            "truncated": self.truncated, "error": error, "timing": self.timing,
        }  # fmt: skip

    def rows(self) -> Iterable[dict[str, Any]]:
        """One dict a frame: its facts, then the scores it has."""
        cursors = {name: 0 for name, series in self.series.items() if series.values}
        for index in range(len(self.columns["n"])):
            row = {key: column[index] for key, column in self.columns.items()}
            for name, at in cursors.items():
                series = self.series[name]
                if at < len(series.frames) and series.frames[at] == index:
                    value = series.values[at]
                    row[name] = value if math.isfinite(value) else None
                    cursors[name] = at + 1
            yield row


@dataclass
class Report:
    """Everything one command measured; `frames`, `pooled` and `statistic` speak of its only result."""

    command: str
    argv: list[str]
    environment: dict[str, Any]
    results: list[Result] = field(default_factory=list)

    @property
    def only(self) -> Result:
        if len(self.results) != 1:
            raise ValueError(f"this report has {len(self.results)} results; take one from .results")
        return self.results[0]

    @property
    def frames(self) -> Mapping[str, NDArray[Any]]:
        return self.only.frames

    @property
    def pooled(self) -> dict[str, dict[str, Any]]:
        return self.only.pooled

    @property
    def exit_code(self) -> int:
        """0, or the gravest code among the results."""
        return gravest(result.error.exit_code if result.error else 0 for result in self.results)

    def to_json(self) -> dict[str, Any]:
        """The `vqmeter/1` document as plain values."""
        from vqmeter import __version__

        return {"schema": SCHEMA, "vqmeter": __version__, "command": self.command, "argv": self.argv,
                "environment": self.environment, "results": [result.to_json() for result in self.results]}  # fmt: skip


def gravest(codes: Iterable[int]) -> int:
    """The exit code that wins when several hold: 1, 6, 5, 4, 3, 2, 0."""
    return min(codes, key=lambda code: EXIT_PRECEDENCE.index(code), default=0)


def strict(value: Any) -> Any:
    """`value` with every number JSON cannot hold turned to None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(item) for item in value]
    return value
