"""Completion of the command line in bash, zsh and fish: click's own, with names of metrics, and files for the rest.

`_VQMETER_COMPLETE=bash_source vqmeter` prints the script that a shell reads at its start.
"""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete, add_completion_class

from vqmeter.errors import VqmeterError


class _Files(ShellComplete):
    """Where nothing else is known, a word is the name of a file."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        try:
            found = super().get_completions(args, incomplete)
        except VqmeterError:  # of a word before this one; it is told when the line is run
            found = []
        if found or not args or incomplete.startswith("-"):
            return found
        return [CompletionItem(incomplete, type="file")]


class _Bash(_Files, BashComplete):
    pass


class _Zsh(_Files, ZshComplete):
    pass


class _Fish(_Files, FishComplete):
    pass


def register() -> None:
    """Let click answer the shells by these."""
    for answers in (_Bash, _Zsh, _Fish):
        add_completion_class(answers)


def metrics(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of full-reference metrics that `incomplete` may become; after a comma, of the next one."""
    return _names("fr", incomplete)


def models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The same of no-reference models."""
    return _names("nr", incomplete)


def _names(family: str, incomplete: str) -> list[str]:
    from vqmeter.metric import NAMES

    before, comma, word = incomplete.rpartition(",")
    return [before + comma + name for name in NAMES[family] if name.startswith(word)]
