"""The report's figures for C3D, and the comparisons that its further scope suggests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqmeter.training.recipes import Comparison

REPORT = "C3D transfer-learning report"
#: The squared error that the report's log shows for nine epochs.
LOG = {18: 68.4689, 19: 55.4590, 20: 77.7548, 21: 25.3932, 22: 51.2619, 23: 58.2461, 24: 50.4743, 25: 43.3520, 26: 44.1089}
DATA = "LIVE VQA, 150 videos; C3D's weights (vqmeter weights pull c3d-sports1m)"
ONCE = "features once, 38.5 GMAC a clip: minutes on 2 cores"
THIN: Mapping[str, Any] = {"scratch": True, "width": 0.125, "fc_rank": 64}


def _scope(title: str, rows: Mapping[str, Mapping[str, Any]], real: str, repeats: int = 5) -> Comparison:
    """A table the report asks for and does not have."""
    return Comparison(title, f"{REPORT}, further scope", rows, {}, f"{DATA}. {real}", ("srocc", "plcc", "mse"), repeats=repeats)


WITHOUT_REFERENCE = {
    "report": Comparison(
        "Squared error on 10 of 150 videos drawn whatever their content", REPORT,
        {"as published": {"as_published": True, "hold": 10}, "standardised, stopped early": {"hold": 10}},
        {("as published", "mse_train"): 0.8, ("as published", "mse"): 83.0},
        f"{DATA}; {ONCE}, a minute of training. A constant's error stands beside: 120.5 over all 150 videos.",
        ("mse_train", "mse", "mse_constant"), "none", 1,
    ),
    "log": Comparison(
        "Squared error while training, by epoch", f"{REPORT}, its log",
        {"as published": {"as_published": True, "hold": 10}},
        {("as published", f"epoch {epoch}"): value for epoch, value in LOG.items()},
        f"{DATA}; {ONCE}.", tuple(f"epoch {epoch}" for epoch in LOG), "none", 1,
    ),
    "heads": _scope(
        "Regressors on the same features",
        {"512": {}, "128": {"hidden": 128}, "64": {"hidden": 64}, "SVR": {"head": "svr"}, "ridge": {"head": "ridge"}},
        f"{ONCE}; all five in minutes.",
    ),
    "outputs": _scope(
        "The score alone, or with the deviation of its ratings", {"mos": {}, "mos+std": {"outputs": "mos+std"}}, f"{ONCE}.",
    ),
    "finetune": _scope(
        "How much of C3D is trained along",
        {"frozen": {}, "last block": {"finetune": 1}, "last two blocks": {"finetune": 2},
         "last block, no norms": {"finetune": 1, "norms": False}, "thin, from scratch": THIN},
        "An epoch of 90 clips with two blocks is 3.5 TMAC: with 5 splits about two hours on 2 cores, minutes on a GPU.",
    ),
    "views": _scope(
        "What of a video is seen",
        {"whole frame squeezed": {}, "middle of 171x128": {"view": "c3d"}, "5 crops of 171x128": {"view": "c3d", "crops": 5},
         "10 crops at native size": {"view": "crops"}, "centre16": {"clips": "centre16"}, "3 phases": {"phases": 3},
         "all windows": {"clips": "every"}},
        "22 to 33 clips a video together, 190 TMAC: half an hour on 2 cores.",
    ),
}  # fmt: skip
WITH_REFERENCE = {
    "fr": _scope(
        "Without a reference, on the difference of videos, on that of features",
        {"distorted alone": {"mode": "feature", "fusion": "d"}, "difference of videos": {"mode": "difference"},
         "|difference of features|": {"mode": "feature", "fusion": "abs"},
         "both and their difference": {"mode": "feature", "fusion": "r,d,r-d"}},
        f"{ONCE}.",
    ),
}  # fmt: skip
