"""Between FFmpeg's pictures and planes: views one way, a copy the other."""

from __future__ import annotations

import av
import numpy as np

from vqmeter.frames import PixelFormat, Plane


def to_picture(planes: tuple[Plane, ...], fmt: PixelFormat) -> av.VideoFrame:
    """A copy of planes in the planar format `fmt`, as FFmpeg's libraries take it."""
    height, width = planes[0].shape
    picture = av.VideoFrame(width, height, fmt.name)
    for component, plane in zip(fmt.components, planes, strict=True):
        _samples(picture.planes[component.plane], fmt)[: plane.shape[0], : plane.shape[1]] = plane
    return picture


def planes_of(picture: av.VideoFrame, fmt: PixelFormat) -> tuple[Plane, ...]:
    """The components of a picture in `fmt`, views on its memory."""
    memory = [_samples(plane, fmt) for plane in picture.planes[: len(fmt.memory_planes)]]
    return fmt.planes(memory, picture.width, picture.height)


def _samples(plane: av.video.plane.VideoPlane, fmt: PixelFormat) -> Plane:
    samples = np.frombuffer(plane, fmt.memory_dtype)
    pitch = plane.line_size // fmt.bytes_per_sample
    return samples[: samples.size // pitch * pitch].reshape(-1, pitch)
