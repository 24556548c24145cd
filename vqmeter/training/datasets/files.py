"""Finding the files of a data set by name, whatever case its authors, or an unpacking, gave them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vqmeter.errors import MissingInputError


class Folder:
    """Every file beneath a folder, walked once, found case-insensitively.

    Raises
        MissingInputError: there is no such folder.
    """

    def __init__(self, root: str) -> None:
        if not os.path.isdir(root):
            raise MissingInputError(f"{root}: no such folder")
        self.root = root
        self._by_name: dict[str, list[str]] = {}
        for where, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                self._by_name.setdefault(name.lower(), []).append(os.path.join(where, name))

    def find(self, name: str, exact: bool = False) -> str | None:
        """The file that `name` (`a/b.bmp` or `b.bmp`) means: the one with the longest common tail; None without one.

        `exact` wants the folders too, for sets that use the same names in several (jp2k/img1.bmp, jpeg/img1.bmp).
        """
        wanted = name.replace("\\", "/").lower().strip("/")
        parts = wanted.split("/")
        tails = {path: _common_tail(path, wanted) for path in self._by_name.get(parts[-1], [])}
        least = len(parts) if exact else min(2, len(parts)) if len(tails) > 1 else 1
        found = [path for path, tail in tails.items() if tail >= least]
        return max(found, key=lambda path: (tails[path], -len(path)), default=None)

    def path(self, name: str, exact: bool = False) -> str:
        """As `find`; where the file is missing, the place it should be."""
        return self.find(name, exact) or os.path.join(self.root, *name.replace("\\", "/").split("/"))

    def starting(self, start: str, ending: str) -> str | None:
        """The file whose name begins with `start` and ends in `ending`; None without one."""
        start, ending = start.lower(), ending.lower()
        return next((paths[0] for name, paths in self._by_name.items()
                     if name.startswith(start) and name.endswith(ending)), None)  # fmt: skip

    def labels(self, dataset: str, *names: str) -> str:
        """The first of the label files `names` that is there.

        Raises
            MissingInputError: none is, so this is another folder.
        """
        for name in names:
            found = self.find(name)
            if found:
                return found
        raise MissingInputError(f"{self.root}: no {' or '.join(names)} here; is this the folder of {dataset}?")

    def __iter__(self) -> Iterator[str]:
        for paths in self._by_name.values():
            yield from paths


def _common_tail(path: str, wanted: str) -> int:
    ours, theirs = Path(path.lower()).parts[::-1], wanted.split("/")[::-1]
    count = 0
    while count < min(len(ours), len(theirs)) and ours[count] == theirs[count]:
        count += 1
    return count
