"""Scores of a whole data set by vqmeter's own metrics and models, kept item by item so that a stopped run goes on.

The cache is NDJSON, one item a line, in the form of a report: `{"key": ..., "results": [...]}`. A line counts while its
key holds: the files' sizes and times, the metrics and models, the weights, the seed and the version of vqmeter.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import IO, Any

from vqmeter import __version__
from vqmeter.errors import InputError, MissingInputError, OutputError, UsageError, VqmeterError
from vqmeter.evaluation.scores import ScoreTable, from_results
from vqmeter.report import Result, strict
from vqmeter.training.datasets.items import Dataset, Item

_TOGETHER = 8
Progress = Callable[[int, int], None]


def score_dataset(
    dataset: Dataset, *, metrics: Sequence[str] = (), models: Sequence[str] = (), keys: Sequence[str] = (),
    cache: str | None = None, options: Mapping[str, Any] | None = None, jobs: int = 1, progress: Progress | None = None,
) -> list[ScoreTable]:  # fmt: skip
    """The scores of every item; one that fails has NaN and its reason, and `metrics` leave out what has no reference.

    `options` go to `measure`. Items of one reference are measured together, the reference decoded once; `jobs` such lots
    at once.

    Raises
        UsageError: a full-reference metric, and no item has a reference.
        OutputError: the cache cannot be written.
    """
    items = [item for item in dataset.items if item.reference or not metrics]
    if not items:
        raise UsageError(f"{dataset.name}: no item has a reference, so no full-reference metric can be measured; use --model")
    made_by = {"metrics": list(metrics), "models": list(models), "vqmeter": __version__,
               **{k: v for k, v in (options or {}).items() if k not in ("threads", "batch") and v is not None}}  # fmt: skip
    if cache:
        from vqmeter.weights import hashes_of

        made_by["files"] = hashes_of(metrics, models, (options or {}).get("weights"))
    known = _read(cache)
    results: dict[int, dict[str, Any]] = {}
    for n, item in enumerate(items):
        line = known.get(item.path)
        if line is not None and line["key"] == _key(item, made_by):
            results[n] = line["results"][0]
    todo = [(n, item) for n, item in enumerate(items) if n not in results]
    with _appending(cache) if cache and todo else open(os.devnull, "w") as file:
        for n, item, result in _measure(todo, metrics, models, options or {}, jobs):
            results[n] = result
            file.write(json.dumps({"key": _key(item, made_by), "results": [result]}, allow_nan=False) + "\n")
            file.flush()
            if progress:
                progress(len(results), len(items))
    return from_results([results[n] for n in sorted(results)], keys, dataset.name)


def _measure(todo: Sequence[tuple[int, Item]], metrics: Sequence[str], models: Sequence[str], options: Mapping[str, Any],
             jobs: int) -> Iterator[tuple[int, Item, dict[str, Any]]]:  # fmt: skip
    def kind(entry: tuple[int, Item]) -> tuple[Any, ...]:
        item = entry[1]
        return (item.reference or "") if metrics else "", item.size or (0, 0), item.rate or 0

    alike = [list(entries) for _, entries in groupby(sorted(todo, key=kind), key=kind)]
    lots = [entries[at : at + _TOGETHER] for entries in alike for at in range(0, len(entries), _TOGETHER)]
    with ThreadPoolExecutor(max(1, jobs), "vqmeter-score") as pool:
        futures = [pool.submit(_together, lot, metrics, models, options) for lot in lots]
        try:
            for future in futures:
                yield from future.result()
        finally:
            for future in futures:
                future.cancel()


def _together(lot: Sequence[tuple[int, Item]], metrics: Sequence[str], models: Sequence[str],
              options: Mapping[str, Any]) -> list[tuple[int, Item, dict[str, Any]]]:  # fmt: skip
    """Items of one reference, measured in one pass."""
    from vqmeter.session import measure

    first = lot[0][1]
    try:
        report = measure([item.path for _, item in lot], reference=first.reference if metrics else None,
                         metrics=tuple(metrics) or None, models=tuple(models), size=first.size, rate=first.rate,
                         **options)  # fmt: skip
    except InputError as error:
        return [(n, item, _line(item, None, error)) for n, item in lot]
    out = []
    for (n, item), result in zip(lot, report.results, strict=True):
        if result.error is not None and not isinstance(result.error, InputError):
            raise result.error  # weights, device, options: no item would fare better
        out.append((n, item, _line(item, result, result.error)))
    return out


def _line(item: Item, result: Result | None, error: VqmeterError | None) -> dict[str, Any]:
    if error is not None or result is None:
        told = None if error is None else {"code": error.exit_code, "message": str(error)}
        return {"inputs": {"distorted": {"path": item.path}}, "metrics": {}, "pooled": {}, "error": told}
    return {"inputs": {"distorted": {"path": item.path}},
            "metrics": {name: {"better": facts["better"]} for name, facts in result.metrics.items()},
            "pooled": strict(result.pooled), "error": None}  # fmt: skip


def _key(item: Item, made_by: Mapping[str, Any]) -> str:
    """What a score hangs on, as a short digest."""
    files = [[p, os.stat(p).st_size, os.stat(p).st_mtime_ns] if p and os.path.isfile(p) else [p, None, None]
             for p in (item.path, item.reference)]  # fmt: skip
    text = json.dumps([files, item.size, item.rate, made_by], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _read(cache: str | None) -> dict[str, dict[str, Any]]:
    """The lines of a cache by path; a torn last line, of a writer that was killed, is passed over."""
    if cache is None or not os.path.exists(cache):
        return {}
    found: dict[str, dict[str, Any]] = {}
    try:
        with open(cache, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MissingInputError(f"{cache}: cannot be read as scores of an earlier run ({error})") from None
    for line in lines:
        try:
            row = json.loads(line)
            found[row["results"][0]["inputs"]["distorted"]["path"]] = {"key": row.get("key"), "results": row["results"]}
        except (ValueError, KeyError, IndexError, TypeError):
            continue
    return {path: row for path, row in found.items() if row["results"][0].get("error") is None}


def _appending(cache: str) -> IO[str]:
    """The cache, ready for whole lines: what a killed writer left of its last one is cut off."""
    try:
        if os.path.exists(cache):
            with open(cache, "rb+") as torn:
                text = torn.read()
                torn.truncate(text.rfind(b"\n") + 1)
        return open(cache, "a", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{cache}: {(error.strerror or str(error)).lower()}") from None
