"""The tables and figures of RankIQA's paper and supplement as comparisons.

Source: Liu, van de Weijer, Bagdanov, ICCV 2017, doi:10.1109/ICCV.2017.118.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqmeter.training.comparison import PUBLISHED_ONLY
from vqmeter.training.recipes import Comparison

_REAL = (
    "{}. Ladders are Waterloo Exploration's 4,744 pictures through 'vqmeter distort --preset {}', as ladders=FOLDER. The "
    "authors' network is network=vgg16 from ImageNet's weights, as_published=true their schedule: 50,000 steps of 48 crops are "
    "0.22 EFLOP with the backward pass, six hours at 10 TFLOP/s, 40 days on two cores; rank once (stage=rank), then tune "
    "each split from it (--init, stage=tune), one hour more; Shallow takes a two-hundredth"
)


def _pair(plcc: float, srocc: float) -> dict[str, float]:
    return {"plcc": plcc, "srocc": srocc}


def _flat(figures: Mapping[str, Mapping[str, float]]) -> dict[tuple[str, str], float]:
    return {(row, column): value for row, columns in figures.items() for column, value in columns.items()}


def _table(title: str, rows: Mapping[str, Mapping[str, Any]], published: Mapping[str, Mapping[str, float]], preset: str,
           scores: str, **more: Any) -> Comparison:  # fmt: skip
    given: dict[str, Any] = {"columns": ("plcc", "srocc"), "splits": "80/20", "repeats": 10} | more
    return Comparison(title, "Liu et al., ICCV 2017", rows, _flat(published), _REAL.format(scores, preset), **given)


_LIVE, _TID = "LIVE IQA release 2 (779 pictures of 29 contents)", "TID2013 (3,000 pictures of 25 contents)"

COMPARISONS: dict[str, Comparison] = {
    "networks": _table(
        "Table 1: networks from scratch, ranked and tuned, LIVE",
        {"Shallow": {"network": "shallow", "scratch": True}, "AlexNet": {"network": "caffe-alexnet", "scratch": True},
         "VGG-16": {"network": "vgg16", "scratch": True}},
        {"Shallow": _pair(0.930, 0.937), "AlexNet": _pair(0.945, 0.949), "VGG-16": _pair(0.973, 0.974)}, "live", _LIVE,
    ),
    "stages": _table(
        "Table 2 (ALL): tuning alone, ranking alone, both, TID2013",
        {"Baseline": {"stage": "tune"}, "RankIQA": {"stage": "rank"}, "RankIQA+FT": {"stage": "both"}},
        {"Baseline": _pair(0.663, 0.612), "RankIQA": _pair(0.566, 0.623), "RankIQA+FT": _pair(0.799, 0.780)}, "tid", _TID,
    ),
    "live": _table(
        "Table 3 (ALL): LIVE",
        {"RankIQA+FT": {"stage": "both"}, **dict.fromkeys(
            ("PSNR", "SSIM", "FSIM", "DCNN", "DIVINE", "BLIINDS-II", "BRISQUE", "CORNIA", "CNN", "SOM", "DNN"),
            PUBLISHED_ONLY)},
        {"RankIQA+FT": _pair(0.982, 0.981), "PSNR": _pair(0.856, 0.866), "SSIM": _pair(0.906, 0.913),
         "FSIM": _pair(0.96, 0.964), "DCNN": _pair(0.977, 0.975), "DIVINE": _pair(0.917, 0.916),
         "BLIINDS-II": _pair(0.93, 0.931), "BRISQUE": _pair(0.942, 0.94), "CORNIA": _pair(0.935, 0.942),
         "CNN": _pair(0.953, 0.956), "SOM": _pair(0.962, 0.964), "DNN": _pair(0.972, 0.960)}, "live", _LIVE,
    ),
    "source": _table(
        "Table 4 (ALL): where the ranked pictures come from, LIVE; folders named waterloo and places2 are looked for here",
        {"Waterloo": {"ladders": "waterloo"}, "Places2": {"ladders": "places2"}},
        {"Waterloo": _pair(0.982, 0.981), "Places2": _pair(0.981, 0.980)}, "live",
        f"{_LIVE}; pictures of Places2 in Waterloo's place",
    ),
    "pairs": _table(
        "Figure 3: the loss on held-out pairs after as many pictures, by how pairs are made (the paper draws curves)",
        {"all pairs": {"pairs": "all", "stage": "rank"}, "standard": {"pairs": "standard", "stage": "rank"},
         "hard negatives": {"pairs": "hard", "stage": "rank"}},
        {}, "live", "No scores", repeats=3,
        columns=("pair_loss_10", "pair_loss_25", "pair_loss_50", "pair_loss_100", "pair_accuracy"),
    ),
    "levels": _table(
        "Supplement: how many levels are ranked, the pristine one counted, then tuned, TID2013",
        {str(n): {"levels": n} for n in range(2, 7)},
        {str(n): {"plcc": value} for n, value in zip(range(2, 7), (0.73, 0.75, 0.82, 0.85, 0.84), strict=True)}, "tid", _TID,
    ),
    "share": _table(
        "Supplement: how many of the pictures are ranked, then tuned, TID2013",
        {f"{n} %": {"share": n / 100} for n in range(20, 101, 20)},
        {f"{n} %": {"plcc": value} for n, value in zip(range(20, 101, 20), (0.82, 0.83, 0.84, 0.85, 0.85), strict=True)},
        "tid", _TID,
    ),
}  # fmt: skip
