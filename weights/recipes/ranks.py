"""How often a model orders the levels of a distortion right: python weights/recipes/ranks.py LADDERS MODEL ...

LADDERS is a folder of `vqmeter distort`. For every type: of all pairs of two levels of one picture, the pristine one being
level 0, the share in which the milder one scores better. Prints a row a type and their mean.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np

from vqmeter.evaluation.scoring import score_dataset
from vqmeter.training.datasets import Dataset, open_dataset
from vqmeter.training.recipes.ranking import rungs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ladders", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--pictures", type=int, help="only so many of them")
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    items = rungs(open_dataset("distorted", str(arguments.ladders)).items)
    chosen = sorted({item.group for item in items})[: arguments.pictures]
    items = [item for item in items if item.group in chosen]
    pristine = {item.group: item.path for item in items if item.level == 0}
    for spec in arguments.models:
        [table, *_] = score_dataset(Dataset("ladders", tuple(items)), models=(spec,), options={"threads": arguments.threads})
        sign = -1 if table.better == "lower" else 1
        ladders: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        for item in items:
            if item.level:
                ladders[item.type, item.group][0] = sign * table.values[pristine[item.group]]
                ladders[item.type, item.group][item.level] = sign * table.values[item.path]
        right: dict[str, list[bool]] = defaultdict(list)
        for (kind, _), levels in ladders.items():
            right[kind] += [levels[a] > levels[b] for a, b in itertools.combinations(sorted(levels), 2)]
        shares = {kind: float(np.mean(hits)) for kind, hits in right.items()}
        for kind, share in shares.items():
            print(f"{spec} {kind} {share:.3f}")
        print(f"{spec}: mean {np.mean(list(shares.values())):.3f}, least {min(shares.values()):.3f}, "
              f"{len(pristine)} pictures", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
