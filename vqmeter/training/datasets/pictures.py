"""Picture data sets in the layouts their authors publish: TID2013, KADID-10k, LIVE IQA release 2, CSIQ, MLIVE."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import numpy as np

from vqmeter.errors import InputError
from vqmeter.training import need
from vqmeter.training.datasets import matlab
from vqmeter.training.datasets.files import Folder
from vqmeter.training.datasets.items import Dataset, Item
from vqmeter.training.datasets.tables import Table, number, read_table

#: The types of LIVE IQA in the order of its label file, and how many rows each has.
_LIVE_TYPES = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
_CSIQ_TYPES = {"noise": "awgn", "jpeg 2000": "jpeg2000"}


def tid2013(root: str) -> Dataset:
    """TID2013: MOS 0..9, `mos_with_names.txt` ("score name"), 25 references x 24 types x 5 levels, names in any case."""
    folder = Folder(root)
    table = read_table(folder.labels("TID2013", "mos_with_names.txt"))
    items = []
    for row in table.rows:
        match = re.fullmatch(r"(i\d+)_(\d+)_(\d+)\.\w+", row[-1], re.IGNORECASE)
        if match is None:
            raise InputError(f"{table.path}: '{row[-1]}' is not named as TID2013 names its pictures")
        reference = folder.path(f"reference_images/{match[1].upper()}.BMP")
        items.append(Item(folder.path(f"distorted_images/{row[-1]}"), number(row[0]), reference, match[1].lower(),
                          str(int(match[2])), int(match[3])))  # fmt: skip
    return Dataset("tid2013", tuple(items), True, 0, 9, "MOS", 3000, root)


def kadid_10k(root: str) -> Dataset:
    """KADID-10k: 1..5 in a column called dmos in which high is good; 81 references x 25 types x 5 levels."""
    folder = Folder(root)
    table = read_table(folder.labels("KADID-10k", "dmos.csv"))
    name, ref, score = table.required("dist_img"), table.required("ref_img"), table.required("dmos")
    items = []
    for row in table.rows:
        match = re.match(r"(I\d+)_(\d+)_(\d+)\.", row[name], re.IGNORECASE)
        kind, level = (str(int(match[2])), int(match[3])) if match else ("", None)
        items.append(Item(folder.path(f"images/{row[name]}"), number(row[score]), folder.path(f"images/{row[ref]}"),
                          Path(row[ref]).stem.lower(), kind, level))  # fmt: skip
    return Dataset("kadid-10k", tuple(items), True, 1, 5, "DMOS, high is good", 10125, root)


def live_iqa(root: str) -> Dataset:
    """LIVE IQA release 2: DMOS, low is good; realigned scores where they are; rows of originals (`orgs`) are left out."""
    folder = Folder(root)
    path = folder.labels("LIVE IQA", "dmos_realigned.mat", "dmos.mat")
    data = matlab.load(path)
    scores = matlab.numbers(matlab.variable(data, "dmos_new" if "dmos_new" in data else "dmos", path))
    original = matlab.numbers(matlab.variable(data, "orgs", path))
    names_path = folder.labels("LIVE IQA", "refnames_all.mat")
    references = matlab.strings(matlab.variable(matlab.load(names_path), "refnames_all", names_path))
    places = [(kind, n + 1) for kind, count in _live_counts(folder, len(scores)).items() for n in range(count)]
    if not len(scores) == len(original) == len(references) == len(places):
        raise InputError(f"{path}: {len(scores)} scores, {len(original)} orgs, {len(references)} reference names "
                         f"and {len(places)} pictures, which should be as many")  # fmt: skip
    items = [Item(folder.path(f"{kind}/img{n}.bmp", exact=True), score, folder.path(f"refimgs/{ref}", exact=True),
                  Path(ref).stem.lower(), kind)
             for (kind, n), score, ref, org in zip(places, scores, references, original, strict=True) if not org]  # fmt: skip
    return Dataset("live-iqa", tuple(items), False, 0, 100, "DMOS", 779, root)


def _live_counts(folder: Folder, rows: int) -> dict[str, int]:
    """How many rows each type has: as published, or as the info.txt of a part of it say."""
    if rows == sum(_LIVE_TYPES.values()):
        return _LIVE_TYPES
    return {kind: len(read_table(path).rows) for kind in _LIVE_TYPES if (path := folder.find(f"{kind}/info.txt"))}


def csiq(root: str) -> Dataset:
    """CSIQ: DMOS 0..1, low is good, 30 references; csiq.DMOS.xlsx, a CSV of its sheet, or `name score` in csiq_label.txt."""
    folder = Folder(root)
    files = {_csiq_key(path): path for path in folder if path.lower().endswith(".png") and path.count(".") > 2}
    items = []
    for image, kind, level, score in _csiq_rows(folder):
        where = {"awgn": "AWGN", "blur": "BLUR", "jpeg": "JPEG"}.get(kind, kind)
        missing = os.path.join(root, "dst_imgs", kind, f"{image}.{where}.{level}.png")
        items.append(Item(files.get((image.lower(), kind, level), missing), score, folder.path(f"src_imgs/{image}.png"),
                          image.lower(), kind, level))  # fmt: skip
    return Dataset("csiq", tuple(items), False, 0, 1, "DMOS", 866, root)


def _csiq_key(path: str) -> tuple[str, str, int] | None:
    """`1600.AWGN.1.png` as (1600, awgn, 1)."""
    parts = os.path.basename(path).lower().rsplit(".", 3)
    return (parts[0], parts[1], int(parts[2])) if len(parts) == 4 and parts[2].isdigit() else None


def _csiq_rows(folder: Folder) -> list[tuple[str, str, int, float]]:
    path = folder.labels("CSIQ", "csiq_label.txt", "csiq.csv", "csiq.DMOS.csv", "csiq_dmos.csv", "csiq.DMOS.xlsx")
    table = _sheet(path) if path.endswith(".xlsx") else read_table(path)
    if table.column("dst_type") is None:
        keys = [(_csiq_key(row[0]), number(row[1])) for row in table.rows]
        return [(*key, score) for key, score in keys if key is not None]
    image, kind, level = table.required("image"), table.required("dst_type"), table.required("dst_lev")
    score = table.required("dmos")
    return [(row[image].removesuffix(".0"), _CSIQ_TYPES.get(row[kind].lower(), row[kind].lower()), int(number(row[level])),
             number(row[score])) for row in table.rows if row[image] and not math.isnan(number(row[level]))]  # fmt: skip


def _sheet(path: str) -> Table:
    """The sheet all_by_image of csiq.DMOS.xlsx, whose titles stand in its fourth row and fourth column."""
    book = need("openpyxl", "datasets", path).load_workbook(path, read_only=True, data_only=True)
    try:
        sheet = book["all_by_image"] if "all_by_image" in book.sheetnames else book.worksheets[0]
        rows = [["" if cell is None else str(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
    finally:
        book.close()
    first = next((n for n, row in enumerate(rows) if "image" in row and "dmos" in row), None)
    if first is None:
        raise InputError(f"{path}: no row with the titles image and dmos")
    return Table(path, rows[first], rows[first + 1 :])


def mlive(root: str) -> Dataset:
    """LIVE multiply distorted: DMOS, low is good; Part 1 (blur, then JPEG) and Part 2 (blur, then noise), 15 references."""
    folder = Folder(root)
    items = []
    for part, kind in (("Part 1", "blurjpeg"), ("Part 2", "blurnoise")):
        where = next((p for p in (part, part.replace(" ", "")) if folder.find(f"{p}/Imagelists.mat", exact=True)), part)
        lists_path, scores_path = (folder.path(f"{where}/{name}", exact=True) for name in ("Imagelists.mat", "Scores.mat"))
        if not os.path.isfile(lists_path):
            folder.labels("MLIVE", f"{part}/Imagelists.mat")
        lists = matlab.load(lists_path)
        names = matlab.strings(matlab.variable(lists, "distimgs", lists_path))
        references = matlab.strings(matlab.variable(lists, "refimgs", lists_path))
        which = np.asarray(matlab.numbers(matlab.variable(lists, "ref4dist", lists_path)), int)
        scores = matlab.numbers(matlab.variable(matlab.load(scores_path), "DMOSscores", scores_path))
        if not len(names) == len(which) == len(scores):
            raise InputError(f"{scores_path}: {len(scores)} scores for {len(names)} pictures")
        for name, n, score in zip(names, which, scores, strict=True):
            ref = references[n - 1]
            items.append(Item(folder.path(f"{where}/{kind}/{name}", exact=True), score,
                              folder.path(f"{where}/{kind}/{ref}", exact=True), Path(ref).stem.lower(), kind))  # fmt: skip
    return Dataset("mlive", tuple(items), False, 0, 100, "DMOS", 450, root)
