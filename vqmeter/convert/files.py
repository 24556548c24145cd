"""One input into one output, whole or not at all: what its ending asks for, which codec, and what the form cannot say."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction

from vqmeter.colour import colour
from vqmeter.convert.frames import described, in_format, spread, taken
from vqmeter.convert.sequence import Sequence, input_pattern
from vqmeter.distortions.codecs import AV1, FFV1, X264, X265, Encoder, planar_format, rate_of, write, write_raw
from vqmeter.errors import InputError, OutputError, UsageError
from vqmeter.frames import Frame, PixelFormat, VideoInfo
from vqmeter.sources import InputOptions, is_sequence, name_of, open_video
from vqmeter.sources.geometry import guess, pixel_format
from vqmeter.sources.pair import Selection, check_selection
from vqmeter.writers import check_writable, whole

#: Ending -> FFmpeg's container and the codecs it takes here, the default one first.
CONTAINERS = {
    ".avi": ("avi", ("ffv1", "rawvideo")),
    ".mkv": ("matroska", ("ffv1", "libx264", "libx265", "libsvtav1")),
    ".mp4": ("mp4", ("libx264", "libx265", "libsvtav1")),
    ".mov": ("mov", ("libx264", "libx265")),
}
CODECS = tuple(dict.fromkeys(codec for _, codecs in CONTAINERS.values() for codec in codecs))
RAW = (".yuv", ".raw")
CRF = 17.0  # of libx264; FFmpeg's guide calls this "visually lossless or nearly so"
#: What AVI has a name for where it is not coded.
_RAW_AVI = ("yuv420p", "yuv422p", "yuv411p", "gray")
_SILENT = "log-level=none"
_FACTS = ("range", "matrix", "primaries", "transfer")
#: What a form has no room for.
_UNSAID = {"raw": _FACTS, ".y4m": _FACTS[1:], ".avi": _FACTS}

Say = Callable[[str], None]
Progress = Callable[[int, "int | None"], None]


@dataclass(frozen=True)
class How:
    """What to make of it: `codec` None is the container's own, `crf` None its default, `pix_fmt` None the input's.

    `evenly` takes that many frames, spread evenly over those selected; `overwrite` allows to replace an output.
    """

    codec: str | None = None
    crf: float | None = None
    lossless: bool = False
    pix_fmt: str | None = None
    evenly: int | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Codec(Encoder):
    """An encoder whose pictures may be plain samples."""

    def format(self, fmt: PixelFormat) -> str:
        return planar_format(fmt).name if self.codec == "rawvideo" else super().format(fmt)


_CODECS = {
    "ffv1": (FFV1, {}), "rawvideo": (Encoder("rawvideo", "", ""), {}), "libx264": (X264, {"preset": "medium"}),
    "libx265": (X265, {"preset": "medium", "x265-params": _SILENT}), "libsvtav1": (AV1, {"preset": "6"}),
}  # fmt: skip
_LOSSLESS = {"ffv1": {}, "rawvideo": {}, "libx264": {"qp": "0"}, "libx265": {"x265-params": f"{_SILENT}:lossless=1"}}


def convert(path: str, out: str, how: How, reading: InputOptions | None = None, selection: Selection | None = None,
            say: Say = lambda _: None, progress: Progress | None = None) -> None:  # fmt: skip
    """Write the video or the pictures at `path` to `out`; `say` is told what was decided and what is lost.

    Raises
        UsageError: an ending or a codec it does not know, what the form cannot hold, or an output that is the input.
        InputError: the input cannot be read to its end, or has fewer frames than asked for.
        OutputError: the output is there already or cannot be written.
    """
    reading, selection = reading or InputOptions(), selection or Selection()
    path, pictures = input_pattern(path), Sequence.of(out)
    form = _form(out, how) if pictures is None else "png"
    _check_place(path, out, pictures, how.overwrite)
    with closing(open_video(path, reading)) as source:
        check_selection(source, selection)
        chosen = None if how.evenly is None else spread(source, selection, how.evenly)
        available = selection.count(source.info, source.info.frames)
        frames = _counted(taken(source, selection, chosen), progress, available if chosen is None else len(chosen))
        for note in source.info.notes:
            say(f"{name_of(path)}: {note}")
        if pictures is not None:
            _write_pictures(frames, source.info, out, pictures, how, say)
            return
        rate = rate_of(source.info) / selection.every
        if chosen is not None:
            rate *= Fraction(len(chosen), selection.count(source.info, source.length()) or 1)
        fmt = planar_format(source.info.pix_fmt) if how.pix_fmt is None else _wanted(how.pix_fmt)
        info = replace(described(source.info, fmt, reading), rate=rate)
        _tell(source.info, info, out, form, say)
        _write(frames, info, out, form, how, say)


def _form(out: str, how: How) -> str:
    """`raw`, or the ending."""
    ending = os.path.splitext(out)[1].lower()
    if ending not in (*RAW, ".y4m", *CONTAINERS):
        raise UsageError(f"{out}: what form should this be? End the name in {', '.join((*RAW, '.y4m', *CONTAINERS))}, .png, "
                         "or in / for a folder of PNG")  # fmt: skip
    if ending not in CONTAINERS and (how.codec or how.crf is not None):
        raise UsageError(f"{out}: {ending} is not coded; leave out --codec and --crf")
    return "raw" if ending in RAW else ending


def _check_place(path: str, out: str, pictures: Sequence | None, overwrite: bool) -> None:
    there = pictures.files() if pictures is not None else [out] if os.path.lexists(out) else []
    source = Sequence(*os.path.split(path)).files() if is_sequence(path) and not os.path.exists(path) else [path]
    inputs = {os.path.realpath(file) for file in source}
    own = next((file for file in there if os.path.realpath(file) in inputs), None)
    if own is not None or (os.path.exists(out) and os.path.exists(path) and os.path.samefile(path, out)):
        raise UsageError(f"{own or out}: is the input; name another file to write")
    if there and not overwrite:
        raise OutputError(f"{there[0]}: is there already; -y overwrites it")
    if pictures is None:
        return check_writable(out)
    folder = pictures.folder or "."
    return check_writable(os.path.join(folder if os.path.isdir(folder) else os.path.dirname(folder), pictures.pattern))


def _counted(frames: Iterator[Frame], progress: Progress | None, total: int | None) -> Iterator[Frame]:
    for done, frame in enumerate(frames, 1):
        yield frame
        if progress is not None:
            progress(done, total)


def _wanted(name: str) -> PixelFormat:
    """The planar format a user named.

    Raises
        UsageError: no such format, or one that is not planar and little-endian.
    """
    fmt = pixel_format(name)
    planar = planar_format(fmt)
    if planar.memory_planes != fmt.memory_planes or fmt.big_endian or fmt.alpha:
        raise UsageError(f"--out-pix-fmt {name}: planes are written one after another, little-endian; say {planar.name}")
    return planar


def _tell(was: VideoInfo, info: VideoInfo, out: str, form: str, say: Say) -> None:
    """What changes, and what the output cannot say of itself."""
    fmt = info.pix_fmt
    if planar_format(was.pix_fmt) != fmt:
        way = "" if was.pix_fmt.family == fmt.family else f" by 8-bit RGB, {info.matrix or was.matrix or 'unsaid'} matrix"
        say(f"{out}: {was.pix_fmt.name} becomes {fmt.name}{way}")
    if form == "raw" and guess(os.path.basename(out))[:2] not in (
        ((info.width, info.height), fmt.name),
        ((info.width, info.height), None),
    ):
        say(f"{out}: raw video does not say that it is -s {info.width}x{info.height} -pix_fmt {fmt.name} -r {rate_of(info)}")
    facts = _UNSAID.get(form, ()) if fmt.family == "yuv" else ()
    lost = [f"{name} {getattr(info, name)}" for name in facts if getattr(info, name) is not None]
    if info.rotation:
        lost.append(f"rotation {info.rotation}")
    if info.field_order not in (None, "progressive"):
        lost.append(f"field order {info.field_order}")
    if form in ("raw", ".y4m") and info.sample_aspect_ratio not in (None, 1):
        lost.append(f"sample aspect ratio {info.sample_aspect_ratio}")
    if lost:
        say(f"{out}: does not carry over {', '.join(lost)}")


def _write(frames: Iterator[Frame], info: VideoInfo, out: str, form: str, how: How, say: Say) -> None:
    ending = os.path.splitext(out)[1]
    planes = in_format(frames, info)
    if form not in CONTAINERS:
        with whole(out, ending) as temporary:
            try:
                write_raw(planes, info, temporary, form == ".y4m")
            except UsageError:
                raise UsageError(f"{out}: Y4M holds yuv420p, yuv422p, yuv444p, yuv411p and gray, not {info.pix_fmt.name}; "
                                 "say which with --out-pix-fmt") from None  # fmt: skip
        return
    encoder, crf = _encoder(out, form, how)
    _check_takes(encoder, info, out)
    if crf is not None and how.crf is None:
        say(f"{out}: {encoder.codec} at CRF {crf:g}, which looks lossless and is not; --lossless keeps every sample")
    with whole(out, ending) as temporary:
        write(planes, info, temporary, encoder, crf)


def _encoder(out: str, form: str, how: How) -> tuple[Codec, float | None]:
    """The encoder and its CRF; None where it is lossless.

    Raises
        UsageError: the container does not take the codec, or the codec has no such quality.
    """
    container, codecs = CONTAINERS[form]
    name = how.codec or codecs[0]
    if name not in codecs:
        raise UsageError(f"{out}: {form} takes {', '.join(codecs)} here, not {name}")
    base, options = _CODECS[name]
    if how.lossless and name not in _LOSSLESS:
        raise UsageError(f"{out}: {name} has no lossless mode here; take ffv1 in .mkv, or libx264")
    if how.crf is not None and (how.lossless or not base.quantisers):
        raise UsageError(f"{out}: {name} is lossless here; leave out --crf")
    crf = None if how.lossless or not base.quantisers else how.crf if how.crf is not None else CRF
    if crf is not None and how.crf is None and name != "libx264":
        raise UsageError(f"{out}: how good should {name} be? Give --crf" + (" or --lossless" if name in _LOSSLESS else ""))
    settings = {**(base.options if name == "ffv1" else {}), **options, **(_LOSSLESS[name] if how.lossless else {})}
    return Codec(name, form, container, base.quantisers, settings, base.even), crf


def _check_takes(encoder: Codec, info: VideoInfo, out: str) -> None:
    """Refuse what would be converted unasked.

    Raises
        UsageError: the encoder has another pixel format in mind.
        InputError: odd sizes where it takes even ones.
    """
    fmt, nearest = info.pix_fmt, PixelFormat.parse(encoder.format(info.pix_fmt))
    if encoder.codec == "rawvideo" and fmt.name not in _RAW_AVI:
        raise UsageError(f"{out}: AVI has no name for raw {fmt.name}, only for {', '.join(_RAW_AVI)}; ffv1 keeps it too")
    if planar_format(nearest) != fmt:
        raise UsageError(f"{out}: {encoder.codec} takes no {fmt.name}; --out-pix-fmt {nearest.name} is the nearest it takes")
    if encoder.even and (info.width % (1 << fmt.sub_x) or info.height % (1 << fmt.sub_y)):
        whole_chroma = fmt.name.replace(fmt.name[3:6], "444")
        raise InputError(f"{name_of(info.path)}: {encoder.codec} takes even sizes only in {fmt.name}, not {info.width}x"
                         f"{info.height}; .mkv keeps it with ffv1, or say --out-pix-fmt {whole_chroma}")  # fmt: skip


def _write_pictures(frames: Iterator[Frame], info: VideoInfo, out: str, pictures: Sequence, how: How, say: Say) -> None:
    if how.codec or how.crf is not None or how.pix_fmt:
        raise UsageError(f"{out}: pictures are 8-bit PNG; leave out --codec, --crf and --out-pix-fmt")
    if info.pix_fmt.family == "yuv":
        meaning = colour(info)
        assumed = f" ({' and '.join(meaning.assumed)} assumed)" if meaning.assumed else ""
        say(f"{out}: {info.pix_fmt.name} becomes 8-bit RGB by {meaning.matrix}, {meaning.range} range{assumed}")
    elif info.pix_fmt.bit_depth != 8:
        say(f"{out}: {info.pix_fmt.bit_depth} bit become 8")
    left = pictures.write(frames)
    if left:
        say(f"{out}: {len(left)} pictures from before are still there, as {left[0]}")
