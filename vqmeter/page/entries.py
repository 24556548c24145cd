"""What a page shows: every clip under a name of its own, its scores row by row, and numbers as a reader likes them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from vqmeter.metric import Scale
from vqmeter.page.markup import plain
from vqmeter.report import Report, Result
from vqmeter.sources import name_of
from vqmeter.writers.tables import shown


@dataclass(frozen=True)
class Entry:
    """A clip of the page: the result, the report it came in, and what it is called."""

    number: int
    label: str
    result: Result
    report: Report


def entries_of(reports: Sequence[Report]) -> list[Entry]:
    """All results in order. Where two files have one name, as much of their folders as tells them apart, then a number."""
    found = [(result, report) for report in reports for result in report.results]
    labels = _labels([name_of(result.name) for result, _ in found])
    return [Entry(n, label, result, report) for n, (label, (result, report)) in enumerate(zip(labels, found, strict=True))]


def _labels(paths: Sequence[str]) -> list[str]:
    parts = [PurePath(path).parts or (path,) for path in paths]
    labels = [path[-1] for path in parts]
    for depth in range(2, 1 + max(map(len, parts), default=0)):
        owners: dict[str, set[tuple[str, ...]]] = {}
        for label, path in zip(labels, parts, strict=True):
            owners.setdefault(label, set()).add(path)
        labels = ["/".join(path[-depth:]) if len(owners[label]) > 1 else label
                  for label, path in zip(labels, parts, strict=True)]  # fmt: skip
    seen: dict[str, int] = {}
    out = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        out.append(plain(label if seen[label] == 1 else f"{label} ({seen[label]})"))
    return out


def score_names(entries: Sequence[Entry], only: Sequence[str] = ()) -> list[str]:
    """The names of all scores, in the order they appear; of these `only` some, where that is asked."""
    found = [name for entry in entries for name in (*entry.result.metrics, *entry.result.series, *entry.result.whole)]
    held = {name for entry in entries for name in entry.result.pooled}
    held |= {name for entry in entries for clip in entry.result.clips for name in clip}
    return [name for name in dict.fromkeys(found) if name in held and (not only or name in only)]


def scale_of(entries: Sequence[Entry], name: str) -> Scale:
    """What the first result that knows a score says of it."""
    for entry in entries:
        facts = entry.result.metrics.get(name)
        if facts is not None:
            return Scale(facts["unit"], facts["low"], facts["high"], facts["better"], facts.get("definition", ""))
    return Scale("", None, None)


def row_values(result: Result, name: str) -> list[float | None]:
    """One value a row of frames; None where this score has none there.

    A score of stretches of frames holds for each frame of a stretch; where they overlap, the later one counts.
    """
    out: list[float | None] = [None] * len(result.columns["n"])
    for clip in result.clips:
        if name in clip:
            out[clip["first"] : clip["last"] + 1] = [clip[name]] * (clip["last"] + 1 - clip["first"])
    series = result.series.get(name)
    if series is not None:
        for frame, value in zip(series.frames, series.values, strict=True):
            out[frame] = value
    return [None if value is None or math.isnan(value) else value for value in out]


def has_rows(result: Result, name: str) -> bool:
    """Whether a score is given for frames or stretches of them."""
    return name in result.series or any(name in clip for clip in result.clips)


def bitrate_of(result: Result) -> float | None:
    """Bits a second of the distorted file, as probed, else from its length in bytes."""
    info = result.inputs["distorted"]
    rate, size, duration = (info.get(key) for key in ("bitrate", "size", "duration"))
    if isinstance(rate, (int, float)) and rate > 0:
        return float(rate)
    if isinstance(size, (int, float)) and isinstance(duration, (int, float)) and size > 0 and duration > 0:
        return 8 * size / duration
    return None


def bits_text(rate: float | None) -> str:
    """`372 kbit/s`, `1.95 Mbit/s`."""
    if rate is None or not math.isfinite(rate):
        return ""
    return f"{rate / 1000:.0f} kbit/s" if rate < 999_500 else f"{rate / 1e6:.2f} Mbit/s"


def value_text(value: object) -> str:
    """Anything out of a result as a reader may see it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return shown(value) if value % 1 else f"{value:.0f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(value_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}={value_text(item)}" for key, item in value.items())
    return str(value)


def payload(entries: Sequence[Entry], names: Sequence[str]) -> dict[str, Any]:
    """What the page's script draws. Times and numbers that go in equal steps are `[first, step]`."""
    scales = {name: scale_of(entries, name) for name in names}
    return {
        "metrics": [{"name": plain(name), "unit": plain(s.unit), "low": s.low, "high": s.high, "better": s.better}
                    for name, s in scales.items()],
        "clips": [_clip(entry, names) for entry in entries],
    }  # fmt: skip


def _clip(entry: Entry, names: Sequence[str]) -> dict[str, Any]:
    result = entry.result
    columns = result.columns
    scores = {name: row_values(result, name) for name in names if has_rows(result, name)}
    times = columns["t"]
    ordered = all(t is not None for t in times) and all(a < b for a, b in itertools.pairwise(times))
    return {
        "label": entry.label, "count": len(columns["n"]),
        "n": _steps(columns["n"], 0), "t": _steps(times, 0.0005) if ordered and times else None,
        "types": "".join(kind if kind and len(kind) == 1 and kind.isalpha() else "?" for kind in columns["type"]),
        "bytes": columns["bytes"] if any(size is not None for size in columns["bytes"]) else None,
        "scores": {plain(name): [None if v is None else _short(v) for v in values] for name, values in scores.items()},
        "pooled": {plain(name): _short(values["score"]) for name, values in result.pooled.items()
                   if name in names and not math.isnan(values.get("score", math.nan))},
    }  # fmt: skip


def _steps(values: Sequence[Any], tolerance: float) -> Any:
    """`[first, step]` of an even row, else the numbers themselves."""
    if len(values) > 1:
        step = (values[-1] - values[0]) / (len(values) - 1)
        if all(abs(values[0] + n * step - value) <= tolerance for n, value in enumerate(values)):
            return [values[0], round(step, 9)]
    return [round(value, 3) for value in values]


def _short(value: float) -> float | str:
    """A number with the decimals that `shown` prints; `inf` as a word, for JSON has none."""
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return round(value, 6 if abs(value) <= 1 else 4)


def script_json(document: Any) -> str:
    """JSON that can stand within a script element: no `<`, no `>`, no `&`, nothing but ASCII."""
    text = json.dumps(document, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
