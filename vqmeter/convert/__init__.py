"""A video in another form: headless raw, Y4M, AVI, Matroska, MP4 or pictures; samples stay as they are unless asked.

Raw, Y4M, FFV1 and raw AVI keep every sample, and so do H.264 and H.265 with `lossless`. Planes are written planar and
little-endian, so nv12 becomes yuv420p of the same samples. Sound is left out, and frames stand at a constant rate.
"""

from vqmeter.convert.files import CODECS, CONTAINERS, How, convert
from vqmeter.convert.frames import evenly

__all__ = ["CODECS", "CONTAINERS", "How", "convert", "evenly"]
