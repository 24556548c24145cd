"""Jobs: what is to be measured, from a table, from lines of JSON, from a folder or from a pattern."""

from __future__ import annotations

import csv
import glob
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from vqmeter.batch.keys import digest
from vqmeter.distortions.files import files_in
from vqmeter.errors import MissingInputError, UsageError
from vqmeter.metric import choose

#: A key and a value of a list as the name and the value of an option of `measure`.
Convert = Callable[[str, Any], tuple[str, Any]]
LISTS = (".csv", ".ndjson", ".jsonl")
_DISTORTED = ("distorted", "clip")
_SPEED_ONLY = ("threads", "batch")  # options that no score hangs on


@dataclass(frozen=True)
class Job:
    """One file to measure, against `reference` or without one; `options` are those of `measure`, as JSON has them."""

    distorted: str
    reference: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """What tells this job from others: its files' names and its options, but for those that only touch speed."""
        lasting = {key: value for key, value in self.options.items() if key not in _SPEED_ONLY}
        return digest([self.distorted, self.reference, lasting])

    @property
    def files(self) -> dict[str, str]:
        """Its inputs by their role."""
        return {"distorted": self.distorted} | ({} if self.reference is None else {"reference": self.reference})

    @property
    def bytes(self) -> int:
        """The size of the distorted file; 0 where that is not known."""
        try:
            return os.stat(self.distorted).st_size
        except OSError:
            return 0


def is_address(path: str) -> bool:
    """Whether `path` is to be fetched, as s3://bucket/clip.mp4, rather than opened."""
    return "://" in path


def read_jobs(source: str, reference: str | None, defaults: Mapping[str, Any], convert: Convert) -> list[Job]:
    """The jobs that `source` names: a list (`.csv`, `.ndjson`, `-`), a folder of media files, or a pattern as `enc/*.mp4`.

    `reference` and `defaults` stand where a job says nothing of its own. In `reference`, `{stem}` stands for the name of the
    distorted file without its ending. Jobs that are named twice are there once.

    Raises
        UsageError: a list with a key, a value or a metric that is none; says the line.
        MissingInputError: a list that cannot be read, a folder or a pattern without a file.
    """
    found: dict[str, Job] = {}
    for where, row in _rows(source):
        try:
            job = _job(row, reference, defaults, convert)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None
        if job.distorted != job.reference:  # a folder may hold the reference too
            found.setdefault(job.id, job)
    if not found:
        raise MissingInputError(f"{source}: no job in it")
    return list(found.values())


def _rows(source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each job was named, for messages, and its keys; paths are absolute."""
    if source == "-" or (source.lower().endswith(LISTS) and not os.path.isdir(source)):
        folder = os.path.dirname(source)
        for number, row in _csv(source) if source.lower().endswith(".csv") else _ndjson(source):
            yield f"{source}: line {number}", {key: _absolute(key, value, folder) for key, value in row.items()}
        return
    if os.path.isdir(source):
        paths = files_in(source, os.devnull)  # nothing is made of them
    else:
        paths = sorted(path for path in glob.glob(source, recursive=True) if not os.path.isdir(path))
        if not paths:
            wanted = "name a list (.csv, .ndjson), a folder, or a pattern in quotes"
            raise MissingInputError(f"{source}: no file is called so; {wanted}")
    for path in paths:
        yield source, {"distorted": os.path.abspath(path)}


def _absolute(key: str, value: Any, folder: str) -> Any:
    """Paths of a list are relative to its folder."""
    if key not in (*_DISTORTED, "reference") or not isinstance(value, str) or not value or is_address(value):
        return value
    return os.path.abspath(os.path.join(folder, value))


def _csv(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            for row in reader:
                if None in row or None in row.values():
                    raise UsageError(
                        f"{path}: line {reader.line_num}: {len(reader.fieldnames or ())} cells are wanted, as titles"
                    )
                yield reader.line_num, {key.strip(): value for key, value in row.items() if value.strip()}
    except OSError as error:
        raise MissingInputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: is not CSV in UTF-8 ({error})") from None


def _ndjson(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with (
            open(path, encoding="utf-8-sig")
            if path != "-"
            else open(sys.stdin.fileno(), encoding="utf-8", closefd=False) as file
        ):
            for number, line in enumerate(file, 1):
                try:
                    row = json.loads(line) if line.strip() else {}
                except ValueError as error:
                    raise UsageError(f"{path}: line {number}: is not JSON ({error})") from None
                if not isinstance(row, dict):
                    raise UsageError(f'{path}: line {number}: a job is an object, as {{"distorted": "clip.mp4"}}')
                if row:
                    yield number, {key: value for key, value in row.items() if value not in (None, "")}
    except OSError as error:
        raise MissingInputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 ({error})") from None


def _job(row: Mapping[str, Any], reference: str | None, defaults: Mapping[str, Any], convert: Convert) -> Job:
    """One job, its metrics and models looked up.

    Raises
        UsageError: a key or a value that is none.
    """
    named = [row[key] for key in _DISTORTED if key in row]
    if len(named) != 1 or not isinstance(named[0], str):
        raise UsageError(f"a job has one {' or '.join(_DISTORTED)}, the name of a file")
    path = named[0]
    if os.path.basename(path) == "-":
        raise UsageError("a job reads its input more than once: give a file, not -")
    ref = row.get("reference", reference)
    if ref is not None and not is_address(ref):
        ref = os.path.abspath(ref)
    if ref is not None:
        ref = ref.replace("{stem}", os.path.splitext(os.path.basename(path))[0])
    own = dict(convert(key, value) for key, value in row.items() if key not in (*_DISTORTED, "reference"))
    if ref is None and own.get("metrics"):
        raise UsageError("metrics compare with a reference, and there is none; name models")
    return Job(path, ref, _complete(ref is not None, dict(defaults) | own))


def _complete(full_reference: bool, options: dict[str, Any]) -> dict[str, Any]:
    """`options` with what fr or nr measures where nothing is said, and without what only the other knows."""
    if full_reference:
        options["metrics"] = options.get("metrics") or ["psnr", "ssim"]
        _check("fr", tuple(options["metrics"]))
    else:
        options |= {"metrics": [], "models": options.get("models") or ["vsfa"], "model_ref": False}
    if options.get("models"):
        _check("nr", tuple(options["models"]))
    return options


@lru_cache(maxsize=1024)
def _check(family: str, specs: tuple[str, ...]) -> None:
    """
    Raises
        UsageError: one of them is no metric.
    """
    choose(family, specs)
