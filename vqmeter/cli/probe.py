"""`vqmeter probe FILE...`: what the decoder sees."""

from __future__ import annotations

import json
from typing import Any

import click

from vqmeter.cli.options import Command, raw_options, talk_options


@click.command("probe", cls=Command)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="Form on stdout.")  # fmt: skip
@raw_options
@talk_options
def command(files: tuple[str, ...], form: str, **options: Any) -> int:
    """Print size, pixel format, depth, range, matrix, transfer, frames, rate, rotation, field order and bitrate.

    Nothing is guessed: what a file does not say is left out (null in JSON).
    """
    from vqmeter.cli import complain
    from vqmeter.errors import VqmeterError
    from vqmeter.report import gravest
    from vqmeter.sources import InputOptions, open_video

    chosen = InputOptions(options["size"], options["pix_fmt"], options["rate"], options["input_format"],
                          None if options["range"] == "auto" else options["range"],
                          None if options["matrix"] == "auto" else options["matrix"],
                          max_pixels=options["max_pixels"])  # fmt: skip
    found, codes = [], [0]
    for path in files:
        try:
            source = open_video(path, chosen)
            found.append(source.info.to_json())
            source.close()
        except VqmeterError as error:
            complain(str(error))
            codes.append(error.exit_code)
    if form == "json":
        click.echo(json.dumps(found, indent=1, allow_nan=False))
    else:
        click.echo("\n\n".join(_describe(info) for info in found))
    return gravest(codes)


def _describe(info: dict[str, Any]) -> str:
    facts = {key: value for key, value in info.items() if value not in (None, [], 0) and key != "path"}
    lines = [f"  {key.replace('_', ' '):20} {'; '.join(value) if key == 'notes' else value}" for key, value in facts.items()]
    return "\n".join([info["path"], *lines])
