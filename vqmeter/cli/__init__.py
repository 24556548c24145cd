"""The command line: a group whose commands are imported when they are called, and one way out for every error.

Stdout carries data only; progress, warnings and errors go to stderr, one line each. Neither torch nor numba is
imported here.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import importlib
import os
import signal
import sys
from typing import Any, NoReturn

import click

from vqmeter import __version__
from vqmeter.errors import DeviceError, OutputError, UsageError, VqmeterError

#: Command -> what it does, in the order of the help. The module is vqmeter.cli.NAME, its object `command`.
COMMANDS = {
    "fr": "full-reference scores of distorted files against a reference",
    "nr": "no-reference scores of clips and pictures",
    "probe": "what the decoder sees in a file",
    "convert": "raw YUV to AVI, MP4, Y4M or PNG frames, and back",
    "distort": "the ranked synthetic distortions of pictures and video",
    "models": "every metric and model: unit, range, direction, definition, source",
    "weights": "the weight files: where they are, where they come from, their SHA-256",
    "train": "the training recipes of every learned model",
    "eval": "scores against human scores: correlations, intervals, splits, significance",
    "batch": "many jobs: resume, all cores or GPUs, or a Dask cluster",
    "bdrate": "Bjontegaard deltas between ladders of encodes: bits saved at equal quality",
    "compat": "command lines of other tools answered by vqmeter: libvmaf's vmaf",
    "report": "results as one HTML page, or as plots",
    "selfcheck": "this installation: known scores, hashes of weights, CPU against CUDA",
    "schema": "the JSON Schema of the output",
}

_OWNS_PROCESS = False
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_BUG = "this is a bug in vqmeter; run again with --debug and report what it prints"


class Commands(click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"vqmeter.cli.{name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            if os.path.isfile(args[0]):
                raise UsageError(f"{args[0]} is a file, and a command comes first: vqmeter fr REF DIST, or vqmeter nr CLIP")
            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
            raise UsageError(f"no command '{args[0]}'; {hint}")
        name, found, words = super().resolve_command(ctx, args)
        if found is not None and not ctx.resilient_parsing and not {"-h", "--help"} & {*words}:
            from vqmeter.cli.config import defaults

            ctx.default_map = defaults(ctx.params, name or "", found, words)
        return name, found, words

    def invoke(self, ctx: click.Context) -> Any:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
            return code
        except BrokenPipeError:  # click would make it exit code 1
            raise SystemExit(141) from None
        except KeyboardInterrupt:  # click would print an empty line
            raise SystemExit(130) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="vqmeter %(version)s")
@click.option("--config", metavar="FILE", help="Take defaults from this file; else VQMETER_CONFIG, ./vqmeter.toml, the user's.")
@click.option("--no-config", is_flag=True, help="Take no defaults from a file.")
def command(config: str | None, no_config: bool) -> None:
    """How good does this video look? Scores with a reference (fr) or without one (nr).

    'vqmeter COMMAND --help' tells of each command; 'man vqmeter' of all.
    """


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    global _OWNS_PROCESS
    _OWNS_PROCESS = args is None
    arguments = sys.argv[1:] if args is None else args
    debug = "--debug" in arguments
    if _OWNS_PROCESS:
        _open_streams()
    if "_VQMETER_COMPLETE" in os.environ:
        from vqmeter.cli import completion

        completion.register()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads spin otherwise, and decoders want the cores
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        code = command.main(arguments, prog_name="vqmeter", standalone_mode=False) or 0
    except BaseException as error:
        if debug and not isinstance(error, (SystemExit, click.exceptions.Exit)):
            show_traceback(error)
        code = _exit_code(error)
    if not isinstance(code, int):
        code = 0
    _leave(code)


def _open_streams() -> None:
    """Streams that can be used: what the shell has closed leads nowhere, and takes no number that a file would get.

    Names of files may be any bytes and terminals of any encoding: names are printed as they are where that can be done.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))
    how = "surrogateescape" if sys.stdout.encoding.lower() in ("utf-8", "utf8") else "backslashreplace"
    sys.stdout.reconfigure(errors=how)  # type: ignore[union-attr]


def _leave(code: int) -> NoReturn:
    """Go at once: tearing down LLVM and torch takes longer than many a measurement, and a worker may wait for ever.

    Within another program (tests, or main called from Python) leave the ordinary way.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            code = 141
        except (OSError, ValueError):
            code = code or 4
    if _OWNS_PROCESS or code in (130, 141, 143):
        atexit._run_exitfuncs()
        os._exit(code)
    sys.exit(code)


def _exit_code(error: BaseException) -> int:
    """Say in one line what went wrong; the exit code for it."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, click.exceptions.Abort)):
        return 130
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return 2
    if isinstance(error, click.ClickException):
        error = UsageError(_sentence(error))
    if _out_of_memory(error):
        error = DeviceError("out of memory; use fewer --threads or a smaller --batch")
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        error = OutputError(f"{error.filename or 'what is printed'}: cannot be written ({(error.strerror or '').lower()})")
    if not isinstance(error, VqmeterError):
        error = VqmeterError(f"{type(error).__name__}: {error}; {_BUG}")
    complain(str(error))
    return error.exit_code


def _out_of_memory(error: BaseException | None) -> bool:
    """Whether there was no memory for objects, for a library or for a thread; the cause of `error` counts too."""
    if error is None or isinstance(error, MemoryError):
        return error is not None
    said = str(error).lower() if isinstance(error, (ImportError, OSError, RuntimeError)) else ""
    short = any(words in said for words in ("failed to map", "cannot allocate memory", "start new thread"))
    return short or _out_of_memory(error.__cause__ or error.__context__)


def _sentence(error: click.ClickException) -> str:
    """click's message in the manner of our own."""
    text = _one_line(error.format_message())
    where = getattr(getattr(error, "ctx", None), "command_path", "vqmeter")
    return f"{text[:1].lower()}{text[1:]}; see '{where} --help'"


def show_traceback(error: BaseException) -> None:
    """For --debug: all of it, on stderr."""
    import traceback

    traceback.print_exception(error)


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def complain(message: str) -> None:
    """One line on stderr."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(f"vqmeter: {_one_line(message)}", err=True)
