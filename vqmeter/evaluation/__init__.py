"""Scores against human scores: correlations, fitted curves, intervals, splits by content, and one model against another.

`agreement(scores, labels, (4, 5))` is the heart; `study` does all that `vqmeter eval` does. Everything is seeded, and
what could not be computed is NaN with a reason beside it, never a number that looks like one.
"""

from __future__ import annotations

from vqmeter.evaluation.correlation import Agreement, agreement, krocc, pearson, rmse, srocc
from vqmeter.evaluation.intervals import bootstrap, bootstrap_difference
from vqmeter.evaluation.logistic import Fit, fit_logistic
from vqmeter.evaluation.significance import steiger, wilcoxon, williams
from vqmeter.evaluation.splits import split, summary

__all__ = [
    "Agreement", "Fit", "agreement", "bootstrap", "bootstrap_difference", "fit_logistic", "krocc", "pearson", "rmse",
    "split", "srocc", "steiger", "summary", "wilcoxon", "williams",
]  # fmt: skip
