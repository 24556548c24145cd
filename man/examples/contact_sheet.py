"""Draw every distortion at each of its levels on one sheet: man/distortions.jpg, which the manual shows.

    python man/examples/contact_sheet.py [FILE] [PICTURE]

FILE is contact_sheet.jpg where it is not given; PICTURE any file that Pillow reads, else a landscape drawn here. Each row
is a type, each column a level; under a picture stand its value and its PSNR. Types for video are made of a slow pan
over the picture: one frame is shown, the PSNR is of all.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vqmeter.distortions import TYPES, Type, distort_picture

SIDE, CROP, MARGIN, CAPTION = 144, 192, 8, 32  # pixels: of a picture on the sheet, of the part of it shown, ...
LABEL, COLUMNS = 176, 5  # width of the names on the left; levels in a row
FRAMES, SHOWN = 16, 10


def fractal(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Cloud-like noise in 0..1: octaves of smooth random numbers."""
    total = np.zeros((height, width))
    for octave in range(7):
        n = 2 ** (octave + 1)
        grid = Image.fromarray(rng.random((n, n)).astype(np.float32))
        total += np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC)) / 2**octave
    return (total - total.min()) / np.ptp(total)


def landscape(height: int = 384, width: int = 512) -> np.ndarray:
    """(H, W, 3) uint8: sky, mountains, a meadow, a house with a striped awning and a sign. Nobody's photograph."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:height, 0:width] / height
    clouds = np.clip(fractal(rng, height, width) * 2 - 0.9, 0, 1)[..., None]
    out = (np.array([70, 130, 215]) + y[..., None] * [120, 90, 30]) * (1 - clouds) + 245 * clouds
    for far, (level, colour) in enumerate(((0.42, (105, 120, 150)), (0.56, (70, 90, 80)))):
        ridge = level + 0.28 * (fractal(rng, 1, width)[0] - 0.5)
        stone = (0.65 + 0.7 * fractal(rng, height, width))[..., None] * colour
        out = np.where((y > ridge)[..., None], stone * (0.8 + 0.2 * far), out)
    grass = rng.random((height, width)) * 0.5 + 0.5 * np.sin(300 * x + 40 * y * fractal(rng, height, width)) ** 2
    out = np.where((y > 0.72)[..., None], np.stack([60 + 70 * grass, 110 + 90 * grass, 40 + 30 * grass], -1), out)
    page = Image.fromarray(np.clip(out, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(page)
    draw.rectangle((190, 190, 330, 310), (205, 175, 140))
    for row in range(190, 310, 8):
        draw.line((190, row, 330, row), (170, 135, 105))
        for brick in range(190 + row % 16, 330, 16):
            draw.line((brick, row, brick, row + 8), (170, 135, 105))
    draw.polygon([(178, 192), (342, 192), (260, 130)], (150, 50, 45))
    for stripe in range(10):
        draw.rectangle((200 + 12 * stripe, 225, 205 + 12 * stripe, 242), (200, 30, 40) if stripe % 2 else (245, 245, 240))
    draw.rectangle((215, 250, 245, 290), (60, 90, 130), (240, 240, 230), 3)
    draw.rectangle((270, 250, 310, 310), (95, 60, 40))
    draw.text((212, 200), "VIDEO QUALITY", (40, 30, 30), ImageFont.load_default(14))
    for n, colour in enumerate(((230, 40, 40), (240, 200, 40), (60, 90, 220), (230, 230, 240))):
        for _ in range(14):
            a, b = rng.integers(20, 500), rng.integers(318, 378)
            draw.ellipse((a, b, a + 4 + n, b + 4 + n), colour)
    return np.asarray(page)


def psnr(ref: np.ndarray, dist: np.ndarray) -> float:
    error = np.mean((ref.astype(float) - dist) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


Copies = dict[tuple[str, int], np.ndarray]  # by type and level


def distorted_frames(picture: np.ndarray, types: list[Type], folder: Path) -> tuple[np.ndarray, Copies]:
    """The frames (N, H, W, 3) of a pan over the picture, and of every copy that `vqmeter distort` makes of it."""
    height, width = (n // 16 * 16 for n in (picture.shape[0], picture.shape[1] - FRAMES * 2))
    pan = folder / "pan.y4m"
    with av.open(str(pan), "w") as out:
        stream = out.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for n in range(FRAMES):
            part = np.ascontiguousarray(picture[:height, 2 * n : 2 * n + width])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(part, "rgb24").reformat(format="yuv420p")))
        out.mux(stream.encode(None))
    names = ",".join(one.name for one in types)
    subprocess.run([sys.executable, "-m", "vqmeter", "distort", str(pan), str(folder / "out"), "--types", names, "-q"],
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    found = {}
    for one in types:
        for level in range(1, len(one.levels) + 1):
            [path] = (folder / "out").glob(f"pan_{one.name}_{level}.*")
            found[one.name, level] = frames(path)
    return frames(pan), found


def frames(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def sheet(picture: np.ndarray, folder: Path) -> Image.Image:
    """All types, pictures first."""
    stills, moving = ([t for t in TYPES.values() if (t.kind == "picture") == still] for still in (True, False))
    shown, copies = distorted_frames(picture, moving, folder)
    for one in stills:
        copies |= {(one.name, n): distort_picture(picture, one.name, n) for n in range(1, len(one.levels) + 1)}
    lines = []
    for one in (*stills, *moving):
        levels, wide = list(range(1, len(one.levels) + 1)), 3 if len(one.levels) == 9 else COLUMNS
        lines += [(one, levels[n : n + wide]) for n in range(0, len(levels), wide)]
    step = SIDE + CAPTION + MARGIN
    page = Image.new("RGB", (LABEL + (COLUMNS + 1) * (SIDE + MARGIN) + MARGIN, len(lines) * step + MARGIN), "white")
    draw, bold, plain = ImageDraw.Draw(page), ImageFont.load_default(16), ImageFont.load_default(11)

    def paste(image: np.ndarray, column: int, y: int, caption: str) -> None:
        image = image[SHOWN] if image.ndim == 4 else image
        top, left = (image.shape[0] - CROP) * 2 // 3, (image.shape[1] - CROP) // 2
        part = Image.fromarray(image[top : top + CROP, left : left + CROP]).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        x = LABEL + column * (SIDE + MARGIN)
        page.paste(part, (x, y))
        draw.text((x, y + SIDE + 2), caption, "black", plain)

    for n, (one, levels) in enumerate(lines):
        y, ref = MARGIN + n * step, picture if one.kind == "picture" else shown
        draw.text((MARGIN, y), one.name, "black", bold)
        draw.text((MARGIN, y + 24), wrapped(one.what, plain), "dimgray", plain)
        paste(ref, 0, y, "reference")
        for column, level in enumerate(levels, 1):
            copy = copies[one.name, level]
            paste(copy, column, y, f"{level}: {one.describe(level)}\n{psnr(ref, copy):.1f} dB")
    return page


def wrapped(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """`text` in lines that fit beside the pictures."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > LABEL - 2 * MARGIN:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def main(file: Path, picture: Path | None) -> int:
    pixels = landscape() if picture is None else np.asarray(Image.open(picture).convert("RGB"))
    with tempfile.TemporaryDirectory() as folder:
        sheet(pixels, Path(folder)).save(file, quality=70, optimize=True)
    print(f"written: {file}")
    return 0


if __name__ == "__main__":
    words = [Path(word) for word in sys.argv[1:]]
    sys.exit(main(words[0] if words else Path("contact_sheet.jpg"), words[1] if len(words) > 1 else None))
