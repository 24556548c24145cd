"""One training run: where it keeps what it made so far, how it computes, and what was asked to be other than the recipe's.

A run owns a folder. Everything in it is written whole or not at all, so that a run killed at any moment goes on from
there when the same command is given again, to the same weights.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vqmeter.errors import OutputError, UsageError
from vqmeter.metric import Context
from vqmeter.writers import whole, write_whole

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
#: What is being done, how much of it is done, and of how much.
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Run:
    """How to train. None for `epochs`, `batch`, `rate` and `patience` leaves them to the recipe.

    `rate` is the learning rate, `patience` the epochs to wait for a better validation SROCC (0: for ever), `steps` a limit
    on optimiser steps a stage, `init` a weight file to begin from, `keep_every` the seconds between checkpoints.
    """

    folder: Path
    context: Context = field(default_factory=Context)
    epochs: int | None = None
    batch: int | None = None
    rate: float | None = None
    patience: int | None = None
    steps: int | None = None
    init: str | None = None
    keep_every: float = 60.0
    tell: Tell | None = None

    @property
    def seed(self) -> int:
        return self.context.seed

    def inside(self, name: str) -> Run:
        """The same run in a folder beneath this one."""
        return replace(self, folder=self.folder / name)

    def rng(self, *words: object) -> np.random.Generator:
        """Random numbers that follow from the run's seed and `words` alone."""
        return np.random.default_rng(seed_of(self.seed, *words))

    def say(self, what: str, done: int, total: int) -> None:
        if self.tell is not None:
            self.tell(what, done, total)

    def each(self, what: str, items: Sequence[T], make: Callable[[T], Any]) -> list[Any]:
        """`make` of every item, in order, in as many threads as the run has; an error ends it."""
        done, lock, out = 0, threading.Lock(), []

        def one(item: T) -> Any:
            nonlocal done
            made = make(item)
            with lock:
                done += 1
                self.say(what, done, len(items))
            return made

        with ThreadPoolExecutor(max(1, self.context.threads), "vqmeter-train") as pool:
            futures = [pool.submit(one, item) for item in items]
            try:
                out = [future.result() for future in futures]
            finally:
                for future in futures:
                    future.cancel()
        return out

    def array(self, kind: str, made_by: Any, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """An array made once and kept in the run's cache; read back by memory mapping.

        `kind` names its folder and `made_by` (plain values) says everything the array hangs on.
        """
        path = self._cache() / kind / f"{digest(made_by)}.npy"
        if not path.exists():
            made = make()
            os.makedirs(path.parent, exist_ok=True)
            with whole(str(path), ".npy") as temporary:
                np.save(temporary, made, allow_pickle=False)
        found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return found

    def _cache(self) -> Path:
        """`cache` in the outermost folder that has one, so that the parts of a comparison share features."""
        for folder in (self.folder, *self.folder.parents[:3]):
            if (folder / "cache").is_dir():
                return folder / "cache"
        return self.folder / "cache"

    def open(self, made_by: Any, restart: bool = False) -> None:
        """Make the folder, and hold that what lies in it was made by this very run.

        Raises
            UsageError: another run began there.
            OutputError: it cannot be written.
        """
        mark, said = self.folder / "run.json", json.dumps(made_by, indent=1, sort_keys=True, default=str)
        try:
            os.makedirs(self.folder / "cache", exist_ok=True)
            if mark.exists() and not restart and mark.read_text("utf-8") != said:
                raise UsageError(f"{self.folder}: another training run began here ({_difference(mark, made_by)}); "
                                 "--restart throws it away, --work names another folder")  # fmt: skip
            if restart:
                for path in [*self.folder.rglob("*.ckpt"), *self.folder.rglob("figures.json")]:
                    path.unlink()
        except OSError as error:
            raise OutputError(f"{self.folder}: {(error.strerror or str(error)).lower()}") from None
        write_whole(mark, said)


def _difference(mark: Path, made_by: Any) -> str:
    """The first thing that is not as it was."""
    try:
        before, now = json.loads(mark.read_text("utf-8")), json.loads(json.dumps(made_by, default=str))
    except ValueError:
        return "its run.json is damaged"
    keys = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    return f"{keys[0]} was {before.get(keys[0])}, now {now.get(keys[0])}"[:120] if keys else "run.json differs"


def digest(value: Any) -> str:
    """A short name for plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:24]


def seed_of(*words: object) -> int:
    """A seed of 63 bits that follows from `words` on every machine."""
    return int(hashlib.sha256("\0".join(map(str, words)).encode()).hexdigest()[:16], 16) >> 1


def stamp(paths: Iterable[str | None]) -> list[list[Any]]:
    """What files hang on: path, size and time, for `made_by`."""
    stats = [(p, os.stat(p)) for p in paths if p and os.path.exists(p)]
    return [[p, stat.st_size, stat.st_mtime_ns] for p, stat in stats]


@contextmanager
def seeded(*words: object) -> Iterator[None]:
    """Torch's random numbers on the CPU follow from `words` within, and afterwards from what they did before."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(*words))
        yield


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """A short name for tensors, by their keys, shapes and values."""
    found = hashlib.sha256()
    for key, value in sorted(state.items()):
        found.update(key.encode() + str(tuple(value.shape)).encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:24]
