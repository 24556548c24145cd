"""What fr and nr do with their options: check them, measure, write, and find the exit code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from vqmeter import writers
from vqmeter.cli import complain, show_traceback
from vqmeter.cli.progress import progress
from vqmeter.errors import LimitError, OutputError, UsageError
from vqmeter.limits import Limit
from vqmeter.metric import NAMES, choose, nearest
from vqmeter.report import STATISTICS, Report, Result, gravest
from vqmeter.session import measure
from vqmeter.sources import name_of

_OUTPUT = ("outputs", "form", "score", "fail_under", "fail_over")
_TALK = ("quiet", "verbose", "no_progress", "debug")


def run(distorted: list[str], reference: str | None, options: dict[str, Any]) -> int:
    """Measure as the options say and write every output; the exit code."""
    output = {key: options.pop(key) for key in _OUTPUT}
    talk = {key: options.pop(key) for key in _TALK}
    if options.pop("offline"):
        os.environ["VQMETER_OFFLINE"] = "1"
    _listen(talk)
    _check(output, options, distorted, reference)
    limits = [*output["fail_under"], *output["fail_over"]]
    if options.pop("until_decided", False):
        if not limits:
            raise UsageError("--until-decided wants a limit, --fail-under or --fail-over")
        options["limits"] = limits
    with progress("frames", talk) as update:
        report = measure(distorted, reference=reference, progress=update, argv=sys.argv, **options)
    _tell(report, talk)
    written = _write(report, output)
    return gravest([report.exit_code, written, *_crossed(report, limits)])


def _listen(talk: dict[str, Any]) -> None:
    """Send the library's log to stderr, one line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("vqmeter: %(message)s"))
    logger = logging.getLogger("vqmeter")
    logger.handlers = [handler]
    logger.setLevel(logging.ERROR if talk["quiet"] else logging.DEBUG if talk["verbose"] else logging.INFO)
    logger.propagate = False


def _check(output: dict[str, Any], options: dict[str, Any], distorted: list[str], reference: str | None) -> None:
    """Fail now, not after an hour: places that cannot be written, scores nobody will give, metrics among the files."""
    for word in distorted:
        if any(word in known for known in NAMES.values()) and not os.path.exists(word):
            raise UsageError(f"no file '{word}'; metrics and models stand in one word, as in -m psnr,ssim")
    if output["score"] and (output["form"] or "-" in output["outputs"]):
        raise UsageError("--score prints its number alone on stdout; leave out --format and -o -, or write a file")
    forms = [writers.form_of(path) for path in output["outputs"] if path != "-"] + [output["form"]]
    if "libvmaf" in forms and len(distorted) > 1:
        raise UsageError("libvmaf's form holds one distorted file; ask for json or csv")
    for path in output["outputs"]:
        if path != "-":
            writers.check_writable(path)
    chosen = [c for family, key in (("fr", "metrics"), ("nr", "models")) if options.get(key)
              for c in choose(family, options[key])]  # fmt: skip
    names = {c.rename(score) for c in chosen for score in c.metric.scales()}
    if options.get("model_ref"):
        names |= {f"{name}{suffix}" for name in names for suffix in ("_ref", "_diff")}
    keys = [output["score"]] if output["score"] else []
    for key in [*keys, *(limit.key for limit in (*output["fail_under"], *output["fail_over"]))]:
        name, _, stat = key.partition(".")
        if name not in names:
            family, option = ("nr", "--model") if reference is None else ("fr", "-m")
            hint = f"; ask for it with {option} {name}" if name in NAMES[family] else nearest(name, names)
            raise UsageError(f"no score '{name}' will be measured{hint}")
        if stat and stat not in (*STATISTICS, "raw", "mos"):
            raise UsageError(f"no statistic '{stat}'{nearest(stat, STATISTICS)}")


def _tell(report: Report, talk: dict[str, Any]) -> None:
    """Notes, warnings and errors of all results on stderr, each once."""
    said: set[str] = set()

    def say(message: str) -> None:
        if message not in said and not talk["quiet"]:
            said.add(message)
            complain(message)

    for result in report.results:
        for role, info in result.inputs.items():
            for note in info.get("notes", []):
                say(f"{name_of(info['path'])}: {note}")
            if talk["verbose"] and "width" in info:
                say(f"{role} {name_of(info['path'])}: {info['width']}x{info['height']} {info['pix_fmt']}, "
                    f"{info['codec']} in {info['container']}")  # fmt: skip
        for warning in result.validity.get("warnings", []):
            say(f"{name_of(result.name)}: {warning}")
        for note in _notes(result):
            say(f"{name_of(result.name)}: {note}")
        if talk["verbose"] and result.validity.get("cached"):
            say(f"{name_of(result.name)}: taken from the cache")
        elif talk["verbose"] and result.timing.get("frames_per_second"):
            devices = sorted({facts["device"] for facts in result.metrics.values()})
            say(f"{name_of(result.name)}: {result.timing['seconds']} s, {result.timing['frames_per_second']} frames/s "
                f"on {', '.join(devices)}, peak memory {result.timing['peak_rss_mib']} MiB")  # fmt: skip
        if result.error is not None:
            if talk["debug"]:
                show_traceback(result.error)
            kept = f" ({len(result.columns['n'])} frames were scored)" if result.truncated else ""
            complain(f"{result.error}{kept}")


def _notes(result: Result) -> Iterator[str]:
    """What the scores are of, where that is not all of two files that differ."""
    seen, frames = result.validity, result.validity.get("frames_compared", 0)
    if seen.get("offset") and result.settings.get("sync") == "auto":
        yield (f"--sync auto found the distorted {abs(seen['offset'])} frames {'late' if seen['offset'] > 0 else 'early'} "
               f"(confidence {seen['offset_confidence']:.2f}); the {frames} frames that have a partner are scored")  # fmt: skip
    if seen.get("decided_after"):
        yield f"the limits were decided after {seen['decided_after']} frames; the scores are of these alone"
    if frames and seen.get("identical_frames") == frames and result.error is None:
        yield f"all {frames} frames are identical to the reference's"


def _crossed(report: Report, limits: list[Limit]) -> Iterator[int]:
    """Hold every result against the limits; say which it crossed."""
    for result in report.results:
        for limit in limits:
            value = _statistic(result, limit.key, limit.infinite)
            if value is not None and limit.crossed_by(value):
                complain(f"{result.name}: {limit.key} is {value:.6g}, {'over' if limit.over else 'under'} {limit.bound:g}")
                yield LimitError.exit_code


def _statistic(result: Result, key: str, infinite: float | None = None) -> float | None:
    """The number asked for; None where a failed result has none (its own code is graver)."""
    try:
        return result.statistic(key, infinite)
    except UsageError:
        if result.error is not None:
            return None
        raise


def _write(report: Report, output: dict[str, Any]) -> int:
    code = 0
    form = output["form"]
    for path in output["outputs"]:
        try:
            if path == "-":
                writers.write_text(writers.writer(form or "json")(report), sys.stdout)
            else:
                writers.write(report, path)
        except OutputError as error:
            complain(str(error))
            code = error.exit_code
    if output["score"]:
        for result in report.results:
            value = _statistic(result, output["score"])
            click.echo("nan" if value is None else _number(value))
    elif "-" not in output["outputs"] and (form or not output["outputs"]):
        writers.write_text(writers.writer(form or "table")(report), sys.stdout)
    return code


def _number(value: float) -> str:
    return repr(round(value, 6))
