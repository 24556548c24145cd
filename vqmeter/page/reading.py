"""Result files back into reports: `vqmeter/1` as JSON or NDJSON, and the two forms of CSV.

Whatever stands in a file is checked before anybody computes with it. Statistics are the file's own; a CSV of frames has
none, so they are pooled again, and an identical frame counts there as what the file says it is, infinite.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vqmeter import writers
from vqmeter.errors import InputError, MissingInputError, VqmeterError
from vqmeter.metric import NAMES, Scale, Score, metric_class
from vqmeter.report import SCHEMA, STATISTICS, Report, Result, Series
from vqmeter.sources import name_of

_FACTS = ("n", "pts", "t", "type", "bytes")
_WRITTEN = "a report of vqmeter as .json, .ndjson, .csv or .pooled.csv"
_LARGEST = 1 << 53  # whole numbers beyond are not exact in a browser


class _WrongError(ValueError):
    """Something is not what the schema says; the message is where."""


def read_reports(path: str) -> list[Report]:
    """The reports in a file that vqmeter wrote; `-` is stdin.

    Raises
        MissingInputError: it is not there or may not be read.
        InputError: it is no such file, and where it first goes wrong.
    """
    name, text = name_of(path), _text(path)
    try:
        if not text.lstrip().startswith("{"):
            return [_from_csv(text)]
        return [_report(document, where) for where, document in _documents(text)]
    except _WrongError as wrong:
        raise InputError(f"{name}: {wrong}; want {_WRITTEN}") from None
    except RecursionError:
        raise InputError(f"{name}: nested too deeply; want {_WRITTEN}") from None


def _text(path: str) -> str:
    """The text of a report; file names in it may be of bytes that are no UTF-8."""
    try:
        if path == "-":
            text = sys.stdin.buffer.read().decode("utf-8-sig", writers.NAMES)
        else:
            with open(path, encoding="utf-8-sig", errors=writers.NAMES) as file:
                text = file.read()
    except FileNotFoundError:
        raise MissingInputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise MissingInputError(f"{path}: {(getattr(error, 'strerror', None) or str(error)).lower()}") from None
    if "\0" in text:
        raise InputError(f"{name_of(path)}: not text; want {_WRITTEN}")
    return text


# --- JSON ------------------------------------------------------------------------------------------------------------


def _documents(text: str) -> Iterator[tuple[str, Any]]:
    """The whole text as one document, else each line; with the words that say where."""
    try:
        yield "", json.loads(text)
        return
    except ValueError as error:
        whole = error
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    for n, line in lines:
        try:
            document = json.loads(line)
        except ValueError:
            first = n == lines[0][0]
            raise _WrongError(f"not JSON ({whole})" if first else f"line {n} is not JSON; was its writer stopped?") from None
        yield f"line {n}: ", document


def _report(document: Any, where: str) -> Report:
    _want(document, dict, f"{where}the document")
    if document.get("schema") != SCHEMA:
        raise _WrongError(f"{where}its schema is {json.dumps(document.get('schema'))}, not {SCHEMA}")
    results = _want(document.get("results"), list, f"{where}results")
    argv = [str(word) for word in _want(document.get("argv", []), list, f"{where}argv")]
    environment = dict(_want(document.get("environment", {}), dict, f"{where}environment"))
    environment = {"vqmeter": document.get("vqmeter")} | environment
    return Report(str(document.get("command")), argv, environment,
                  [_result(found, f"{where}results[{n}]") for n, found in enumerate(results)])  # fmt: skip


def _result(found: Any, where: str) -> Result:
    _want(found, dict, where)
    parts = {key: _want(found.get(key, {}), dict, f"{where}.{key}")
             for key in ("inputs", "settings", "metrics", "validity", "timing", "pooled")}  # fmt: skip
    for role, info in parts["inputs"].items():
        _check_probe(info, f"{where}.inputs.{role}")
    if "distorted" not in parts["inputs"]:
        raise _WrongError(f"{where}.inputs.distorted is missing")
    warnings = _want(parts["validity"].get("warnings", []), list, f"{where}.validity.warnings")
    parts["validity"]["warnings"] = [str(warning) for warning in warnings]
    result = Result(parts["inputs"], parts["settings"], parts["metrics"], parts["validity"],
                    truncated=found.get("truncated") is True, timing=parts["timing"])  # fmt: skip
    scales = {name: _scale(facts, f"{where}.metrics.{name}") for name, facts in parts["metrics"].items()}
    _fill_frames(result, scales, _want(found.get("frames", []), list, f"{where}.frames"), where)
    _fill_clips(result, _want(found.get("clips", []), list, f"{where}.clips"), where)
    for name, scale in scales.items():
        result.metrics[name] = result.metrics[name] | _facts(scale)
    for name, values in parts["pooled"].items():
        decibels = scales.get(name, Scale("", None, None)).decibels
        result.whole[name] = _statistics(_want(values, dict, f"{where}.pooled.{name}"), decibels, f"{where}.pooled.{name}")
    if found.get("error") is not None:
        result.error = VqmeterError(str(_want(found["error"], dict, f"{where}.error").get("message")))
    return result


def _check_probe(info: Any, where: str) -> None:
    _want(_want(info, dict, where).get("path"), str, f"{where}.path")
    for key in ("width", "height", "frames", "rate", "duration", "bitrate", "size"):
        if info.get(key) is not None:
            _number(info[key], f"{where}.{key}")
    _want(info.get("notes", []), list, f"{where}.notes")


def _scale(facts: Any, where: str) -> Scale:
    _want(facts, dict, where)
    unit, better = (_want(facts.get(key, ""), str, f"{where}.{key}") for key in ("unit", "better"))
    if better not in ("higher", "lower"):
        raise _WrongError(f"{where}.better is neither higher nor lower")
    low, high = (None if facts.get(key) is None else _number(facts[key], f"{where}.{key}") for key in ("low", "high"))
    definition = _want(facts.get("definition", ""), str, f"{where}.definition")
    return Scale(unit, low, high, better, definition, decibels=unit == "dB")


def _fill_frames(result: Result, scales: Mapping[str, Scale], rows: Sequence[Any], where: str) -> None:
    """Columns and series of `result` from its rows of frames."""
    last = -1
    for index, row in enumerate(rows):
        at = f"{where}.frames[{index}]"
        _want(row, dict, at)
        number = _whole(row.get("n"), f"{at}.n")
        if number <= last:
            raise _WrongError(f"{at}.n is {number}, not more than the frame's before it")
        last = number
        facts = (number, row.get("pts"), None if row.get("t") is None else _number(row["t"], f"{at}.t"),
                 None if row.get("type") is None else _want(row["type"], str, f"{at}.type"),
                 None if row.get("bytes") is None else _whole(row["bytes"], f"{at}.bytes"))  # fmt: skip
        for key, fact in zip(_FACTS, facts, strict=True):
            result.columns[key].append(fact)
        for name, value in row.items():
            if name in _FACTS:
                continue
            if name not in result.series:
                result.series[name] = Series(scales.get(name) or Scale("", None, None))
            series = result.series[name]
            series.add(index, _missing(series.scale.decibels) if value is None else _number(value, f"{at}.{name}"))


def _fill_clips(result: Result, clips: Sequence[Any], where: str) -> None:
    for n, clip in enumerate(clips):
        at = f"{where}.clips[{n}]"
        _want(clip, dict, at)
        first, last = (_whole(clip.get(key), f"{at}.{key}") for key in ("first", "last"))
        if not first <= last < max(1, len(result.columns["n"])):
            raise _WrongError(f"{at} is not within the frames")
        scores = {name: value for name, value in clip.items() if name not in ("first", "last") and value is not None}
        for name, value in scores.items():
            result.clips.append({"first": first, "last": last, name: _number(value, f"{at}.{name}")})


def _statistics(values: Mapping[str, Any], decibels: bool, where: str) -> dict[str, Any]:
    """Numbers as they stand; what JSON could not hold is infinite for decibels, and has no value elsewhere.

    A statistic that is not there is no number either, so that nobody computes it.
    """
    out: dict[str, Any] = dict.fromkeys(STATISTICS, math.nan)
    for key, value in values.items():
        text = isinstance(value, str) and key not in STATISTICS
        out[key] = value if text else _missing(decibels) if value is None else _number(value, f"{where}.{key}")
    return out


def _missing(decibels: bool) -> float:
    return math.inf if decibels else math.nan


def _want(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind):
        raise _WrongError(f"{where} is not {'an object' if kind is dict else 'a list' if kind is list else 'text'}")
    return value


def _number(value: Any, where: str) -> float:
    try:
        if not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise _WrongError(f"{where} is not a number")


def _whole(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST:
        raise _WrongError(f"{where} is not a whole number")
    return value


# --- CSV -------------------------------------------------------------------------------------------------------------


def _from_csv(text: str) -> Report:
    try:
        rows = list(csv.reader(io.StringIO(text)))
    except csv.Error as error:
        raise _WrongError(f"not CSV ({error})") from None
    header = rows[0] if rows else []
    if header[:3] == ["file", "n", "t"]:
        results = _from_frames(header, rows[1:])
    elif header[:3] == ["file", "name", "score"]:
        results = _from_pooled(header, rows[1:])
    else:
        raise _WrongError("its first line is not that of a table of vqmeter")
    return Report("csv", [], {}, results)


def _from_frames(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Result]:
    scales = {name: _known_scale(name) or Scale("", None, None) for name in header[3:]}
    found: dict[str, list[dict[str, Any]]] = {}
    for n, row in enumerate(rows, 2):
        cells = _cells(header, row, n)
        entry: dict[str, Any] = {"n": _csv_whole(cells["n"], n), "t": _csv_number(cells["t"], n)}
        for name in scales:
            value = _csv_number(cells[name], n)
            if value is not None:
                entry[name] = None if math.isinf(value) else value
        found.setdefault(cells["file"], []).append(entry)
    results = []
    for path, entries in found.items():
        result = Result({"distorted": {"path": path}}, validity={"frames_compared": len(entries), "warnings": []})
        for name in scales:
            result.metrics |= _known(name)
        _fill_frames(result, scales, entries, path)
        results.append(result)
    return results


def _from_pooled(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Result]:
    found: dict[str, Result] = {}
    for n, row in enumerate(rows, 2):
        cells = _cells(header, row, n)
        new = Result({"distorted": {"path": cells["file"]}}, validity={"warnings": []})
        result = found.setdefault(cells["file"], new)
        values = {s: _csv_number(cells[s], n) for s in STATISTICS if cells.get(s)}
        score = values.pop("score", None)
        result.add(Score(cells["name"], math.nan if score is None else score, None, values), cells["name"])
        result.metrics |= _known(cells["name"])
    return list(found.values())


def _cells(header: Sequence[str], row: Sequence[str], line: int) -> dict[str, str]:
    if len(row) != len(header):
        raise _WrongError(f"line {line} has {len(row)} cells, its first line has {len(header)}")
    return dict(zip(header, row, strict=True))


def _csv_number(cell: str, line: int) -> float | None:
    try:
        value = float(cell) if cell else None
    except ValueError:
        raise _WrongError(f"line {line}: '{cell[:40]}' is not a number") from None
    return None if value is None or math.isnan(value) else value


def _csv_whole(cell: str, line: int) -> int:
    if not (cell.isascii() and cell.isdigit() and len(cell) < 16):
        raise _WrongError(f"line {line}: '{cell[:40]}' is not the number of a frame")
    return int(cell)


def _known(score: str) -> dict[str, dict[str, Any]]:
    """The entry of `metrics` for a score that vqmeter knows by its name; none for a renamed one."""
    scale = _known_scale(score)
    return {} if scale is None else {score: _facts(scale)}


def _facts(scale: Scale) -> dict[str, Any]:
    return {"unit": scale.unit, "low": scale.low, "high": scale.high, "better": scale.better, "definition": scale.definition}


@functools.lru_cache(maxsize=256)
def _known_scale(score: str) -> Scale | None:
    for family, table in NAMES.items():
        for name in table:
            if score.startswith(name):
                scales: Mapping[str, Scale] = metric_class(family, name)().scales()
                if score in scales:
                    return scales[score]
    return None
