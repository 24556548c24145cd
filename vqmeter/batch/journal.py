"""The results of a batch: one file of whole lines, each a `vqmeter/1` document, safe as soon as it is told of.

A line is written by one process alone and forced to the disk before the next. What is cut short is taken back if the writer
lives, and else passed over when the file is read again: a line counts when it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vqmeter.batch import keys, remote
from vqmeter.batch.jobs import Job
from vqmeter.errors import OutputError
from vqmeter.writers import whole


class Journal:
    """The open file. `done` holds the ids of jobs that have their result, `offset` where the next line goes."""

    def __init__(self, path: str, handle: int, done: set[str]) -> None:
        self.path, self.done = path, done
        self._handle = handle
        self._offset = os.fstat(handle).st_size

    @classmethod
    def create(cls, path: str) -> Journal:
        """A new file.

        Raises
            OutputError: it is there already, or cannot be written.
        """
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            _lock(path, handle)
            _sync_folder(path)
        except FileExistsError:
            raise OutputError(f"{path}: is there already; go on with it by --resume, or name another file") from None
        except OSError as error:
            raise _unwritable(path, error) from None
        return cls(path, handle, set())

    @classmethod
    def resume(cls, path: str, jobs: Mapping[str, Job], progress: Callable[[int], None] | None = None) -> Journal:
        """The file of an earlier run, or a new one where there is none.

        Results that still hold are kept, and those of jobs that are not asked for now. Failures go, and what was measured
        from other contents, by other weights or another version: they are measured anew.

        Raises
            OutputError: it is no file of results, another batch is writing it, or it cannot be written.
        """
        if not os.path.lexists(path):
            return cls.create(path)
        try:
            handle = os.open(path, os.O_RDWR)
        except OSError as error:
            raise _unwritable(path, error) from None
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OutputError(f"{path}: is no plain file, which results must be in that are to last")
            _lock(path, handle)
            done: set[str] = set()
            kept, end, stale = [], 0, False
            for begin, end, document in _documents(path, handle):
                if _holds(document, jobs, done):
                    kept.append((begin, end))
                else:
                    stale = True
            if stale:
                handle = _rewrite(path, handle, kept)
            else:
                os.ftruncate(handle, end)
                os.fsync(handle)
            return cls(path, handle, done)
        except OSError as error:
            os.close(handle)
            raise _unwritable(path, error) from None
        except OutputError:
            os.close(handle)
            raise

    def append(self, document: str) -> None:
        """Write one line, whole and for good.

        Raises
            OutputError: the disk is full, or the file cannot be written; it holds whole lines still.
        """
        line = memoryview(document.encode() + b"\n")
        try:
            written = 0
            while written < len(line):
                written += os.pwrite(self._handle, line[written:], self._offset + written)
            os.fsync(self._handle)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._offset)
            reason = f"{_unwritable(self.path, error)}; what it holds is whole, make room and go on with --resume"
            raise OutputError(reason) from None
        self._offset += len(line)

    def close(self) -> None:
        os.close(self._handle)


def read(path: str) -> Iterator[dict[str, Any]]:
    """The documents of a file of results.

    Raises
        OutputError: it is none.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        for _, _, document in _documents(path, handle):
            yield document
    finally:
        os.close(handle)


def _documents(path: str, handle: int) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Where each whole line begins and ends, and what it says; a last one that was cut short is passed over.

    Raises
        OutputError: a line is no result.
    """
    end = 0
    with open(handle, "rb", closefd=False) as file:
        file.seek(0)
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            begin, end = end, end + len(line)
            try:
                document = json.loads(line)
                document["results"][0]["inputs"]["distorted"]["path"]
            except (ValueError, LookupError, TypeError):
                raise OutputError(f"{path}: line {number} is no result of vqmeter; name another file") from None
            yield begin, end, document


def _holds(document: Mapping[str, Any], jobs: Mapping[str, Job], done: set[str]) -> bool:
    """Whether a line stays; adds the id of its job to `done` if it is that job's result."""
    result = document["results"][0]
    said = result.get("settings", {}).get("batch") or {}
    job = jobs.get(said.get("job", ""))
    if job is None:
        return True
    if job.id in done or result["error"] is not None or said["made_by"] != keys.made_by(job.options):
        return False
    for role, path in job.files.items():
        known = said["files"].get(role, {})
        same = keys.unchanged(path, known) if "stamp" in known else remote.state(path) == known.get("state", "")
        if not same:
            return False
    done.add(job.id)
    return True


def _rewrite(path: str, handle: int, kept: list[tuple[int, int]]) -> int:
    """Put a file with only the lines `kept` in the place of `path`; its handle, locked.

    Raises
        OutputError: there is no room for it.
    """
    with whole(path) as temporary:
        new = os.open(temporary, os.O_RDWR)
        _lock(path, new)
        for begin, end in kept:
            line = memoryview(os.pread(handle, end - begin, begin))
            while line:
                line = line[os.write(new, line) :]
        os.fsync(new)
    _sync_folder(path)
    os.close(handle)
    return new


def _lock(path: str, handle: int) -> None:
    """Keep other batches away for as long as this process lives, where the system can.

    Raises
        OutputError: another batch has it.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(f"{path}: another batch is writing it") from None
    except OSError:  # a file system without locks
        return


def _sync_folder(path: str) -> None:
    """Make the name of a new file last."""
    with contextlib.suppress(OSError):
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _unwritable(path: str, error: OSError) -> OutputError:
    return OutputError(f"{path}: {(error.strerror or str(error)).lower()}")
