"""`vqmeter distort IN OUTDIR`: the ranked synthetic distortions of pictures and video."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from vqmeter.cli.options import Command, input_options, raw_options, talk_options
from vqmeter.cli.progress import progress
from vqmeter.errors import UsageError

if TYPE_CHECKING:
    from vqmeter.distortions import Type
    from vqmeter.distortions.files import Input

PICTURE_FORMS, VIDEO_FORMS = ("png", "bmp", "tiff"), ("mkv", "y4m", "yuv")


def show_list(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the table of types and leave."""
    if not wanted or ctx.resilient_parsing:
        return
    from rich.console import Console
    from rich.table import Table

    from vqmeter.distortions import PRESETS, TYPES

    table = Table("type", "for", "what it is", "levels, from the mildest", box=None, pad_edge=False)
    for one in TYPES.values():
        levels = ", ".join(one.describe(n).partition("=")[2] if len(one.parameters) == 1 else one.describe(n)
                           for n in range(1, len(one.levels) + 1))  # fmt: skip
        name = f"{one.parameters[0]} " if len(one.parameters) == 1 else ""
        table.add_row(one.name, "pictures, video" if one.kind == "picture" else "video", one.what, name + levels)
    console = Console(highlight=False) if sys.stdout.isatty() else Console(width=240, highlight=False)
    console.print(table)
    for preset, (names, _count) in PRESETS.items():
        click.echo(f"--preset {preset}: {', '.join(names)}")
    ctx.exit()


@click.command("distort", cls=Command)
@click.argument("source", metavar="IN")
@click.argument("folder", metavar="OUTDIR")
@click.option("--types", metavar="TYPE,...", multiple=True, help="Which distortions; --list shows them. Repeatable.")
@click.option(
    "--preset",
    metavar="tid|live|mlive|apv|video|codecs",
    multiple=True,
    help="Sets of types; repeatable. Default: tid for pictures, video for video.",
)
@click.option(
    "--ladder",
    "ladders",
    metavar="CODEC=Q,Q,...",
    multiple=True,
    help="A codec at quantisers of your own, mildest first: x264=22,28,34. Repeatable.",
)
@click.option("--levels", metavar="N,...", help="Only these levels, as 1,3 or 2-4; 1 is the mildest. Default: all.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of every random choice.")
@click.option("--jobs", type=click.IntRange(min=0), default=0, metavar="N", help="Files made at once; 0 is one a core.")
@click.option(
    "-f",
    "--format",
    "forms",
    type=click.Choice([*PICTURE_FORMS, *VIDEO_FORMS]),
    multiple=True,
    help="Form of pictures (png, bmp, tiff) and of video that no codec makes (mkv with FFV1, y4m, yuv).",
)
@click.option("--overwrite", is_flag=True, help="Make anew what is there already.")
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=show_list,
    help="Print the table of types and levels, and end.",
)
@raw_options
@talk_options
def command(source: str, folder: str, **options: Any) -> int:
    """Write distorted copies of IN, a file or a folder of files, to OUTDIR: every type at every level.

    Pictures become NAME_TYPE_LEVEL.png, video NAME_TYPE_LEVEL.mkv or what the codec takes. OUTDIR/distortions.csv
    says how each was made. What was made before in the same way is not made again.
    """
    from vqmeter.cli import complain, show_traceback
    from vqmeter.distortions.files import copies, files_in, look, plan, run
    from vqmeter.errors import VqmeterError
    from vqmeter.machine import cpu_count
    from vqmeter.report import gravest

    chosen, levels = _chosen(options), _levels(options["levels"])
    forms = _forms(options["forms"])
    reading = input_options(options, threads=1)
    codes, inputs = [0], []

    def failed(error: VqmeterError) -> None:
        if options["debug"]:
            show_traceback(error)
        complain(str(error))
        codes.append(error.exit_code)

    for path in files_in(source, folder):
        try:
            inputs.append(look(path, reading))
            _check_fit(inputs[-1], chosen, complain if not options["quiet"] else lambda _: None)
        except VqmeterError as error:
            failed(error)
    tasks = plan(inputs, lambda one: copies(one, chosen, levels), folder, options["seed"], *forms)
    jobs = options["jobs"] or cpu_count()
    with progress("files", options) as update:
        for failure in run(tasks, folder, reading, jobs, options["overwrite"], update):
            failed(failure)
    if tasks:
        click.echo(os.path.join(folder, "distortions.csv"))
    return gravest(codes)


def _chosen(options: dict[str, Any]) -> list[Type]:
    """The types the options name, each once; none where they name none."""
    from vqmeter.distortions import find, ladder, preset

    found = [one for name in options["preset"] for one in preset(name)]
    found += [find(name.strip()) for names in options["types"] for name in names.split(",") if name.strip()]
    for text in options["ladders"]:
        codec, _, steps = text.partition("=")
        try:
            found.append(ladder(codec, [float(step) if "." in step else int(step) for step in steps.split(",")]))
        except ValueError:
            raise UsageError(f"--ladder is CODEC=Q,Q,..., as x264=22,28,34, not '{text}'") from None
    by_name = {one.name: one for one in found}
    for one in found:
        if by_name[one.name].levels != one.levels and one.name in _ladder_names(options):
            raise UsageError(f"{one.name} is asked for with two ladders; leave out one")
    return list(by_name.values())


def _ladder_names(options: dict[str, Any]) -> set[str]:
    from vqmeter.distortions import find

    return {find(text.partition("=")[0]).name for text in options["ladders"]}


def _levels(text: str | None) -> list[int] | None:
    if text is None:
        return None
    found: set[int] = set()
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            found |= set(range(int(first), int(last or first) + 1))
    except ValueError:
        found = set()
    if not found or min(found) < 1:
        raise UsageError(f"--levels takes numbers from 1, as 1,3 or 2-4, not '{text}'")
    return sorted(found)


def _forms(forms: tuple[str, ...]) -> tuple[str, str]:
    """The form of pictures and that of video."""
    pictures = [form for form in forms if form in PICTURE_FORMS] or ["png"]
    videos = [form for form in forms if form in VIDEO_FORMS] or ["mkv"]
    if len(pictures) > 1 or len(videos) > 1:
        raise UsageError("--format: one form for pictures and one for video")
    return pictures[0], videos[0]


def _check_fit(one: Input, chosen: list[Type], say: Callable[[str], None]) -> None:
    """Say which types a picture cannot have.

    Raises
        UsageError: it cannot have any.
    """
    left_out = [kind.name for kind in chosen if kind.kind != "picture"] if one.picture else []
    if left_out and len(left_out) == len(chosen):
        raise UsageError(f"{one.path}: one picture, and {', '.join(left_out)} need a video")
    if left_out:
        say(f"{one.path}: one picture, so without {', '.join(left_out)}")
