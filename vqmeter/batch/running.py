"""The loop of a batch: keep the workers busy, write down what they bring, try again what may go better, know when to stop."""

from __future__ import annotations

import heapq
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from vqmeter.batch import keys
from vqmeter.batch.executor import Executor, ExecutorLostError
from vqmeter.batch.jobs import Job
from vqmeter.batch.journal import Journal
from vqmeter.batch.worker import Outcome, Task
from vqmeter.errors import OutputError, VqmeterError

_LOOK = 0.2  # seconds between looks at what is due
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Limits:
    """How often a job is tried again that failed for a reason which may pass, after `pause` seconds, then twice as many;
    and after how many failed jobs the batch stops."""

    retries: int = 1
    pause: float = 1.0
    failures: int | None = None


@dataclass(frozen=True)
class Tasks:
    """What turns jobs into tasks: threads for each, the most bytes to fetch (0: nothing is fetched), the command line."""

    threads: int = 1
    fetch: int = 0
    argv: Sequence[str] = ()

    def make(self, job: Job, attempt: int) -> Task:
        return {"job": job.id, "distorted": job.distorted, "reference": job.reference, "options": dict(job.options),
                "made_by": keys.made_by(job.options), "threads": self.threads, "fetch": self.fetch, "argv": list(self.argv),
                "attempt": attempt}  # fmt: skip


@dataclass
class Tally:
    """How a batch went. `stopped` says why it ended early, by whose `exit_code`."""

    jobs: int
    skipped: int = 0
    done: int = 0
    failed: list[tuple[Job, int, str]] = field(default_factory=list)
    frames: int = 0
    seconds: float = 0.0
    stopped: VqmeterError | None = None
    interrupted: bool = False

    @property
    def left(self) -> int:
        """Jobs that have neither a result nor a failure."""
        return self.jobs - self.skipped - self.done - len(self.failed)


class Interrupts:
    """Within it the first Ctrl-C only sets `wanted`; the second is a KeyboardInterrupt as ever."""

    def __init__(self, tell: Callable[[str], None] = lambda _: None) -> None:
        self.wanted = False
        self._tell = tell
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True
        self._tell("stopping: running jobs end first; once more stops at once")


def run(jobs: Sequence[Job], executor: Executor, journal: Journal, limits: Limits, tasks: Tasks,
        progress: Progress | None = None, tell: Callable[[str], None] = lambda _: None) -> Tally:  # fmt: skip
    """Run all `jobs` that `journal` has no result of, large files first, and close `executor`.

    Raises
        KeyboardInterrupt: at the second Ctrl-C; what was written until then is safe.
    """
    loop = _Loop(jobs, executor, journal, limits, tasks, progress)
    started, ended = time.perf_counter(), False
    try:
        with Interrupts(tell) as interrupts:
            loop.drive(interrupts)
        ended = loop.tally.stopped is None
    finally:
        executor.close(now=not ended)
    loop.tally.seconds = time.perf_counter() - started
    return loop.tally


class _Loop:
    """The state of a batch on its way."""

    def __init__(self, jobs: Sequence[Job], executor: Executor, journal: Journal, limits: Limits, tasks: Tasks,
                 progress: Progress | None) -> None:  # fmt: skip
        todo = [job for job in jobs if job.id not in journal.done]
        self.tally = Tally(len(jobs), len(jobs) - len(todo))
        self._executor, self._journal, self._limits, self._tasks = executor, journal, limits, tasks
        self._progress = progress
        self._waiting = deque((job, 1) for job in sorted(todo, key=lambda job: job.bytes, reverse=True))
        self._later: list[tuple[float, str, Job, int]] = []  # what is tried again, a heap by when
        self._running: dict[Future[Outcome], tuple[Job, int]] = {}
        self._stopping = False

    def drive(self, interrupts: Interrupts) -> None:
        """Until all is done, or it is time to stop."""
        try:
            while self._running or self._waiting or self._later:
                if interrupts.wanted and not self._stopping:
                    self.tally.interrupted = True
                    self._take_back()
                self._fill()
                if not self._running:
                    time.sleep(_LOOK)
                for future in wait(self._running, _LOOK, FIRST_COMPLETED).done:
                    self._collect(future)
        except (ExecutorLostError, OutputError) as error:
            self.tally.stopped = error

    def _fill(self) -> None:
        """Give the workers what they have room for."""
        while self._later and self._later[0][0] <= time.monotonic():
            _, _, job, attempt = heapq.heappop(self._later)
            self._waiting.appendleft((job, attempt))
        room = self._executor.room() if self._waiting else 0
        while self._waiting and len(self._running) < room:
            job, attempt = self._waiting.popleft()
            self._running[self._executor.submit(self._tasks.make(job, attempt))] = job, attempt

    def _collect(self, future: Future[Outcome]) -> None:
        """Write down how a job ended, or have it tried again."""
        job, attempt = self._running.pop(future)
        outcome = future.result()
        if outcome.code and outcome.transient and attempt <= self._limits.retries and not self._stopping:
            due = time.monotonic() + self._limits.pause * 2 ** (attempt - 1)
            heapq.heappush(self._later, (due, job.id, job, attempt + 1))
            return
        self._journal.append(outcome.document)
        self.tally.frames += outcome.frames
        if outcome.code:
            self.tally.failed.append((job, outcome.code, outcome.message))
        else:
            self.tally.done += 1
        if self._limits.failures is not None and len(self.tally.failed) >= self._limits.failures:
            self._take_back()
        if self._progress is not None:
            self._progress(self.tally.done + len(self.tally.failed), self.tally.jobs - self.tally.skipped)

    def _take_back(self) -> None:
        """Begin nothing more; what has begun goes on."""
        self._stopping = True
        self._waiting.clear()
        self._later.clear()
        for future in [future for future in self._running if future.cancel()]:
            del self._running[future]
