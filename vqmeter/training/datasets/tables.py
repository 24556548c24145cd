"""Text tables as data sets come: commas, semicolons, tabs or blanks, with or without a header, decimal commas too."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass

from vqmeter.errors import InputError, MissingInputError, UsageError
from vqmeter.metric import nearest

_NOTHING = ("", "-", "na", "n/a", "nan", "none", "null")


@dataclass(frozen=True)
class Table:
    """The cells of a text file; `header` is empty where the first row is data."""

    path: str
    header: list[str]
    rows: list[list[str]]

    def column(self, *names: str) -> int | None:
        """The place of the first of `names` that is a column; case, blanks and underscores do not count."""
        places = {plain(title): n for n, title in reversed(list(enumerate(self.header)))}
        return next((places[plain(name)] for name in names if plain(name) in places), None)

    def required(self, *names: str) -> int:
        """As `column`.

        Raises
            UsageError: there is none of them.
        """
        place = self.column(*names)
        if place is None:
            titles = ", ".join(self.header) or "no header"
            raise UsageError(f"{self.path}: no column {' or '.join(names)}{nearest(names[0], self.header)} ({titles})")
        return place

    def dicts(self) -> list[dict[str, str]]:
        """The rows by column title; {} each where there is no header."""
        return [dict(zip(self.header, row, strict=False)) for row in self.rows]


def plain(title: str) -> str:
    return re.sub(r"[\s_\-]", "", title).lower()


def number(text: str) -> float:
    """A number, with a point or a decimal comma; NaN for anything else."""
    text = text.strip()
    if re.fullmatch(r"[-+]?\d*,\d+", text):
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return math.nan


def read_table(path: str) -> Table:
    """The table in a text file.

    Raises
        MissingInputError: it cannot be read.
        InputError: it holds no table.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except OSError as error:
        raise MissingInputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if b"\0" in raw:
        raise InputError(f"{path}: not a text table")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    lines = [line for line in text.splitlines() if line.strip(" ;,\t")]
    if not lines:
        raise InputError(f"{path}: empty")
    rows = _cells(lines)
    header = rows[0] if _is_header(rows) else []
    return Table(path, header, rows[bool(header) :])


def _cells(lines: list[str]) -> list[list[str]]:
    counts = {mark: lines[0].count(mark) for mark in ";\t,"}
    mark = max(counts, key=lambda m: counts[m])
    if not counts[mark]:
        return [line.split() for line in lines]
    return [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=mark, skipinitialspace=True)]


def _is_header(rows: list[list[str]]) -> bool:
    """Whether the first row holds titles: a word stands over a column of numbers."""

    def numeric(row: list[str], place: int) -> bool:
        return place < len(row) and not math.isnan(number(row[place]))

    return any(not numeric(rows[0], place) and cell.lower() not in _NOTHING and any(numeric(row, place) for row in rows[1:20])
               for place, cell in enumerate(rows[0]))  # fmt: skip
