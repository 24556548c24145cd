"""Fetching inputs that lie elsewhere: any address fsspec knows, into a folder of this machine, for one job."""

from __future__ import annotations

import os
from typing import Any

from vqmeter.environment import redact
from vqmeter.errors import InputError, UsageError

_BLOCK = 1 << 20


class FetchError(InputError):
    """An input could not be fetched; it may go better the next time."""


def shown(path: str) -> str:
    """A path or an address as it may be told: without a password, and without the signature behind a question mark."""
    if "://" not in path:
        return path
    place, mark, _ = redact([path])[0].partition("?")
    return f"{place}{mark and '?***'}"


def fetch(address: str, folder: str, limit: int) -> str:
    """Copy what lies at `address` into `folder` under its own name; the path of the copy.

    Raises
        UsageError: fsspec, or what it needs for such addresses, is not installed.
        FetchError: it cannot be had, or not whole.
        InputError: it is larger than `limit` bytes.
    """
    name = shown(address)
    files, place = _open(address)
    path = os.path.join(folder, os.path.basename(place.rstrip("/").partition("?")[0]) or "input")
    try:
        with files.open(place, "rb") as source, open(path, "wb") as copy:
            taken = 0
            while block := source.read(_BLOCK):
                taken += len(block)
                if taken > limit:
                    raise InputError(f"{name}: larger than {limit} bytes; raise --max-fetch")
                copy.write(block)
    except InputError:
        raise
    except Exception as error:  # of every protocol its own
        raise FetchError(f"{name}: cannot be fetched: {_reason(error).replace(address, name)}") from None
    return path


def state(address: str) -> str | None:
    """A word that changes when what lies at `address` does, as far as its place tells; None where it cannot be had."""
    try:
        files, place = _open(address)
        return str(files.checksum(place))
    except Exception:  # of every protocol its own; it will be fetched again, which tells why
        return None


def _open(address: str) -> tuple[Any, str]:
    """The file system of an address, and its place there.

    Raises
        UsageError: fsspec, or what it needs for such addresses, is not installed.
    """
    if "::" in address:
        raise UsageError(f"{address}: addresses within addresses are not opened")
    try:
        from fsspec.core import url_to_fs

        files, place = url_to_fs(address)
    except ImportError as error:
        raise UsageError(f"{shown(address)}: {error}; pip install 'vqmeter[remote]'") from None
    except ValueError as error:
        raise UsageError(f"{shown(address)}: {error}") from None
    return files, str(place)


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}{': ' if text else ''}{text}"
