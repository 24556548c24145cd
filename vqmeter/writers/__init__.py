"""Reports as files and text. The form goes by the ending; files are written beside their place and renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import IO

from vqmeter.errors import OutputError, UsageError
from vqmeter.report import Report

Writer = Callable[[Report], Iterator[str]]

#: Endings from the longest, and the module whose `render` gives that form.
ENDINGS = {
    ".libvmaf.json": "libvmaf",
    ".pooled.csv": "pooled_csv",
    ".ndjson": "ndjson",
    ".json": "json",
    ".csv": "csv",
    ".html": "html",
}
FORMATS = ("table", "json", "csv", "ndjson", "libvmaf")


def writer(form: str) -> Writer:
    """The function that renders a report in `form`: it yields pieces of text."""
    import importlib

    module, _, name = {
        "json": "writers.documents:render_json", "ndjson": "writers.documents:render_ndjson",
        "libvmaf": "writers.documents:render_libvmaf", "csv": "writers.tables:render_csv",
        "pooled_csv": "writers.tables:render_pooled_csv", "table": "writers.tables:render_table", "html": "page:render",
    }[form].partition(":")  # fmt: skip
    found: Writer = getattr(importlib.import_module(f"vqmeter.{module}"), name)
    return found


def form_of(path: str) -> str:
    """The form a file's ending asks for.

    Raises
        UsageError: the ending is none of `ENDINGS`.
    """
    for ending, form in ENDINGS.items():
        if path.lower().endswith(ending):
            return form
    raise UsageError(f"{path}: what form should this be? End the name in {', '.join(ENDINGS)}")


def check_writable(path: str) -> None:
    """Fail before the work, not after it, where `path` cannot be written.

    Raises
        OutputError: its folder is not there or may not be written to, or it is a folder itself.
    """
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise OutputError(f"{path}: is a folder, not a file to write")
    if not os.path.isdir(folder):
        raise OutputError(f"{path}: no folder {folder} to write into")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: may not write into {folder}")


def write(report: Report, path: str) -> None:
    """Write `report` to `path` in the form of its ending, whole or not at all.

    Raises
        OutputError: the disk is full, or the place cannot be written.
    """
    render = writer(form_of(path))
    with whole(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        write_text(render(report), file)


@contextlib.contextmanager
def whole(path: str, ending: str = "") -> Iterator[str]:
    """A name beside `path` to write to; it takes the place of `path` when all went well, and goes when it did not.

    Raises
        OutputError: the disk is full, or the place cannot be written.
    """
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(ending, ".vqmeter-", os.path.dirname(path) or ".")
        os.close(handle)
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file whole or not at all.

    Raises
        OutputError: the disk is full, or the place cannot be written.
    """
    with whole(os.fspath(path)) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)


def write_text(pieces: Iterator[str], file: IO[str]) -> None:
    for piece in pieces:
        file.write(piece)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
