"""Workers of this machine: processes that take one task at a time, each killed and replaced alone."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from vqmeter.batch.remote import shown
from vqmeter.batch.worker import Outcome, Task, failed
from vqmeter.errors import DeviceError, InputError

#: The worker sees modules where this process sees them, and not in the current folder.
_BOOT = "import sys; sys.path[:] = sys.argv[2:]; from vqmeter.batch.worker import main; main(sys.argv[1])"


class Worker:
    """A process that performs tasks; started with the first one, and anew after it died."""

    def __init__(self, threads: int, gpu: str | None = None) -> None:
        self._env = {"OMP_NUM_THREADS": str(threads), **os.environ} | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch = ""
        self._closed = False

    def run(self, task: Task, timeout: float | None = None) -> Outcome:
        """Perform `task`; after `timeout` seconds the process is killed and the job has failed."""
        late = threading.Event()
        try:
            process = self._ready()
            process.stdin.write(json.dumps(task).encode() + b"\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            timer = threading.Timer(timeout, self._expire, (process, late)) if timeout else None
            if timer is not None:
                timer.start()
            head, document = (process.stdout.readline() for _ in range(2))  # type: ignore[union-attr]
            if timer is not None:
                timer.cancel()
        except (OSError, ValueError):
            head = document = b""
        if document.endswith(b"\n"):
            if late.is_set():
                self.kill()
            return Outcome(**json.loads(head), document=document.decode().rstrip("\n"))
        died = self.kill()
        name = shown(task["distorted"])
        if late.is_set():
            return failed(task, InputError(f"{name}: not done in {timeout:g} s and given up; raise --job-timeout"))
        return failed(task, DeviceError(f"{name}: its worker {died}"))

    def _ready(self) -> subprocess.Popen[bytes]:
        """The process, started and past its imports.

        Raises
            OSError: it cannot be started.
        """
        if self._closed:
            raise OSError("closed")
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.kill()
        self._scratch = tempfile.mkdtemp(prefix="vqmeter-batch-")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, self._scratch, *sys.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=self._env, start_new_session=True,
        )  # fmt: skip
        if self._closed or not self._process.stdout.readline():  # type: ignore[union-attr]
            raise OSError("died at its start")
        return self._process

    def _expire(self, process: subprocess.Popen[bytes], late: threading.Event) -> None:
        late.set()
        _kill(process)

    def kill(self) -> str:
        """End the process, and those it started, at once; how it had ended if it already had."""
        process, self._process = self._process, None
        died = "could not be started"
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)  # stdout is closed a moment before the process is gone
            code = process.poll()
            _kill(process)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
            died = _how(code)
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)
        return died

    def close(self) -> None:
        """End the process and start no other."""
        self._closed = True
        process = self._process
        if process is not None:
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return "died" if code is None else f"ended by itself (exit code {code})"
    name = signal.Signals(-code).name
    return f"was killed ({name}{'; memory may have run out' if name == 'SIGKILL' else ''})"


class LocalPool:
    """`workers` processes of `threads` threads each; the GPUs named are dealt out among them."""

    def __init__(self, workers: int, threads: int, timeout: float | None = None, gpus: Sequence[str] = ()) -> None:
        self._workers = [Worker(threads, gpus[n % len(gpus)] if gpus else None) for n in range(workers)]
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        for worker in reversed(self._workers):
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, "vqmeter-batch")
        self._timeout = timeout

    def room(self) -> int:
        """One task more than there are workers, so that none waits for the writer."""
        return len(self._workers) + 1

    def submit(self, task: Task) -> Future[Outcome]:
        return self._threads.submit(self._run, task)

    def _run(self, task: Task) -> Outcome:
        worker = self._idle.get()
        try:
            return worker.run(task, self._timeout)
        finally:
            self._idle.put(worker)

    def close(self, now: bool) -> None:
        if now:
            for worker in self._workers:
                worker.close()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.close()
            worker.kill()


def shares(workers: int, threads: int, cores: int, gpus: int, jobs: int) -> tuple[int, int]:
    """How many workers, and threads for each. What is 0 is found: a worker for each GPU, else for each `threads` cores, and
    the cores shared out among them; never more workers than jobs.
    """
    workers = min(jobs, workers or gpus or max(1, cores // (threads or 1)))
    return workers, threads or max(1, cores // workers)
