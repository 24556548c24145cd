"""Tables of scores: any CSV, and what vqmeter itself writes (reports as JSON or NDJSON, `.pooled.csv`)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vqmeter.errors import InputError, MissingInputError, UsageError
from vqmeter.metric import nearest
from vqmeter.training.datasets.lists import FILE
from vqmeter.training.datasets.tables import Table, number, plain, read_table

_USUAL = ("score", "prediction", "predicted", "pred", "predicted_mos", "quality", "objective")


@dataclass
class ScoreTable:
    """One score of many files; NaN where it could not be had, and `failed` says why where that is known.

    `better` is `higher`, `lower`, or None where the table does not tell.
    """

    name: str
    values: dict[str, float] = field(default_factory=dict)
    better: str | None = None
    failed: dict[str, str] = field(default_factory=dict)


def read_scores(path: str, keys: Sequence[str] = ()) -> list[ScoreTable]:
    """The scores `keys` (`KEY[.STAT]` of a report, columns of a table) in a file; without keys, all or the only one.

    Raises
        UsageError: no such score, or several columns to choose from.
        InputError: the file holds no scores.
    """
    if path.lower().endswith((".json", ".ndjson")):
        return from_results(list(read_results(path)), keys, path)
    table = read_table(path)
    titles = {plain(title) for title in table.header}
    if {"file", "name", "score", "mean", "median"} <= titles:
        return _from_pooled(table, keys)
    if {"file", "n", "t"} <= titles:
        raise UsageError(f"{path}: scores of single frames; write the pooled ones with -o NAME.pooled.csv")
    return _from_columns(table, keys)


def from_results(results: Iterable[Mapping[str, Any]], keys: Sequence[str], path: str) -> list[ScoreTable]:
    """The pooled scores of `vqmeter/1` results."""
    results = list(results)
    names = list(dict.fromkeys(name for result in results for name in result.get("pooled") or {}))
    errors = [str(result["error"]["message"]) for result in results if result.get("error")]
    if not names:
        why = f"; {len(errors)} files failed, the first: {errors[0]}" if errors else ""
        raise InputError(f"{path}: no scores in it{why}")
    tables = []
    for key in keys or names:
        name, _, stat = key.partition(".")
        if name not in names:
            raise UsageError(f"{path}: no score '{name}'{nearest(name, names)} ({', '.join(names)})")
        table = ScoreTable(key)
        for result in results:
            file = str(result["inputs"]["distorted"]["path"])
            value = (result.get("pooled") or {}).get(name, {}).get(stat or "score")
            table.values[file] = float(value) if isinstance(value, (int, float)) else math.nan
            table.better = table.better or (result.get("metrics") or {}).get(name, {}).get("better")
            if result.get("error"):
                table.failed[file] = str(result["error"]["message"])
        tables.append(table)
    return tables


def read_results(path: str) -> Iterable[Mapping[str, Any]]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise MissingInputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not JSON") from None
    documents = text.splitlines() if path.lower().endswith(".ndjson") else [text]
    for number_, line in enumerate(documents, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)["results"]
            yield from (_checked(result) for result in found if result["inputs"]["distorted"]["path"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            if path.lower().endswith(".ndjson") and number_ == len(documents):
                continue  # a writer was stopped in its last line
            raise InputError(f"{path}: not a report of vqmeter, as fr, nr and eval write") from None


def _checked(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """`result`, where its parts are of the kinds that are read.

    Raises
        TypeError: they are not.
    """
    path, error = result["inputs"]["distorted"]["path"], result.get("error") or {"message": ""}
    pooled, metrics = (result.get(part) or {} for part in ("pooled", "metrics"))
    parts = [error, pooled, metrics, *pooled.values(), *metrics.values()]
    numbers = [value for values in pooled.values() for value in values.values()]
    if not isinstance(path, str) or not all(isinstance(part, dict) for part in parts) or "message" not in error:
        raise TypeError
    if not all(value is None or isinstance(value, (float, str)) or _moderate(value) for value in numbers):
        raise TypeError
    return result


def _moderate(value: Any) -> bool:
    """Whether `value` is a whole number that a float can hold."""
    return isinstance(value, int) and value.bit_length() < 1000


def _from_pooled(table: Table, keys: Sequence[str]) -> list[ScoreTable]:
    file, name = table.required("file"), table.required("name")
    names = list(dict.fromkeys(_cell(table, row, name) for row in table.rows))
    tables = []
    for key in keys or names:
        wanted, _, stat = key.partition(".")
        if wanted not in names:
            raise UsageError(f"{table.path}: no score '{wanted}'{nearest(wanted, names)} ({', '.join(names)})")
        place = table.required(stat or "score")
        values = {_cell(table, row, file): number(_cell(table, row, place)) for row in table.rows if row[name] == wanted}
        tables.append(ScoreTable(key, values))
    return tables


def _from_columns(table: Table, keys: Sequence[str]) -> list[ScoreTable]:
    file = _file_column(table)
    places = [table.required(key) for key in keys] or [_score_column(table, file)]
    tables = []
    for place in places:
        title = table.header[place] if table.header else "score"
        values: dict[str, float] = {}
        for row in table.rows:
            if _cell(table, row, file) in values:
                raise InputError(f"{table.path}: {row[file]} is there twice")
            values[row[file]] = number(row[place]) if place < len(row) else math.nan
        tables.append(ScoreTable(title, values))
    return tables


def _cell(table: Table, row: Sequence[str], place: int) -> str:
    """A cell that must be there.

    Raises
        InputError: the row ends before it.
    """
    if place >= len(row):
        raise InputError(f"{table.path}: a row has {len(row)} cells only ({', '.join(row)[:60]}); it needs {place + 1}")
    return row[place]


def _file_column(table: Table) -> int:
    place = table.column(*FILE)
    if place is not None:
        return place
    texts = [n for n, cell in enumerate(table.rows[0]) if math.isnan(number(cell))]
    if not texts:
        raise InputError(f"{table.path}: no column with file names")
    return texts[0]


def _score_column(table: Table, file: int) -> int:
    place = table.column(*_USUAL)
    if place is not None:
        return place
    numeric = [n for n in range(len(table.rows[0])) if n != file
               and any(n < len(row) and not math.isnan(number(row[n])) for row in table.rows[:50])]  # fmt: skip
    if not table.header and numeric:
        return numeric[-1]
    if len(numeric) != 1:
        titles = ", ".join(table.header[n] for n in numeric if n < len(table.header)) or "none"
        raise UsageError(f"{table.path}: which column is the score? Columns of numbers: {titles}; choose with --score")
    return numeric[0]
