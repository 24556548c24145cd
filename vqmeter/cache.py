"""Results kept in a folder, and taken from there where the same files are measured the same way: `--cache DIR`.

    DIR/files/NAME.json     SHA-256 of a file's bytes, under its path; good while its size and time of change stay
    DIR/scores/NAME.json    one result, under a digest of everything that it hangs on

A result hangs on the bytes of both files, how raw ones are laid out, the settings, the metrics with their options, the
weight files and the version of this program. Entries are written aside and renamed, so many processes may share a
folder; what cannot be read is measured anew. Numbers are kept to the last bit. What came from a pipe, failed, or was
cut short is not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from array import array
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vqmeter import __version__
from vqmeter.errors import OutputError, VqmeterError
from vqmeter.metric import Chosen, Scale
from vqmeter.report import Result, Series
from vqmeter.settings import Settings
from vqmeter.sources import RAW_SUFFIXES, InputOptions
from vqmeter.sources.geometry import raw_geometry
from vqmeter.weights.manifest import sha256
from vqmeter.writers import whole

_FORM = 1  # of an entry; another form is another key
_PARTS = ("inputs", "metrics", "validity", "columns", "clips", "whole")


class Cache:
    """The folder of kept results, for a session that measures `chosen` as `settings` say."""

    def __init__(self, folder: str, settings: Settings, chosen: Sequence[Chosen], devices: Sequence[str]) -> None:
        """Raises OutputError where the folder cannot be made."""
        self._folder, self._settings = Path(folder), settings
        try:
            for room in ("files", "scores"):
                (self._folder / room).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: no folder to keep results in ({(error.strerror or str(error)).lower()})") from None
        same = replace(settings, threads=0, batch=None, cache=None, worst=None)  # none of these changes a score
        inputs = [replace(options, threads=0, max_pixels=0, max_frames=None) for options in (same.ref_input, same.dist_input)]
        self._made_by = [
            _FORM, __version__, repr(replace(same, ref_input=inputs[0], dist_input=inputs[1])),
            [[c.name, c.key, repr(c.metric), device, _weights(c)] for c, device in zip(chosen, devices, strict=True)],
        ]  # fmt: skip

    def key(self, ref: str | None, dist: str) -> str | None:
        """The digest under which the result of a pair is kept; None where it cannot be known before it is measured."""
        settings = self._settings
        pairs = [(dist, settings.dist_input)] + ([] if ref is None else [(ref, settings.ref_input)])
        files = [self._identity(path, options) for path, options in pairs]
        if None in files or settings.map_folder is not None:
            return None
        return hashlib.sha256(json.dumps([self._made_by, files]).encode()).hexdigest()

    def find(self, key: str | None, ref: str | None, dist: str, label: str) -> Result | None:
        """The result kept under `key`, with the names that its files have now; None where there is none to be read."""
        if key is None:
            return None
        try:
            kept = json.loads((self._folder / "scores" / f"{key}.json").read_text("utf-8"))
            result = Result(**{part: kept[part] for part in _PARTS}, label=label)
            for name, (scale, cap, frames, values) in kept["series"].items():
                result.series[name] = Series(Scale(**scale), cap, array("q", frames), array("d", values))
            result.settings = self._settings.to_json(result.validity["compare_format"])
            result.validity["cached"] = True
            result.inputs["distorted"]["path"] = dist
            if ref is not None:
                result.inputs["reference"]["path"] = ref
            return result
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, key: str | None, result: Result) -> None:
        """Keep a result that is whole.

        Raises
            OutputError: the folder cannot be written.
        """
        if key is None or result.error is not None or result.truncated:
            return
        kept = {part: getattr(result, part) for part in _PARTS}
        kept["series"] = {
            name: [asdict(s.scale), s.cap, s.frames.tolist(), s.values.tolist()] for name, s in result.series.items()
        }
        self._write(self._folder / "scores" / f"{key}.json", kept)

    def _identity(self, path: str, options: InputOptions) -> Any:
        """What tells the video at `path` from another: its bytes, and how they are read where they do not say."""
        digest = self._digest(path)
        raw = options.format == "rawvideo" or (options.format is None and path.lower().endswith(RAW_SUFFIXES))
        if digest is None or not raw:
            return digest and [digest, os.path.splitext(path)[1].lower()]
        try:
            return [digest, repr(raw_geometry(path, options))]
        except VqmeterError:
            return None

    def _digest(self, path: str) -> str | None:
        """The SHA-256 of a plain file; None of anything else."""
        try:
            facts = os.stat(path)
            if not stat.S_ISREG(facts.st_mode):
                return None
            place = os.path.realpath(path)
            found = [place, facts.st_size, facts.st_mtime_ns, facts.st_ino]
            note = self._folder / "files" / f"{hashlib.sha256(os.fsencode(place)).hexdigest()}.json"
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                known = json.loads(note.read_text("utf-8"))
                if known["file"] == found:
                    return str(known["sha256"])
            digest = sha256(Path(path))
        except (OSError, VqmeterError):
            return None
        self._write(note, {"file": found, "sha256": digest})
        return digest

    def _write(self, path: Path, value: Any) -> None:
        with whole(str(path)) as temporary, open(temporary, "w", encoding="utf-8") as file:
            json.dump(value, file)


def _weights(chosen: Chosen) -> list[str]:
    """The hashes of the weight files that a metric hangs on."""
    from vqmeter.weights import hashes

    return hashes(chosen.name, chosen.metric.weights) if hasattr(chosen.metric, "weights") else []
