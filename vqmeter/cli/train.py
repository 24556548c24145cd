"""`vqmeter train MODEL DATA`: the training recipes of every learned model."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vqmeter.cli import complain
from vqmeter.cli.labels import check, opened, tell_notes
from vqmeter.cli.options import Command, compute_options, stack
from vqmeter.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vqmeter.training.data import Data
    from vqmeter.training.datasets import Dataset
    from vqmeter.training.recipes import Comparison, Recipe
    from vqmeter.training.run import Run


def show_list(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print every recipe, its options and its comparisons, and leave."""
    if not wanted or ctx.resilient_parsing:
        return
    import dataclasses

    from vqmeter.training.recipes import NAMES, recipe_class

    for name in NAMES:
        cls = recipe_class(name)
        click.echo(f"{name}: {cls.about.title}\n  data: {cls.about.data}\n  source: {cls.about.source}")
        click.echo("  options: " + ", ".join(f"{f.name}={f.default}" for f in dataclasses.fields(cls)))
        for key, comparison in cls.comparisons.items():
            click.echo(f"  --compare {key}: {comparison.title} ({comparison.source})")
    ctx.exit()


data_options = stack(
    click.option("--dataset", metavar="NAME", help="How DATA is laid out: konvid-1k, tid2013, csv ... Default: a folder of "
                 "'vqmeter distort' is distorted, a file is csv."),
    click.option("--media", metavar="DIR", help="Where the files of a list are. Default: the folder it is in."),
    click.option("--label", metavar="COLUMN", help="Column of a csv's scores. Default: mos, dmos, score, label ..."),
    click.option("--labels-lower", is_flag=True, help="A low label is good (DMOS). Known for data sets."),
    click.option("--labels", metavar="METRIC", help="Pseudo labels: this full-reference metric's scores in people's place."),
    click.option("--distort", metavar="PRESET|TYPE,...", help="DATA is pristine: distort it into the work folder first."),
    click.option("--splits", metavar="HOW", help="Parts by content: 60/20/20, 80/20, 10-fold, none, column:NAME (train, val, "
                 "test). Default: 60/20/20, or the comparison's."),
    click.option("--repeats", type=click.IntRange(min=1), metavar="N", help="How many splits a comparison is made on."),
    click.option("--allow-missing", is_flag=True, help="Go on with what is there of an incomplete data set."),
)  # fmt: skip

run_options = stack(
    click.option("--epochs", type=click.IntRange(min=1), metavar="N", help="Epochs of every stage. Default: the recipe's."),
    click.option("--steps", type=click.IntRange(min=1), metavar="N", help="At most so many steps a stage."),
    click.option("--rate", type=float, metavar="R", help="Learning rate. Default: the recipe's."),
    click.option("--patience", type=click.IntRange(min=0), metavar="N", help="Epochs to wait for a better SROCC of the "
                 "validation part; 0 waits for ever. Default: the recipe's."),
    click.option("--init", metavar="PATH", help="Begin with the weights of this file."),
    click.option("--work", metavar="DIR", help="Where checkpoints, features and the log are. Default: OUTPUT.work."),
    click.option("--restart", is_flag=True, help="Throw away what an earlier run left in the work folder."),
    click.option("--jobs", type=click.IntRange(min=0), default=0, metavar="N", help="References labelled at once; 0: all."),
    click.option("--store", type=click.Choice(["fp32", "fp16", "int8"]), help="Bits a value takes in the weight file."),
)  # fmt: skip


@click.command("train", cls=Command)
@click.argument("model", metavar="MODEL[:OPTION=VALUE]...")
@click.argument("data", metavar="DATA")
@click.option("-o", "--output", metavar="FILE", help="The weight file (.safetensors); of a comparison, its table as JSON.")
@click.option("--compare", metavar="NAME", help="Make this table of the model's source, beside the published figures.")
@data_options
@run_options
@compute_options
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=show_list,
              help="Print every recipe with its options and comparisons, and end.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Errors only on stderr.")
@click.option("--no-progress", is_flag=True, help="No progress bar, which shows on terminals only.")
@click.option("--debug", is_flag=True, help="Show a traceback where something fails.")
def command(model: str, data: str, **options: Any) -> int:
    """Train MODEL on DATA, a data set of human scores, or distorted copies with pseudo labels.

    \b
    vqmeter train vsfa KONVID --dataset konvid-1k -o mine.safetensors
    vqmeter train rankiqa:network=vgg16 PICTURES --distort tid -o rank.safetensors
    vqmeter train vsfa CLIPS --distort codecs --labels vmaf -o mine.safetensors
    vqmeter train vsfa APV --dataset live-apv --compare temporal

    A run that was broken off goes on when the same command is given again, to the same weights.
    """  # fmt: skip
    from vqmeter import writers
    from vqmeter.training.data import divide
    from vqmeter.training.recipes import find

    name, recipe = find(model)
    output, table = options["output"], options["compare"]
    if output is None and table is None:
        raise UsageError("-o FILE says where the weights go")
    if output is not None:
        writers.check_writable(output)
        wanted = (".json",) if table else (".safetensors", ".pt", ".pth")
        if not output.endswith(wanted):
            raise UsageError(f"{output}: {'a table' if table else 'a weight file'} ends in {', '.join(wanted)}")
    comparison = None
    if table is not None:
        from vqmeter.training.comparison import named

        comparison = named(recipe, table)
    folder = Path(options["work"] or (f"{output}.work" if output else f"{name}-{table}.work"))
    with _running(folder, options) as run:
        dataset = _dataset(data, folder, options)
        how = options["splits"] or (comparison.splits if comparison else "60/20/20")
        repeats = (options["repeats"] or comparison.repeats) if comparison else 1
        parts = list(divide(dataset, how, repeats, run.seed))
        run.open(_made_by(recipe, dataset, options), options["restart"])
        if comparison is not None:
            return _compare(recipe, comparison, parts, run, options)
        return _train(name, recipe, parts[0], run, options)


