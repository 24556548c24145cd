"""Data sets that are one list: plain CSV, lists of pairs, and the four-column text that DOVER and FastVQA use."""

from __future__ import annotations

import math
import os
from pathlib import Path

from vqmeter.errors import InputError, UsageError
from vqmeter.training.datasets.items import Dataset, Item
from vqmeter.training.datasets.tables import Table, number, plain, read_table

FILE = ("path", "file", "file_name", "filename", "video_name", "video", "dist_img", "distorted", "dist", "image_name", "image",
        "image_id", "img", "name", "flickr_id", "vid", "clip", "id")  # fmt: skip
SCORE = ("mos", "dmos", "score", "label", "realignment_mos", "mos_full", "subjective_score", "rating")
_REFERENCE = ("reference", "ref", "ref_img", "ref_name")
_GROUP = ("group", "content", "scene")
_TYPE = ("type", "distortion_type", "distortion", "dist_type", "dst_type")
_LEVEL = ("level", "dst_lev", "dist_level")


def csv_list(
    path: str, *, root: str | None = None, name: str = "csv", score: str | None = None, file: str | None = None,
    group: str | None = None, type: str | None = None, higher_is_better: bool = True,
) -> Dataset:  # fmt: skip
    """A CSV of path and score, with reference, group, type and level where it has such columns.

    Paths are beneath `root`, by default the folder of the list. `score`, `file`, `group` and `type` name columns; else
    the usual names are looked for. Without a header: `path,score`, `score path`, or DOVER's four columns.
    Without a group, the reference is the group, or the file itself.
    """
    table = read_table(path)
    if not table.header:
        if score or group or type:
            raise UsageError(f"{path}: no header, so no column '{score or group or type}'")
        return _headless(table, _root(path, root), name, higher_is_better)
    columns = {
        "file": table.required(file) if file else table.column(*FILE), "score": table.required(*((score,) if score else SCORE)),
        "reference": table.column(*_REFERENCE), "group": table.required(group) if group else table.column(*_GROUP),
        "type": table.required(type) if type else table.column(*_TYPE), "level": table.column(*_LEVEL),
    }  # fmt: skip
    if columns["file"] is None:
        raise UsageError(f"{path}: no column with file names ({', '.join(table.header)}); name one 'file'")
    notes = []
    title = table.header[columns["score"] or 0]
    if plain(title) == "dmos" and higher_is_better:
        notes.append(f"{path}: '{title}' is taken as higher is better; say so if a low score is good")
    items = tuple(_item(row, columns, _root(path, root), dict(zip(table.header, row, strict=False))) for row in table.rows)
    return Dataset(name, items, higher_is_better, unit=title, root=_root(path, root), notes=tuple(notes))


def pairs(path: str, *, root: str | None = None, higher_is_better: bool = True) -> Dataset:
    """A list of pairs as HMII's: reference, distorted, score and perhaps group; titles in the first row or none.

    HMII calls its scores DMOS, yet high is good, on 1..5.
    """
    table = read_table(path)
    if table.header:
        found = csv_list(path, root=root, name="pairs", higher_is_better=higher_is_better)
        if not all(item.reference for item in found.items):
            raise InputError(f"{path}: a list of pairs needs a column 'ref'")
        return found
    if any(len(row) < 3 for row in table.rows):
        raise InputError(f"{path}: a pair is ref,dist,score[,group]; a row has fewer cells")
    columns = {"reference": 0, "file": 1, "score": 2, "group": 3 if all(len(r) > 3 for r in table.rows) else None}
    items = tuple(_item(row, columns, _root(path, root), {}) for row in table.rows)
    return Dataset("pairs", items, higher_is_better, root=_root(path, root))


def dover(path: str, *, root: str | None = None, higher_is_better: bool = True) -> Dataset:
    """DOVER's text: path, duration, frame rate, score; -1 where unknown."""
    table = read_table(path)
    if table.header or any(len(row) != 4 for row in table.rows):
        raise InputError(f"{path}: not DOVER's form, four columns without titles")
    return _headless(table, _root(path, root), "dover", higher_is_better)


def distorted(folder: str, *, root: str | None = None) -> Dataset:
    """What `vqmeter distort` wrote to `folder`, by its `distortions.csv`; the references are items of level 0.

    Nobody rated these: scores are NaN until pseudo labels take their place.
    """
    where = folder if root is None else root
    table = read_table(os.path.join(folder, "distortions.csv"))
    columns = {name: table.required(name) for name in ("path", "reference", "type", "level")}
    items: dict[str, Item] = {}
    for row in table.rows:
        cell = {name: row[place] for name, place in columns.items()}
        reference = os.path.normpath(os.path.join(where, cell["reference"]))
        group = Path(reference).stem
        items.setdefault(reference, Item(reference, math.nan, reference, group, "pristine", 0))
        path = os.path.join(where, cell["path"])
        items[path] = Item(path, math.nan, reference, group, cell["type"], int(cell["level"]))
    return Dataset(os.path.basename(os.path.normpath(folder)), tuple(items.values()), unit="none", root=where)


def _headless(table: Table, root: str, name: str, higher_is_better: bool) -> Dataset:
    """The text column is the path, the last number the score."""
    first = table.rows[0]
    texts = [n for n, cell in enumerate(first) if math.isnan(number(cell))]
    scores = [n for n, cell in enumerate(first) if not math.isnan(number(cell))]
    if not texts or not scores:
        raise InputError(f"{table.path}: no column of paths beside a column of scores")
    columns: dict[str, int | None] = {"file": texts[0], "score": scores[-1]}
    items = tuple(_item(row, columns, root, {}) for row in table.rows if len(row) > max(texts[0], scores[-1]))
    return Dataset(name, items, higher_is_better, root=root)


def _item(row: list[str], columns: dict[str, int | None], root: str, cells: dict[str, str]) -> Item:
    def cell(key: str) -> str:
        place = columns.get(key)
        return row[place] if place is not None and place < len(row) else ""

    path, reference = cell("file").replace("\\", "/"), cell("reference").replace("\\", "/")
    level = number(cell("level"))
    return Item(
        os.path.join(root, path), number(cell("score")), os.path.join(root, reference) if reference else None,
        cell("group") or (Path(reference).stem if reference else path), cell("type"),
        int(level) if math.isfinite(level) else None, columns=cells,
    )  # fmt: skip


def _root(path: str, root: str | None) -> str:
    return os.path.dirname(path) or "." if root is None else root
