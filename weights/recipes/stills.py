"""The first frames of pristine sources as pictures, to be ranked: python weights/recipes/stills.py MATERIAL PART FOLDER

MATERIAL was made by `material.py`; of every content of PART (train, val, held-out) one source is taken, at most 384x288 of its
middle. `vqmeter distort FOLDER LADDERS` then makes the ladders that RankIQA learns the order of, or is judged by.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image

from vqmeter.training.datasets import Item
from vqmeter.training.reading import pictures

WIDTH, HEIGHT = 384, 288


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("material", type=Path)
    parser.add_argument("part")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    seen = set[str]()
    for row in csv.DictReader((arguments.material / "table.csv").open()):
        if row["type"] != "pristine" or row["part"] != arguments.part or row["group"] in seen:
            continue
        seen.add(row["group"])
        frame = pictures(Item(str(arguments.material / row["path"]), float("nan")))[0, 0]
        height, width = frame.shape[-2:]
        top, left = max(0, height - HEIGHT) // 2, max(0, width - WIDTH) // 2
        part = frame[:, top : top + HEIGHT, left : left + WIDTH].transpose(1, 2, 0)
        Image.fromarray(np.ascontiguousarray(part)).save(arguments.folder / f"{row['group']}.png")


if __name__ == "__main__":
    main()
