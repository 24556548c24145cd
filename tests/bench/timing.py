"""Time what stands side by side: whole processes and warm workers, in turn, with the spread shown."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
Job = Callable[[], float]  # runs once, gives seconds
_PAGE_BLOCK = 16 << 20
_SETTLE = 0.2  # seconds: threads of a worker may spin for a while after its work


class PeerError(Exception):
    """A program of the benchmark failed, or is not there; its rows are left out."""


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        kept = list(values)
        return cls(statistics.median(kept), min(kept), max(kept))


@dataclass(frozen=True)
class Finished:
    """A process that has ended: wall and processor time in seconds, peak memory in MiB, what it said."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    out: str
    err: str


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def pinned(cores: int | None) -> Iterator[None]:
    """What is started inside has the first `cores` of our cores; None, or where the system cannot, has all of them."""
    if cores is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def run(argv: Sequence[str], cores: int | None = None) -> Finished:
    """Run a process to its end, on all cores or on so many.

    Raises
        PeerError: it is not there, or ended with an error.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        try:
            with pinned(cores):
                process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        except OSError as error:
            raise PeerError(f"{argv[0]}: {error.strerror}") from None
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read())
    if process.returncode:
        last = (texts[1].strip().splitlines() or ["no message"])[-1]
        raise PeerError(f"{Path(argv[0]).name}: exit {process.returncode}: {last}")
    peak = usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return Finished(seconds, usage.ru_utime + usage.ru_stime, peak, *texts)


@dataclass
class Process:
    """A job: one whole process. The last run is kept in `last`."""

    argv: Sequence[str]
    cores: int | None = None
    last: Finished | None = None

    def __call__(self) -> float:
        self.last = run(self.argv, self.cores)
        return self.last.seconds


@dataclass
class Worker:
    """A job inside a warm process of its own, see worker.py: imports, compilation and the first round are not timed."""

    task: str
    options: Mapping[str, Any] = field(default_factory=dict)
    cores: int | None = None
    said: dict[str, Any] = field(default_factory=dict)
    _process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Worker:
        argv = [sys.executable, str(HERE / "worker.py"), self.task, json.dumps(dict(self.options))]
        with pinned(self.cores):
            self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self.said = self._ask()
        except PeerError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()

    def __call__(self, other: Mapping[str, Any] | None = None) -> float:
        """Do the task once; or once the `other` one, its options and its name as `task`."""
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(other) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PeerError(f"{self.task}: the worker died") from None
        self.said = self._ask()
        return float(self.said["seconds"])

    def _ask(self) -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"missing": f"{self.task}: the worker died"}
        if "missing" in answer:
            raise PeerError(answer["missing"])
        return answer


@dataclass
class Task:
    """A job that shares a warm process with others; `last` is what it answered."""

    worker: Worker
    task: str
    options: Mapping[str, Any]
    last: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self) -> float:
        seconds = self.worker({"task": self.task, **self.options})
        self.last = self.worker.said
        return seconds


def in_turn(jobs: Mapping[str, Job], rounds: int, settle: float = _SETTLE) -> dict[str, list[float]]:
    """Seconds of each job, A B C A B C, so that a slow minute of the machine falls on all."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            time.sleep(settle)
            seconds[name].append(job())
    return seconds


def rate(seconds: Sequence[float], frames: int) -> Spread:
    """Frames a second."""
    return Spread.of(frames / s for s in seconds)


def steady(long: Sequence[float], short: Sequence[float], frames: int) -> Spread | None:
    """Frames a second between a short and a long run; None where noise swallowed the difference.

    The median is that of the medians' difference; the ends are those of the rounds.
    """
    middle = statistics.median(long) - statistics.median(short)
    rounds = [b - a for a, b in zip(short, long, strict=True) if b > a]
    if middle <= 0 or not rounds:
        return None
    return Spread(frames / middle, min(frames / max(rounds), frames / middle), max(frames / min(rounds), frames / middle))


def warm(*paths: Path) -> None:
    """Bring files into the page cache."""
    buffer = bytearray(_PAGE_BLOCK)
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
