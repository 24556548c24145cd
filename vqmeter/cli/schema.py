"""`vqmeter schema`: the JSON Schema of the output."""

from __future__ import annotations

import click

from vqmeter.cli.options import Command


@click.command("schema", cls=Command)
@click.option("--debug", is_flag=True, help="Show a traceback where something fails.")
def command(debug: bool) -> None:
    """Print the JSON Schema (draft 2020-12) that every JSON report obeys."""
    from importlib.resources import files

    click.echo(files("vqmeter").joinpath("schema.json").read_text("utf-8"), nl=False)
