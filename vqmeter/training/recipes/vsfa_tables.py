"""The tables of VSFA's comparison on LIVE-APV, and those that its remarks suggest, with the published figures."""

from __future__ import annotations

from vqmeter.training.comparison import PUBLISHED_ONLY
from vqmeter.training.recipes import Comparison

_SOURCE = "a study of VSFA on LIVE-APV"
_COLUMNS = ("srocc", "krocc", "plcc")
_REAL = (
    "LIVE-APV (45 contents, 315 videos of 1080p and 4K; scores from its owners), content-separated, five splits. Features of "
    "one backbone are made once: ResNet-50 is 169 GMAC a 1080p frame and 676 a 4K one, so with about 300 frames a video some "
    "40 PMAC: by estimate 2 hours on one data-centre GPU in float32, two to four days on 16 CPU cores (ResNet-18 0.45 times, "
    "ResNet-101 1.9 times that). The heads of a table take a few hours on a CPU by default, ten times that as_published."
)
_OWN = "Published without figures; ours alone stand here. On "

Figures = dict[tuple[str, str], float]


def _figures(rows: dict[str, tuple[float, ...]], names: tuple[str, ...]) -> Figures:
    return {(row, name): value for row, values in rows.items() for name, value in zip(names, values, strict=True)}


#: SROCC, KROCC and LCC, means and standard deviations over five runs.
_NAMES = ("srocc", "krocc", "plcc", "srocc_std", "krocc_std", "plcc_std")
_TEMPORAL = _figures(
    {
        "no time": (0.659, 0.482, 0.680, 0.049, 0.042, 0.071),
        "avg-GRU": (0.746, 0.558, 0.769, 0.067, 0.066, 0.060),
        "sub-LSTM": (0.797, 0.610, 0.800, 0.052, 0.056, 0.056),
        "sub-GRU": (0.804, 0.619, 0.818, 0.060, 0.066, 0.055),
    },
    _NAMES,
)
_BACKBONES = _figures(
    {
        "ResNet-18": (0.759, 0.575, 0.776, 0.061, 0.068, 0.052),
        "ResNet-50": (0.804, 0.619, 0.818, 0.060, 0.066, 0.055),
        "ResNet-101": (0.801, 0.611, 0.810, 0.072, 0.074, 0.074),
    },
    _NAMES,
)
_FPS = _figures(
    {
        "native": (0.804, 0.619, 0.818),
        "25 fps": (0.810, 0.626, 0.820),
        "20 fps": (0.806, 0.622, 0.820),
        "10 fps": (0.795, 0.607, 0.812),
        "5 fps": (0.773, 0.587, 0.779),
    },
    _COLUMNS,
)

COMPARISONS = {
    "temporal": Comparison(
        "Table 1: models of time", _SOURCE,
        {"no time": {"temporal": "none"}, "avg-GRU": {"temporal": "avg-gru"}, "sub-LSTM": {"temporal": "sub-lstm"},
         "sub-GRU": {"temporal": "sub-gru"}},
        _TEMPORAL, _REAL, _COLUMNS,
    ),
    "backbones": Comparison(
        "Table 2: backbones", _SOURCE,
        {"ResNet-18": {"backbone": "resnet18"}, "ResNet-50": {"backbone": "resnet50"}, "ResNet-101": {"backbone": "resnet101"}},
        _BACKBONES, _REAL, _COLUMNS,
    ),
    "chipqa": Comparison(
        "Table 3: beside ChipQA", _SOURCE, {"VSFA": {}, "ChipQA": PUBLISHED_ONLY},
        {("VSFA", "srocc"): 0.80, ("VSFA", "srocc_std"): 0.06, ("ChipQA", "srocc"): 0.83, ("ChipQA", "srocc_std"): 0.04},
        _REAL, ("srocc",),
    ),
    "fps": Comparison(
        "Fig. 4: fixed frame rates", _SOURCE,
        {"native": {}, **{f"{n} fps": {"fps": float(n)} for n in (25, 20, 10, 5)}}, _FPS, _REAL, _COLUMNS,
    ),
    "contrastive": Comparison(
        "With and without contrastive training on video without labels", _SOURCE,
        {"without": {"pretrain": None}, "contrastive": {"pretrain": "contrastive"}},
        {}, _OWN + _REAL, _COLUMNS,
    ),
    "self_label": Comparison(
        "Rounds of labelling by itself, half of the contents without labels", _SOURCE,
        {f"{n} rounds": {"self_label": n, "labelled": 0.5} for n in range(3)},
        {}, _OWN + _REAL, _COLUMNS,
    ),
    "end_to_end": Comparison(
        "Head alone, or the ResNet too", _SOURCE, {"head": {"end_to_end": False}, "end to end": {"end_to_end": True}},
        {}, _OWN + _REAL + " Training a ResNet-50 on crops of 192 pixels is 9 GMAC a crop and pass, three passes a step: "
        "minutes on a GPU, days on a CPU.", _COLUMNS,
    ),
}  # fmt: skip
