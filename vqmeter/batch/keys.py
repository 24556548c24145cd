"""What a result hangs on, so that it is known when it need not be measured again: files, options, version, weights.

A file is the same while its size and time are, or else while its SHA-256 is.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from vqmeter import __version__
from vqmeter.errors import InputError, MissingInputError, WeightsError
from vqmeter.sources import is_sequence
from vqmeter.weights import hashes_of
from vqmeter.weights.manifest import sha256


def digest(value: Any) -> str:
    """24 hexadecimal digits of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:24]


def made_by(options: Mapping[str, Any]) -> str:
    """The version of vqmeter and the weight files that `options` of a job use here."""
    return _made_by(tuple(options["metrics"]), tuple(options["models"]), options.get("weights"))


@lru_cache(maxsize=1024)
def _made_by(metrics: tuple[str, ...], models: tuple[str, ...], named: str | None) -> str:
    return digest([__version__, hashes_of(metrics, models, named)])


def facts(path: str) -> dict[str, Any]:
    """`stamp`, changed whenever a file is written, and `sha256` of what is in it.

    Raises
        MissingInputError: it cannot be read.
        InputError: it is no plain file, so that it could not be read twice.
    """
    files = _files(path)
    found = stamp(path)
    try:
        digests = [sha256(Path(file)) for file in files]
    except WeightsError as error:
        raise MissingInputError(str(error)) from None
    return {"stamp": found, "sha256": digests[0] if len(digests) == 1 else digest(digests)}


def stamp(path: str) -> list[int]:
    """The number of files, their bytes, and the latest time of a change in nanoseconds.

    Raises
        MissingInputError, InputError: as `facts`.
    """
    stats = []
    for file in _files(path):
        try:
            stats.append(os.stat(file))
        except OSError as error:
            raise MissingInputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        if stat.S_ISDIR(stats[-1].st_mode):
            raise MissingInputError(f"{path}: is a folder, not a video")
        if not stat.S_ISREG(stats[-1].st_mode):
            raise InputError(f"{path}: is a pipe or a device; a batch reads files, which it can read again")
    return [len(stats), sum(one.st_size for one in stats), max(one.st_mtime_ns for one in stats)]


def unchanged(path: str, known: Mapping[str, Any]) -> bool:
    """Whether a file is still what `facts` once said of it."""
    try:
        return bool(stamp(path) == known["stamp"] or facts(path)["sha256"] == known["sha256"])
    except InputError:
        return False


def _files(path: str) -> list[str]:
    """`path` itself, or the files of a numbered sequence."""
    if not is_sequence(path) or os.path.exists(path):
        return [path]
    return sorted(glob.glob(re.sub(r"%0?\d*d", "[0-9]*", glob.escape(path)))) or [path]
