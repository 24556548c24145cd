"""`distortions.csv`: how every distorted file of a folder was made; and files that are whole or not there.

The table is brought up to date as files come, so that a run that was broken off goes on where it stopped.
"""

from __future__ import annotations

import csv
import os
import time
from dataclasses import asdict, dataclass, fields

from vqmeter.distortions import TYPES
from vqmeter.errors import OutputError, UsageError
from vqmeter.sources import is_sequence
from vqmeter.writers import whole

TABLE = "distortions.csv"
_SAVE_SECONDS = 1.0


@dataclass(frozen=True)
class Row:
    """A line of the table; paths are relative to its folder."""

    path: str
    reference: str
    type: str
    level: int
    seed: int
    parameters: str


class Table:
    """The rows of `distortions.csv` in `folder`, by path."""

    def __init__(self, folder: str) -> None:
        self._folder, self._path = folder, os.path.join(folder, TABLE)
        self._rows: dict[str, Row] = {}
        self._changed, self._saved = False, time.monotonic()
        try:
            os.makedirs(folder, exist_ok=True)
            with open(self._path, encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    self._rows[row["path"]] = Row(**{**row, "level": int(row["level"]), "seed": int(row["seed"])})  # type: ignore[arg-type]
        except FileNotFoundError:
            pass
        except OSError as error:
            raise OutputError(f"{folder}: {(error.strerror or str(error)).lower()}") from None
        except (KeyError, TypeError, ValueError):
            raise OutputError(f"{self._path}: not a table of vqmeter distort; move it away") from None

    def has(self, wanted: Row, path: str, reference: str) -> bool:
        """Whether the file at `path` is there, no older than `reference`, and made as `wanted` says.

        Raises
            UsageError: it was made another way.
        """
        row = self._rows.get(wanted.path)
        try:
            if row is None or os.path.getmtime(path) < _changed(reference):
                return False
        except OSError:
            return False
        if row != wanted:
            raise UsageError(f"{path} was made another way ({row.type} {row.level} of {row.reference}, seed {row.seed}, "
                             f"{row.parameters}); --overwrite makes it anew")  # fmt: skip
        return True

    def add(self, row: Row) -> None:
        self._rows[row.path] = row
        self._changed = True
        if time.monotonic() - self._saved > _SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        if not self._changed:
            return
        with whole(self._path, ".csv") as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [f.name for f in fields(Row)], lineterminator="\n")
            writer.writeheader()
            order = {name: n for n, name in enumerate(TYPES)}
            rows = sorted(self._rows.values(), key=lambda row: (row.reference, order.get(row.type, -1), row.level))
            writer.writerows(asdict(row) for row in rows)
        self._changed, self._saved = False, time.monotonic()


def _changed(path: str) -> float:
    return 0.0 if is_sequence(path) and not os.path.exists(path) else os.path.getmtime(path)
