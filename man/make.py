"""Write the generated pages: man/man1, man/man7 and the table of metrics in README.md.

    python man/make.py            write what differs
    python man/make.py --check    write nothing; exit 1 and name the files that differ

Every file in man/templates is a page of hand-written roff. These marks, each on a line of its own, are filled in:

    @COMMANDS@   a list of the commands, from vqmeter.cli.COMMANDS
    @OPTIONS@    the options of the command the page is named after, and of the commands below it, from click
    @METRICS@    every metric, with the words of `vqmeter models NAME`

and @VERSION@ and @DATE@ anywhere. The date is DATE below, changed by hand at a release, so that a page depends on
nothing but the tree. A new command needs a template here; a new option or metric needs only `python man/make.py`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from vqmeter import __version__
from vqmeter.cli import COMMANDS
from vqmeter.cli import command as vqmeter
from vqmeter.cli.models import describe
from vqmeter.metric import NAMES, metric_class

DATE = "2026-11-20"
ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "man" / "templates"
README_TABLE = re.compile(r"(<!-- metrics -->\n).*?(<!-- /metrics -->)", re.DOTALL)


def roff(text: str) -> str:
    """`text` with what roff reads as commands made plain, and minus signs that can be copied."""
    plain = {"\\": "\\e", "-": "\\-", "'": "\\(aq", '"': "\\(dq", "`": "\\(ga", "~": "\\(ti", "^": "\\(ha"}
    text = "".join(plain.get(character, character) for character in text)
    return "\\&" + text if text.startswith(".") else text


def option_entry(option: click.Option) -> str:
    """One option as a tagged paragraph."""
    tag = ", ".join(f"\\fB{roff(name)}\\fR" for name in (*option.opts, *option.secondary_opts))
    if not option.is_flag and not option.count:
        tag += f" \\fI{roff(placeholder(option))}\\fR"
    lines = [".TP", tag, roff(" ".join((option.help or "").split()))]
    if option.show_default and option.default is not None and not option.is_flag:
        lines.append(f"Default: {roff(str(option.default))}.")
    return "\n".join(lines)


def placeholder(option: click.Option) -> str:
    """What stands for the option's value: its metavar, its choices, or its type."""
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return option.type.name


def options_of(command: click.Command) -> list[click.Option]:
    """Every option `command` takes, --help last."""
    return [p for p in command.get_params(context(command)) if isinstance(p, click.Option) and not p.hidden]


def context(command: click.Command) -> click.Context:
    """A context in which `command` knows the settings of the whole command line."""
    return click.Context(command, parent=click.Context(vqmeter, **vqmeter.context_settings))


def subcommands(command: click.Command) -> list[click.Command]:
    """The commands below `command`; none below `vqmeter` itself, whose commands have pages of their own."""
    if not isinstance(command, click.Group) or command is vqmeter:
        return []
    found = (command.get_command(context(command), name) for name in command.list_commands(context(command)))
    return [sub for sub in found if sub is not None]


def options(command: click.Command) -> str:
    """The options of `command`, and a subsection for each command below it."""
    parts = [option_entry(option) for option in options_of(command)]
    for sub in subcommands(command):
        usage = " ".join([sub.name or "", *sub.collect_usage_pieces(context(sub))])
        parts += [f'.SS "{roff(usage)}"', roff(" ".join((sub.help or "").split())), options(sub)]
    return "\n".join(parts)


def command_of(page: str) -> click.Command:
    """The click command that page `vqmeter-NAME.1` or `vqmeter.1` is about."""
    name = page.removesuffix(".1").removeprefix("vqmeter").removeprefix("-")
    found = vqmeter.get_command(click.Context(vqmeter), name) if name else vqmeter
    if found is None:
        raise SystemExit(f"man/templates/{page}.in: there is no command '{name}'")
    return found


def commands() -> str:
    return "\n".join(f".TP\n.BR vqmeter\\-{name} (1)\n{roff(what)}." for name, what in COMMANDS.items())


def cards() -> Iterator[dict[str, Any]]:
    """What `vqmeter models` knows of every metric, in its order."""
    for family, table in NAMES.items():
        for name in table:
            yield describe(family, name, metric_class(family, name))


def ends(scale: dict[str, Any]) -> str:
    """The range of a score, as `0 to 1` or `from 0`."""
    low, high = (None if scale[k] is None else f"{scale[k]:g}" for k in ("low", "high"))
    if low is None or high is None:
        return f"from {low}" if low is not None else f"up to {high}" if high is not None else "any number"
    return f"{low} to {high}"


def metric_entry(card: dict[str, Any]) -> str:
    """One metric as a subsection: its scores, options, and every text its card has."""
    lines = [f'.SS "{roff(card["name"])}: {roff(card["title"])}"', f"Needs {roff(card['needs'])}."]
    for name, scale in card["scores"].items():
        facts = [ends(scale), scale["unit"], f"{scale['better']} is better"]
        lines += [".TP", f".B {roff(name)}", roff(", ".join(fact for fact in facts if fact))]
    for name, facts in card["options"].items():
        choices = f", one of {', '.join(map(str, facts['choices']))}" if "choices" in facts else ""
        lines += [".TP", f"\\fB:{roff(name)}=\\fR", roff(f"default {facts['default']}{choices}")]
    for key, text in card.items():
        if key not in ("name", "title", "family", "needs") and isinstance(text, str) and text:
            lines += [".PP", roff(f"{key.capitalize()}: {text}")]
    return "\n".join(lines)


def page(template: Path) -> tuple[Path, str]:
    """The path and the text of the page made from `template`."""
    name = template.name.removesuffix(".in")
    text = template.read_text("utf-8").replace("@VERSION@", __version__).replace("@DATE@", DATE)
    for mark, make in (
        ("@COMMANDS@\n", commands),
        ("@OPTIONS@\n", lambda: options(command_of(name))),
        ("@METRICS@\n", lambda: "\n".join(map(metric_entry, cards()))),
    ):
        if mark in text:
            text = text.replace(mark, make() + "\n")
    note = f'.\\" Made by man/make.py from man/templates/{template.name}; edit that.\n'
    return ROOT / "man" / f"man{name[-1]}" / name, note + text


def readme() -> tuple[Path, str]:
    """README.md with its table of metrics made anew."""
    path = ROOT / "README.md"
    rows = ["| metric | what it is | scores | range | better |", "|---|---|---|---|---|"]
    for card in cards():
        scales = list(card["scores"].values())
        spans = dict.fromkeys(f"{ends(scale)} {scale['unit']}".strip() for scale in scales)
        better = dict.fromkeys(scale["better"] for scale in scales)
        scores = " ".join(f"`{name}`" for name in card["scores"])
        rows.append(f"| `{card['name']}` | {card['title']} | {scores} | {'; '.join(spans)} | {', '.join(better)} |")
    table = "\n".join(rows) + "\n"
    return path, README_TABLE.sub(lambda match: match[1] + table + match[2], path.read_text("utf-8"))


def pages() -> dict[Path, str]:
    """Every generated file and what should stand in it."""
    return dict([*map(page, sorted(TEMPLATES.glob("*.in"))), readme()])


def main(arguments: list[str]) -> int:
    stale = {path: text for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text}
    if arguments == ["--check"]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date; run python man/make.py", file=sys.stderr)
        return 1 if stale else 0
    for path, text in stale.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
