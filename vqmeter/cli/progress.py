"""The progress bar of every command: on stderr, on terminals only, unless it is unwanted."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any


@contextlib.contextmanager
def progress(unit: str, options: Mapping[str, Any]) -> Iterator[Callable[[int, int | None], None] | None]:
    """What to tell how much is done and of how many, where a bar is shown; else None."""
    if options["quiet"] or options["no_progress"] or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(unit=f" {unit}", leave=False, dynamic_ncols=True) as bar:

        def update(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update
