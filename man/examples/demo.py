"""Make clips from photographs, encode them at three qualities, score them, and show what vqmeter prints.

    python man/examples/demo.py [FOLDER]

The photographs come with scikit-image; the clips are a slow pan and zoom over them, 1280x720, 3 seconds, encoded
with x264 through PyAV; they are scored against the reference, and then without it, by every model in the box. Leaves the
clips, scores.json, scores.csv, scores.pooled.csv and models.json in FOLDER (default: demo).
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
from skimage import data
from skimage.transform import resize

WIDTH, HEIGHT, FRAMES, RATE = 1280, 720, 75, 25
MODELS = "vsfa,rankiqa,c3d,cnn3d_lstm,hybrid,niqe,brisque"
QUALITIES = {"good": 20, "fair": 32, "poor": 44}  # x264's constant rate factor; lower is better


def photograph(name: str) -> np.ndarray:
    """A photograph of scikit-image, wide enough to travel over: (H, W, 3) uint8."""
    picture = getattr(data, name)()
    scale = max(1.4 * WIDTH / picture.shape[1], 1.4 * HEIGHT / picture.shape[0])
    size = (round(picture.shape[0] * scale), round(picture.shape[1] * scale))
    return (resize(picture, size, order=3, anti_aliasing=False) * 255).clip(0, 255).astype(np.uint8)


def travel(picture: np.ndarray, frames: int) -> list[av.VideoFrame]:
    """A slow pan and zoom over a picture."""
    out = []
    for n in range(frames):
        zoom = 1 + 0.25 * n / frames
        height, width = round(HEIGHT * 1.25 / zoom), round(WIDTH * 1.25 / zoom)
        top = round((picture.shape[0] - height) * n / frames)
        left = round((picture.shape[1] - width) * n / frames)
        view = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[top : top + height, left : left + width]), "rgb24")
        out.append(view.reformat(WIDTH, HEIGHT, "yuv420p", dst_colorspace="ITU709", interpolation="BICUBIC"))
    return out


def write_raw(path: Path, frames: list[av.VideoFrame]) -> None:
    with open(path, "wb") as file:
        for frame in frames:
            file.write(frame.to_ndarray().tobytes())


def encode(path: Path, frames: list[av.VideoFrame], crf: int) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"crf": str(crf), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for n, frame in enumerate(frames):
            frame.pts = n
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def main(folder: Path) -> int:
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    third = FRAMES // 3
    frames = [f for name in ("astronaut", "coffee", "chelsea") for f in travel(photograph(name), third)]
    reference = folder / f"ref_{WIDTH}x{HEIGHT}_{RATE}.yuv"
    write_raw(reference, frames)
    clips = []
    for name, crf in QUALITIES.items():
        clips.append(folder / f"{name}_crf{crf}.mp4")
        encode(clips[-1], frames, crf)
    print(f"made {reference} and {len(clips)} encodes of it in {time.perf_counter() - started:.1f} s\n")
    outputs = [folder / "scores.json", folder / "scores.csv", folder / "scores.pooled.csv"]
    words = ["fr", str(reference), *map(str, clips), "-f", "table", *(word for path in outputs for word in ("-o", str(path)))]
    code = run(words)
    print("written:", *outputs)
    print("\nWithout the reference; of niqe and brisque low is good:")
    models = folder / "models.json"
    return run(["nr", *map(str, clips), "--model", MODELS, "-f", "table", "-o", str(models)]) or code


def run(words: list[str]) -> int:
    print("$ vqmeter", *words, flush=True)
    return subprocess.run([sys.executable, "-m", "vqmeter", *words]).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo")))
