"""`vqmeter batch JOBS`: many measurements, by all cores or GPUs or a cluster, that can be broken off and gone on with."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click

from vqmeter.cli import complain, completion
from vqmeter.cli.options import (
    Command,
    cap_option,
    compute_options,
    model_ref_option,
    planes_option,
    raw_options,
    reference_options,
    scale_option,
    selection_options,
    shortest_option,
    talk_options,
    weights_options,
)
from vqmeter.cli.progress import progress
from vqmeter.errors import OutputError, UsageError
from vqmeter.metric import nearest

if TYPE_CHECKING:
    from vqmeter.batch import Job, Tally
    from vqmeter.batch.executor import Executor

_SHOWN = 20  # failures told of on stderr
#: Options of the batch itself; all others are of its jobs, and may stand in a list of them.
_OWN = (
    *("reference", "output", "resume", "workers", "scheduler", "retries", "job_timeout", "max_failures", "remote", "max_fetch"),
    *("offline", "quiet", "verbose", "no_progress", "debug"),
)


class BytesType(click.ParamType[int]):
    """A number of bytes, with K, M, G or T for powers of 1024."""

    name = "BYTES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", str(value).upper())
        if found is None:
            self.fail(f"'{value}' is not a number of bytes, as 500M or 16G", param, ctx)
        return int(float(found[1]) * 1024 ** " KMGT".index(found[2] or " "))


@click.command("batch", cls=Command)
@click.argument("jobs", metavar="JOBS")
@click.option("--reference", metavar="REF",
              help="Reference of jobs that name none; {stem} in it is the distorted file's name, less its ending.")  # fmt: skip
@click.option("-o", "--output", required=True, metavar="FILE",
              help="Results, a line a job: .ndjson; .parquet is made of that at the end.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with FILE: what is done is skipped, what failed is tried again.")
@click.option("--workers", type=click.IntRange(min=0), default=0, metavar="N",
              help="Jobs run at once here. Default: one a GPU, where jobs compute on GPUs, else one a core.")  # fmt: skip
@click.option("--scheduler", metavar="ADDRESS", help="Run them on the workers of this Dask scheduler, as tcp://host:8786.")
@click.option("--retries", type=click.IntRange(min=0), default=1, show_default=True, metavar="N",
              help="Try again what failed for want of memory or device, by a dead worker or in fetching.")  # fmt: skip
@click.option("--job-timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
              help="Give up a job that takes longer; its worker is killed.")  # fmt: skip
@click.option("--max-failures", type=click.IntRange(min=1), metavar="N", help="Stop after N failed jobs. Default: never.")
@click.option("--remote", is_flag=True, help="Fetch inputs that are addresses, as s3://bucket/clip.mp4; else they are refused.")
@click.option("--max-fetch", type=BytesType(), default="16G", show_default=True, metavar="BYTES",
              help="Refuse larger inputs from elsewhere.")  # fmt: skip
@click.option("-m", "--metric", "metrics", multiple=True, metavar="SPEC", shell_complete=completion.metrics,
              help="Of jobs with a reference: NAME[:KEY=VALUE]...[,NAME...]; repeatable. Default: psnr,ssim.")  # fmt: skip
@click.option("--model", "models", multiple=True, metavar="SPEC", shell_complete=completion.models,
              help="No-reference models, likewise. Default: vsfa of jobs without a reference.")  # fmt: skip
@model_ref_option
@weights_options
@planes_option
@scale_option
@cap_option
@shortest_option
@raw_options
@reference_options
@selection_options
@compute_options
@talk_options
def command(jobs: str, **options: Any) -> int:
    """Measure many files, each in a worker process; results go to a file, a line a job, and a broken-off run goes on.

    JOBS is a list (.csv or .ndjson, '-' is NDJSON on stdin), a folder, or a pattern in quotes, as 'enc/*.mp4'. A list has
    'distorted' (or 'clip'), 'reference' where there is one, and any option of a measurement by its name: metric, model,
    size, pix_fmt, start, frames ... Options given here hold for jobs that do not say otherwise.
    """
    from vqmeter.batch import Journal, Limits, Tasks, read_jobs, run

    own = {key: options.pop(key) for key in _OWN}
    if own["offline"]:
        os.environ["VQMETER_OFFLINE"] = "1"
    journal_path = _check_output(own)
    defaults = {key: _json(value) for key, value in options.items()}
    found = read_jobs(jobs, own["reference"], defaults, _convert)
    _check_addresses(found, own["remote"])
    executor, threads = _executor(found, options["threads"], own)
    try:
        by_id = {job.id: job for job in found}
        journal = Journal.resume(journal_path, by_id) if own["resume"] else Journal.create(journal_path)
    except BaseException:
        executor.close(now=True)
        raise
    tasks = Tasks(threads, own["max_fetch"] if own["remote"] else 0, sys.argv)
    limits = Limits(own["retries"], failures=own["max_failures"])
    try:
        with progress("jobs", own) as update:
            tally = run(found, executor, journal, limits, tasks, update, complain)
    finally:
        journal.close()
    return _tell(tally, own, [_parquet(journal_path, own["output"])])


def _check_output(own: dict[str, Any]) -> str:
    """The path of the NDJSON file that results go to.

    Raises
        UsageError: the name's ending is of neither form.
        OutputError: it cannot be written, or is there already.
    """
    from vqmeter import writers

    path = own["output"]
    root, ending = os.path.splitext(path)
    if ending.lower() not in (".ndjson", ".parquet"):
        raise UsageError(f"{path}: what form should this be? End the name in .ndjson or .parquet")
    writers.check_writable(path)
    if ending.lower() == ".ndjson":
        return str(path)
    from vqmeter.batch import parquet

    parquet.check()
    if os.path.lexists(path) and not own["resume"]:
        raise OutputError(f"{path}: is there already; go on with it by --resume, or name another file")
    return f"{root}.ndjson"


def _convert(key: str, value: Any) -> tuple[str, Any]:
    """A key and a value of a list as those of an option of this command.

    Raises
        UsageError: there is no such option, or the value is none of its.
    """
    known = {spelling.lstrip("-").replace("-", "_"): option for option in command.params
             if isinstance(option, click.Option) and option.name not in (*_OWN, "help")
             for spelling in (*option.opts, option.name or "")}  # fmt: skip
    option = known.get(key.strip().lstrip("-").replace("-", "_"))
    if option is None or option.name is None:
        raise UsageError(f"a job has no option '{key}'{nearest(key, ['distorted', 'clip', 'reference', *known])}")
    if option.is_flag:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if str(value).lower() not in words:
            raise UsageError(f"{key} is true or false, not '{value}'")
        return option.name, words[str(value).lower()]
    words_of = [str(one) for one in value] if isinstance(value, list) else [str(value)]
    try:
        return option.name, _json(option.type_cast_value(click.Context(command), words_of if option.multiple else words_of[0]))
    except click.ClickException as error:
        raise UsageError(f"{key}: {error.message}") from None


def _json(value: Any) -> Any:
    """An option's value as JSON has it and `measure` takes it."""
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, tuple):
        return f"{value[0]}x{value[1]}" if value and isinstance(value[0], int) else list(value)
    return value


