"""Fits the default numbers of `vqmeter.metrics.fr.ipm`: python weights/recipes/ipm.py MEDIA [--pairs OUT.csv]

MEDIA holds `images/kodak/kodimNN.png`, `mos/TID2013_mos.csv` and `mos/TID2013_ref_crops_from_kodak.csv`. TID2013's own
pictures are not needed: its references are cut from Kodak's and five of its distortions made again, each brought to
its level's PSNR by bisection. Scores are therefore approximate. Five references of known place, 125 pairs.
"""

import csv
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from scipy.stats import spearmanr

from vqmeter.frames import Frame, PixelFormat, VideoInfo
from vqmeter.metric import Context, Sample, Stream
from vqmeter.metrics.fr.fsim import Fsim
from vqmeter.metrics.fr.srsim import Srsim
from vqmeter.metrics.fr.ssim import Ssim
from vqmeter.training.recipes.ipm import rising_cubic

LEVELS = (33.0, 30.0, 27.0, 24.0, 21.0)  # dB over R, G and B


def noise(x, strength, rng):
    return x + rng.standard_normal(x.shape) * strength * 60


def impulse(x, strength, rng):
    hit = rng.random(x.shape)
    return np.where(hit < strength / 4, 0, np.where(hit > 1 - strength / 4, 255, x))


def blur(x, strength, rng):
    return np.asarray(Image.fromarray(x.astype(np.uint8)).filter(ImageFilter.GaussianBlur(strength * 40)))


def coded(form, **options):
    def code(x, strength, rng):
        file = io.BytesIO()
        setting = {key: make(strength) for key, make in options.items()}
        Image.fromarray(x.astype(np.uint8)).save(file, form, **setting)
        return np.asarray(Image.open(file).convert("RGB"))

    return code


#: TID2013's number -> the distortion at a strength in 0..1
DISTORTIONS = {
    1: noise, 6: impulse, 8: blur,
    10: coded("JPEG", quality=lambda s: round(96 - 95 * s)),
    11: coded("JPEG2000", irreversible=lambda s: True, quality_mode=lambda s: "rates",
              quality_layers=lambda s: [4 * 2000**s]),
}  # fmt: skip


def distorted(ref, distort, decibels, seed):
    """`ref` distorted to within reach of `decibels` by bisection on the strength."""
    low, high = 0.0, 1.0
    for _ in range(14):
        middle = (low + high) / 2
        out = np.clip(np.rint(distort(ref.astype(float), middle, np.random.default_rng(seed))), 0, 255)
        reached = 10 * np.log10(255**2 / max(((out - ref) ** 2).mean(), 1e-9))
        low, high = (middle, high) if reached > decibels else (low, middle)
    return out.astype(np.uint8), reached


def score(metric, ref, dist):
    frames = []
    for picture in (dist, ref):
        info = VideoInfo("", picture.shape[1], picture.shape[0], PixelFormat.parse("rgb24"))
        planes = tuple(np.ascontiguousarray(picture[..., c]) for c in range(3))
        frames.append(Frame(info, 0, lambda planes=planes: planes))
    stream = Stream(frames[0].info, frames[1].info, frames[0].info.pix_fmt, 1, None)
    return metric.open(stream, Context()).prepare(Sample(0, *frames))[0]


def pairs(media):
    """(opinion on 0..100, ssim, fsim, srsim, name) of every pair."""
    labels = list(csv.DictReader(open(media / "mos/TID2013_mos.csv")))
    mos = {(row["ref"].upper(), int(row["type"]), int(row["level"])): float(row["mos"]) for row in labels}
    for crop in csv.DictReader(open(media / "mos/TID2013_ref_crops_from_kodak.csv")):
        path = media / "images/kodak" / crop["kodak"]
        if not path.exists():
            continue
        y, x, h, w = (int(crop[key]) for key in "yxhw")
        ref = np.asarray(Image.open(path).convert("RGB"))[y : y + h, x : x + w]
        for kind, distort in DISTORTIONS.items():
            for level, decibels in enumerate(LEVELS, 1):
                dist, reached = distorted(ref, distort, decibels, 100 * kind + level)
                values = [score(metric, ref, dist) for metric in (Ssim(), Fsim(), Srsim())]
                name = f"{crop['tid_ref']}_{kind:02d}_{level}"
                yield mos[crop["tid_ref"], kind, level] * 100 / 9, *values, name, round(float(reached), 2)


def main() -> None:
    rows = list(pairs(Path(sys.argv[1])))
    if "--pairs" in sys.argv:
        with open(sys.argv[sys.argv.index("--pairs") + 1], "w", newline="") as file:
            csv.writer(file).writerows(rows)
    opinion = np.array([row[0] for row in rows])
    for column, name in enumerate(("ssim", "fsim", "srsim"), 1):
        q = np.array([row[column] for row in rows])
        fit = rising_cubic(q, opinion)
        d, c, b, a = fit.coef
        error = np.sqrt(np.mean((fit(q) - opinion) ** 2))
        rank, linear = spearmanr(q, opinion)[0], np.corrcoef(fit(q), opinion)[0, 1]
        print(f"ipm_{name}: a={a:.4f} b={b:.4f} c={c:.4f} d={d:.4f}  {len(q)} pairs, q {q.min():.3f}..{q.max():.3f}, "
              f"PLCC {linear:.3f}, SROCC of q {rank:.3f}, RMSE {error:.1f}, at 1: {fit(1.0):.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
