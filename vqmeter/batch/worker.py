"""One job inside a worker, and the loop of a worker process: a task a line comes in, two lines go out.

A worker is a process so that it can be killed alone. It reads tasks as JSON on stdin; for each it writes a line that says
how it went and a line that is the `vqmeter/1` document. When stdin ends, whoever gave the tasks is gone and so is the
worker, in the midst of a job too.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from tempfile import TemporaryDirectory
from typing import Any

from vqmeter.batch import keys, remote
from vqmeter.environment import environment, peak_rss_mib, redact
from vqmeter.errors import DeviceError, InputError, VqmeterError, WeightsError
from vqmeter.report import Report, Result

Task = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """How a job went: its exit code and message, how much it measured, and its document as one line.

    `transient` failures may not come again.
    """

    code: int
    message: str
    frames: int
    seconds: float
    transient: bool
    document: str

    def head(self) -> str:
        """All but the document, as a line."""
        return json.dumps({key: value for key, value in asdict(self).items() if key != "document"})


def perform(task: Task, scratch: str | None = None) -> Outcome:
    """Measure what `task` says; whatever goes wrong is in the outcome. Fetched inputs lie in `scratch` meanwhile."""
    started = time.perf_counter()
    try:
        if keys.made_by(task["options"]) != task["made_by"]:
            raise WeightsError("this worker has another version of vqmeter or other weights than the batch was started with")
        report, files = _measure(task, scratch)
    except VqmeterError as error:
        return failed(task, error, time.perf_counter() - started)
    except MemoryError:
        short = DeviceError("out of memory; use fewer --workers or --threads, or a smaller --batch")
        return failed(task, short, time.perf_counter() - started)
    except Exception as bug:
        told = VqmeterError(f"{type(bug).__name__}: {bug}; this is a bug in vqmeter")
        return failed(task, told, time.perf_counter() - started)
    return _outcome(task, report, files)


def failed(task: Task, error: VqmeterError, seconds: float = 0.0) -> Outcome:
    """The outcome of a job that gave nothing."""
    inputs = {role: {"path": remote.shown(task[role])} for role in ("reference", "distorted") if task[role]}
    result = Result(inputs, validity={"frames_compared": 0, "warnings": []}, error=error)
    result.timing = {"seconds": round(seconds, 4), "frames_per_second": None, "peak_rss_mib": peak_rss_mib()}
    report = Report("fr" if task["reference"] else "nr", redact(task["argv"]), environment(max(1, task["threads"])), [result])
    return _outcome(task, report, {})


def _outcome(task: Task, report: Report, files: Mapping[str, Any]) -> Outcome:
    [result] = report.results
    result.settings = result.settings | {
        "batch": {"job": task["job"], "made_by": task["made_by"], "files": files, "attempt": task["attempt"]},
    }
    error, seconds = result.error, result.timing["seconds"]
    transient = isinstance(error, (DeviceError, remote.FetchError))
    document = json.dumps(report.to_json(), allow_nan=False)
    code = 0 if error is None else error.exit_code
    return Outcome(code, str(error or ""), len(result.columns["n"]), seconds, transient, document)


def _measure(task: Task, scratch: str | None) -> tuple[Report, dict[str, Any]]:
    """The report of a task, and the facts of its files.

    Raises
        VqmeterError: as `measure`; InputError too when a file was changed meanwhile.
    """
    from vqmeter.session import measure

    named = {role: task[role] for role in ("distorted", "reference") if task[role]}
    paths, files = dict(named), {}
    with ExitStack() as closing:
        try:
            for role, path in named.items():
                if task["fetch"] and "://" in path:
                    found = remote.state(path)
                    folder = closing.enter_context(TemporaryDirectory(prefix="vqmeter-", dir=scratch))
                    paths[role] = remote.fetch(path, folder, task["fetch"])
                    files[role] = {"state": found, "sha256": keys.facts(paths[role])["sha256"]}
                else:
                    files[role] = keys.facts(path)
            options = dict(task["options"])
            options["threads"] = options.get("threads") or task["threads"]
            report = measure(paths["distorted"], reference=paths.get("reference"), argv=task["argv"], **options)
        except VqmeterError as error:
            raise _named(error, paths, named) from None
        [result] = report.results
        for role, path in named.items():
            result.inputs[role]["path"] = remote.shown(path)
            if "stamp" in files[role] and keys.stamp(path) != files[role]["stamp"]:
                raise InputError(f"{path}: was changed while it was measured")
        if result.error is not None:
            result.error = _named(result.error, paths, named)
    return report, files


def _named(error: VqmeterError, paths: Mapping[str, str], named: Mapping[str, str]) -> VqmeterError:
    """`error` with the addresses of inputs in place of their copies' names."""
    text = str(error)
    for role, path in named.items():
        text = text.replace(paths[role], remote.shown(path))
    return type(error)(text)


def main(scratch: str) -> None:
    """Perform tasks until stdin ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come between
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks, scratch), daemon=True).start()
    import vqmeter.session  # noqa: F401  before the clock of the first job runs

    out.write(b"ready\n")
    out.flush()
    while True:
        outcome = perform(json.loads(tasks.get()), scratch)
        try:
            out.write(f"{outcome.head()}\n{outcome.document}\n".encode())
            out.flush()
        except BrokenPipeError:
            _leave(scratch)


def _listen(tasks: queue.SimpleQueue[bytes], scratch: str) -> None:
    for line in sys.stdin.buffer:
        tasks.put(line)
    _leave(scratch)


def _leave(scratch: str) -> None:
    """At once: nobody waits for what is being measured."""
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)
