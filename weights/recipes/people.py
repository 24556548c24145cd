"""Judges weights against people, approximately: python weights/recipes/people.py MEDIA FOLDER MODEL ... [--metric SPEC ...]

TID2013's references are cut from Kodak's pictures and five of its distortions made again at their levels' PSNRs, as `ipm.py`
does it; their opinion scores are then TID2013's of its own pictures, which are not at hand: approximate. Of the references
only those count whose content was held out from training. Pictures go to FOLDER.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from ipm import DISTORTIONS, LEVELS, distorted
from PIL import Image

from vqmeter.evaluation.correlation import agreement
from vqmeter.evaluation.scoring import score_dataset
from vqmeter.training.datasets import Dataset, Item

HELD_OUT = ("kodim01", "kodim05", "kodim08", "kodim17")


def items(media: Path, folder: Path) -> list[Item]:
    labels = csv.DictReader((media / "mos/TID2013_mos.csv").open())
    mos = {(row["ref"].upper(), int(row["type"]), int(row["level"])): float(row["mos"]) for row in labels}
    found = []
    for crop in csv.DictReader((media / "mos/TID2013_ref_crops_from_kodak.csv").open()):
        if Path(crop["kodak"]).stem not in HELD_OUT:
            continue
        top, left, height, width = (int(crop[key]) for key in "yxhw")
        ref = np.asarray(Image.open(media / "images/kodak" / crop["kodak"]).convert("RGB"))[
            top : top + height, left : left + width
        ]
        Image.fromarray(ref).save(folder / f"{crop['tid_ref']}.png")
        for kind, distort in DISTORTIONS.items():
            for level, decibels in enumerate(LEVELS, 1):
                path = folder / f"{crop['tid_ref']}_{kind:02d}_{level}.png"
                Image.fromarray(distorted(ref, distort, decibels, 100 * kind + level)[0]).save(path)
                found.append(Item(str(path), mos[crop["tid_ref"], kind, level], str(folder / f"{crop['tid_ref']}.png"),
                                  crop["tid_ref"], str(kind), level))  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("media", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--metric", action="append", default=[])
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    dataset = Dataset("TID2013, approximately", tuple(items(arguments.media, arguments.folder)), low=0.0, high=9.0)
    labels = np.array([item.score for item in dataset.items])
    for kind, specs in (("models", arguments.models), ("metrics", arguments.metric)):
        for spec in specs:
            [table, *_] = score_dataset(dataset, **{kind: (spec,)}, options={"threads": 1})
            values = np.array([table.values[item.path] for item in dataset.items])
            found = agreement(-values if table.better == "lower" else values, labels)
            print(f"{spec}: SROCC {found.srocc:.3f}, PLCC {found.plcc:.3f}, {len(labels)} pictures, approximate", flush=True)


if __name__ == "__main__":
    main()
