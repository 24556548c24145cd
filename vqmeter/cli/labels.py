"""A data set as a command was given it: how it is read, and everything wrong with it said before any work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vqmeter.cli import complain

if TYPE_CHECKING:
    from vqmeter.training.datasets import Dataset

LISTS = ("csv", "pairs", "dover")


def opened(name: str, path: str, options: Mapping[str, Any]) -> Dataset:
    """The data set `name` at `path`; `media`, `label` and `labels_lower` of `options` are for lists.

    Raises
        VqmeterError: as `open_dataset`.
    """
    from vqmeter.training.datasets import open_dataset

    extra: dict[str, Any] = {}
    if name in (*LISTS, "distorted"):
        extra["root"] = options["media"]
    if name in LISTS:
        extra["higher_is_better"] = not options["labels_lower"]
    if name == "csv":
        extra |= {"score": options["label"], "file": options.get("file")}
    return open_dataset(name, path, **extra)


def check(dataset: Dataset, options: Mapping[str, Any], *, media: bool = True, scores: bool = True) -> None:
    """Say what is wrong with this copy; `media` and `scores` as of `problems`.

    Raises
        InputError: something is, and `--allow-missing` was not given.
    """
    from vqmeter.errors import InputError
    from vqmeter.training.datasets import problems

    found = problems(dataset, media, scores)
    for line in found:
        complain(line)
    if found and not options["allow_missing"]:
        raise InputError(f"{dataset.name}: {len(found)} problems with this copy; --allow-missing goes on with what is there")


def tell_notes(dataset: Dataset, options: Mapping[str, Any]) -> None:
    """Say what was assumed in reading it."""
    for note in dataset.notes if not options["quiet"] else ():
        complain(note)
