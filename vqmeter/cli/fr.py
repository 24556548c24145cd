"""`vqmeter fr REF DIST...`: full-reference scores."""

from __future__ import annotations

from typing import Any

import click

from vqmeter.cli.options import (
    Command,
    SizeType,
    compute_options,
    output_options,
    raw_options,
    selection_options,
    talk_options,
)


@click.command("fr", cls=Command)
@click.argument("ref", metavar="REF")
@click.argument("dist", metavar="DIST...", nargs=-1, required=True)
@click.option("-m", "--metric", "metrics", multiple=True, metavar="SPEC", default=("psnr", "ssim"),
              help="NAME[:KEY=VALUE]...[,NAME...]; repeatable. Default: psnr,ssim. 'vqmeter models' lists all.")  # fmt: skip
@click.option("--planes", type=click.Choice(["y", "yuv"]), default="y", show_default=True,
              help="Planes that metrics of one plane (ssim) look at.")  # fmt: skip
@click.option("--shortest", is_flag=True, help="Unequal lengths: compare the common frames instead of failing.")
@raw_options
@click.option("--ref-size", type=SizeType(), metavar="WxH", help="Size of a raw reference where it differs.")
@click.option("--ref-pix-fmt", metavar="FMT", help="Pixel format of a raw reference where it differs.")
@click.option("--ref-input-format", metavar="FORMAT", help="Container of the reference where it differs.")
@selection_options
@compute_options
@output_options
@talk_options
def command(ref: str, dist: tuple[str, ...], **options: Any) -> int:
    """Score DIST files against REF, frame by frame and pooled.

    Any of them may be headless raw YUV, Y4M, whatever FFmpeg reads, or '-' for stdin. The reference is decoded once
    for all distorted files.
    """
    from vqmeter.cli.measuring import run

    return run(list(dist), ref, options)
