"""`vqmeter convert IN OUT`: raw YUV to AVI, MP4, Y4M and PNG frames, and back."""

from __future__ import annotations

from typing import Any

import click

from vqmeter.cli import complain
from vqmeter.cli.options import Command, input_options, raw_options, selection_options, talk_options
from vqmeter.cli.progress import progress


@click.command("convert", cls=Command)
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT")
@click.option(
    "--frames-evenly",
    "evenly",
    type=click.IntRange(min=1),
    metavar="N",
    help="Take N frames, spread evenly: the middles of N equal parts.",
)
@click.option(
    "--codec",
    type=click.Choice(["ffv1", "rawvideo", "libx264", "libx265", "libsvtav1"]),
    help="Default: ffv1 in .avi and .mkv, libx264 in .mp4 and .mov.",
)
@click.option(
    "--crf",
    type=click.FloatRange(0, 63),
    metavar="Q",
    help="Constant rate factor of a codec that loses. Default: 17 for libx264, which looks lossless.",
)
@click.option("--lossless", is_flag=True, help="libx264 and libx265 keep every sample; ffv1 and rawvideo always do.")
@click.option("--out-pix-fmt", "pix_fmt_out", metavar="FMT",
              help="Planar pixel format of OUT, as yuv420p10le. Default: that of IN.")  # fmt: skip
@click.option("-y", "--overwrite", is_flag=True, help="Replace OUT where it is there already.")
@raw_options
@selection_options
@talk_options
def command(source: str, out: str, **options: Any) -> None:
    """Write the video IN in the form that the name OUT ends in: .yuv, .raw, .y4m, .avi, .mkv, .mp4, .mov, or .png.

    OUT as frames/%05d.png, or a folder as frames/, is a picture for each frame, numbered from 1; so may IN be. Samples
    stay as they are unless --out-pix-fmt asks for others; sound is left out.
    """
    from vqmeter.convert import How, convert
    from vqmeter.sources.pair import Selection

    how = How(options["codec"], options["crf"], options["lossless"], options["pix_fmt_out"], options["evenly"],
              options["overwrite"])  # fmt: skip
    selection = Selection(options["start"], options["duration"], options["frames"], options["subsample"])
    said: set[str] = set()

    def say(line: str) -> None:
        if line not in said and not options["quiet"]:
            said.add(line)
            complain(line)

    with progress("frames", options) as update:
        convert(source, out, how, input_options(options), selection, say, update)
