"""The files of a measurement, opened the way its settings say: deinterlaced, cropped, scaled, and by how much they lag."""

from __future__ import annotations

from contextlib import ExitStack

from vqmeter.errors import UsageError, VqmeterError
from vqmeter.frames import VideoInfo
from vqmeter.settings import Settings
from vqmeter.sources import MAX_PIXELS, InputOptions, Source, open_video
from vqmeter.sources.align import Offset, Signatures, find_offset, signatures
from vqmeter.sources.cropping import Crop
from vqmeter.sources.pair import check_selection
from vqmeter.sources.scaling import Scale
from vqmeter.validity import TAKEN


def open_input(path: str, options: InputOptions, settings: Settings, closing: ExitStack,
               ref: VideoInfo | None = None) -> Source | VqmeterError:  # fmt: skip
    """The source at `path`, closed with `closing`; `ref` is the reference's info for a distorted file.

    What is wrong with the file is returned; what is wrong with the request is raised.
    """
    try:
        source = open_video(path, options)
        closing.callback(source.close)
        check_selection(source, settings.selection)
        return shaped(source, settings.deinterlace, settings.crop, settings.scale, ref, options.max_pixels)
    except UsageError:
        raise
    except VqmeterError as error:
        return error


def shaped(source: Source, deinterlaced: bool, crop: Crop | None, scale: Scale | None, ref: VideoInfo | None = None,
           max_pixels: int = MAX_PIXELS) -> Source:  # fmt: skip
    """`source` progressive, then cut, then at another size, as far as each is asked for; `ref` as in `open_input`.

    Raises
        UsageError: another size of more than `max_pixels`.
    """
    if deinterlaced:
        from vqmeter.sources.deinterlacing import deinterlace

        source = deinterlace(source)
    if crop is not None:
        source = crop.apply(source)
    if scale is None or (scale.size is None and ref is None):
        return source
    if scale.size is not None and scale.size[0] * scale.size[1] > max_pixels:
        raise UsageError(f"--scale {scale.size[0]}x{scale.size[1]} is more than --max-pixels {max_pixels} allows")
    return scale.apply(source, ref)


def opened(source: Source | VqmeterError) -> Source:
    """`source`, or raised what kept it from being one."""
    if isinstance(source, VqmeterError):
        raise source
    return source


def first_signatures(path: str, options: InputOptions, settings: Settings, ref: VideoInfo | None = None) -> Signatures:
    """Signatures of the first frames measured of the file at `path`, read apart from the measurement."""
    with ExitStack() as closing:
        return signatures(opened(open_input(path, options, settings, closing, ref)), settings.selection.start)


def lag(ref: Signatures, dist: Signatures) -> tuple[Offset, tuple[str, ...]]:
    """The offset that `--sync auto` takes, and what there is to say of it."""
    found = find_offset(ref, dist)
    if found.frames and found.gain < TAKEN:
        found = Offset()
    if found.confidence >= 0.05:
        return found, ()
    return found, (f"--sync auto: the frames hardly differ, so no offset can be told (confidence {found.confidence:.2f}); "
                   f"{found.frames} is used, --sync N sets it",)  # fmt: skip
