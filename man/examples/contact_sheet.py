"""Draw every distortion of pictures at each of its levels on one sheet, from a photograph of scikit-image.

    python man/examples/contact_sheet.py [FILE] [PHOTOGRAPH]

FILE is contact_sheet.png where it is not given, PHOTOGRAPH one of scikit-image's: astronaut (the default), chelsea,
coffee, rocket ... Each row is a type, each column a level; under a picture stand its value and PSNR.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from vqmeter.distortions import TYPES, Type, distort_picture

SIDE, CROP, MARGIN, CAPTION = 168, 224, 8, 34  # pixels: of a picture on the sheet, of the part of it shown, ...
LABEL = 188  # width of the names on the left
COLUMNS = 5


def psnr(ref: np.ndarray, dist: np.ndarray) -> float:
    error = np.mean((ref.astype(float) - dist) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def rows(types: list[Type]) -> list[tuple[Type, list[int]]]:
    """Levels in rows of at most COLUMNS; the nine of MLIVE take three rows of three."""
    out = []
    for one in types:
        width = 3 if len(one.levels) == 9 else COLUMNS
        levels = list(range(1, len(one.levels) + 1))
        out += [(one, levels[n : n + width]) for n in range(0, len(levels), width)]
    return out


def sheet(picture: np.ndarray, types: list[Type]) -> Image.Image:
    """(H, W, 3) uint8 distorted whole, its upper middle shown."""
    lines = rows(types)
    step = SIDE + CAPTION + MARGIN
    page = Image.new("RGB", (LABEL + (COLUMNS + 1) * (SIDE + MARGIN) + MARGIN, len(lines) * step + MARGIN), "white")
    draw = ImageDraw.Draw(page)
    bold, plain = ImageFont.load_default(17), ImageFont.load_default(12)
    top, left = ((n - min(CROP, n)) // part for n, part in zip(picture.shape[:2], (12, 2), strict=False))

    def paste(image: np.ndarray, column: int, y: int, caption: str) -> None:
        part = Image.fromarray(image[top : top + CROP, left : left + CROP]).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        x = LABEL + column * (SIDE + MARGIN)
        page.paste(part, (x, y))
        draw.text((x, y + SIDE + 2), caption, "black", plain)

    for n, (one, levels) in enumerate(lines):
        y = MARGIN + n * step
        draw.text((MARGIN, y), one.name, "black", bold)
        for line, text in enumerate(wrapped(one.what, plain)):
            draw.text((MARGIN, y + 26 + 15 * line), text, "dimgray", plain)
        paste(picture, 0, y, "reference")
        for column, level in enumerate(levels, 1):
            distorted = distort_picture(picture, one.name, level)
            paste(distorted, column, y, f"{level}: {one.describe(level)}\n{psnr(picture, distorted):.1f} dB")
    return page


def wrapped(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> list[str]:
    """`text` in lines that fit beside the pictures."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > LABEL - 2 * MARGIN:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def main(file: Path, photograph: str) -> int:
    picture = getattr(data, photograph)()[..., :3]
    sheet(picture, [one for one in TYPES.values() if one.kind == "picture"]).save(file, optimize=True)
    print(f"written: {file}")
    return 0


if __name__ == "__main__":
    arguments = [*sys.argv[1:], *["contact_sheet.png", "astronaut"][len(sys.argv) - 1 :]]
    sys.exit(main(Path(arguments[0]), arguments[1]))
