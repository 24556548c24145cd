"""The variants of a clip in `material.py`: codecs, blur, noise, JPEG, scaling, and mixtures; how strong, and how made.

Strengths of codecs are spread by VMAF, not by quantiser, since half of an even ladder would lie above 90.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pristine import SEED, add_noise

from vqmeter.distortions import generator
from vqmeter.distortions.codecs import AV1, VP9, X264, X265, Encoder
from vqmeter.distortions.pictures import jpeg
from vqmeter.distortions.video import Planes, blur, picture_by_picture
from vqmeter.frames import VideoInfo

LOSSLESS = Encoder("libx264", ".mp4", "mp4", options={"preset": "ultrafast", "qp": "0", "threads": "1"})
CODECS = {"x264": X264, "x265": X265, "av1": AV1, "vp9": VP9}
#: What is quick of each encoder; one is drawn for every file to train on, the first is that of the ladders.
PRESETS = {
    "x264": ("preset", ("medium", "veryfast", "fast")), "x265": ("preset", ("fast", "veryfast", "medium")),
    "av1": ("preset", ("8", "9", "10")), "vp9": ("cpu-used", ("5", "4", "6")),
}  # fmt: skip
#: (VMAF of the median clip, CRF) of every codec, to draw and to spread quantisers by.
CURVES = {
    "x264": ((98, 20), (94.6, 26), (89, 31), (76, 36), (56, 41), (32, 46), (12, 51)),
    "x265": ((98.6, 20), (96.5, 26), (92, 31), (83, 36), (68, 41), (49, 46), (28, 51)),
    "av1": ((98.8, 30), (95.8, 50), (93, 57), (90, 60), (80, 63)),
    "vp9": ((99, 20), (97.6, 32), (94.5, 42), (89.6, 50), (81.6, 57), (70, 63)),
}  # fmt: skip
#: The CRF of these two ends where clips so small still look fair. Worse than `FAIR` they get one quantiser for all frames.
FAIR = 76
FIXED = {
    "av1": replace(AV1, options={**AV1.options, "svtav1-params": "lp=1:use-fixed-qindex-offsets=1"}),
    "vp9": replace(VP9, quantisers=("crf", "qmin", "qmax")),
}
FIXED_CURVES = {
    "av1": ((78, 45), (68, 50), (55, 55), (42, 59), (20, 63)), "vp9": ((84, 40), (68, 50), (55, 55), (40, 60), (27, 63)),
}  # fmt: skip
#: Five strengths of each, mildest first; the ends bound what is drawn to train on.
LADDERS = {
    "blur": (0.6, 1.0, 1.6, 2.5, 4.0), "noise": (3.0, 6.0, 10.0, 16.0, 25.0), "jpeg": (60, 30, 16, 8, 3),
    "downscale": (1.3, 1.7, 2.2, 3.0, 4.0),
}  # fmt: skip
LEVELS = (97, 86, 71, 55, 38, 15)  # VMAF that the steps of a codec's ladder are to have in the median clip


@dataclass(frozen=True)
class Variant:
    """A distortion of a source: what is done to the frames, one after another, and the codec, if one is then at work."""

    name: str
    type: str
    value: float = 0.0
    steps: tuple[tuple[str, float], ...] = ()
    codec: str | None = None
    crf: float = 0.0
    preset: str = ""
    fixed: bool = False

    @property
    def settings(self) -> str:
        done = [f"{kind}={value:.4g}" for kind, value in self.steps]
        coded = [f"{self.codec} {'quantiser' if self.fixed else 'crf'}={self.crf:g} preset={self.preset}"] if self.codec else []
        return " ".join(done + coded)


# --- what is made ----------------------------------------------------------------------------------------------------


def ladders() -> list[Variant]:
    """All that a held-out source gets."""
    out = [Variant("pristine", "pristine")]
    for kind, values in LADDERS.items():
        out += [Variant(f"{kind}_{n}", kind, v, ((kind, v),)) for n, v in enumerate(values, 1)]
    for codec in CODECS:
        steps = [_coded(f"{codec}_{n}", codec, level, PRESETS[codec][1][0]) for n, level in enumerate(LEVELS, 1)]
        out += steps
    return out


def _coded(name: str, codec: str, quality: float, preset: str) -> Variant:
    """A codec at the quantiser at which the median clip has a VMAF of `quality`; whole for AV1 and VP9."""
    fixed = codec in FIXED and quality < FAIR
    vmaf, crfs = zip(*(FIXED_CURVES if fixed else CURVES)[codec][::-1], strict=True)
    crf = round(float(np.interp(quality, vmaf, crfs)), 0 if codec in FIXED else 1)
    return Variant(name, codec, crf, codec=codec, crf=crf, preset=preset, fixed=fixed)


def drawn(source: str) -> list[Variant]:
    """All that a source to train on gets, at random strengths."""
    rng = generator(SEED, source, "variants")
    out = [Variant("pristine", "pristine")]
    for codec in CODECS:
        for n, quality in enumerate((rng.uniform(8, 55), rng.uniform(50, 99)), 1):
            out.append(_coded(f"{codec}_{n}", codec, quality, str(rng.choice(PRESETS[codec][1]))))
    for name in ("blur_1", "blur_2", "noise", "jpeg", "downscale"):
        kind = name.partition("_")[0]
        value = _strength(kind, rng)
        out.append(Variant(name, kind, value, ((kind, value),)))
    kinds = [str(k) for k in rng.permutation(["blur", "noise", "downscale"])[:2]]
    steps = tuple((kind, _strength(kind, rng, milder=0.6)) for kind in kinds)
    codec = str(rng.choice(list(CODECS)))
    coded = _coded("mixed", codec, rng.uniform(35, 98), str(rng.choice(PRESETS[codec][1])))
    return [*out, replace(coded, type="mixed", steps=steps)]


def _strength(kind: str, rng: np.random.Generator, milder: float = 1.0) -> float:
    """Even in the logarithm between the ends of the ladder, or the `milder` part of it."""
    first, last = np.log(LADDERS[kind][0]), np.log(LADDERS[kind][-1])
    return round(float(np.exp(first + rng.uniform(0, milder) * (last - first))), 3)


# --- making it -------------------------------------------------------------------------------------------------------


def distorted(frames: Sequence[Planes], info: VideoInfo, variant: Variant, source: str) -> Iterator[Planes]:
    """The frames after all steps but the codec."""
    out = iter(frames)
    for kind, value in variant.steps:
        out = STEPS[kind](out, info, value, lambda n, kind=kind: generator(SEED, source, kind, n + 1))
    return out


def noise(frames: Iterator[Planes], info: VideoInfo, deviation: float, draw: Callable[[int], Any]) -> Iterator[Planes]:
    """Noise, in every clip spread over neighbours and strong in chroma by another measure."""
    of_clip = draw(-1)
    spread, chroma = max(0.0, of_clip.uniform(-0.6, 0.9)), of_clip.choice([0.0, 0.5, 1.0])
    for n, planes in enumerate(frames):
        rng = draw(n)
        yield tuple(add_noise(p, deviation * (chroma if k else 1), spread, rng) for k, p in enumerate(planes))


def rescaled(frames: Iterator[Planes], info: VideoInfo, factor: float, draw: Callable[[int], Any]) -> Iterator[Planes]:
    """Scaled down by `factor` with an antialiasing filter, and up again by a bicubic or bilinear one."""
    up = Image.Resampling.BICUBIC if draw(-1).random() < 0.5 else Image.Resampling.BILINEAR
    for planes in frames:
        out = []
        for plane in planes:
            height, width = plane.shape
            small = Image.fromarray(plane).resize((round(width / factor), round(height / factor)), Image.Resampling.BICUBIC)
            out.append(np.asarray(small.resize((width, height), up)))
        yield tuple(out)


def _jpeg(rgb: NDArray[np.uint8], quality: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    return jpeg(rgb, round(quality), rng)


STEPS = {"blur": blur, "noise": noise, "downscale": rescaled, "jpeg": picture_by_picture(_jpeg)}


def encoder(variant: Variant) -> Encoder:
    if variant.codec is None:
        return LOSSLESS
    found = (FIXED if variant.fixed else CODECS)[variant.codec]
    return replace(found, options={**found.options, PRESETS[variant.codec][0]: variant.preset})
