"""`vqmeter probe FILE...`: what the decoder sees."""

from __future__ import annotations

import json
from typing import Any

import click

from vqmeter.cli.options import Command, input_options, raw_options


@click.command("probe", cls=Command)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="Form on stdout.")  # fmt: skip
@raw_options
@click.option("--debug", is_flag=True, help="Show a traceback where something fails.")
def command(files: tuple[str, ...], form: str, **options: Any) -> int:
    """Print size, pixel format, depth, range, matrix, transfer, frames, rate, rotation, field order and bitrate.

    What a file does not say is left out (null in JSON), but for the rate: raw input and bare streams count as 25.
    """
    from vqmeter.cli import complain
    from vqmeter.errors import VqmeterError
    from vqmeter.report import gravest
    from vqmeter.sources import open_video

    chosen = input_options(options)
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
    elif found:
        click.echo("\n\n".join(_describe(info) for info in found))
    return gravest(codes)


def _describe(info: dict[str, Any]) -> str:
    units = {"rate": "frames/s", "duration": "s", "bitrate": "bit/s", "size": "bytes", "rotation": "degrees",
             "bit_depth": "bit"}  # fmt: skip
    lines = [info["path"]]
    for key, value in info.items():
        if value in (None, [], 0) or key == "path":
            continue
        text = "; ".join(value) if key == "notes" else f"{value:,}" if key in ("bitrate", "size") else value
        lines.append(f"  {key.replace('_', ' '):20} {text} {units.get(key, '')}".rstrip())
    return "\n".join(lines)
