"""Everything that can go wrong for a user, one tree, one exit code a branch.

::

    VqmeterError                 1   a bug, or a failure nobody foresaw
    ├── UsageError               2   wrong options, unknown names
    ├── LimitError               3   a --fail-under or --fail-over limit was crossed
    ├── InputError               4   input that cannot be read or does not fit
    │   ├── MissingInputError        no such file, or no permission
    │   ├── DecodeError              not a video, no video stream, damaged, cut short
    │   └── MismatchError            size, format or length of the pair differ
    ├── OutputError              4   a result cannot be written
    ├── DeviceError              5   no such device, or it ran out of memory
    └── WeightsError             6   weights missing, altered, or another model's

The message is one line: what went wrong, in which file, and what to do.
"""

from __future__ import annotations

from typing import ClassVar


class VqmeterError(Exception):
    """Root of the tree; `exit_code` is what the command line returns for it."""

    exit_code: ClassVar[int] = 1


class UsageError(VqmeterError):
    """The command, an option or a metric's specification is wrong."""

    exit_code = 2


class LimitError(VqmeterError):
    """A score crossed a limit the user set."""

    exit_code = 3


class InputError(VqmeterError):
    """An input cannot be read or does not fit."""

    exit_code = 4


class MissingInputError(InputError):
    """The file is not there or may not be read."""


class DecodeError(InputError):
    """The file is not a video, has no video stream, is damaged or cut short."""


class MismatchError(InputError):
    """Reference and distorted differ in size, pixel format or length."""


class OutputError(VqmeterError):
    """A result cannot be written."""

    exit_code = 4


class DeviceError(VqmeterError):
    """The device asked for is not usable, or memory ran out."""

    exit_code = 5


class WeightsError(VqmeterError):
    """Weights are missing, altered, or belong to another model."""

    exit_code = 6


#: Exit codes from the one that wins when several hold to the one that yields.
EXIT_PRECEDENCE = (1, 6, 5, 4, 3, 2, 0)
