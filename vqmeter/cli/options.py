"""The options that commands share, and the rule for single-dash options of several letters."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vqmeter.errors import UsageError

if TYPE_CHECKING:
    from vqmeter.limits import Limit
    from vqmeter.sources import InputOptions

F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Command):
    """A command whose `-pix_fmt`-like options match whole or fail: click alone would split `-ss5` into letters."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        names = {name: option for option in self.get_params(ctx) if isinstance(option, click.Option)
                 for name in (*option.opts, *option.secondary_opts)}  # fmt: skip
        takes_value = False
        for word in args:
            if word == "--":
                break
            option = names.get(word)
            if not takes_value and option is None and re.match(r"-[^-\d.]", word) and len(word) > 2:
                raise UsageError(f"no option '{word}' here; {_suggest(word, list(names))}")
            takes_value = not takes_value and option is not None and not option.is_flag and not option.count
        return super().parse_args(ctx, args)


def _suggest(word: str, names: list[str]) -> str:
    letters = word.lstrip("-")
    split = [name for name in names if name.startswith("-") and word.startswith(name) and len(name) < len(word)]
    if split and not name_like(letters):
        longest = max(split, key=len)
        return f"write the value apart: {longest} {word[len(longest) :].lstrip('=')}"
    near = difflib.get_close_matches(letters, [n.lstrip("-") for n in names], n=1, cutoff=0.5)
    match = next((n for n in names if near and n.lstrip("-") == near[0]), None)
    return f"did you mean {match}?" if match else f"a file of that name is ./{word}"


def name_like(letters: str) -> bool:
    """Whether what follows the dash is a word rather than a letter and its value."""
    return letters.replace("_", "").replace("-", "").isalpha()


class SizeType(click.ParamType[tuple[int, int]]):
    """WIDTHxHEIGHT."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        from vqmeter.sources.geometry import parse_size

        return parse_size(value)  # type: ignore[return-value]


class RateType(click.ParamType[Fraction]):
    """Frames a second, whole, decimal or a ratio."""

    name = "FPS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        from vqmeter.sources.geometry import parse_rate

        return parse_rate(value)  # type: ignore[return-value]


class TimeType(click.ParamType[float]):
    """Seconds, or [HH:]MM:SS[.fraction], as ffmpeg takes them."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", value):
            self.fail(f"'{value}' is not a time in seconds or [HH:]MM:SS", param, ctx)
        seconds = 0.0
        for part in value.split(":"):
            seconds = seconds * 60 + float(part)
        return seconds


class CapType(click.ParamType["float | str | None"]):
    """A ceiling in dB, or none."""

    name = "DB|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str | None:
        if value in ("none", "auto", None):
            return None if value == "none" else value
        try:
            return float(value)
        except ValueError:
            self.fail(f"'{value}' is neither a number of dB nor 'none'", param, ctx)


class LimitType(click.ParamType["Limit"]):
    """KEY[.STAT]=X, a limit from below or, where `over`, from above."""

    name = "KEY[.STAT]=X"

    def __init__(self, over: bool) -> None:
        self._over = over

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Limit:
        from vqmeter.limits import Limit

        key, _, number = value.partition("=")
        try:
            return Limit(key, float(number), self._over)
        except ValueError:
            self.fail(f"'{value}' is not KEY[.STAT]=NUMBER, as psnr_y.p5=35", param, ctx)


