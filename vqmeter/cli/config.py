"""Defaults from a file: `vqmeter.toml`, a table for each command, its keys called as the command's options are.

The file is the one that `--config` or VQMETER_CONFIG names, else the one in the current folder, else the one in the
user's folder for configuration; one file, never several together. The command line comes first, then the environment,
then the file.

A file that merely lies in the current folder may have come with somebody's clips. So it may only choose what is
measured and how it is shown (`HARMLESS`); whatever writes, fetches, opens other files or lifts a limit it may not.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from vqmeter.cli import COMMANDS, complain
from vqmeter.errors import MissingInputError, UsageError

NAME = "vqmeter.toml"
#: Parameters that a file in the current folder may set, where it was not named.
HARMLESS = frozenset((
    "metrics", "models", "model_ref", "planes", "scale", "shortest", "size", "pix_fmt", "rate", "range", "matrix", "ref_size",
    "ref_pix_fmt", "start", "duration", "frames", "subsample", "device", "precision", "batch", "threads", "jobs", "seed",
    "form", "score", "keys", "fail_under", "fail_over", "psnr_cap", "quiet", "verbose", "no_progress", "offline",
    "sync", "pair", "crop", "deinterlace", "until_decided",
))  # fmt: skip
#: Parameters that stand behind an environment variable where that is set.
ENVIRONMENT = {"weights": "VQMETER_WEIGHTS", "offline": "VQMETER_OFFLINE"}
_WEIGHTS = re.compile(r"\bweights\s*=")  # in a metric's specification


class File(NamedTuple):
    """Where defaults are read from: whether the user named it, and whether it may set every option."""

    path: str
    named: bool
    trusted: bool


def defaults(options: Mapping[str, Any], name: str, command: click.Command, words: list[str]) -> dict[str, Any] | None:
    """A `default_map` for the whole command line that calls the command `name` with `words`; None without a file.

    `options` are those of the whole command line.

    Raises
        UsageError: the file is no TOML, or has a table, key or value that the command does not.
        MissingInputError: it cannot be read.
    """
    if name == "compat":
        if options["config"]:
            raise UsageError("compat takes no defaults from a file; leave out --config")
        return None  # what is written for another tool runs as it is
    file = find(options["config"], options["no_config"])
    if file is None:
        return None
    tables = read(file.path)
    for table, keys in tables.items():
        if table == "compat":
            raise UsageError(f"{file.path}: [compat]: compat takes no defaults from a file")
        if table not in COMMANDS:
            hint = _near(table, COMMANDS) if isinstance(keys, dict) else f"; options stand in a command's table, as [{name}]"
            raise UsageError(f"{file.path}: no command '{table}'{hint}")
        if not isinstance(keys, dict):
            raise UsageError(f"{file.path}: {table} is a command; its options stand in a table, [{table}]")
    if name not in tables:
        return None
    found = _table(file, name, command, tables[name])
    if not file.named and (found.get("verbose") or {"-v", "--verbose"} & set(words)):
        complain(f"options of [{name}] in {file.path}")
    return {name: found}


def find(named: str | None, unwanted: bool) -> File | None:
    """The file to read.

    Raises
        UsageError: one is named and none is wanted.
    """
    if named and unwanted:
        raise UsageError("--config and --no-config are one too many")
    if unwanted:
        return None
    path = named or os.environ.get("VQMETER_CONFIG")
    if path:
        return File(path, named=True, trusted=True)
    if os.path.isfile(NAME):
        return File(NAME, named=False, trusted=False)
    own = users()
    return File(own, named=False, trusted=True) if os.path.isfile(own) else None


def users() -> str:
    """The path of the user's own file, whether it is there or not."""
    import platformdirs

    return os.path.join(platformdirs.user_config_dir("vqmeter", appauthor=False), NAME)


def read(path: str) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises
        MissingInputError: it cannot be read.
        UsageError: it is not TOML; says the line.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with open(path, encoding="utf-8") as file:
            return tomllib.loads(file.read())
    except OSError as error:
        raise MissingInputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not TOML: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).partition(" (at ")
        raise UsageError(f"{path}: {where.rstrip(')') or 'end'}: is not TOML: {what[:1].lower()}{what[1:]}") from None


def _table(file: File, name: str, command: click.Command, keys: dict[str, Any]) -> dict[str, Any]:
    """The values of a command's table under the names of its parameters; of a group, a table for each command below."""
    context, found = click.Context(command, info_name=name), dict[str, Any]()
    if isinstance(command, click.Group):
        for key, value in keys.items():
            below = command.get_command(context, key)
            if below is None:
                raise UsageError(f"{file.path}: {name} has no command '{key}'{_near(key, command.list_commands(context))}")
            if not isinstance(value, dict):
                raise UsageError(f"{file.path}: {name} {key} is a command; its options stand in a table, [{name}.{key}]")
            found[key] = _table(file, f"{name}.{key}", below, value)
        return found
    known = {spelling: option for option in command.params if isinstance(option, click.Option) and not option.is_eager
             for spelling in map(_plain, (*option.opts, *option.secondary_opts))}  # fmt: skip
    for key, value in keys.items():
        option = known.get(_plain(key))
        if option is None or option.name is None:
            words = [word for word in known if len(word) > 2]
            raise UsageError(f"{file.path}: [{name}] has no option '{key}'{_near(_plain(key), words)}")
        if option.name in found:
            raise UsageError(f"{file.path}: [{name}] {key}: is given twice, under two names")
        if not file.trusted:
            _check_harmless(file, f"[{name}] {key}", option.name, value)
        if option.name not in ENVIRONMENT or ENVIRONMENT[option.name] not in os.environ:
            found[option.name] = _value(file, f"[{name}] {key}", option, value, context)
    return found


def _plain(word: str) -> str:
    return word.lstrip("-").replace("_", "-")


def _check_harmless(file: File, where: str, option: str, value: Any) -> None:
    """Refuse what a file that nobody named may not set.

    Raises
        UsageError: it may not, and how it could.
    """
    if option not in HARMLESS or (option in ("metrics", "models") and _WEIGHTS.search(str(value))):
        raise UsageError(f"{file.path}: {where}: not from a file in the current folder, unless named by --config {file.path}; "
                         f"or put it into {users()}")  # fmt: skip


def _value(file: File, where: str, option: click.Option, value: Any, context: click.Context) -> Any:
    """A TOML value as the words of the command line would give it.

    Raises
        UsageError: it is of another type than the option.
    """
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{file.path}: {where}: is true or false, not {_toml(value)}")
        return value
    many = value if isinstance(value, list) and option.multiple else [value]
    for one in many:
        if isinstance(one, bool) or not isinstance(one, (str, int, float)):
            kind = "text, a number or a list of these" if option.multiple else "text or a number"
            raise UsageError(f"{file.path}: {where}: is {kind}, not {_toml(one)}")
    words = [str(one) for one in many]
    try:
        option.type_cast_value(context, words if option.multiple else words[0])
    except click.ClickException as error:
        raise UsageError(f"{file.path}: {where}: {error.message}") from None
    except UsageError as error:
        raise UsageError(f"{file.path}: {where}: {error}") from None
    return words if option.multiple else words[0]


def _toml(value: Any) -> str:
    """A value for a message: as it is written, or what it is."""
    if isinstance(value, (bool, int, float, str)):
        return f'"{value}"' if isinstance(value, str) else str(value).lower()
    return "a list" if isinstance(value, list) else "a table" if isinstance(value, dict) else "a date or a time"


def _near(word: str, known: Any) -> str:
    from vqmeter.metric import nearest

    return nearest(word, known)
