"""Judges weights on material held out from training: python weights/recipes/judge.py MATERIAL MODEL ... [options]

MODEL is a spec of a no-reference model, or of a full-reference metric with `--pairs`. Of MATERIAL (made by `material.py`)
the part `held-out` is scored by vqmeter as it scores any clip, and the scores are held against VMAF:

- over all clips, with 95 % bootstrap intervals over contents; over codecs alone; by type; within a source (mean);
- steps: neighbouring steps of a ladder whose VMAF differ by more than 1, the share on which the score falls too.

`--pairs` judges patch by patch: one frame of one tile a clip, with its reference, against that tile's VMAF. Figures go
to standard output as JSON, and as a Markdown table into `--card FILE`, between its `<!-- figures -->` marks. Scores are kept
in `--scores FOLDER`, so that a judgement is not made twice.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from vqmeter.evaluation.correlation import agreement, srocc
from vqmeter.evaluation.intervals import bootstrap
from vqmeter.evaluation.scoring import score_dataset
from vqmeter.training.datasets import Dataset, Item
from vqmeter.training.reading import pictures

CODECS = ("x264", "x265", "av1", "vp9")
ANALYTIC = ("blur", "noise", "jpeg", "downscale")
MARK = "<!-- figures -->"


def clips(material: Path, part: str) -> Dataset:
    """The clips of a part; a level is the number of a variant, the order within its ladder."""
    items = []
    for row in csv.DictReader((material / "table.csv").open()):
        if row["part"] == part:
            number = Path(row["path"]).stem.rpartition("_")[2]
            items.append(Item(str(material / row["path"]), float(row["vmaf"]), str(material / row["reference"]), row["group"],
                              row["type"], int(number) if number.isdecimal() else 0, columns=row))  # fmt: skip
    return Dataset("material", tuple(items), low=0.0, high=100.0, unit="vmaf")


def patches(dataset: Dataset, folder: Path, seed: int = 0) -> Dataset:
    """One frame of one tile of every clip that is not pristine, and of its reference, as pictures in `folder`."""
    items = []
    for item in dataset.items:
        if item.type == "pristine":
            continue
        name = "-".join(Path(item.path).with_suffix("").parts[-2:])
        labels = Path(item.path.replace("/clips/", "/labels/")).with_suffix(".npz")
        with np.load(labels, allow_pickle=False) as found:
            values, boxes = found["tile_vmaf"], found["boxes"]
        rng = np.random.default_rng([seed, *name.encode()])
        n, row, column = (int(rng.integers(k)) for k in values.shape)
        n = max(n, 1)  # frame 0 has no motion
        paths = [folder / f"{name}-{side}.png" for side in ("dist", "ref")]
        if not all(path.exists() for path in paths):
            top, left, height, width = boxes[row, column]
            for path, frames in zip(paths, pictures(item, None, paired=True), strict=True):
                part = frames[n, :, top : top + height, left : left + width]
                Image.fromarray(np.ascontiguousarray(part.transpose(1, 2, 0))).save(path)
        items.append(replace(item, path=str(paths[0]), reference=str(paths[1]), score=float(values[n, row, column])))
    return replace(dataset, items=tuple(items))


def steps(items: Iterable[tuple[Item, float, float]]) -> dict[str, list[float]]:
    """By type: of neighbouring steps of a ladder that differ by more than 1 in label, whether the score falls with it."""
    ladders: dict[tuple[str, str], list[tuple[int, float, float]]] = {}
    for item, label, score in items:
        ladders.setdefault((str(item.reference) + item.group, item.type), []).append((item.level or 0, label, score))
    found: dict[str, list[float]] = {}
    for (_, kind), rungs in ladders.items():
        rungs.sort()
        for (_, a, x), (_, b, y) in itertools.pairwise(rungs):
            if abs(a - b) > 1:
                found.setdefault(kind, []).append(float((a - b) * (x - y) > 0))
    return found


def judge(dataset: Dataset, values: dict[str, float], sign: int, pairs: bool) -> dict[str, object]:
    items = [item for item in dataset.items if np.isfinite(values[item.path])]
    x, y = np.array([sign * values[i.path] for i in items]), np.array([i.score for i in items])
    groups, kinds = np.array([i.group for i in items]), np.array([i.type for i in items])
    whole = agreement(x, y)
    ends = bootstrap(x, y, whole, groups=groups.tolist(), repeats=1000)
    of_codecs, of_types = np.isin(kinds, CODECS), {}
    for kind in dict.fromkeys(kinds.tolist()):
        own = kinds == kind
        if kind != "pristine":
            of_types[kind] = srocc(x[own], y[own])
    within = [srocc(x[groups == g], y[groups == g]) for g in dict.fromkeys(groups.tolist())]
    out: dict[str, object] = {
        "clips": len(items), "contents": len(set(groups.tolist())), "failed": len(dataset.items) - len(items),
        "srocc": whole.srocc, "srocc_95": ends["srocc"], "plcc": whole.plcc, "krocc": whole.krocc,
        "srocc_codecs": srocc(x[of_codecs], y[of_codecs]), "srocc_within": float(np.mean(within)), "by_type": of_types,
    }  # fmt: skip
    if not pairs:
        fall = steps((item, float(b), float(a)) for item, a, b in zip(items, x, y, strict=True))
        ladders = {kind: float(np.mean(hits)) for kind, hits in fall.items() if kind != "pristine"}
        together = {name: float(np.mean([hit for kind in kinds for hit in fall.get(kind, [])] or [np.nan]))
                    for name, kinds in (("codecs", CODECS), ("analytic", ANALYTIC))}  # fmt: skip
        out |= {"steps": {**together, **ladders}}
    return out


def markdown(rows: dict[str, dict], part: str, pairs: bool) -> str:
    """A table a model."""
    unit = "patch pairs" if pairs else "clips"
    first = next(iter(rows.values()))
    lines = [
        f"Against VMAF, {first['clips']} {unit} of {first['contents']} contents of the part {part}, none of which was "
        "trained or tuned on; 95 % bootstrap interval over contents.",
        "",
        "| score | SROCC | 95 % | PLCC | codecs alone | within a source |"
        + ("" if pairs else " codec steps | analytic steps |"),
        "|---|---:|---|---:|---:|---:|" + ("" if pairs else "---:|---:|"),
    ]
    for name, row in rows.items():
        low, high = row["srocc_95"]
        cells = [name, f"{row['srocc']:.3f}", f"{low:.3f} to {high:.3f}", f"{row['plcc']:.3f}", f"{row['srocc_codecs']:.3f}",
                 f"{row['srocc_within']:.3f}"]  # fmt: skip
        if not pairs:
            cells += [f"{row['steps'][key]:.3f}" if key in row["steps"] else "" for key in ("codecs", "analytic")]
        lines.append("| " + " | ".join(cells) + " |")
    kinds = list(first["by_type"])
    lines += ["", "| SROCC by type | " + " | ".join(kinds) + " |", "|---|" + "---:|" * len(kinds)]
    lines += [f"| {name} | " + " | ".join(f"{row['by_type'][kind]:.3f}" for kind in kinds) + " |" for name, row in rows.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("material", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--part", default="held-out")
    parser.add_argument("--pairs", action="store_true", help="judge full-reference metrics patch by patch")
    parser.add_argument("--paired", action="store_true", help="judge full-reference metrics on whole clips")
    parser.add_argument("--coded", action="store_true", help="only what an encoder made, for models that read the bitstream")
    parser.add_argument("--scores", type=Path, default=Path("scores"))
    parser.add_argument("--card", type=Path)
    parser.add_argument("--every", type=int, default=1, help="only every Nth clip, for a quick look")
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    dataset = clips(arguments.material, arguments.part)
    dataset = replace(dataset, items=dataset.items[:: arguments.every])
    if arguments.coded:
        dataset = replace(dataset, items=tuple(item for item in dataset.items if item.type in CODECS))
    arguments.scores.mkdir(parents=True, exist_ok=True)
    if arguments.pairs:
        folder = arguments.scores / "patches"
        folder.mkdir(exist_ok=True)
        dataset = patches(dataset, folder)
    rows = {}
    for spec in arguments.models:
        kind = "metrics" if arguments.pairs or arguments.paired else "models"
        cache = arguments.scores / (
            "".join(c if c.isalnum() else "-" for c in spec.replace("weights=", ""))[-80:] + f"-{kind}.ndjson"
        )
        tables = score_dataset(dataset, **{kind: (spec,)}, cache=str(cache), options={"threads": arguments.threads})
        table = next((t for t in tables if t.name in (spec.split(":")[0], f"{spec.split(':')[0]}_y")), tables[0])
        sign = -1 if table.better == "lower" else 1
        rows[spec] = judge(dataset, table.values, sign, arguments.pairs)
    json.dump(rows, sys.stdout, indent=1)
    if arguments.card:
        text = arguments.card.read_text("utf-8")
        rows = {spec.split(":")[0]: row for spec, row in rows.items()}
        before, _, after = text.split(MARK)
        arguments.card.write_text(f"{before}{MARK}\n{markdown(rows, arguments.part, arguments.pairs)}\n{MARK}{after}", "utf-8")


if __name__ == "__main__":
    main()
