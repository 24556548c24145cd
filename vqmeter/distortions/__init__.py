"""The ranked synthetic distortions: what there is, how strong each is at its levels, and one picture distorted.

`TYPES` is the table of all of them. A type is a function and the values it takes, mildest first; a level counts these
from 1. Random numbers come from (seed, name of the reference, type) and in video the number of the frame, not from
the level: the levels of a type share their noise, patches and hits, so that a level adds to the one before it.

Pictures: the generators of RankIQA (X. Liu, J. van de Weijer, A. D. Bagdanov, "RankIQA: learning from rankings for
no-reference image quality assessment", ICCV 2017, doi:10.1109/ICCV.2017.118, supplement), which make 17 of the 24
types of TID2013 (N. Ponomarenko et al., 2015, doi:10.1016/j.image.2014.10.009), the four of LIVE and the two of MLIVE.
Video: codecs, whose quantisers are spread by VMAF, since half of an even ladder would lie above 90; and the types of
LIVE-APV (Z. Shang et al., "Assessment of subjective and objective quality of live streaming sports videos", 2021,
arXiv:2106.08431), made in ways and at levels of our own.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vqmeter.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Type:
    """One distortion.

    `make` names its function or encoder as `module:name`; `parameters` says what the values in `levels` are, one name
    where values are numbers, several where they are tuples.
    """

    name: str
    make: str
    what: str
    parameters: tuple[str, ...]
    levels: tuple[Any, ...]

    @property
    def kind(self) -> str:
        """`picture`: any frame by itself; `video`: a stream of frames; `codec`: an encoder."""
        return {"pictures": "picture", "codecs": "codec"}.get(self.make.partition(":")[0], "video")

    def load(self) -> Any:
        """The function or encoder."""
        module, _, name = self.make.partition(":")
        return getattr(importlib.import_module(f"vqmeter.distortions.{module}"), name)

    def value(self, level: int) -> Any:
        """What the function takes at `level`.

        Raises
            UsageError: no such level.
        """
        if not 1 <= level <= len(self.levels):
            raise UsageError(f"{self.name} has levels 1 to {len(self.levels)}, not {level}")
        return self.levels[level - 1]

    def describe(self, level: int) -> str:
        """The value at `level` as `name=number`, several with a space between."""
        value = self.value(level)
        values = value if isinstance(value, tuple) and len(self.parameters) > 1 else (value,)
        return " ".join(f"{key}={_plain(v)}" for key, v in zip(self.parameters, values, strict=True))


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(map(_plain, value))
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _t(name: str, make: str, what: str, parameters: str, *levels: Any) -> Type:
    return Type(name, make, what, tuple(parameters.split()), levels)


_LADDERS = (
    _t("GN", "pictures:gaussian_noise", "Gaussian noise", "variance", .001, .005, .01, .05),
    _t("GNC", "pictures:noise_in_ycbcr", "Gaussian noise in luma and, more visibly, chroma", "variance",
       .0140, .0198, .0343, .0524),
    _t("HFN", "pictures:high_frequency_noise", "high-pass filtered noise", "variance", .001, .005, .01, .05),
    _t("IN", "pictures:impulse_noise", "impulse noise: salt and pepper", "density", .005, .01, .05, .1),
    _t("QN", "pictures:quantised", "few levels of brightness", "thresholds", 9, 7, 5, 3),
    _t("GB", "pictures:gaussian_blur", "Gaussian blur", "hsize", 7, 15, 39, 91),
    _t("ID", "pictures:denoised", "what a denoiser leaves of a noisy picture", "variance", .001, .005, .01, .05),
    _t("JPEG", "pictures:jpeg", "JPEG", "quality", 43, 12, 7, 4),
    _t("JP2K", "pictures:jpeg2000", "JPEG 2000", "ratio", 52, 150, 343, 600),
    _t("NEPN", "pictures:displaced_patches", "patches out of place", "patches", 30, 70, 150, 300),
    _t("BW", "pictures:blocks", "blocks of one colour", "blocks red", (2, None), (4, 50), (8, 30), (16, 0), (32, 0)),
    _t("MSH", "pictures:shifted", "brighter", "offset", 15, 30, 45, 60),
    _t("MSL", "pictures:shifted", "darker", "offset", -15, -30, -45, -60),
    _t("CCL", "pictures:scaled", "less contrast", "factor", .85, .7, .55, .4),
    _t("CCH", "pictures:scaled", "more contrast", "factor", 1.2, 1.4, 1.6, 1.8),
    _t("CS", "pictures:saturated", "other saturation, from .4 to inverted colours", "factor", .4, 0.0, -.4, -.8),
    _t("MGN", "pictures:multiplicative_noise", "noise that grows with brightness", "deviation", .05, .09, .13, .2),
    _t("CQD", "pictures:dithered_palette", "few colours, dithered", "colours", 64, 32, 16, 8, 4),
    _t("CA", "pictures:colours_apart", "red and blue displaced: chromatic aberration", "red blue",
       (2, 1), (6, 3), (10, 5), (14, 7)),
    _t("HFN-REPO", "pictures:noise_without_nyquist", "HFN as the authors' code makes it: noise", "variance",
       .001, .005, .01, .05),
    _t("CA-REPO", "pictures:colours_apart_repo", "CA as the authors' code makes it: red and green displaced", "red green",
       (1, 0), (5, 2), (9, 4), (13, 6)),
    _t("GB-LIVE", "pictures:gaussian_blur", "Gaussian blur, levels for LIVE", "hsize", 7, 15, 39, 91, 199),
    _t("GN-LIVE", "pictures:gaussian_noise", "Gaussian noise, levels for LIVE", "variance",
       2**-10, 2**-7.5, 2**-5.5, 2**-3.5, 1.0),
    _t("JPEG-LIVE", "pictures:jpeg", "JPEG, levels for LIVE", "quality", 43, 12, 7, 4, 0),
    _t("JP2K-LIVE", "pictures:jpeg2000", "JPEG 2000, levels for LIVE", "ratio", 52, 150, 343, 600, 1200),
    _t("GB-JPEG", "pictures:blurred_jpeg", "blur, then JPEG", "hsize quality",
       *((blur, quality) for blur in (7, 15, 39) for quality in (43, 12, 7))),
    _t("GB-GN", "pictures:blurred_noise", "blur, then Gaussian noise", "hsize variance",
       *((blur, variance) for blur in (7, 15, 39) for variance in (.001, .006, .022))),
    _t("x264", "codecs:X264", "H.264, libx264, MP4", "crf", 24, 31, 36, 41, 46),
    _t("x265", "codecs:X265", "HEVC, libx265, MP4", "crf", 25, 32, 37, 42, 47),
    _t("av1", "codecs:AV1", "AV1, SVT-AV1, MP4", "crf", 36, 48, 56, 61, 63),
    _t("vp9", "codecs:VP9", "VP9, libvpx, WebM", "crf", 38, 48, 55, 60, 63),
    _t("mpeg2", "codecs:MPEG2", "MPEG-2, Matroska", "qscale", 6, 11, 16, 23, 31),
    _t("aliasing", "video:aliasing", "every Nth sample, shown N times as large", "factor", 2, 3, 4, 6),
    _t("interlacing", "video:interlacing", "every other line from N frames ago", "frames", 1, 2, 3, 5),
    _t("judder", "video:judder", "frames held by turns for longer and shorter", "holds",
       (1, 1, 1, 2), (1, 2), (2, 3), (3, 5)),
    _t("flicker", "video:flicker", "brightness that changes from frame to frame", "amplitude", .05, .1, .2, .4),
    _t("framedrop", "video:framedrop", "frames lost, the last one shown again", "share", .1, .2, .4, .6),
    _t("blur", "video:blur", "Gaussian blur, at the video's own depth", "sigma", .8, 1.6, 3.2, 6.4),
    _t("noise", "video:noise", "Gaussian noise, at the video's own depth", "deviation", 4, 8, 16, 32),
    _t("damage", "damage:damage", "a damaged H.264 stream as a decoder shows it", "share", .1, .2, .5, 1.0),
)  # fmt: skip
TYPES = {one.name: one for one in _LADDERS}

_TID = ("GN", "GNC", "HFN", "IN", "QN", "GB", "ID", "JPEG", "JP2K", "NEPN", "BW", "MSH", "MSL", "CCL", "CCH", "CS", "MGN",
        "CQD", "CA")  # fmt: skip
_APV = ("aliasing", "interlacing", "judder", "flicker", "framedrop")
#: Preset -> types and the number of levels it takes of each.
PRESETS: dict[str, tuple[tuple[str, ...], int | None]] = {
    "tid": (_TID, 4),
    "live": (("GB-LIVE", "GN-LIVE", "JPEG-LIVE", "JP2K-LIVE"), None),
    "mlive": (("GB-JPEG", "GB-GN"), None),
    "apv": (("x264", *_APV), None),
    "video": ((*_APV, "blur", "noise", "damage"), None),
    "codecs": (("x264", "x265", "av1", "vp9", "mpeg2"), None),
}


def find(name: str) -> Type:
    """The type called `name`, however its letters are cased.

    Raises
        UsageError: there is none; near names are suggested.
    """
    by_name = {key.lower(): one for key, one in TYPES.items()}
    if name.lower() in by_name:
        return by_name[name.lower()]
    near = difflib.get_close_matches(name.lower(), by_name, n=2, cutoff=0.4)
    hint = f"did you mean {' or '.join(by_name[n].name for n in near)}?" if near else "--list shows them"
    raise UsageError(f"no distortion '{name}'; {hint}")


def preset(name: str) -> list[Type]:
    """The types of a preset, with as many levels as it takes.

    Raises
        UsageError: there is none of that name.
    """
    if name not in PRESETS:
        raise UsageError(f"no preset '{name}'; there are {', '.join(PRESETS)}")
    names, count = PRESETS[name]
    return [replace(TYPES[one], levels=TYPES[one].levels[:count]) for one in names]


def ladder(codec: str, quantisers: Iterable[float]) -> Type:
    """The codec type `codec` with levels of one's own: its CRF (MPEG-2: quantiser scale), mildest first.

    Raises
        UsageError: not a codec, or quantisers that do not rise.
    """
    found, levels = find(codec), tuple(quantisers)
    if found.kind != "codec":
        raise UsageError(f"{found.name} is not a codec; there are {', '.join(PRESETS['codecs'][0])}")
    if not levels or any(b <= a for a, b in itertools.pairwise(levels)):
        raise UsageError(f"the quantisers of {found.name} must rise, as in {found.name}=24,30,36")
    return replace(found, levels=levels)


def generator(seed: int, reference: str, name: str, *more: int) -> np.random.Generator:
    """The random numbers of a distortion: the same in every process and on every machine."""
    import numpy as np

    words = "\0".join(map(str, (seed, reference, name, *more)))
    return np.random.default_rng(int.from_bytes(hashlib.sha256(words.encode()).digest()[:16], "little"))


def distort_picture(rgb: NDArray[np.uint8], name: str, level: int, seed: int = 0, reference: str = "") -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, distorted by type `name` at `level` (from 1, the mildest); `rgb` is left as it is.

    Raises
        UsageError: no such type or level, a type for video, or an array of another shape or dtype.
    """
    found = find(name)
    if found.kind != "picture":
        raise UsageError(f"{found.name} is for video")
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != "uint8" or not rgb.size:
        raise UsageError(f"a picture is (H, W, 3) uint8, not {rgb.shape} {rgb.dtype}")
    out: NDArray[np.uint8] = found.load()(rgb, found.value(level), generator(seed, reference, found.name))
    return out
