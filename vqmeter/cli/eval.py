"""`vqmeter eval`: scores against human scores."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from vqmeter.cli import complain, completion
from vqmeter.cli.labels import check, opened, tell_notes
from vqmeter.cli.options import Command, compute_options, weights_options
from vqmeter.cli.progress import progress
from vqmeter.errors import UsageError

if TYPE_CHECKING:
    from vqmeter.evaluation.joining import Pairs
    from vqmeter.evaluation.scores import ScoreTable
    from vqmeter.training.datasets import Dataset

_FITS = {"4": (4,), "5": (5,), "both": (4, 5), "none": ()}


@click.command("eval", cls=Command)
@click.argument("paths", metavar="[SCORES] LABELS|ROOT", nargs=-1, required=True)
@click.option("--dataset", metavar="NAME", help="Labels are this data set, in the folder ROOT: konvid-1k, tid2013, csv ...")
@click.option("--media", metavar="DIR", help="Where the files of a list (csv, pairs, dover) are. Default: the folder it is in.")
@click.option("--model", "models", multiple=True, metavar="SPEC", shell_complete=completion.models,
              help="With --dataset: score its items with this model.")  # fmt: skip
@click.option(
    "-m",
    "--metric",
    "metrics",
    multiple=True,
    metavar="SPEC",
    shell_complete=completion.metrics,
    help="With --dataset: score its items with this full-reference metric.",
)
@click.option("--scores-out", metavar="FILE", help="Keep those scores, one item a line (.ndjson); a stopped run goes on there.")
@click.option(
    "--score",
    "keys",
    multiple=True,
    metavar="KEY[.STAT]",
    help="Which score: a column of SCORES, or a score of a report. Repeatable. Default: all, or the only one.",
)
@click.option("--label", metavar="COLUMN", help="Column of the human scores. Default: mos, dmos, score, label ...")
@click.option("--file", metavar="COLUMN", help="Column of the file names in LABELS. Default: the usual names.")
@click.option("--labels-lower", is_flag=True, help="A low label is good (DMOS). Known for data sets.")
@click.option("--scores-lower", is_flag=True, help="A low score is good. Known for vqmeter's own JSON.")
@click.option(
    "--fit",
    type=click.Choice(list(_FITS)),
    default="4",
    show_default=True,
    help="Parameters of the logistic curve fitted before PLCC and RMSE.",
)
@click.option(
    "--bootstrap",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    metavar="N",
    help="Resamples for the 95 % intervals; 0 for none.",
)
@click.option("--splits", metavar="HOW", help="Figures of the test parts of splits by content: 80/20, 60/20/20, 10-fold.")
@click.option("--repeats", type=click.IntRange(min=1), default=10, show_default=True, metavar="N", help="How many splits.")
@click.option("--group", metavar="COLUMN", help="Column of the content, which splits and resamples keep together.")
@click.option("--by", multiple=True, metavar="COLUMN", help="A table for every value: type, reference ... Repeatable.")
@click.option("--against", metavar="OTHER", help="Scores of another model of the same items: is the difference significant?")
@click.option("--against-lower", is_flag=True, help="A low score is good in OTHER.")
@click.option("--plot", metavar="FILE", help="Draw scores against labels with the curve: .png, .svg or .pdf.")
@click.option("--allow-missing", is_flag=True, help="Go on with what is there of an incomplete data set.")
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    help="Form on stdout. Default: table without -o, nothing with it.",
)
@click.option("-o", "--output", metavar="FILE", help="Write the evaluation as JSON; '-' is stdout.")
@compute_options
@weights_options
@click.option("-q", "--quiet", is_flag=True, help="Errors only on stderr.")
@click.option("--no-progress", is_flag=True, help="No progress bar, which shows on terminals only.")
@click.option("--debug", is_flag=True, help="Show a traceback where something fails.")
def command(paths: tuple[str, ...], **options: Any) -> int:
    """Compare scores with human scores: SROCC, KROCC, PLCC and RMSE, raw and after a logistic fit.

    \b
    vqmeter eval SCORES LABELS                              two tables, joined on file names
    vqmeter eval --dataset NAME ROOT --model SPEC           a data set, scored here
    vqmeter eval --dataset NAME SCORES ROOT                 a data set's labels, scores from a table
    """  # fmt: skip
    from vqmeter import writers
    from vqmeter.evaluation.scatter import check_plot

    _check_words(paths, options)
    if options["plot"]:
        check_plot(options["plot"])
    for path in (options["plot"], options["output"], options["scores_out"]):
        if path and path != "-":
            writers.check_writable(path)
    labels = _labels(paths, options)
    tables = _scores(paths, labels, options)
    return _evaluate(labels, tables, options)


def _check_words(paths: tuple[str, ...], options: dict[str, Any]) -> None:
    """Fail on words that cannot mean anything."""
    scored_here = bool(options["models"] or options["metrics"])
    if scored_here and not options["dataset"]:
        raise UsageError("--model and --metric score the items of a --dataset NAME")
    wanted = 1 if scored_here else 2
    if len(paths) != wanted:
        form = "--dataset NAME ROOT" if scored_here else "SCORES LABELS, or --dataset NAME ROOT with --model or --metric"
        raise UsageError(f"{len(paths)} paths where {wanted} {'is' if wanted == 1 else 'are'} needed: {form}")
    if options["scores_out"] and not scored_here:
        raise UsageError("--scores-out keeps what --model or --metric measure; there is nothing to measure here")
    fixed = {None: (), "csv": (), "pairs": ("label", "file"), "dover": ("label", "file")}
    for name in fixed.get(options["dataset"], ("label", "file", "labels_lower", "media")):
        if options[name]:
            raise UsageError(f"--{name.replace('_', '-')} is for tables; of {options['dataset']} that is known")


def _labels(paths: tuple[str, ...], options: dict[str, Any]) -> Dataset:
    """The human scores, with everything wrong with them said."""
    labels = opened(options["dataset"] or "csv", paths[-1], options)
    if os.path.isfile(paths[-1]):
        labels = replace(labels, name=os.path.basename(paths[-1]))
    if options["dataset"]:
        check(labels, options, media=len(paths) == 1)
    tell_notes(labels, options)
    return labels


def _scores(paths: tuple[str, ...], labels: Dataset, options: dict[str, Any]) -> list[ScoreTable]:
    from vqmeter.evaluation.scores import read_scores
    from vqmeter.evaluation.scoring import score_dataset

    if len(paths) == 2:
        return read_scores(paths[0], options["keys"])
    if options["offline"]:
        os.environ["VQMETER_OFFLINE"] = "1"
    how = {key: options[key] for key in ("device", "precision", "batch", "threads", "seed", "weights")}
    with progress("items", options) as update:
        return score_dataset(labels, metrics=options["metrics"], models=options["models"], keys=options["keys"],
                             cache=options["scores_out"], options=how, progress=update)  # fmt: skip


def _evaluate(labels: Dataset, tables: list[ScoreTable], options: dict[str, Any]) -> int:
    """Join, study, tell and write; the exit code."""
    from vqmeter import __version__
    from vqmeter.environment import redact
    from vqmeter.evaluation.joining import join
    from vqmeter.evaluation.scatter import scatter
    from vqmeter.evaluation.scores import read_scores
    from vqmeter.evaluation.study import Plan, settings, sign_of, study

    plan = Plan(_FITS[options["fit"]], options["bootstrap"], options["splits"], options["repeats"], options["seed"],
                options["group"], options["by"])  # fmt: skip
    if len(tables) > 1 and (options["plot"] or options["against"]):
        raise UsageError(f"--plot and --against are of one score; choose with --score: {', '.join(t.name for t in tables)}")
    rivals = read_scores(options["against"], options["keys"])[:1] if options["against"] else []
    for table, lower in [(t, options["scores_lower"]) for t in tables] + [(t, options["against_lower"]) for t in rivals]:
        table.better = "lower" if lower else table.better
    joined, other = [join(table, labels) for table in tables], next((join(table, labels) for table in rivals), None)
    evaluations = [study(pairs, labels, plan, other) for pairs in joined]
    document = {
        "schema": "vqmeter-eval/1", "vqmeter": __version__, "command": "eval", "argv": redact(sys.argv),
        "labels": {"name": labels.name, "unit": labels.unit, "items": len(labels.items), "low": labels.low, "high": labels.high,
                   "better": "higher" if labels.higher_is_better else "lower"},
        "settings": settings(plan), "evaluations": evaluations,
    }  # fmt: skip
    if options["plot"]:
        scatter(joined[0], options["plot"], sign=sign_of(joined[0], labels), orders=plan.fits, unit=labels.unit)
    _write(document, options)
    return max([_tell(pairs, options) for pairs in (*joined, *([other] if other else []))])


def _tell(pairs: Pairs, options: dict[str, Any]) -> int:
    """Say which items do not count; 4 where a score that should be there is not a number, or hardly any are left."""
    from vqmeter.errors import InputError
    from vqmeter.evaluation.correlation import FEWEST
    from vqmeter.training.datasets.items import some

    for what, names in (("labels have no score", pairs.no_score), ("scores have no label", pairs.no_label),
                        ("labels are no numbers", pairs.unlabelled), ("names fit several files", pairs.ambiguous)):  # fmt: skip
        if names and not options["quiet"]:
            complain(f"{pairs.name}: {len(names)} {what} and do not count: {some(names)}")
    few = len(pairs.items) < FEWEST
    if few:
        complain(f"{pairs.name}: {len(pairs.items)} items with a score and a label are too few to correlate")
    if pairs.failed:
        complain(f"{pairs.name}: {len(pairs.failed)} scores are no numbers and do not count: {some(pairs.failed)}")
    return InputError.exit_code if pairs.failed or pairs.ambiguous or few else 0


def _write(document: dict[str, Any], options: dict[str, Any]) -> None:
    from vqmeter.evaluation.rendering import render_json, render_table
    from vqmeter.writers import write_whole

    output, form = options["output"], options["form"]
    if output and output != "-":
        write_whole(output, render_json(document))
    if output == "-" or form == "json":
        click.echo(render_json(document), nl=False)
    elif form == "table" or not output:
        click.echo(render_table(document))
