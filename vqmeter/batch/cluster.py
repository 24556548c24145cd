"""The workers of a Dask scheduler. Each performs a job in a child process, so that one that hangs or crashes fails alone.

Scheduler and workers are Dask's own; they trust their clients, so they belong into a network that can be trusted, or behind
its TLS.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import time
import uuid
from concurrent.futures import Future
from typing import Any

from vqmeter.batch.executor import ExecutorLostError
from vqmeter.batch.pool import Worker
from vqmeter.batch.remote import shown
from vqmeter.batch.worker import Outcome, Task, failed
from vqmeter.errors import DeviceError, UsageError, VqmeterError

_CONNECT = 10.0  # seconds
_COUNT = 2.0  # seconds for which a count of workers holds
_IDLE: queue.LifoQueue[Worker] = queue.LifoQueue()  # of a Dask worker: the children that no job has now


def perform_in_child(task: str, timeout: float | None) -> tuple[str, str]:
    """On a Dask worker: perform a task in a child process; the outcome's head and document."""
    parsed = json.loads(task)
    try:
        worker = _IDLE.get_nowait()
    except queue.Empty:
        worker = Worker(parsed["threads"])
    try:
        outcome = worker.run(parsed, timeout)
    finally:
        _IDLE.put(worker)
    return outcome.head(), outcome.document


class DaskCluster:
    """Submits to the scheduler at `address`; jobs on `cuda` go where a worker has the resource GPU."""

    def __init__(self, address: str, timeout: float | None = None) -> None:
        """Connect.

        Raises
            UsageError: Dask is not installed, or this is no address.
            DeviceError: nobody answers there.
        """
        try:
            from distributed import Client
        except ImportError:
            raise UsageError("--scheduler needs Dask; pip install 'vqmeter[dask]'") from None
        for name in [*logging.root.manager.loggerDict]:
            if name.partition(".")[0] == "distributed":
                logging.getLogger(name).setLevel(logging.CRITICAL)  # what is lost is told here, in one line
        self._address, self._timeout = address, timeout
        try:
            self._client = Client(address, timeout=_CONNECT, set_as_default=False, name="vqmeter-batch")
        except OSError:
            raise DeviceError(f"no Dask scheduler answers at {address}; start one with 'dask scheduler'") from None
        except ValueError as error:
            raise UsageError(f"--scheduler {address}: {error}") from None
        self._futures: dict[Future[Outcome], Any] = {}
        self._counted, self._threads = -_COUNT, 1

    def room(self) -> int:
        """A task for each thread of the workers there are now, and one more."""
        if self._client.status not in ("running", "connecting"):
            raise self._lost()
        if time.monotonic() - self._counted > _COUNT:
            try:
                self._threads = sum(self._client.nthreads().values())
            except Exception as error:  # of several kinds, as the connection breaks
                raise self._lost() from error
            self._counted = time.monotonic()
        return self._threads + 1

    def workers(self) -> tuple[int, int]:
        """How many workers there are, and how many of them have a GPU."""
        found = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return len(found), sum("GPU" in worker.get("resources", {}) for worker in found)

    def submit(self, task: Task) -> Future[Outcome]:
        promise: Future[Outcome] = Future()
        promise.set_running_or_notify_cancel()  # what the scheduler has it keeps
        resources = {"GPU": 1} if str(task["options"].get("device", "")).startswith("cuda") else None
        try:
            future = self._client.submit(perform_in_child, json.dumps(task), self._timeout, pure=False, resources=resources,
                                         key=f"vqmeter-{uuid.uuid4().hex}")  # fmt: skip
        except Exception as error:  # of several kinds, as the connection breaks
            raise self._lost() from error
        self._futures[promise] = future
        future.add_done_callback(lambda _: self._settle(promise, task))
        return promise

    def _settle(self, promise: Future[Outcome], task: Task) -> None:
        """In a thread of the client: pass on how a Dask future ended."""
        future = self._futures.pop(promise)
        try:
            if future.status == "finished":
                head, document = future.result()
                promise.set_result(Outcome(**json.loads(head), document=document))
            elif future.status == "error":
                promise.set_result(failed(task, self._reason(task, future.exception())))
            else:
                promise.set_exception(self._lost())
        except Exception:  # the connection broke under it
            promise.set_exception(self._lost())

    def _reason(self, task: Task, error: BaseException | None) -> VqmeterError:
        if type(error).__name__ == "KilledWorker":
            return DeviceError(f"{shown(task['distorted'])}: the workers of the cluster that had it died one after another")
        if isinstance(error, ImportError):
            return UsageError(f"the workers of the cluster lack vqmeter ({error}); install the same version there")
        return VqmeterError(f"{type(error).__name__}: {error}; this is a bug in vqmeter")

    def _lost(self) -> ExecutorLostError:
        return ExecutorLostError(f"the Dask scheduler at {self._address} is gone; start it again and go on with --resume")

    def close(self, now: bool) -> None:
        """Leave the cluster; jobs that run on it end by themselves, those that wait there are taken back."""
        with contextlib.suppress(Exception):
            self._client.close(timeout=1 if now else _CONNECT)
