"""What a headless file does not say: size, pixel format and rate, from options or from the file's name."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fractions import Fraction

from vqmeter.errors import UsageError
from vqmeter.frames import PixelFormat
from vqmeter.sources import InputOptions, check_pixels, name_of

DEFAULT_RATE = Fraction(25)
_NAMED_SIZES = {"qcif": (176, 144), "cif": (352, 288), "4cif": (704, 576)}
_LAYOUTS = {"400": "gray", "420": "yuv420p", "422": "yuv422p", "444": "yuv444p"}


@dataclass(frozen=True)
class Geometry:
    """Size, format and rate of a headless file, and what of it came from the name."""

    width: int
    height: int
    pix_fmt: PixelFormat
    rate: Fraction
    rate_stated: bool
    guessed: tuple[str, ...] = ()


def raw_geometry(path: str, options: InputOptions) -> Geometry:
    """Geometry of the headless file `path`: options first, then the name, then yuv420p at 25 frames a second.

    Raises
        UsageError: no size anywhere, or an unknown pixel format.
        DecodeError: more pixels than `options.max_pixels`.
    """
    size, pix_fmt, rate = guess(os.path.basename(path))
    guessed = []
    if options.size is None:
        if size is None:
            raise UsageError(f"{name_of(path)}: raw video does not say its size; give it with -s WIDTHxHEIGHT")
        guessed.append(f"size {size[0]}x{size[1]}")
    if options.pix_fmt is None and pix_fmt is not None:
        guessed.append(f"pixel format {pix_fmt}")
    if options.rate is None and rate is not None:
        guessed.append(f"rate {rate}")
    width, height = options.size or size or (0, 0)
    check_pixels(name_of(path), width, height, options.max_pixels)
    name = options.pix_fmt or pix_fmt or "yuv420p"
    return Geometry(width, height, pixel_format(name), options.rate or rate or DEFAULT_RATE,
                    bool(options.rate or rate), tuple(guessed))  # fmt: skip


def pixel_format(name: str) -> PixelFormat:
    """`PixelFormat.parse` for names a user typed."""
    try:
        return PixelFormat.parse(name.lower())
    except KeyError:
        raise UsageError(
            f"unknown pixel format '{name}'; known are FFmpeg's gray, yuv420p, yuv422p, yuv444p (with 9le to 16be), "
            "nv12, p010le, rgb24, gbrp and their kin"
        ) from None


def guess(name: str) -> tuple[tuple[int, int] | None, str | None, Fraction | None]:
    """Size, pixel format and rate as the tokens of a file name say them; None where it is silent or contradicts itself.

    `clip_1920x1080_30.yuv`, `a-640x360p10_yuv422p10le_59.94fps.yuv`, `odd_353x201_422.yuv`, `foreman_cif.yuv`.
    """
    stem, _, suffix = name.lower().rpartition(".")
    tokens = [token for token in re.split(r"[_\-\s()\[\]]+|\.(?!\d)", stem) if token]
    sizes, depths, layouts, rates, formats = set(), set(), set(), set(), set()
    after_size = False
    for token in tokens:
        size = re.fullmatch(r"(\d{1,5})x(\d{1,5})(?:p?(8|9|10|12|14|16))?", token)
        rate = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)(fps|hz|p)?", token)
        if size and int(size[1]) and int(size[2]):
            sizes.add((int(size[1]), int(size[2])))
            depths |= {int(size[3])} if size[3] else set()
        elif token in _NAMED_SIZES:
            sizes.add(_NAMED_SIZES[token])
        elif depth := re.fullmatch(r"(8|9|10|12|14|16)(b|bit|bits|bpp)", token):
            depths.add(int(depth[1]))
        elif token in _LAYOUTS:
            layouts.add(_LAYOUTS[token])
        elif rate and (rate[2] in ("fps", "hz") or (after_size and 5 <= float(rate[1]) <= 300)):
            rates.add(_rate(rate[1]))
        elif re.match(r"(yuv|gray|nv|p0|rgb|bgr|gbr)", token):
            formats |= {token} & {token for _ in [0] if _known(token)}
        after_size = bool(size) or token in _NAMED_SIZES
    if suffix in ("nv12", "nv21", "gray"):
        formats.add(suffix)
    pix_fmt = next(iter(formats)) if len(formats) == 1 else None
    if pix_fmt is None and not formats and len(layouts) < 2 and len(depths) < 2 and (layouts or depths):
        depth_bits = next(iter(depths), 8)
        layout = next(iter(layouts), "yuv420p")
        pix_fmt = layout if depth_bits == 8 else f"{layout}{depth_bits}le"
    only_size = next(iter(sizes)) if len(sizes) == 1 else None
    only_rate = next(iter(rates)) if len(rates) == 1 else None
    return only_size, pix_fmt, only_rate


def _known(name: str) -> bool:
    try:
        return bool(PixelFormat.parse(name))
    except KeyError:
        return False


def _rate(text: str) -> Fraction:
    """A rate as written; the NTSC family is meant exactly (29.97 is 30000/1001)."""
    value = Fraction(text)
    nearest = round(value * 1001 / 1000)
    ntsc = Fraction(nearest * 1000, 1001)
    return ntsc if value.denominator > 1 and abs(ntsc - value) < Fraction(1, 100) else value


def parse_size(size: tuple[int, int] | str | None) -> tuple[int, int] | None:
    """(width, height) of "1920x1080".

    Raises
        UsageError: not two positive whole numbers.
    """
    if size is None:
        return None
    parts = size.lower().split("x") if isinstance(size, str) else [str(n) for n in size]
    if len(parts) != 2 or not all(p.isascii() and p.isdigit() and int(p) > 0 for p in parts):
        raise UsageError(f"a size is WIDTHxHEIGHT, as 1920x1080, not '{size}'")
    return int(parts[0]), int(parts[1])


def parse_rate(rate: Fraction | float | str | None) -> Fraction | None:
    """Frames a second of "25", "29.97" or "30000/1001".

    Raises
        UsageError: not a positive number.
    """
    if rate is None:
        return None
    try:
        value = Fraction(rate)
        if 0 < value <= 1_000_000:
            return value.limit_denominator(1_000_000)
    except (ValueError, ZeroDivisionError, TypeError):
        pass
    raise UsageError(f"a rate is frames a second, as 25 or 30000/1001, not '{rate}'")
