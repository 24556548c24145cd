"""`vqmeter nr CLIP...`: no-reference scores."""

from __future__ import annotations

from typing import Any

import click

from vqmeter.cli import completion
from vqmeter.cli.options import (
    Command,
    compute_options,
    output_options,
    raw_options,
    selection_options,
    talk_options,
    weights_options,
)


@click.command("nr", cls=Command)
@click.argument("clips", metavar="CLIP...", nargs=-1, required=True)
@click.option("--model", "models", multiple=True, metavar="SPEC", default=("vsfa",), shell_complete=completion.models,
              help="NAME[:KEY=VALUE]...[,NAME...]; repeatable. Default: vsfa. 'vqmeter models' lists all.")  # fmt: skip
@weights_options
@raw_options
@selection_options
@compute_options
@output_options
@talk_options
def command(clips: tuple[str, ...], **options: Any) -> int:
    """Score CLIPs by themselves: videos or pictures, raw YUV, whatever FFmpeg reads, or '-' for stdin.

    All models share one decoding of each clip. Scores are on 0..100, higher is better; raw values stand beside them.
    """
    from vqmeter.cli.measuring import run

    return run(list(clips), None, options)
