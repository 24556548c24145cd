"""Data sets of human scores, read in the layouts their authors publish.

`open_dataset("konvid-1k", folder)` gives items with their score, reference and content group; the direction and the ends
of the scale go with them, for a score alone does not tell whether high is good. `problems(dataset)` lists what is wrong
with this copy before anything is trained. Nothing is downloaded: most of these sets need their owners' leave.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

from vqmeter.errors import MissingInputError, UsageError
from vqmeter.metric import nearest
from vqmeter.training.datasets.items import Dataset, Item, problems

#: Name -> where its adapter is; those of `lists` take a file (`distorted` a folder), the others the folder of the data set.
NAMES = {
    "konvid-1k": "video:konvid_1k",
    "live-vqc": "video:live_vqc",
    "cvd2014": "video:cvd2014",
    "live-qualcomm": "video:live_qualcomm",
    "live-vqa": "video:live_vqa",
    "live-apv": "video:live_apv",
    "tid2013": "pictures:tid2013",
    "kadid-10k": "pictures:kadid_10k",
    "live-iqa": "pictures:live_iqa",
    "csiq": "pictures:csiq",
    "mlive": "pictures:mlive",
    "pairs": "lists:pairs",
    "dover": "lists:dover",
    "csv": "lists:csv_list",
    "distorted": "lists:distorted",
}


def open_dataset(name: str, root: str | os.PathLike[str], /, **options: Any) -> Dataset:
    """The data set `name` (one of `NAMES`) at `root`, its folder or, of a list, its file; `options` go to a list's adapter.

    Raises
        UsageError: no such name, or an extra is missing.
        MissingInputError: the folder or its label file is not there.
        InputError: the label file is not as published.
    """
    if name not in NAMES:
        raise UsageError(f"no data set '{name}'{nearest(name, NAMES)}; there are {', '.join(NAMES)}")
    module, _, function = NAMES[name].partition(":")
    path = os.fspath(root)
    if module == "lists" and name != "distorted" and not os.path.isfile(path):
        raise MissingInputError(f"{path}: '{name}' is a list, and there is no such file")
    adapter: Callable[..., Dataset] = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    return adapter(path, **options)


__all__ = ["NAMES", "Dataset", "Item", "open_dataset", "problems"]
