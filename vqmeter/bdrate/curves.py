"""Ladders of encodes as curves: points of bitrate and scores, from vqmeter's own reports or from tables."""

from __future__ import annotations

import glob
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vqmeter.errors import InputError, MissingInputError, UsageError
from vqmeter.evaluation.scores import read_results
from vqmeter.metric import nearest
from vqmeter.training.datasets.lists import FILE
from vqmeter.training.datasets.tables import Table, number, plain, read_table

UNITS = {"bps": 1.0, "kbps": 1e3, "Mbps": 1e6}
LABELS = ("label", "codec", "encoder", "curve")
_UNIT = r"([km]?)(?:bps|b/s|bits?/s(?:ec)?)"
_RATE = re.compile(rf"(?:bit)?rate\W*(?:{_UNIT}\W*)?|{_UNIT}")
#: Columns of numbers that are no scores.
_FACTS = re.compile(rf".*rate|.*time.*|(?:target)?{_UNIT}|qp|crf|cq|q|cqp|qscale|quanti[sz]er|preset|speed|level|n|fps|frames"
                    r"|size|bytes|bits|bpp|duration|seconds|width|height")  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One encode: bits a second, scores by name (NaN where there is none), and what messages call it."""

    rate: float
    scores: Mapping[str, float]
    name: str


@dataclass
class Curve:
    """A ladder: its points as they came, and what is known of its scores; `better` is higher or lower."""

    name: str
    points: list[Point] = field(default_factory=list)
    better: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    references: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def scores(self) -> list[str]:
        """The scores any of its points has."""
        return list(dict.fromkeys(name for point in self.points for name in point.scores))


@dataclass(frozen=True)
class Reading:
    """How to read: scores wanted (`KEY[.STAT]` of a report, a column of a table; all where empty), and a table's columns.

    `unit` is that of the bitrates in tables, where their titles do not say it.
    """

    by: tuple[str, ...] = ()
    bitrate: str | None = None
    unit: str | None = None
    label: str | None = None


def read_curves(words: Sequence[str], reading: Reading) -> list[Curve]:
    """The curves that `[NAME=]FILE` words name, in their order; words of one NAME are one curve.

    FILE may be a pattern (`x264_*.json`), whose files are one curve. A column of labels divides a table into curves.

    Raises
        MissingInputError: no such file, or none fits a pattern.
        UsageError: a score or a column that is not there.
        InputError: a file is neither a report nor a table, or a point has no bitrate above 0.
    """
    curves: dict[str, Curve] = {}
    for word in words:
        name, path = _split(word)
        for label, part in _parts(path, reading).items():
            title = " ".join(filter(None, (name, label))) or _stem(path)
            if not name and title in curves:
                title = " ".join(filter(None, (path, label)))
            _merge(curves.setdefault(title, Curve(title)), part)
    return list(curves.values())


def _split(word: str) -> tuple[str, str]:
    name, mark, path = word.partition("=")
    return ("", word) if not mark or not path or os.path.exists(word) else (name, path)


def _files(path: str) -> list[str]:
    if os.path.exists(path) or not re.search(r"[*?[]", path):
        return [path]
    found = sorted(glob.glob(path))
    if not found:
        raise MissingInputError(f"{path}: no file fits this pattern")
    return found


def _merge(into: Curve, part: Curve) -> None:
    into.points += part.points
    into.better |= part.better
    into.units |= part.units
    into.references |= part.references
    into.notes += part.notes
    into.failed += part.failed


def _stem(path: str) -> str:
    """What a curve without a name is called: `x264` of `runs/x264_*.json`."""
    stem = os.path.splitext(os.path.basename(path))[0]
    return re.sub(r"[\W_]+$", "", re.sub(r"[*?\[].*", "", stem)) or path


def _parts(path: str, reading: Reading) -> dict[str, Curve]:
    """The curves in the files of one word, by label; `""` where no column divides them."""
    parts: dict[str, Curve] = {}
    for file in _files(path):
        report = file.lower().endswith((".json", ".ndjson"))
        try:
            found = {"": _from_report(file, reading)} if report else _from_table(file, reading)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            raise InputError(f"{file}: not a report of vqmeter, as fr and nr write") from None
        for label, curve in found.items():
            _merge(parts.setdefault(label, Curve(label)), curve)
    return parts


def _from_report(path: str, reading: Reading) -> Curve:
    """Every result of a `vqmeter/1` document is a point."""
    curve = Curve("")
    results = list(read_results(path))
    _check_keys(path, results, reading.by)
    for result in results:
        file = str(result["inputs"]["distorted"]["path"])
        if result.get("error"):
            why = result["error"].get("message")
            curve.failed.append(f"{path}: {file} was not measured to its end and does not count: {why}")
            continue
        pooled = result.get("pooled") or {}
        scores = {key: _value(pooled, key) for key in reading.by or pooled}
        curve.points.append(Point(_rate_of(result, path), scores, os.path.basename(file)))
        for key in scores:
            facts = (result.get("metrics") or {}).get(key.partition(".")[0], {})
            curve.better.setdefault(key, facts.get("better", "higher"))
            curve.units.setdefault(key, facts.get("unit", ""))
        curve.references |= {str(ref["path"]) for ref in [result["inputs"].get("reference")] if ref}
    return curve


def _check_keys(path: str, results: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> None:
    """Refuse scores and statistics that no result has."""
    known: dict[str, set[str]] = {}
    for result in results:
        for name, values in (result.get("pooled") or {}).items():
            known.setdefault(name, set()).update(values)
    for name, _, stat in (key.partition(".") for key in keys if results):
        if name not in known:
            raise UsageError(f"{path}: no score '{name}'{nearest(name, known)}")
        if (stat or "score") not in known[name]:
            raise UsageError(f"{path}: {name} has no '{stat}'{nearest(stat, known[name])}")


def _value(pooled: Mapping[str, Any], key: str) -> float:
    name, _, stat = key.partition(".")
    value = (pooled.get(name) or {}).get(stat or "score")
    return float(value) if isinstance(value, (int, float)) else math.nan


def _rate_of(result: Mapping[str, Any], path: str) -> float:
    """Bits a second of the distorted file: as its container says, else size by duration, else its pictures' bytes.

    Raises
        InputError: none of these is known, or the file was never coded.
    """
    info = result["inputs"]["distorted"]
    if info.get("codec") == "rawvideo":
        raise InputError(f"{path}: {info['path']} is raw video, whose bitrate says nothing; give a table")
    if info.get("bitrate"):
        return float(info["bitrate"])
    if info.get("size") and info.get("duration"):
        return 8 * float(info["size"]) / float(info["duration"])
    sizes = [frame.get("bytes") for frame in result.get("frames") or []]
    if not sizes or None in sizes or not info.get("rate"):
        raise InputError(f"{path}: {info['path']} has neither a bitrate nor a size and a duration; give a table")
    return 8 * float(sum(sizes)) / len(sizes) * float(info["rate"])


def _from_table(path: str, reading: Reading) -> dict[str, Curve]:
    """Curves by label, `""` where no column divides the table."""
    table = read_table(path)
    if not table.header:
        raise InputError(f"{path}: no titles in its first line; name the columns, as bitrate_kbps,psnr_y")
    place, scale, note = _rate_column(table, reading)
    label = table.required(reading.label) if reading.label else table.column(*LABELS)
    file = table.column(*FILE)
    columns = _score_columns(table, reading, {place, label, file})
    curves: dict[str, Curve] = {}
    for line, row in enumerate(table.rows, 1):
        title = row[label] if label is not None and label < len(row) else ""
        called = row[file] if file is not None and file < len(row) else f"row {line} of {os.path.basename(path)}"
        rate = number(row[place]) * scale if place < len(row) else math.nan
        if not math.isfinite(rate):
            raise InputError(f"{path}: {called} has no bitrate")
        scores = {name: number(row[n]) if n < len(row) else math.nan for name, n in columns.items()}
        curves.setdefault(title, Curve(title, notes=[note] if note else [])).points.append(Point(rate, scores, called))
    return curves


def _rate_column(table: Table, reading: Reading) -> tuple[int, float, str]:
    """The column of bitrates, what turns it into bits a second, and what was assumed for that."""
    if reading.bitrate:
        place = table.required(reading.bitrate)
    else:
        fits = [n for n, title in enumerate(table.header) if _RATE.fullmatch(plain(title))]
        if not fits:
            what = "; a .pooled.csv has none, write the report as .json" if table.column("harmonic_mean") is not None else ""
            raise UsageError(f"{table.path}: no column of bitrates ({', '.join(table.header)}); name it with --bitrate{what}")
        place = fits[0]
    title = table.header[place]
    said = re.search(_UNIT + r"\W*$", plain(title))
    if said:
        return place, {"": 1.0, "k": 1e3, "m": 1e6}[said[1]], ""
    if reading.unit:
        return place, UNITS[reading.unit], ""
    return place, 1e3, f"{table.path}: the column {title} is taken as kbit/s; --unit says otherwise"


def _score_columns(table: Table, reading: Reading, taken: set[int | None]) -> dict[str, int]:
    """Scores by name: those wanted, else every column of numbers that is no fact of the encode."""
    if reading.by:
        return {key: table.required(key) for key in reading.by}
    columns = {
        title: n for n, title in enumerate(table.header)
        if n not in taken and not _FACTS.fullmatch(plain(title))
        and any(n < len(row) and not math.isnan(number(row[n])) for row in table.rows)
    }  # fmt: skip
    if not columns:
        raise InputError(f"{table.path}: no column of scores ({', '.join(table.header)}); name one with --by")
    return columns
