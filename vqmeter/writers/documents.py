"""JSON forms: the whole document, one result a line, and libvmaf's."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from vqmeter.errors import UsageError
from vqmeter.report import Report, strict


def render_json(report: Report) -> Iterator[str]:
    """The `vqmeter/1` document; one frame a line, so that it can be read and compared."""
    document = report.to_json()
    results = document.pop("results")
    yield json.dumps(document, allow_nan=False, indent=1)[:-2]
    yield ',\n "results": ['
    for n, result in enumerate(results):
        frames = result.pop("frames")
        yield (",\n  " if n else "\n  ") + "{"
        for key, value in result.items():
            if key == "clips":
                yield from _lines("frames", frames)
                yield from _lines("clips", value)
            else:
                comma = "" if key == "timing" else ","
                yield f'\n   "{key}": {json.dumps(value, allow_nan=False)}{comma}'
        yield "\n  }"
    yield "\n ]\n}\n"


def _lines(key: str, rows: list[dict[str, object]]) -> Iterator[str]:
    yield f'\n   "{key}": ['
    for n, row in enumerate(rows):
        yield (",\n    " if n else "\n    ") + json.dumps(row, allow_nan=False)
    yield "\n   ]," if rows else "],"


def render_ndjson(report: Report) -> Iterator[str]:
    """One self-contained document a result, one line each."""
    document = report.to_json()
    for result in document["results"]:
        yield json.dumps(document | {"results": [result]}, allow_nan=False) + "\n"


def render_libvmaf(report: Report) -> Iterator[str]:
    """libvmaf's JSON log: per-frame metrics and its four pooled statistics.

    Raises
        UsageError: more than one distorted file; libvmaf's form has room for one.
    """
    if len(report.results) != 1:
        raise UsageError("libvmaf's form holds one distorted file; ask for json or csv")
    result = report.only
    facts = result.columns.keys()
    frames = [{"frameNum": row["n"], "metrics": {k: v for k, v in row.items() if k not in facts}} for row in result.rows()]
    statistics = ("min", "max", "mean", "harmonic_mean")
    pooled = {name: {s: values[s] for s in statistics if s in values} for name, values in result.pooled.items()}
    fps = result.timing.get("frames_per_second") or math.nan
    document = {"version": f"vqmeter {report.to_json()['vqmeter']}", "fps": fps, "frames": frames,
                "pooled_metrics": pooled, "aggregate_metrics": {}}  # fmt: skip
    yield json.dumps(strict(document), allow_nan=False, indent=2) + "\n"
