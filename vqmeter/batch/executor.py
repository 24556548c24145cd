"""What runs jobs: workers of this machine or of a cluster, behind one narrow interface."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from vqmeter.batch.worker import Outcome, Task
from vqmeter.errors import DeviceError


class ExecutorLostError(DeviceError):
    """What ran the jobs is gone: none of those it had will end, and it takes no more."""


class Executor(Protocol):
    """Runs tasks elsewhere. A future that has not begun can be cancelled; one that was lost raises `ExecutorLostError`."""

    def room(self) -> int:
        """How many tasks it likes to have at a time.

        Raises
            ExecutorLostError: it is gone.
        """
        ...

    def submit(self, task: Task) -> Future[Outcome]:
        """Have `task` run; how it failed, if it did, is in the outcome."""
        ...

    def close(self, now: bool) -> None:
        """End the workers; `now` in the midst of their jobs."""
        ...
