"""How far a score moves when the quality does not: python weights/recipes/stability.py MATERIAL FOLDER MODEL ...

Of one clip a content of the part held out (a different type and strength each), copies in FOLDER: the same frames in another
container, without the first frame, without the last, and at 10 bit. Prints the greatest and the mean change of the score.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import av
from judge import clips

from vqmeter import measure


def copies(path: str, folder: Path) -> dict[str, str]:
    """Lossless copies by what was done."""
    with av.open(path) as container:
        frames = list(container.decode(video=0))
    made = {}
    for name, part, pix_fmt in (
        ("container", frames, "yuv420p"), ("first frame", frames[1:], "yuv420p"), ("last frame", frames[:-1], "yuv420p"),
        ("10 bit", frames, "yuv420p10le"),
    ):  # fmt: skip
        target = folder / f"{Path(path).parent.name}-{Path(path).stem}-{name.replace(' ', '-')}.mkv"
        made[name] = str(target)
        if target.exists():
            continue
        with av.open(str(target), "w") as out:
            stream = out.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, pix_fmt
            stream.codec_context.color_range, stream.codec_context.colorspace = frames[0].color_range, frames[0].colorspace
            for n, frame in enumerate(part):
                frame = frame.reformat(format=pix_fmt)
                frame.pts, frame.time_base = n, Fraction(1, 25)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("material", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    by_group = {}
    for item in clips(arguments.material, "held-out").items:
        by_group.setdefault(item.group, []).append(item)
    chosen = [own[(7 * n) % len(own)].path for n, own in enumerate(by_group.values())]
    for spec in arguments.models:
        name = spec.split(":")[0]

        def score(path: str, spec: str = spec, name: str = name) -> float:
            return float(measure(path, models=spec, threads=arguments.threads).only.pooled[name]["score"])

        moved: dict[str, list[float]] = {}
        for path in chosen:
            before = score(path)
            for what, copy in copies(path, arguments.folder).items():
                moved.setdefault(what, []).append(abs(score(copy) - before))
        said = ", ".join(f"{what} {max(values):.2f} ({sum(values) / len(values):.2f})" for what, values in moved.items())
        print(f"{spec}: greatest (mean) change over {len(chosen)} clips: {said}", flush=True)


if __name__ == "__main__":
    main()