def _made_by(recipe: Recipe, dataset: Dataset, options: dict[str, Any]) -> dict[str, Any]:
    """Everything that the weights hang on, for a run that goes on."""
    from vqmeter.training.run import digest

    keys = ("compare", "dataset", "labels", "distort", "splits", "repeats", "seed", "epochs", "steps", "rate", "patience",
            "init", "batch", "precision")  # fmt: skip
    items = digest([(item.path, str(item.score), item.group) for item in dataset.items])
    return {"recipe": repr(recipe), "items": items, **{key: options[key] for key in keys}}


@contextmanager
def _running(folder: Path, options: dict[str, Any]) -> Iterator[Run]:
    """The run that the options ask for, with its progress bar."""
    from vqmeter.cli.progress import progress
    from vqmeter.devices import resolve_device
    from vqmeter.machine import cpu_count
    from vqmeter.metric import Context
    from vqmeter.training.run import Run

    precision = "fp32" if options["precision"] == "auto" else options["precision"]
    threads = options["threads"] or cpu_count()
    context = Context(resolve_device(options["device"], True), precision, threads, options["batch"], options["seed"])
    if context.device == "cpu":
        import torch

        torch.set_num_threads(threads)
    with progress("steps", options) as update:

        def tell(what: str, done: int, total: int) -> None:
            if update is not None:
                update(done, total)

        yield Run(folder, context, options["epochs"], options["batch"], options["rate"], options["patience"], options["steps"],
                  options["init"], tell=tell)  # fmt: skip


def _dataset(data: str, folder: Path, options: dict[str, Any]) -> Dataset:
    """DATA as items, distorted and labelled where that is asked for, with everything wrong with it said."""
    from vqmeter.machine import cpu_count
    from vqmeter.training.labels import pseudo_labels

    if options["distort"]:
        data = _distort(data, folder / "distorted", options)
    is_folder = os.path.exists(os.path.join(data, "distortions.csv"))
    name = options["dataset"] or ("distorted" if is_folder else "csv" if os.path.isfile(data) else None)
    if name is None:
        raise UsageError(f"{data}: --dataset NAME says how this folder is laid out; --distort makes copies of pristine media")
    dataset = opened(name, data, options)
    check(dataset, options, scores=False)
    if options["allow_missing"]:
        dataset = replace(dataset, items=tuple(i for i in dataset.items if os.path.isfile(i.path)))
    tell_notes(dataset, options)
    if options["labels"] is None:
        return dataset
    return pseudo_labels(dataset, options["labels"], cache=str(folder / "labels.ndjson"), threads=1,
                         jobs=options["jobs"] or cpu_count())  # fmt: skip


def _distort(data: str, folder: Path, options: dict[str, Any]) -> str:
    """Distorted copies of pristine media, made once."""
    from vqmeter.distortions import PRESETS, find, preset
    from vqmeter.distortions.files import copies, files_in, look, plan, run
    from vqmeter.machine import cpu_count
    from vqmeter.sources import InputOptions

    words = options["distort"].split(",")
    types = [one for word in words for one in (preset(word) if word in PRESETS else [find(word)])]
    reading = InputOptions(threads=1)
    inputs = [look(path, reading) for path in files_in(data, str(folder))]

    tasks = plan(inputs, lambda one: copies(one, types), str(folder), options["seed"])
    for failure in run(tasks, str(folder), reading, options["jobs"] or cpu_count(), False, None):
        raise failure
    return str(folder)


def _train(name: str, recipe: Recipe, data: Data, run: Run, options: dict[str, Any]) -> int:
    from vqmeter.environment import redact
    from vqmeter.training import cards

    trained = recipe.train(data, run)
    found = cards.judge(trained, data)
    log = run.folder / "log.jsonl"
    epochs = len(log.read_text("utf-8").splitlines()) if log.exists() else 0
    text = cards.card(name, recipe, trained, data, run, found, ["vqmeter", *redact(sys.argv[1:])], epochs)
    cards.publish(Path(options["output"]), name, trained, data, text, options["store"])
    for note in trained.notes if not options["quiet"] else ():
        complain(note)
    click.echo(cards.table(found) or f"{options['output']}: nothing was held out to judge it by")
    return 0


def _compare(recipe: Recipe, comparison: Comparison, parts: list[Data], run: Run, options: dict[str, Any]) -> int:
    from vqmeter.evaluation.rendering import render_json
    from vqmeter.training.comparison import compare, render, to_json
    from vqmeter.writers import write_whole

    rows = compare(recipe, comparison, parts, run)
    for line in render(comparison, rows):
        click.echo(line)
    if options["output"]:
        write_whole(options["output"], render_json(to_json(comparison, rows)))
    return 0
