"""`vqmeter bdrate ANCHOR TEST...`: Bjontegaard deltas between ladders of encodes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from vqmeter.cli import complain
from vqmeter.cli.options import Command
from vqmeter.errors import InputError, UsageError
from vqmeter.metric import nearest

if TYPE_CHECKING:
    from vqmeter.bdrate import Curve, Delta, Ladder


@click.command("bdrate", cls=Command)
@click.argument("words", metavar="[NAME=]ANCHOR [NAME=]TEST...", nargs=-1, required=True)
@click.option("--anchor", metavar="NAME", help="The curve the others are held against. Default: the first.")
@click.option(
    "--by",
    "keys",
    multiple=True,
    metavar="KEY[.STAT][,...]",
    help="Only these scores, as psnr_y or vmaf.p5; repeatable. Default: all that both have.",
)
@click.option(
    "--method",
    type=click.Choice(["pchip", "akima", "cubic"]),
    default="pchip",
    show_default=True,
    help="How curves go through the points; pchip as in JVET's and AOM's tables.",
)
@click.option("--hull", is_flag=True, help="Only points on the upper convex hull count.")
@click.option(
    "--min-overlap",
    type=click.FloatRange(0, 100),
    default=75.0,
    show_default=True,
    metavar="PERCENT",
    help="Warn where the curves have less of their span in common.",
)
@click.option(
    "--lower",
    multiple=True,
    metavar="KEY[,...]",
    help="Lower is better in this score of a table; known for vqmeter's own reports. Repeatable.",
)
@click.option("--bitrate", metavar="COLUMN", help="Column of the bitrates in tables. Default: bitrate, kbps, rate ...")
@click.option(
    "--unit",
    type=click.Choice(["bps", "kbps", "Mbps"]),
    help="Of bitrates in tables whose title does not say it. Default: kbps.",
)
@click.option("--label", metavar="COLUMN", help="Column that divides a table into curves. Default: label, codec, encoder.")
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    help="Form on stdout. Default: table without -o, nothing with it.",
)
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="FILE",
    help="Write .json, .csv, or the curves as .png or .svg; repeatable; '-' is stdout.",
)
@click.option("-q", "--quiet", is_flag=True, help="Errors only on stderr.")
@click.option("--debug", is_flag=True, help="Show a traceback where something fails.")
def command(words: tuple[str, ...], **options: Any) -> int:
    """Bjontegaard deltas: bits saved at equal quality, quality gained at equal bitrate, for every score.

    A curve is a report of vqmeter as JSON, whose results are its points; a table (CSV) with a column of bitrates and
    columns of scores; or a pattern in quotes, as 'x264_*.json', whose files are one curve. Files given under one NAME
    are one curve too; a column of labels divides a table into several.
    """  # fmt: skip
    from vqmeter import writers
    from vqmeter.bdrate import How, Reading, deltas, read_curves
    from vqmeter.bdrate.rendering import check_output

    for path in options["outputs"]:
        if path != "-":
            check_output(path)
            writers.check_writable(path)
    curves = read_curves(words, Reading(_keys(options["keys"]), options["bitrate"], options["unit"], options["label"]))
    anchor = _anchor(curves, options["anchor"])
    lower = _lower(curves, _keys(options["lower"]))
    how = How(options["method"], options["hull"], options["min_overlap"] / 100)
    code = _tell(_notes(curves), [line for curve in curves for line in curve.failed], options)
    found, ladders = deltas(curves, anchor, how, lower)
    notes = [note for one in ladders for note in one.notes] + [line for one in found for line in one.warnings]
    code = max(code, _tell(notes, [line for one in found for line in one.errors], options))
    _write(found, ladders, options)
    return code


def _keys(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key.strip() for word in words for key in word.split(",") if key.strip()))


def _anchor(curves: list[Curve], name: str | None) -> Curve:
    """The curve called `name`, or the first.

    Raises
        UsageError: no such curve, or nothing to compare it with.
    """
    names = [curve.name for curve in curves]
    if name is not None and name not in names:
        raise UsageError(f"no curve '{name}' here; there are {', '.join(names)}")
    if len(curves) < 2:
        raise UsageError(f"one curve only, {names[0]}; name a TEST to hold against it, or a --label column")
    return curves[names.index(name)] if name is not None else curves[0]


def _lower(curves: list[Curve], keys: tuple[str, ...]) -> tuple[str, ...]:
    known = dict.fromkeys(score for curve in curves for score in curve.scores)
    for key in keys:
        if key not in known:
            raise UsageError(f"--lower {key}: no such score{nearest(key, known)}")
    return keys


def _notes(curves: list[Curve]) -> list[str]:
    """What was assumed in reading, and whether it is one content that is compared."""
    notes = [note for curve in curves for note in curve.notes]
    references = sorted({reference for curve in curves for reference in curve.references})
    if len(references) > 1:
        names = ", ".join(references[:3]) + (" ..." if len(references) > 3 else "")
        notes.append(f"scores are against different references, {names}; a curve is of one content")
    return notes


def _tell(notes: list[str], errors: list[str], options: dict[str, Any]) -> int:
    """Each line once on stderr, notes unless they are unwanted; the exit code."""
    for line in dict.fromkeys([*(notes if not options["quiet"] else []), *errors]):
        complain(line)
    return InputError.exit_code if errors else 0


def _write(found: list[Delta], ladders: list[Ladder], options: dict[str, Any]) -> None:
    from vqmeter import __version__
    from vqmeter.bdrate.rendering import PICTURES, plot, render_csv, render_json, render_table
    from vqmeter.environment import redact
    from vqmeter.writers import write_whole

    document = {
        "schema": "vqmeter-bdrate/1", "vqmeter": __version__, "command": "bdrate", "argv": redact(sys.argv),
        "settings": {"method": options["method"], "hull": options["hull"], "min_overlap": options["min_overlap"] / 100},
    }  # fmt: skip

    def render(form: str) -> str:
        if form == "table":
            return render_table(found)
        return render_csv(found) if form == "csv" else render_json(document, found, ladders)

    for path in options["outputs"]:
        if path.lower().endswith(PICTURES):
            plot(path, found, ladders, options["method"])
        elif path != "-":
            write_whole(path, render(path.lower().rpartition(".")[2]))
    if "-" in options["outputs"]:
        click.echo(render(options["form"] or "json"), nl=False)
    elif options["form"] or not options["outputs"]:
        click.echo(render(options["form"] or "table"), nl=False)
