"""`vqmeter models [NAME]`: what every metric and model is."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import click

from vqmeter.cli.options import Command


@click.command("models", cls=Command)
@click.argument("name", required=False)
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="Form on stdout.")  # fmt: skip
@click.option("--debug", is_flag=True, help="Show a traceback where something fails.")
def command(name: str | None, form: str, debug: bool) -> None:
    """List every metric and model, or tell all about NAME: definition, constants, unit, range, direction, source."""
    from vqmeter.metric import NAMES, metric_class

    family = "nr" if name in NAMES["nr"] else "fr"
    names = [(family, name)] if name else [(family, n) for family, table in NAMES.items() for n in table]
    cards = [describe(family, n, metric_class(family, n)) for family, n in names]
    if name or form == "json":
        for card in cards:
            card["weights"] = _weights(card["name"], card["options"])
    if form == "json":
        click.echo(json.dumps(cards if name is None else cards[0], indent=1, allow_nan=False))
    elif name:
        click.echo(card_text(cards[0]))
    else:
        for card in cards:
            scores = " ".join(card["scores"])
            click.echo(f"{card['name']:12} {card['family']}  {card['title']} ({scores})")


def describe(family: str, name: str, cls: Any) -> dict[str, Any]:
    """Everything there is to say of a metric, as plain values."""
    import dataclasses
    import typing

    about, metric = cls.about, cls()
    hints = typing.get_type_hints(cls)
    options = {f.name: {"default": f.default, "choices": list(typing.get_args(hints[f.name]))}
               if typing.get_origin(hints[f.name]) is typing.Literal else {"default": f.default}
               for f in dataclasses.fields(cls)}  # fmt: skip
    scores = {score: {"unit": s.unit, "low": s.low, "high": s.high, "better": s.better}
              for score, s in metric.scales().items()}  # fmt: skip
    return {"name": name, "family": family, "title": about.title, "needs": about.needs, "scores": scores,
            "options": options, "definition": about.definition, "differs": about.differs, "source": about.source,
            "validated": about.validated}  # fmt: skip


def _weights(name: str, options: dict[str, Any]) -> dict[str, Any] | None:
    """The weight file that is taken where none is named, and how far its scores were checked."""
    from vqmeter.errors import WeightsError

    if "weights" not in options:
        return None
    from vqmeter.weights import find

    try:
        found = find(name)
    except WeightsError:
        return {"name": None, "validated": "no weight file is here; 'vqmeter weights list' shows what there is"}
    return {"name": found.name, "trained_on": found.dataset, "validated": found.validated or "not said"}


def card_text(card: dict[str, Any]) -> str:
    """A card for a person, 100 columns wide."""
    lines = [f"{card['name']}: {card['title']}", f"needs {card['needs']}", ""]
    for score, scale in card["scores"].items():
        ends = f"{'' if scale['low'] is None else scale['low']} .. {'' if scale['high'] is None else scale['high']}"
        lines.append(f"  {score:14} {ends.strip():12} {scale['unit']:4} {scale['better']} is better")
    for option, facts in card["options"].items():
        choices = f" of {', '.join(map(str, facts['choices']))}" if "choices" in facts else ""
        lines.append(f"  :{option}=  default {facts['default']}{choices}")
    weights = card["weights"] and f"{card['weights']['name'] or 'none'}. {card['weights']['validated']}"
    for key, text in (*((key, card[key]) for key in ("definition", "differs", "validated", "source")), ("weights", weights)):
        if text:
            lines += ["", *textwrap.wrap(f"{key.capitalize()}: {text}", 100)]
    return "\n".join(lines)
