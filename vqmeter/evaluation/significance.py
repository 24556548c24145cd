"""Is one model better than another on the same items?

`williams`: Williams' t for two correlations that share a variable, the one Steiger recommends (DOI
10.1037/0033-2909.87.2.245). `steiger`: his Z by Fisher's transform with the pooled correlation. Both are made for PLCC;
on ranks they are an approximation. `wilcoxon`: the signed-rank test of results on the same splits; splits share items,
so its p is too small, the more the splits overlap. All p-values are two-sided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def williams(r_a: float, r_b: float, r_ab: float, n: int) -> dict[str, float]:
    """Correlations of models a and b with the labels, of a with b, over `n` items: t, its degrees of freedom, p."""
    from scipy.stats import t as student

    if n <= 3 or not all(map(math.isfinite, (r_a, r_b, r_ab))):
        return {"t": math.nan, "df": n - 3, "p": math.nan}
    determinant = 1 - r_a**2 - r_b**2 - r_ab**2 + 2 * r_a * r_b * r_ab
    mean = (r_a + r_b) / 2
    below = 2 * (n - 1) / (n - 3) * max(determinant, 0.0) + mean**2 * (1 - r_ab) ** 3
    if below <= 1e-15 or r_a == r_b:
        return {"t": 0.0 if r_a == r_b else math.nan, "df": n - 3, "p": 1.0 if r_a == r_b else math.nan}
    t = (r_a - r_b) * math.sqrt((n - 1) * (1 + r_ab) / below)
    return {"t": t, "df": n - 3, "p": float(2 * student.sf(abs(t), n - 3))}


def steiger(r_a: float, r_b: float, r_ab: float, n: int) -> dict[str, float]:
    """As `williams`, by Fisher's z: Z and p."""
    from scipy.stats import norm

    if n <= 3 or not all(map(math.isfinite, (r_a, r_b, r_ab))):
        return {"z": math.nan, "p": math.nan}
    if r_a == r_b:
        return {"z": 0.0, "p": 1.0}
    mean = (r_a + r_b) / 2
    covariance = r_ab * (1 - 2 * mean**2) - 0.5 * mean**2 * (1 - 2 * mean**2 - r_ab**2)
    spread = 2 - 2 * covariance / (1 - mean**2) ** 2
    if spread <= 1e-12 or max(abs(r_a), abs(r_b)) >= 1:
        return {"z": math.nan, "p": math.nan}
    z = (math.atanh(r_a) - math.atanh(r_b)) * math.sqrt((n - 3) / spread)
    return {"z": z, "p": float(2 * norm.sf(abs(z)))}


def wilcoxon(a: Sequence[float], b: Sequence[float]) -> dict[str, Any]:
    """The signed-rank test of two models' results on the same splits: statistic, p, splits, and how often a won."""
    from scipy.stats import wilcoxon as signed_rank

    pairs = [(x, y) for x, y in zip(a, b, strict=True) if math.isfinite(x) and math.isfinite(y)]
    first, second = (np.array(column) for column in zip(*pairs, strict=True)) if pairs else (np.empty(0), np.empty(0))
    wins = int((first > second).sum())
    if not np.any(first != second):
        return {"statistic": 0.0, "p": 1.0, "splits": len(pairs), "wins": wins}
    found = signed_rank(first, second)
    return {"statistic": float(found.statistic), "p": float(found.pvalue), "splits": len(pairs), "wins": wins}
