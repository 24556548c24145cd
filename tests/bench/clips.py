"""The clips of the benchmark: a slow pan over photographs with film grain, raw, as H.264, and at 10 bit.

Made once and cached. `python clips.py FOLDER` makes them in a process of its own, so that the bench stays small: what a
parent holds in memory counts as its children's peak.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, RATE = 1920, 1080, 25
SHORT, LONG, DEEP, HUGE = 300, 1000, 200, 3000
FRAME_BYTES = WIDTH * HEIGHT * 3 // 2
CRF = 23
HIGH_CRF = 16  # some 30 Mb/s: decoding takes the time it takes on real 1080p material
_EDITION = 1  # goes up when the clips change
_PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket", "hubble_deep_field", "motorcycle_left", "ihc", "retina")
_GRAIN = 2.5  # standard deviation in 8-bit steps


@dataclass(frozen=True)
class Clips:
    """Where the clips lie. `ref` and `dist` are 8-bit 4:2:0, `dist` is `mp4` decoded."""

    folder: Path

    def raw(self, role: str, frames: int = SHORT, depth: int = 8) -> Path:
        """The raw clip of a role, `ref` or `dist`."""
        return self.folder / f"{role}_{frames}_{depth}bit.yuv"

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
    clips.folder.mkdir(parents=True, exist_ok=True)
    (clips.folder.parent / ".gitignore").write_text("*\n")
    _once(clips.raw("ref"), _write_pan)
    _once(clips.mp4, lambda file: _encode(clips.raw("ref"), file))
    _once(clips.high_rate, lambda file: _encode(clips.raw("ref"), file, HIGH_CRF))
    _once(clips.raw("dist"), lambda file: _decode(clips.mp4, file))
    for role in ("ref", "dist"):
        _once(clips.raw(role, LONG), lambda file, r=role: _repeat(clips.raw(r), file))
        _once(clips.raw(role, DEEP, 10), lambda file, r=role: _deepen(clips.raw(r), file, r))
        _once(clips.tiny(role), lambda file, r=role: _cut_tiny(clips.raw(r), file))


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


def _canvas() -> list[Any]:
    """Y, Cb and Cr of a mosaic of photographs, 2640x1620, even on every side."""
    import av
    import numpy as np
    import skimage.data
    from skimage.transform import resize

    pictures = [getattr(skimage.data, name)() for name in _PHOTOGRAPHS if hasattr(skimage.data, name)]
    pictures += [skimage.data.stereo_motorcycle()[0]]
    rows, taken = [], 0
    for _ in range(3):
        row, width = [], 0
        while width < 2640:
            picture = pictures[taken % len(pictures)]
            wide = round(540 * picture.shape[1] / picture.shape[0])
            row.append((resize(picture[..., :3], (540, wide), anti_aliasing=True) * 255).astype(np.uint8))
            width, taken = width + wide, taken + 1
        rows.append(np.concatenate(row, axis=1)[:, :2640])
    mosaic = np.concatenate(rows)
    planar = av.VideoFrame.from_ndarray(np.ascontiguousarray(mosaic), "rgb24").reformat(format="yuv444p").to_ndarray()
    luma, cb, cr = planar.reshape(3, *mosaic.shape[:2])
    return [luma, cb[::2, ::2], cr[::2, ::2]]


def _write_pan(path: Path) -> None:
    """Two samples right and one down a frame, with grain on the luma."""
    import numpy as np

    luma, *chroma = _canvas()
    rng = np.random.default_rng(1)
    grain = rng.normal(0, _GRAIN, (HEIGHT + 256, WIDTH + 256)).round().astype(np.int16)
    with open(path, "wb") as file:
        for n in range(SHORT):
            x, y = 2 * n, n // 2 * 2
            dx, dy = rng.integers(0, 256, 2)
            view = luma[y : y + HEIGHT, x : x + WIDTH] + grain[dy : dy + HEIGHT, dx : dx + WIDTH]
            file.write(np.clip(view, 16, 235).astype(np.uint8).tobytes())
            for plane in chroma:
                file.write(plane[y // 2 : (y + HEIGHT) // 2, x // 2 : (x + WIDTH) // 2].tobytes())


def read_frames(path: Path, depth: int = 8) -> Iterator[Any]:
    """Frames of a raw clip as flat arrays of samples."""
    import numpy as np

    size = FRAME_BYTES * (1 if depth == 8 else 2)
    with open(path, "rb") as file:
        while data := file.read(size):
            yield np.frombuffer(data, np.uint8 if depth == 8 else np.uint16)


def _encode(source: Path, path: Path, crf: int = CRF) -> None:
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": str(crf), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for samples in read_frames(source):
            picture = av.VideoFrame.from_ndarray(samples.reshape(HEIGHT * 3 // 2, WIDTH), "yuv420p")
            container.mux(stream.encode(picture))
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


def _deepen(source: Path, path: Path, role: str) -> None:
    """10 bit: two more bits, random in the reference, the middle in the distorted."""
    import numpy as np

    rng = np.random.default_rng(2)
    low = rng.integers(0, 4, FRAME_BYTES, dtype=np.uint16) if role == "ref" else np.uint16(2)
    with open(path, "wb") as file:
        for _, samples in zip(range(DEEP), read_frames(source), strict=False):
            file.write((samples.astype(np.uint16) << 2 | low).tobytes())


def _cut_tiny(source: Path, path: Path) -> None:
    with open(path, "wb") as file:
        for _, samples in zip(range(2), read_frames(source), strict=False):
            luma = samples[: WIDTH * HEIGHT].reshape(HEIGHT, WIDTH)
            chroma = samples[WIDTH * HEIGHT :].reshape(2, HEIGHT // 2, WIDTH // 2)
            file.write(luma[400:464, 400:464].tobytes() + chroma[:, 200:232, 200:232].tobytes())


if __name__ == "__main__":
    make(Clips(Path(sys.argv[1])))
