"""`vqmeter compat TOOL ...`: the command lines of other tools."""

from __future__ import annotations

import sys
from typing import Any

import click

from vqmeter import __version__
from vqmeter.cli import complain
from vqmeter.cli.progress import progress
from vqmeter.errors import UsageError


class Getopt(click.Command):
    """Reads words as getopt_long does: `-w576`, `-nq`, and long names cut short."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        names = [name for param in self.get_params(ctx) for name in param.opts if name.startswith("--")]
        return super().parse_args(ctx, [_whole(word, names) for word in args])


def _whole(word: str, names: list[str]) -> str:
    """`word` with the long name it is the beginning of, where there is just one."""
    name, equals, value = word.partition("=")
    longer = [other for other in names if other.startswith(name)]
    return longer[0] + equals + value if len(name) > 2 and name not in names and len(longer) == 1 else word


class Unsigned(click.ParamType[int]):
    """A whole number that is not negative, decimal or as 0x1f."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            number = int(value, 0) if isinstance(value, str) else int(value)
        except ValueError:
            number = -1
        if number < 0:
            self.fail(f"'{value}' is not a whole number from 0 on", param, ctx)
        return number


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"vqmeter {__version__}", err=True)
        ctx.exit()


@click.group("compat", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Command lines of other tools, so that scripts written for them run as they are."""


@command.command("vmaf", cls=Getopt)
@click.option("-r", "--reference", required=True, metavar="FILE", help="The reference: Y4M, or raw YUV with -w -h -p -b.")
@click.option("-d", "--distorted", required=True, metavar="FILE", help="The distorted video, of the same size and format.")
@click.option("-w", "--width", type=Unsigned(), help="Width of raw input.")
@click.option("-h", "--height", type=Unsigned(), help="Height of raw input.")
@click.option("-p", "--pixel_format", type=click.Choice(["420", "422", "444"]), help="Chroma layout of raw input.")
@click.option("-b", "--bitdepth", type=click.Choice(["8", "10", "12", "16"]), help="Bits a sample of raw input.")
@click.option("-m", "--model", "models", multiple=True, metavar="PARAMS",
              help="version=NAME or path=FILE, then :name=WORD, :enable_transform, :disable_clip; repeatable. "
              "Default: version=vmaf_v0.6.1.")  # fmt: skip
@click.option("-o", "--output", metavar="FILE", help="Write the log here.")
@click.option("--xml", "form", flag_value="xml", help="The log as XML; the default.")
@click.option("--json", "form", flag_value="json", help="The log as JSON.")
@click.option("--csv", "form", flag_value="csv", help="The log as CSV, a row a frame.")
@click.option("--sub", "form", flag_value="sub", help="The log as subtitles.")
@click.option("--feature", "features", multiple=True, metavar="NAME[=KEY=VALUE[:KEY=VALUE]...]",
              help="Log this as well: psnr, float_ssim, float_ms_ssim, ciede, psnr_hvs, cambi ...; repeatable.")  # fmt: skip
@click.option("--aom_ctc", metavar="VERSION", help="Not taken; name its models and features.")
@click.option("--nflx_ctc", metavar="VERSION", help="Not taken; name its models and features.")
@click.option("--threads", type=Unsigned(), default=0, help="Threads of libvmaf.")
@click.option("-s", "--subsample", type=Unsigned(), default=1, help="Log every Nth frame.")
@click.option("-n", "--no_prediction", is_flag=True, help="Features only, no VMAF.")
@click.option("--cpumask", type=Unsigned(), expose_value=False, help="Taken, and without effect.")
@click.option("--gpumask", type=Unsigned(), expose_value=False, help="Taken, and without effect.")
@click.option("--frame_cnt", type=Unsigned(), default=0, help="At most N frames; 0 is all.")
@click.option("--frame_skip_ref", type=Unsigned(), default=0, help="Leave out the first N frames of the reference.")
@click.option("--frame_skip_dist", type=Unsigned(), default=0, help="Leave out the first N frames of the distorted video.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar, no notes; with -o, no score on stderr.")
@click.option("-v", "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
              help="Print the version on stderr and leave.")  # fmt: skip
@click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback where something fails.")
def vmaf(**options: Any) -> int:
    """libvmaf's command line tool: VMAF and features of two videos, in a log of libvmaf's form.

    PSNR alone is vqmeter's own; everything else is computed by libvmaf itself.
    """
    from vqmeter.compat.vmaf import answer
    from vqmeter.writers import check_writable, write_whole

    request = _request(options)
    if options["output"]:
        check_writable(options["output"])
    with progress("frames", {"quiet": options["quiet"], "no_progress": False}) as update:
        told = answer(request, update)
    for note in told.notes if not options["quiet"] else ():
        complain(note)
    if not options["output"] or (sys.stderr.isatty() and not options["quiet"]):
        for label, score in told.scores:
            click.echo(f"{label}: {score:.6f}", err=True)
    if options["output"]:
        from vqmeter.compat.logs import render

        write_whole(options["output"], "".join(render(told.log, options["form"] or "xml")))
    if told.error is None:
        return 0
    complain(f"{told.error} ({len(told.log.frames)} frames were logged)")
    return told.error.exit_code


def _request(options: dict[str, Any]) -> Any:
    """What is asked, from the options.

    Raises
        UsageError: raw input is described in part, or an option that is not taken.
    """
    from vqmeter.compat.libvmaf import Feature, Model
    from vqmeter.compat.vmaf import Request
    from vqmeter.sources import InputOptions

    for name in ("aom_ctc", "nflx_ctc"):
        if options[name]:
            raise UsageError(f"--{name} is not taken here; name the models and features it stands for by --model and --feature")
    width, height, layout, depth = (options[key] for key in ("width", "height", "pixel_format", "bitdepth"))
    raw = None
    if any(value is not None for value in (width, height, layout, depth)):
        if not (width and height and layout and depth):
            raise UsageError("raw input needs all of --width, --height, --pixel_format and --bitdepth")
        raw = InputOptions((width, height), f"yuv{layout}p" + ("" if depth == "8" else f"{depth}le"), format="rawvideo")
    return Request(
        options["reference"], options["distorted"], raw, tuple(map(Model.parse, options["models"])),
        tuple(map(Feature.parse, options["features"])), not options["no_prediction"], min(options["threads"], 1024),
        options["subsample"], options["frame_cnt"], options["frame_skip_ref"], options["frame_skip_dist"],
    )  # fmt: skip
