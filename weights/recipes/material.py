"""Makes distorted video with labels to train and to judge on: python weights/recipes/material.py MEDIA OUT [options]

MEDIA holds `images/*/*.png` and `clips/`, as `pristine.py` beside this file reads them; `variants.py` distorts. OUT receives

- `split.json`: the contents (groups) by part, held-out, val and train, and what was dropped and why. Made once;
- `clips/SOURCE/VARIANT.mp4`: bitstreams as the encoder left them; what no encoder made is kept without loss;
- `labels/SOURCE/VARIANT.npz`: VMAF of every frame and of every tile of it (`TILE` pixels a side or so), as below;
- `table.csv`: a row a file. A file that has a row is not made again, so a run that broke off goes on where it was.

Sources to train on get random strengths, so drawn that VMAF is spread about evenly; those held out get ladders. Labels
are libvmaf's (model vmaf_v0.6.1) on the clip as it is, without scaling: they follow VMAF, not people.

Motion counts in VMAF's favour, so much so that a pan hides what a still would show; `still` is VMAF with a motion of 0.
Labels hold, with T frames and R x C tiles, float32: `vmaf` and `still` (T,), `features` (T, 6) in the order of `FEATURES`,
the same of tiles as `tile_vmaf`, `tile_still` (T, R, C) and `tile_features` (T, R, C, 6), and int `boxes` (R, C, 4): top,
left, height and width.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pristine import SEED, Source, divide, fault, find_sources, render
from variants import Variant, distorted, drawn, encoder, ladders

from vqmeter.distortions.codecs import write
from vqmeter.metrics.fr.vmaf import find_ffmpeg

TILE = 160  # pixels a side, about
FEATURES = ("integer_adm2", "integer_motion2", *(f"integer_vif_scale{n}" for n in range(4)))
MODELS = r"version=vmaf_v0.6.1|version=vmaf_v0.6.1\\:name=still\\:motion.motion_force_zero=true"


@dataclass(frozen=True)
class Row:
    """A file in `table.csv`; `value` is its strength, `settings` the rest in words; `bytes` mean little where no encoder
    but the lossless one was at work; `vmaf` and `still` are means over frames."""

    path: str
    reference: str
    source: str
    group: str
    part: str
    kind: str
    type: str
    value: float
    settings: str
    width: int
    height: int
    frames: int
    bytes: int
    vmaf: float
    still: float


# --- labels ----------------------------------------------------------------------------------------------------------


def tile_boxes(height: int, width: int) -> NDArray[np.int64]:
    """(R, C, 4) top, left, height and width of tiles that cover the frame, all even."""
    edges = [np.rint(np.linspace(0, side, max(1, round(side / TILE)) + 1) / 2).astype(int) * 2 for side in (height, width)]
    rows, columns = (list(itertools.pairwise(one)) for one in edges)
    return np.array([[(top, left, bottom - top, right - left) for left, right in columns] for top, bottom in rows])


def measure(reference: Path, path: Path, boxes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """VMAF and its features of every frame of `path` and of every tile, by one ffmpeg; see the head of this file."""
    flat = boxes.reshape(-1, 4)
    areas = ["null", *(f"crop={w}:{h}:{x}:{y}:exact=1" for y, x, h, w in flat)]
    graph = []
    for n, name in enumerate("dr"):
        ends = "".join(f"[{name}{k}]" for k in range(len(areas)))
        graph.append(f"[{n}:v]settb=1/25,setpts=N,format=yuv420p,split={len(areas)}{ends}")
    for k, area in enumerate(areas):
        graph += [f"[d{k}]{area}[p{k}]", f"[r{k}]{area}[q{k}]"]
        graph.append(f"[p{k}][q{k}]libvmaf=log_fmt=json:log_path=log{k}.json:n_threads=1:model={MODELS}[o{k}]")
    with tempfile.TemporaryDirectory() as folder:
        command = [find_ffmpeg(), "-nostdin", "-loglevel", "error", "-filter_complex_threads", "1"]
        command += ["-threads", "1", "-i", str(path.resolve()), "-threads", "1", "-i", str(reference.resolve())]
        command += ["-filter_complex", ";".join(graph)]
        command += [word for k in range(len(areas)) for word in ("-map", f"[o{k}]")]
        subprocess.run([*command, "-fps_mode", "passthrough", "-f", "null", "-"], cwd=folder, check=True)
        logs = [json.loads((Path(folder) / f"log{k}.json").read_text())["frames"] for k in range(len(areas))]
    values = np.array([[[f["metrics"][m] for m in ("vmaf", "still", *FEATURES)] for f in log] for log in logs], np.float32)
    tiles = values[1:].swapaxes(0, 1).reshape(-1, *boxes.shape[:2], len(FEATURES) + 2)
    whole = {"vmaf": values[0, :, 0], "still": values[0, :, 1], "features": values[0, :, 2:]}
    return {**whole, "tile_vmaf": tiles[..., 0], "tile_still": tiles[..., 1], "tile_features": tiles[..., 2:], "boxes": boxes}


# --- the work of one source ------------------------------------------------------------------------------------------


def make(source: Source, part: str, variants: Sequence[Variant], out: Path) -> int:
    """Make and label the files of a source, and book each in the table once it is there; how many they are."""
    frames, info = render(source)
    boxes = tile_boxes(info.height, info.width)
    reference = f"clips/{source.name}/pristine.mp4"
    for folder in ("clips", "labels"):
        (out / folder / source.name).mkdir(parents=True, exist_ok=True)
    for variant in variants:
        how = encoder(variant)
        path = f"clips/{source.name}/{variant.name}{how.ending}"
        write(distorted(frames, info, variant, source.name), info, str(out / path), how, variant.crf if variant.codec else None)
        labels = measure(out / reference, out / path, boxes)
        if len(labels["vmaf"]) != len(frames):
            raise RuntimeError(f"{path}: {len(labels['vmaf'])} frames of {len(frames)} were measured")
        np.savez(out / "labels" / source.name / f"{variant.name}.npz", **labels)
        _book(out, Row(path, reference, source.name, source.group, part, source.kind, variant.type, variant.value,
                       variant.settings, info.width, info.height, len(frames), os.path.getsize(out / path),
                       *(round(float(labels[name].mean()), 4) for name in ("vmaf", "still"))))  # fmt: skip
    return len(variants)


def _book(out: Path, row: Row) -> None:
    """Append a row, in one write so that processes do not mix theirs."""
    with open(out / "table.csv", "a", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(astuple(row))


def booked(out: Path) -> list[dict[str, str]]:
    """The rows of the table; it is begun where there is none, and freed of a row that broke off."""
    header = [field.name for field in fields(Row)]
    table, text = out / "table.csv", ""
    if table.exists():
        text = table.read_text()
        text = text[: text.rfind("\n") + 1]
    table.write_text(text or ",".join(header) + "\n")
    with open(table, newline="") as file:
        return list(csv.DictReader(file))


# --- all of it -------------------------------------------------------------------------------------------------------


def split(media: Path, out: Path) -> dict[str, Any]:
    """`split.json`, made where there is none: groups by part, and the sources dropped with their faults."""
    path = out / "split.json"
    if not path.exists():
        sources = find_sources(media)
        faults = {one.name: why for one in sources if (why := fault(one))}
        parts = divide([one for one in sources if one.name not in faults])
        path.write_text(json.dumps({**parts, "dropped": faults}, indent=1) + "\n")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def plan(media: Path, out: Path, which: str) -> list[tuple[Source, str, list[Variant]]]:
    """Sources of the part `which` (`train` has val with it) in random order, with what is not booked yet."""
    parts = split(media, out)
    for name, why in parts["dropped"].items():
        print(f"dropped {name}: {why}")
    part_of = {group: part for part in ("held-out", "val", "train") for group in parts[part]}
    done = {(row["source"], Path(row["path"]).stem) for row in booked(out)}
    tasks = []
    for one in find_sources(media):
        part = part_of.get(one.group, "") if one.name not in parts["dropped"] else ""
        if part == "" or (part == "held-out") != (which == "held-out"):
            continue
        for take in one.takes() if part == "train" else [one]:
            variants = ladders() if part == "held-out" else drawn(take.name)
            tasks.append((take, part, [v for v in variants if (take.name, v.name) not in done]))
    order = np.random.default_rng(SEED).permutation(len(tasks))
    return [tasks[n] for n in order if tasks[n][2]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("media", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--part", choices=("train", "held-out"), help="one part alone; train has val with it")
    parser.add_argument("--limit", type=int, help="at most so many sources of a part")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(args.jobs) as pool:
        for part in [args.part] if args.part else ["train", "held-out"]:
            tasks = plan(args.media, args.out, part)[: args.limit]
            jobs = {pool.submit(make, *task, args.out): task[0].name for task in tasks}
            for n, job in enumerate(as_completed(jobs), 1):
                print(f"{part} {n}/{len(tasks)} {jobs[job]}: {job.result()} files", flush=True)


if __name__ == "__main__":
    main()