def stack(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several option decorators as one; the help keeps their order."""

    def apply(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


raw_options = stack(
    click.option("-s", "--size", type=SizeType(), metavar="WxH",
                 help="Frame size of headless raw input; else from the file name."),
    click.option("-pix_fmt", "--pix-fmt", "--pix_fmt", "pix_fmt", metavar="FMT",
                 help="Pixel format of raw input, FFmpeg's names; else from the file name, else yuv420p."),
    click.option("-r", "--rate", type=RateType(), metavar="FPS",
                 help="Frame rate of raw input; else from the file name, else 25."),
    click.option("--input-format", metavar="FORMAT",
                 help="Container of stdin, or of all inputs without it: rawvideo, yuv4mpegpipe, hls ... Default: found out."),
    click.option("--range", type=click.Choice(["auto", "limited", "full"]), default="auto", show_default=True,
                 help="Override the range the stream states."),
    click.option("--matrix", type=click.Choice(["auto", "bt601", "bt709", "bt2020"]), default="auto",
                 show_default=True, help="Override the YUV matrix the stream states."),
    click.option("--max-pixels", type=click.IntRange(min=1), metavar="N", default=1 << 27, show_default=True,
                 help="Refuse larger frames."),
    click.option("--max-frames", type=click.IntRange(min=1), metavar="N",
                 help="Refuse to decode more frames of an input than this; those before it count. Default: no limit."),
)  # fmt: skip


def input_options(options: Mapping[str, Any], threads: int = 0) -> InputOptions:
    """How to read an input, from what `raw_options` took."""
    from vqmeter.sources import InputOptions

    reach, matrix = (None if options[key] == "auto" else options[key] for key in ("range", "matrix"))
    return InputOptions(options["size"], options["pix_fmt"], options["rate"], options["input_format"], reach, matrix,
                        threads=threads, max_pixels=options["max_pixels"], max_frames=options["max_frames"])  # fmt: skip


selection_options = stack(
    click.option("-ss", "--start", "start", type=TimeType(), metavar="T", default=0.0,
                 help="Start here: seconds or [HH:]MM:SS."),
    click.option("-t", "--duration", type=TimeType(), metavar="T", help="Only so long."),
    click.option("--frames", type=click.IntRange(min=1), metavar="N", help="At most N frames."),
    click.option("--subsample", type=click.IntRange(min=1), default=1, metavar="N", show_default=True,
                 help="Every Nth frame."),
)  # fmt: skip

compute_options = stack(
    click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]", help="Where to compute."),
    click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto", show_default=True,
                 help="Of networks; auto is fp32 on CPU. Classic metrics do not heed it."),
    click.option("--batch", type=click.IntRange(min=1), metavar="N", help="Clips a batch; default by memory."),
    click.option("--threads", type=click.IntRange(0, 1024), default=0, metavar="N",
                     help="Threads that compute, and of each decoder; 0, the default, is all cores."),
    click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of every random choice."),
)  # fmt: skip

weights_options = stack(
    click.option("--weights", metavar="PATH|NAME", help="Weight file or set for the models; else each model's own."),
    click.option("--offline", is_flag=True, help="Never fetch anything; nothing is fetched while scoring anyway."),
)

#: What measures a pair takes, in fr and in batch.
model_ref_option = click.option("--model-ref", is_flag=True,
                                help="Score the reference with these too, and give the difference.")  # fmt: skip
planes_option = click.option("--planes", type=click.Choice(["y", "yuv"]), default="y", show_default=True,
                             help="Planes that metrics of one plane (ssim) look at.")  # fmt: skip
scale_option = click.option(
    "--scale", default="none", show_default=True, metavar="none|ref|WxH[:ALGORITHM]",
    help="Scale the distorted to the reference's size, or both to WxH: bicubic, lanczos or bilinear.",
)  # fmt: skip
shortest_option = click.option("--shortest", is_flag=True,
                               help="Unequal lengths: compare the common frames instead of failing.")  # fmt: skip
cap_option = click.option("--psnr-cap", type=CapType(), metavar="DB|none", default="auto",
                          help="What an identical frame's PSNR counts as in statistics. Default: 6 x depth + 12.")  # fmt: skip
reference_options = stack(
    click.option("--ref-size", type=SizeType(), metavar="WxH", help="Size of a raw reference where it differs."),
    click.option("--ref-pix-fmt", metavar="FMT", help="Pixel format of a raw reference where it differs."),
    click.option("--ref-input-format", metavar="FORMAT", help="Container of the reference where it differs."),
)

output_options = stack(
    click.option("-o", "--output", "outputs", multiple=True, metavar="FILE",
                 help="Write .json, .csv, .pooled.csv, .ndjson, .libvmaf.json or .html; repeatable; '-' is stdout."),
    click.option("-f", "--format", "form", type=click.Choice(["table", "json", "csv", "ndjson", "libvmaf"]),
                 help="Form on stdout. Default: table without -o, nothing with it."),
    click.option("--score", metavar="KEY[.STAT]", help="Print this number alone, one line a file."),
    click.option("--fail-under", "fail_under", type=LimitType(over=False), metavar="KEY[.STAT]=X", multiple=True,
                 help="Exit 3 when the score is below X; repeatable."),
    click.option("--fail-over", "fail_over", type=LimitType(over=True), metavar="KEY[.STAT]=X", multiple=True,
                 help="Exit 3 when the score is above X; repeatable."),
    cap_option,
)  # fmt: skip

talk_options = stack(
    click.option("-q", "--quiet", is_flag=True, help="Errors only on stderr."),
    click.option("-v", "--verbose", is_flag=True, help="More on stderr: inputs, device, speed."),
    click.option("--no-progress", is_flag=True, help="No progress bar, which shows on terminals only."),
    click.option("--debug", is_flag=True, help="Show a traceback where something fails."),
)  # fmt: skip
