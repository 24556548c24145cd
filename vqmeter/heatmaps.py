"""Quality maps as pictures: every place of a frame in a colour, dark where it is bad, with a bar that says the scale."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from vqmeter.errors import OutputError
from vqmeter.metric import QualityMap

#: From bad to good: five stops of (R, G, B), read off no other map; lightness rises steadily, so it prints in grey too.
_STOPS = np.array([[20, 8, 40], [110, 20, 90], [205, 60, 60], [245, 150, 50], [250, 245, 190]], float)
_BAR = 90


def colours(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of (H, W) values; `low` is the darkest, `high` the lightest, beyond them is clipped."""
    place = np.clip((values - low) / (high - low), 0, 1) * (len(_STOPS) - 1)
    below = np.minimum(place.astype(int), len(_STOPS) - 2)
    part = (place - below)[..., None]
    out: NDArray[np.uint8] = np.rint(_STOPS[below] * (1 - part) + _STOPS[below + 1] * part).astype(np.uint8)
    return out


def save(quality: QualityMap, size: tuple[int, int], path: str) -> None:
    """Write a map as a PNG of the frame's `size` (width, height) with its colour bar at the right.

    Raises
        OutputError: the place cannot be written.
    """
    from PIL import Image, ImageDraw

    width, height = size
    shown = Image.fromarray(colours(quality.values, quality.low, quality.high))
    sheet = Image.new("RGB", (width + _BAR, max(height, 100)), "white")
    sheet.paste(shown.resize(size, Image.Resampling.NEAREST), (0, 0))
    steps = np.linspace(quality.high, quality.low, sheet.height - 40, dtype=np.float32)[:, None].repeat(18, 1)
    sheet.paste(Image.fromarray(colours(steps, quality.low, quality.high)), (width + 8, 26))
    draw = ImageDraw.Draw(sheet)
    draw.text((width + 8, 6), quality.name, "black")
    for n in range(5):
        value = quality.high + (quality.low - quality.high) * n / 4
        draw.text((width + 30, 20 + (sheet.height - 42) * n / 4), f"{value:.4g}", "black")
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        sheet.save(path, "PNG")
    except OSError as error:
        raise OutputError(f"{path}: {(error.strerror or str(error)).lower()}") from None


def map_path(folder: str, label: str, quality: QualityMap) -> str:
    """`FOLDER/dist.mp4_ssim_y_000017.png`."""
    return os.path.join(folder, f"{label}_{quality.name}_{quality.frame:06d}.png")
