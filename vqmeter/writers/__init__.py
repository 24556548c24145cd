"""Reports as files and text. The form goes by the ending; files are written beside their place and renamed.

What is no file, a pipe or a device, is written through and never replaced; it has no ending and takes JSON.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import IO

from vqmeter.errors import OutputError, UsageError
from vqmeter.report import Report

#: Names of what this process has open already; opening them again would begin at their start, or fail for sockets.
_DESCRIPTOR = re.compile(r"/dev/(stdout|stderr)|(?:/dev|/proc/self)/fd/(\d{1,9})")

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
#: How bytes of file names that are no UTF-8 are written: as they are.
NAMES = "surrogateescape"
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
    """The form a file's ending asks for; JSON for what is no file.

    Raises
        UsageError: the ending is none of `ENDINGS`.
    """
    for ending, form in ENDINGS.items():
        if path.lower().endswith(ending):
            return form
    if _is_node(path):
        return "json"
    raise UsageError(f"{path}: what form should this be? End the name in {', '.join(ENDINGS)}")


def check_writable(path: str) -> None:
    """Fail before the work, not after it, where `path` cannot be written.

    Raises
        OutputError: its folder is not there or may not be written to, or it is a folder itself.
    """
    if os.path.isdir(path):
        raise OutputError(f"{path}: is a folder, not a file to write")
    if _is_node(path):
        if not os.access(path, os.W_OK):
            raise OutputError(f"{path}: may not be written to")
        return
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise OutputError(f"{path}: no folder {os.path.dirname(path) or folder} to write into")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: may not write into {os.path.dirname(path) or folder}")


def write(report: Report, path: str) -> None:
    """Write `report` to `path` in the form of its ending, whole or not at all.

    Raises
        OutputError: the disk is full, or the place cannot be written.
    """
    render = writer(form_of(path))
    with whole(path) as temporary, open(temporary, "w", encoding="utf-8", errors=NAMES, newline="") as file:
        write_text(render(report), file)


@contextlib.contextmanager
def whole(path: str, ending: str = "") -> Iterator[str]:
    """A name beside `path` to write to; it takes the place of `path` when all went well, and goes when it did not.

    Where `path` is a link, the file it leads to is replaced and the link stays. A pipe or a device gets the bytes when
    all went well; it is never replaced.

    Raises
        OutputError: the disk is full, or the place cannot be written.
        BrokenPipeError: nobody reads the pipe any more.
    """
    temporary, target = None, os.path.realpath(path)
    node = _is_node(path)
    try:
        handle, temporary = tempfile.mkstemp(ending, ".vqmeter-", None if node else os.path.dirname(target))
        os.close(handle)
        yield temporary
        if node:
            _pour(temporary, path)
        else:
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, target)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _is_node(path: str) -> bool:
    """Whether `path` is something that is written to but is no file: a pipe, a device, an open descriptor."""
    if _descriptor(path) is not None:
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _descriptor(path: str) -> int | None:
    found = _DESCRIPTOR.fullmatch(path)
    return None if found is None else {"stdout": 1, "stderr": 2}.get(found[1]) or int(found[2])


def _pour(temporary: str, path: str) -> None:
    """Write what lies in `temporary` to a pipe or a device, or to an open descriptor where it stands."""
    descriptor = _descriptor(path)
    if descriptor is not None:
        sys.stdout.flush()  # what was printed before comes before
    opened = open(path, "wb") if descriptor is None else open(descriptor, "wb", closefd=False)
    with open(temporary, "rb") as source, opened as sink:
        shutil.copyfileobj(source, sink)


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file whole or not at all.

    Raises
        OutputError: the disk is full, or the place cannot be written.
    """
    with whole(os.fspath(path)) as temporary, open(temporary, "w", encoding="utf-8", errors=NAMES) as file:
        file.write(text)


def write_text(pieces: Iterator[str], file: IO[str]) -> None:
    for piece in pieces:
        file.write(piece)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
