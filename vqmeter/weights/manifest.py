"""The weight sets that are known, the places files are looked for in, and the hashes they must have.

The manifest is `manifest.json` in the folder of bundled weights: `vqmeter/_weights` in a wheel, `weights/` in a
checkout. Its entries are fields of `Weights`. Files of our own bring the same fields in their header, so that their
entries hold little more than a name and a hash. `sha256` may be a prefix where only that is published (torch hub's
file names carry the first 8 digits); a prefix guards against accidents, not against an attacker.

Imports no torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import platformdirs

from vqmeter.errors import WeightsError

SUFFIXES = (".safetensors", ".pt", ".pth", ".pickle")
VARIABLE = "VQMETER_WEIGHTS"


@dataclass(frozen=True)
class Label:
    """What a network's number means: `raw * scale + offset` is on a data set's own scale, worst at `low`, best `high`.

    `higher_is_better` is false for DMOS-like scales: there `low` is the best. With `soft` N the outer N of 0..100 are
    drawn out, so that what lies beyond the ends is still told apart: near an end the distance to it falls by e every N.
    """

    scale: float = 1.0
    offset: float = 0.0
    low: float = 0.0
    high: float = 1.0
    higher_is_better: bool = True
    unit: str = "MOS"
    soft: float = 0.0

    def value(self, raw: float) -> float:
        """The score on the data set's own scale."""
        return raw * self.scale + self.offset

    def score(self, raw: float) -> float:
        """The score on 0..100, higher is better, clipped or drawn out at the ends."""
        part = (self.value(raw) - self.low) / (self.high - self.low)
        score = 100.0 * (part if self.higher_is_better else 1.0 - part)
        if self.soft and score < self.soft:
            return self.soft * math.exp(score / self.soft - 1)
        if self.soft and score > 100 - self.soft:
            return 100 - self.soft * math.exp((100 - score) / self.soft - 1)
        return min(max(score, 0.0), 100.0)


@dataclass(frozen=True)
class Weights:
    """A weight set. `path` is None until `find` has found its file; `label` is None where no scale is known.

    `card` is Markdown, `validated` a sentence on how far the scores were checked. `needs` names the backbones that a head
    stands on, with the SHA-256 each must have (of the file, or of the file it was converted from); `source_sha256` is that
    of the file this one was converted from; `options` are the options of the model that the values were trained with
    (backbone, temporal, fps ...).
    """

    name: str
    model: str
    file: str = ""
    variant: str = ""
    sha256: str = ""
    size: int | None = None
    url: str = ""
    source: str = ""
    licence: str = "unknown"
    dataset: str = ""
    card: str = ""
    validated: str = ""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    label: Label | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    store: str = "fp32"
    source_sha256: str = ""
    bundled: bool = False  # comes with vqmeter: a file of that name elsewhere is another one
    path: Path | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any], path: Path | None = None) -> Weights:
        """From an entry of the manifest or a file's header; fields of later versions are passed over.

        Raises
            WeightsError: a field is missing, or is not what it should be.
        """
        known = {f.name for f in dataclasses.fields(cls)} - {"path"}
        fields = {key: value for key, value in values.items() if key in known}
        try:
            if fields.get("label") is not None:
                fields["label"] = Label(**fields["label"])
            return cls(**fields, path=path)
        except TypeError as error:
            raise WeightsError(f"{path or 'manifest'}: {error}") from None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without what is empty."""
        values = dataclasses.asdict(self) | {"path": None if self.path is None else str(self.path)}
        return {key: value for key, value in values.items() if value not in ("", None, {}) and value is not False}

    def score(self, raw: float) -> float:
        """`raw` on 0..100, higher is better.

        Raises
            WeightsError: the scale of these weights is not known.
        """
        if self.label is None:
            raise WeightsError(f"{self.name}: the scale is not known; import the file again with --range WORST:BEST")
        return self.label.score(raw)


def bundled() -> Path:
    """The folder of the weights that come with vqmeter: in the wheel, or in the checkout."""
    package = Path(__file__).resolve().parents[1]
    return package / "_weights" if (package / "_weights").is_dir() else package.parent / "weights"


def data_folder() -> Path:
    """Where `pull` and `import` write."""
    return platformdirs.user_data_path("vqmeter", appauthor=False) / "weights"


def entries() -> tuple[Weights, ...]:
    """The manifest."""
    path = bundled() / "manifest.json"
    return _entries(path, path.stat().st_mtime_ns) if path.is_file() else ()


@lru_cache(maxsize=8)
def _entries(path: Path, _: int) -> tuple[Weights, ...]:
    try:
        return tuple(Weights.from_json(entry) for entry in json.loads(path.read_text("utf-8"))["weights"])
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path}: not a manifest of weights ({error})") from None


def places() -> list[Path]:
    """Files and folders that are looked through after what the user said, in order.

    Raises
        WeightsError: `$VQMETER_WEIGHTS` names nothing that exists.
    """
    said = os.environ.get(VARIABLE)
    if said and not Path(said).expanduser().exists():
        raise WeightsError(f"${VARIABLE} is {said}: no such file or folder")
    return [*([Path(said).expanduser()] if said else []), data_folder(), bundled()]


def sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal; read once a process for as long as the file stays as it is."""
    try:
        stat = path.stat()
        return _sha256(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}") from None


@lru_cache(maxsize=256)
def _sha256(path: Path, _mtime: int, _size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def forget_hashes() -> None:
    """Read files anew the next time their hash is asked for."""
    _sha256.cache_clear()
