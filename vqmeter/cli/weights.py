"""`vqmeter weights`: the weight files, where they are, where they come from, their SHA-256."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vqmeter.cli.options import Command

if TYPE_CHECKING:
    from vqmeter.weights import Weights

STORE = click.option(
    "--store", type=click.Choice(["fp32", "fp16", "int8"]), default="fp32", show_default=True,
    help="Bits a value takes in the file; calculations are in 32 bits from each.",
)  # fmt: skip
DEBUG = click.option(
    "--debug", is_flag=True, expose_value=False, help="Show a traceback where something fails."
)  # fmt: skip


class Commands(click.Group):
    """Its commands read single-dash words as every other command does."""

    command_class = Command


@click.group("weights", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """The weight files: where they are, where they come from, their SHA-256.

    Looked for in what --weights names, $VQMETER_WEIGHTS (a folder or a file), the user's data folder, the package.
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Everything that is known of them, as a JSON array.")
@DEBUG
def list_(as_json: bool) -> None:
    """Every known weight set, and whether its file is here."""
    from vqmeter.weights import catalogue

    sets = catalogue()
    if as_json:
        click.echo(json.dumps([weights.to_json() for weights in sets], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "model", "trained on", "licence", "MB", "sha256", "here", box=None, pad_edge=False)
    for w in sets:
        megabytes = f"{w.size / 1e6:.1f}" if w.size else ""
        here = str(w.path.parent) if w.path else "pull" if w.url else "import"
        table.add_row(w.name, w.model, w.dataset, w.licence, megabytes, w.sha256[:12], here)
    console = Console(highlight=False)
    console.print(table) if console.is_terminal else Console(width=240, highlight=False).print(table)


@command.command()
@click.argument("name", required=False)
@DEBUG
def path(name: str | None) -> None:
    """Print where the file of NAME is; without NAME, the places that are looked through."""
    from vqmeter.weights import find, places

    for place in [find(name).path] if name else places():
        click.echo(place)


@command.command()
@click.argument("name")
@DEBUG
def card(name: str) -> None:
    """Print the card of NAME, a set or a file: data, labels, recipe, held-out accuracy, limits."""
    from vqmeter.errors import WeightsError
    from vqmeter.weights import find
    from vqmeter.weights.lookup import identify

    found = identify(Path(name)) if Path(name).is_file() else find(name)
    if not found.card:
        raise WeightsError(f"{found.path}: has no card; its source is {found.source or 'not said'}")
    click.echo(found.card.rstrip())


@command.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--offline", is_flag=True, default=None, help="Open no connection; also VQMETER_OFFLINE=1.")
@click.option("--force", is_flag=True, help="Download again what is here.")
@click.option("-q", "--quiet", is_flag=True, help="Errors only on stderr.")
@click.option("--no-progress", is_flag=True, help="No progress bar, which shows on terminals only.")
@DEBUG
def pull(names: tuple[str, ...], offline: bool | None, force: bool, quiet: bool, no_progress: bool) -> None:
    """Download the files of NAME... into the user's data folder and hold them against their SHA-256.

    A broken download goes on where it stopped. Proxies are taken from https_proxy and no_proxy.
    """
    from vqmeter.weights.transfer import pull as fetch

    for name in names:
        weights = fetch(name, offline, progress=not (quiet or no_progress), force=force)
        click.echo(weights.path)
        for backbone in weights.needs:
            if backbone not in names and not quiet:
                click.echo(f"'{name}' stands on '{backbone}': vqmeter weights pull {backbone}", err=True)


@command.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@DEBUG
def verify(names: tuple[str, ...]) -> None:
    """Read files anew and hold them against their SHA-256: those of NAME..., or every one that is here."""
    from vqmeter.errors import WeightsError
    from vqmeter.weights import catalogue
    from vqmeter.weights import verify as check

    bad: list[str] = []
    wanted: list[tuple[str, Path | None]] = [(name, None) for name in names]
    for name, place in wanted or [(w.model or w.name, w.path) for w in catalogue() if w.path]:
        try:
            weights = check(name, place)
            click.echo(f"ok\t{weights.name}\t{weights.sha256}\t{weights.path}")
        except WeightsError as error:
            bad.append(str(error))
    if bad:
        for line in bad[:-1]:
            click.echo(line, err=True)
        raise WeightsError(bad[-1])


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", default="", help="Name of the set; default: as published, or the file's.")
@click.option("--range", "ends", metavar="WORST:BEST", help="Raw numbers of the worst and the best quality.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Default: the user's data folder.")
@STORE
@DEBUG
def import_(file: Path, name: str, ends: str | None, output: Path | None, store: str) -> None:
    """Turn a published weight FILE into one of vqmeter's; what it is, is seen by its contents."""
    from vqmeter.weights.transfer import import_file

    weights = import_file(file, name, store, _range(ends), output)
    click.echo(weights.path)
    if weights.label is None:
        click.echo(f"{weights.name}: {weights.model}, no scale of scores", err=True)
    else:
        click.echo(f"{weights.name}: {weights.model}, {_scale(weights)}", err=True)


def _scale(weights: Weights) -> str:
    label = weights.label
    assert label is not None
    ends = (label.low, label.high) if label.higher_is_better else (label.high, label.low)
    return f"worst {ends[0]:.4g}, best {ends[1]:.4g} ({label.unit})"


def _range(text: str | None) -> tuple[float, float] | None:
    from vqmeter.errors import UsageError

    if text is None:
        return None
    try:
        worst, best = (float(part) for part in text.split(":"))
    except ValueError:
        raise UsageError(f"--range is WORST:BEST, two numbers, not '{text}'") from None
    return worst, best


@command.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@STORE
@DEBUG
def export(name: str, file: Path, store: str) -> None:
    """Write the weights NAME to FILE: .safetensors, or a torch state dict by the ending .pt or .pth."""
    from vqmeter.weights.transfer import export_file

    click.echo(export_file(name, file, store).path)
