"""Splits that keep contents apart, and what is measured over them.

Groups are dealt out by a generator seeded with (seed, repeat), so a split depends on nothing else; every part has at
least one group. Over splits, the median, the mean and the standard deviation (n - 1) of each figure are told.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vqmeter.errors import UsageError

Indices = NDArray[np.int64]


def parse_splits(text: str) -> tuple[tuple[int, ...], int]:
    """`80/20` or `60/20/20` as (shares, 0), `10-fold` as ((), 10).

    Raises
        UsageError: it is neither.
    """
    fold = re.fullmatch(r"(\d+)-?fold", text.strip())
    if fold and int(fold[1]) >= 2:
        return (), int(fold[1])
    if re.fullmatch(r"\d+(/\d+){1,2}", text.strip()):
        shares = tuple(map(int, text.split("/")))
        if sum(shares) == 100 and min(shares) > 0:
            return shares, 0
    raise UsageError(f"--splits {text}: write shares that add up to 100, as 80/20 or 60/20/20, or folds, as 10-fold")


def split(groups: Sequence[str], how: str, repeats: int = 10, seed: int = 0) -> Iterator[tuple[Indices, ...]]:
    """Splits of items whose contents are `groups`: (train, test), (train, validation, test), or k folds as (train, test).

    Each part is the sorted numbers of its items, (N,) int64. Folds come k a repeat.

    Raises
        UsageError: `how` is not a split, or there are fewer groups than parts.
    """
    shares, folds = parse_splits(how)
    names = list(dict.fromkeys(groups))
    places = {name: n for n, name in enumerate(names)}
    member = np.array([places[g] for g in groups], np.int64)
    if len(names) < (folds or len(shares)):
        raise UsageError(f"--splits {how}: {len(names)} contents cannot be split so; items of one content stay together")
    for repeat in range(repeats):
        order = np.random.default_rng([seed, repeat]).permutation(len(names))
        if folds:
            for part in np.array_split(order, folds):
                yield np.flatnonzero(~np.isin(member, part)), np.flatnonzero(np.isin(member, part))
        else:
            yield tuple(np.flatnonzero(np.isin(member, part)) for part in np.split(order, _cuts(shares, len(names))))


def _cuts(shares: Sequence[int], count: int) -> list[int]:
    """Where to cut `count` groups: nearest to the shares, no part empty."""
    cuts, done, before = [], 0, 0
    for n, share in enumerate(shares[:-1]):
        done += share
        left = len(shares) - 1 - n
        before = min(max(math.floor(count * done / 100 + 0.5), before + 1), count - left)
        cuts.append(before)
    return cuts


def summary(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float | int]]:
    """Median, mean and sd (n - 1) of every figure over splits, with the number of splits that have it."""
    table: dict[str, dict[str, float | int]] = {}
    for name in rows[0] if rows else ():
        values = np.array([row[name] for row in rows])
        values = values[np.isfinite(values)]
        middle, mean = (float(np.median(values)), float(values.mean())) if len(values) else (math.nan, math.nan)
        spread = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        table[name] = {"median": middle, "mean": mean, "sd": spread, "splits": len(values)}
    return table