def _check_addresses(jobs: Sequence[Job], allowed: bool) -> None:
    """
    Raises
        UsageError: a job has an address, and nothing may be fetched.
    """
    from vqmeter.batch.jobs import is_address
    from vqmeter.batch.remote import shown

    for path in (path for job in jobs for path in job.files.values()):
        if is_address(path) and not allowed:
            raise UsageError(f"{shown(path)}: nothing is fetched unless --remote allows it")


def _executor(jobs: Sequence[Job], threads: int, own: dict[str, Any]) -> tuple[Executor, int]:
    """What runs the jobs, and how many threads each has."""
    from vqmeter.batch.pool import LocalPool, shares
    from vqmeter.machine import cpu_count

    if own["scheduler"]:
        from vqmeter.batch.cluster import DaskCluster

        cluster = DaskCluster(own["scheduler"], own["job_timeout"])
        workers, with_gpu = cluster.workers()
        if not own["quiet"] and not workers:
            complain(f"{own['scheduler']} has no workers yet; waiting for them ('dask worker {own['scheduler']}')")
        elif not own["quiet"] and not with_gpu and any(str(job.options["device"]).startswith("cuda") for job in jobs):
            complain("no worker has the resource GPU, which jobs on cuda wait for; start one with --resources GPU=1")
        return cluster, threads or 1
    from vqmeter.batch.gpus import gpus_for

    count, names = gpus_for(jobs)
    workers, threads = shares(own["workers"], threads, cpu_count(), count, len(jobs))
    return LocalPool(workers, threads, own["job_timeout"], names), threads


def _parquet(journal: str, output: str) -> int:
    """Write the results as Parquet where that is wanted; the exit code."""
    if journal == output:
        return 0
    from vqmeter.batch import parquet

    try:
        parquet.write(journal, output)
    except OutputError as error:
        complain(f"{error}; the results are in {journal}")
        return error.exit_code
    return 0


def _tell(tally: Tally, own: dict[str, Any], codes: list[int]) -> int:
    """Failures and the summary on stderr; the exit code."""
    from vqmeter.batch.remote import shown
    from vqmeter.batch.summary import render
    from vqmeter.report import gravest

    for job, _, message in tally.failed[:_SHOWN]:
        complain(message if shown(job.distorted) in message else f"{shown(job.distorted)}: {message}")
    if len(tally.failed) > _SHOWN:
        complain(f"{len(tally.failed) - _SHOWN} more failed; {own['output']} has their reasons")
    if tally.stopped is not None:
        complain(str(tally.stopped))
        codes = [*codes, tally.stopped.exit_code]
    if tally.left:
        complain(f"{tally.left} of {tally.jobs} jobs are left; the same command with --resume goes on with them")
    if not own["quiet"]:
        click.echo(render(tally, sys.stderr.encoding), err=True)
    return 130 if tally.interrupted else gravest([*codes, *(code for _, code, _ in tally.failed)])
