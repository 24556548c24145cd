"""The clips of the benchmark: a slow pan over photographs with film grain, at three sizes, raw and coded, 8 and 10 bit.

Made once and cached. `python clips.py FOLDER` makes those of 1080p that most sections take, `python clips.py FOLDER SHAPE`
those of the matrix at one size, in a process of its own, so that the bench stays small: what a parent holds in memory
counts as its children's peak.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, RATE = 1920, 1080, 25
SHORT, LONG, DEEP, HUGE = 300, 1000, 100, 3000
FRAME_BYTES = WIDTH * HEIGHT * 3 // 2
CRF = 23
HIGH_CRF = 16  # some 30 Mb/s: decoding takes the time it takes on real 1080p material
_EDITION = 1  # goes up when the clips change
_PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket", "hubble_deep_field", "motorcycle_left", "ihc", "retina")
_GRAIN = 2.5  # standard deviation in 8-bit steps
PIX_FMT = {8: "yuv420p", 10: "yuv420p10le"}
_ENCODERS = {
    "H.264": ("libx264", {"crf": "18", "preset": "veryfast"}),
    "HEVC": ("libx265", {"crf": "17", "preset": "ultrafast", "x265-params": "log-level=error"}),
    "AV1": ("libsvtav1", {"crf": "14", "preset": "10"}),
}  # 2 to 3.5 Mb/s at 540p, 6 to 17 at 1080p, 23 to 80 at 2160p
CODECS = tuple(_ENCODERS)


@dataclass(frozen=True)
class Shape:
    """A size of the matrix and how many frames it has there."""

    name: str
    width: int
    height: int
    frames: int

    @property
    def samples(self) -> int:
        """Of a 4:2:0 frame."""
        return self.width * self.height * 3 // 2

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"


FULL_HD = Shape("1080p", WIDTH, HEIGHT, DEEP)
SHAPES = {shape.name: shape for shape in (Shape("540p", 960, 540, 200), FULL_HD, Shape("2160p", 3840, 2160, 48))}


@dataclass(frozen=True)
class Clips:
    """Where the clips lie. `ref` and `dist` are 4:2:0, `dist` is the H.264 clip of `ref`, decoded."""

    folder: Path

    def raw(self, role: str, frames: int = SHORT, depth: int = 8) -> Path:
        """The raw clip of 1080p of a role, `ref` or `dist`."""
        return self.folder / f"{role}_{frames}_{depth}bit.yuv"

    def shaped(self, shape: Shape, role: str, depth: int) -> Path:
        """The raw clip of a size of the matrix; at 1080p the one that is there anyway, which may be longer."""
        if shape == FULL_HD:
            return self.raw(role, SHORT if depth == 8 else DEEP, depth)
        return self.folder / f"{role}_{shape.name}_{shape.frames}_{depth}bit.yuv"

    def coded(self, shape: Shape, codec: str, depth: int) -> Path:
        """`ref` of a size as H.264, HEVC or AV1."""
        return self.folder / f"{codec.lower().replace('.', '')}_{shape.name}_{shape.frames}_{depth}bit.mp4"

    @property
    def mp4(self) -> Path:
        return self.folder / f"dist_{SHORT}.mp4"

    @property
    def high_rate(self) -> Path:
        return self.folder / f"high_{SHORT}.mp4"

    def tiny(self, role: str) -> Path:
        """Two frames of 64x64."""
        return self.folder / f"{role}_64x64.yuv"


def locate(cache: Path) -> Clips:
    return Clips(cache / f"clips-{_EDITION}")


def make(clips: Clips) -> None:
    """Make what is not there yet."""
    long = Shape("1080p", WIDTH, HEIGHT, SHORT)
    _once(clips.raw("ref"), lambda file: _write_pan(file, long))
    _once(clips.mp4, lambda file: _encode(clips.raw("ref"), file, long, crf=CRF))
    _once(clips.high_rate, lambda file: _encode(clips.raw("ref"), file, long, crf=HIGH_CRF))
    _once(clips.raw("dist"), lambda file: _decode(clips.mp4, file))
    for role in ("ref", "dist"):
        _once(clips.raw(role, LONG), lambda file, r=role: _repeat(clips.raw(r), file))
        _once(clips.raw(role, DEEP, 10), lambda file, r=role: _deepen(clips.raw(r), file, r, FULL_HD))
        _once(clips.tiny(role), lambda file, r=role: _cut_tiny(clips.raw(r), file))


def make_shape(clips: Clips, shape: Shape) -> None:
    """Make what is not there yet of one size of the matrix."""
    if shape == FULL_HD:
        make(clips)
    ref, dist = (clips.shaped(shape, role, 8) for role in ("ref", "dist"))
    _once(ref, lambda file: _write_pan(file, shape))
    _once(clips.coded(shape, "H.264", 8), lambda file: _encode(ref, file, shape))
    _once(dist, lambda file: _decode(clips.coded(shape, "H.264", 8), file))
    for role, source in (("ref", ref), ("dist", dist)):
        _once(clips.shaped(shape, role, 10), lambda file, r=role, s=source: _deepen(s, file, r, shape))
    for codec in CODECS:
        for depth in PIX_FMT:
            source = clips.shaped(shape, "ref", depth)
            _once(clips.coded(shape, codec, depth), lambda f, s=source, c=codec, d=depth: _encode(s, f, shape, c, d))


def make_huge(clips: Clips, role: str) -> Path:
    """A raw clip ten times as long, for memory only: a noisy strip of each frame is written, the rest are holes."""
    path = clips.raw(role, HUGE)
    with open(path, "wb") as file:
        for n in range(HUGE):
            file.seek(n * FRAME_BYTES)
            file.write(os.urandom(4096))
        file.truncate(HUGE * FRAME_BYTES)
    return path


def _once(path: Path, write: Any) -> None:
    if path.exists():
        return
    print(f"making {path.name}", file=sys.stderr, flush=True)
    part = path.with_name("part-" + path.name)
    write(part)
    part.replace(path)


def _canvas(shape: Shape) -> list[Any]:
    """Y, Cb and Cr of a mosaic of photographs, 720 wider and half as high again as the picture, even on every side."""
    import av
    import numpy as np
    import skimage.data
    from skimage.transform import resize

    pictures = [getattr(skimage.data, name)() for name in _PHOTOGRAPHS if hasattr(skimage.data, name)]
    pictures += [skimage.data.stereo_motorcycle()[0]]
    rows, taken = [], 0
    high, full = shape.height // 2, shape.width + 720
    for _ in range(3):
        row, width = [], 0
        while width < full:
            picture = pictures[taken % len(pictures)]
            wide = round(high * picture.shape[1] / picture.shape[0])
            row.append((resize(picture[..., :3], (high, wide), anti_aliasing=True) * 255).astype(np.uint8))
            width, taken = width + wide, taken + 1
        rows.append(np.concatenate(row, axis=1)[:, :full])
    mosaic = np.concatenate(rows)
    planar = av.VideoFrame.from_ndarray(np.ascontiguousarray(mosaic), "rgb24").reformat(format="yuv444p").to_ndarray()
    luma, cb, cr = planar.reshape(3, *mosaic.shape[:2])
    return [luma, cb[::2, ::2], cr[::2, ::2]]


def _write_pan(path: Path, shape: Shape) -> None:
    """Two samples right and one down a frame, with grain on the luma."""
    import numpy as np

    luma, *chroma = _canvas(shape)
    width, height = shape.width, shape.height
    rng = np.random.default_rng(1)
    grain = rng.normal(0, _GRAIN, (height + 256, width + 256)).round().astype(np.int16)
    with open(path, "wb") as file:
        for n in range(shape.frames):
            x, y = 2 * n, n // 2 * 2
            dx, dy = rng.integers(0, 256, 2)
            view = luma[y : y + height, x : x + width] + grain[dy : dy + height, dx : dx + width]
            file.write(np.clip(view, 16, 235).astype(np.uint8).tobytes())
            for plane in chroma:
                file.write(plane[y // 2 : (y + height) // 2, x // 2 : (x + width) // 2].tobytes())


def read_frames(path: Path, shape: Shape = FULL_HD, depth: int = 8) -> Iterator[Any]:
    """Frames of a raw clip as flat arrays of samples."""
    import numpy as np

    size = shape.samples * (1 if depth == 8 else 2)
    with open(path, "rb") as file:
        while data := file.read(size):
            yield np.frombuffer(data, np.uint8 if depth == 8 else np.uint16)


def _encode(source: Path, path: Path, shape: Shape, codec: str = "H.264", depth: int = 8, crf: int | None = None) -> None:
    """As many frames of a raw clip as the shape has, as mp4."""
    import av

    encoder, options = _ENCODERS[codec]
    options = options if crf is None else options | {"crf": str(crf)}
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(encoder, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = shape.width, shape.height, PIX_FMT[depth]
        for _, samples in zip(range(shape.frames), read_frames(source, shape, depth), strict=False):
            samples = samples.reshape(shape.height * 3 // 2, shape.width)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(samples, PIX_FMT[depth])))
        container.mux(stream.encode(None))


def _decode(source: Path, path: Path) -> None:
    import av

    with av.open(str(source)) as container, open(path, "wb") as file:
        container.streams.video[0].thread_type = "AUTO"
        for picture in container.decode(video=0):
            file.write(picture.to_ndarray().tobytes())


def _repeat(source: Path, path: Path) -> None:
    """The short clip over and over, `LONG` frames in all."""
    data = source.read_bytes()
    with open(path, "wb") as file:
        left = LONG * FRAME_BYTES
        while left > 0:
            file.write(memoryview(data)[: min(left, len(data))])
            left -= len(data)


def _deepen(source: Path, path: Path, role: str, shape: Shape) -> None:
    """10 bit: two more bits, random in the reference, the middle in the distorted."""
    import numpy as np

    rng = np.random.default_rng(2)
    low = rng.integers(0, 4, shape.samples, dtype=np.uint16) if role == "ref" else np.uint16(2)
    with open(path, "wb") as file:
        for _, samples in zip(range(shape.frames), read_frames(source, shape), strict=False):
            file.write((samples.astype(np.uint16) << 2 | low).tobytes())


def _cut_tiny(source: Path, path: Path) -> None:
    with open(path, "wb") as file:
        for _, samples in zip(range(2), read_frames(source), strict=False):
            luma = samples[: WIDTH * HEIGHT].reshape(HEIGHT, WIDTH)
            chroma = samples[WIDTH * HEIGHT :].reshape(2, HEIGHT // 2, WIDTH // 2)
            file.write(luma[400:464, 400:464].tobytes() + chroma[:, 200:232, 200:232].tobytes())


if __name__ == "__main__":
    os.environ.setdefault("SVT_LOG", "1")
    made = Clips(Path(sys.argv[1]))
    made.folder.mkdir(parents=True, exist_ok=True)
    (made.folder.parent / ".gitignore").write_text("*\n")
    if len(sys.argv) > 2:
        make_shape(made, SHAPES[sys.argv[2]])
    else:
        make(made)
