"""`vqmeter fr REF DIST...`: full-reference scores."""

from __future__ import annotations

from typing import Any

import click

from vqmeter.cli import completion
from vqmeter.cli.options import (
    Command,
    compute_options,
    model_ref_option,
    output_options,
    planes_option,
    raw_options,
    reference_options,
    scale_option,
    selection_options,
    shortest_option,
    talk_options,
    weights_options,
)
from vqmeter.errors import UsageError


@click.command("fr", cls=Command)
@click.argument("ref", metavar="REF")
@click.argument("dist", metavar="DIST...", nargs=-1)
@click.option("-m", "--metric", "metrics", multiple=True, metavar="SPEC", default=("psnr", "ssim"),
              shell_complete=completion.metrics,
              help="NAME[:KEY=VALUE]...[,NAME...]; repeatable. Default: psnr,ssim. 'vqmeter models' lists all.")  # fmt: skip
@click.option("--model", "models", multiple=True, metavar="SPEC", shell_complete=completion.models,
              help="Also score the distorted frames with no-reference models, in the same pass.")  # fmt: skip
@model_ref_option
@weights_options
@planes_option
@click.option("--deinterlace", is_flag=True,
              help="Make interlaced input progressive first, by bwdif, as many frames as before.")  # fmt: skip
@click.option("--crop", metavar="W:H:X:Y", help="Measure this part of both, W x H from X, Y, before they are scaled.")
@scale_option
@click.option("--map", type=click.Path(file_okay=False), metavar="DIR",
              help="Write heat maps, a frame each, of metrics that have one: ssim, dipqa, diqam.")  # fmt: skip
@click.option("--worst", type=click.IntRange(min=0), default=0, metavar="N",
              help="Write the N worst frames as PNG, reference beside distorted.")  # fmt: skip
@click.option("--worst-by", metavar="KEY", help="The score that decides which are worst; default: the first one.")
@click.option("--worst-dir", type=click.Path(file_okay=False), default="worst", show_default=True, metavar="DIR",
              help="Where the worst frames go.")  # fmt: skip
@shortest_option
@click.option("--sync", default="off", show_default=True, metavar="off|auto|N",
              help="The distorted lags by N frames (early where negative); auto looks for N up to 30 either way.")  # fmt: skip
@click.option("--pair", type=click.Choice(["index", "pts"]), default="index", show_default=True,
              help="Which frames belong together: those of one number, or those nearest in time.")  # fmt: skip
@raw_options
@reference_options
@selection_options
@compute_options
@output_options
@click.option("--until-decided", is_flag=True,
              help="Read no further once --fail-under and --fail-over can only come out one way.")  # fmt: skip
@click.option("--cache", type=click.Path(file_okay=False), metavar="DIR",
              help="Keep results in DIR, and take them from there where files and settings are the same.")  # fmt: skip
@talk_options
def command(ref: str, dist: tuple[str, ...], **options: Any) -> int:
    """Score DIST files against REF, frame by frame and pooled.

    Any of them may be headless raw YUV, Y4M, whatever FFmpeg reads, or '-' for stdin. The reference is decoded once
    for all distorted files.
    """
    from vqmeter.cli.measuring import run

    if not dist:
        raise UsageError("fr wants REF and DIST; 'vqmeter nr CLIP' scores a clip without a reference")
    return run(list(dist), ref, options)
