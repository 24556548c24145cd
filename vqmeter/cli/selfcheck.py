"""`vqmeter selfcheck`: proves this installation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from vqmeter.cli.options import Command

if TYPE_CHECKING:
    from vqmeter.selfcheck import Check


@click.command("selfcheck", cls=Command)
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="Form on stdout.")  # fmt: skip
@click.option("--debug", is_flag=True, help="Show a traceback where something fails.")
def command(form: str, debug: bool) -> int:
    """Hold every metric and model against known scores, weights against their hashes, the decoder against what was coded.

    On two built-in clips; CPU against CUDA too where there is a GPU. What is not installed is said and does not fail.
    """
    import logging

    from vqmeter.cli import complain
    from vqmeter.selfcheck import document, run

    logging.getLogger("vqmeter").setLevel(logging.ERROR)
    checks = []
    for check in run():
        checks.append(check)
        if form == "table":
            click.echo(_line(check))
    found = document(checks)
    if form == "json":
        click.echo(json.dumps(found, indent=1, allow_nan=False))
    else:
        click.echo(_summary(found, checks))
    wrong = [f"{check.part} {check.name}" for check in checks if check.status == "wrong"]
    if wrong:
        complain(f"selfcheck: wrong: {', '.join(wrong)}; install anew, and report it if that does not help")
    return int(found["code"])


def _line(check: Check) -> str:
    numbers = "" if check.value is None else f"{check.value:.6f}"
    if check.expected is not None and check.status == "wrong":
        numbers += f", expected {check.expected:.6f}"
    return f"{check.status:8} {check.part:8} {check.name:15} {' '.join(filter(None, (numbers, check.note)))}".rstrip()


def _summary(found: dict[str, Any], checks: list[Check]) -> str:
    counts = {status: sum(check.status == status for check in checks) for status in ("ok", "wrong", "missing", "other")}
    libraries = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    where = f"{found['environment']['cpu']}, {found['environment']['threads']} threads"
    return f"\nvqmeter {found['vqmeter']}, {libraries}\n{where}\n{said}"
