"""From raw ratings to MOS and DMOS: raters who do not fit are left out, and items too few people rated have no score.

`bt500`: ITU-R BT.500-14 A1-2.3.1, the screening by kurtosis and counts of outliers. `p913`: ITU-T P.913 (06/2021) 12.4,
each rater's bias removed, then the same screening. `mos`: the plain mean. DMOS is the differential score of BT.500 with
hidden references: each rating plus `best` minus the MOS of the item's reference.

The models are those of sureal (Netflix, Apache-2.0), the extra `ratings`; the minimum of raters is counted here, after
the screening. P.913 asks for 24 raters in a laboratory and 35 elsewhere, BT.500 for 15.
"""

from __future__ import annotations

import math
import types
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqmeter.errors import InputError, UsageError
from vqmeter.training import need
from vqmeter.training.datasets.tables import number, read_table

_MODELS = {"mos": "MosModel", "bt500": "BT500Model", "p913": "P913124Model"}
METHODS = tuple(_MODELS)


@dataclass(frozen=True)
class Ratings:
    """Raw ratings: `values` is (items, raters) float64, NaN where a rater did not rate; `references` names an item each."""

    items: tuple[str, ...]
    raters: tuple[str, ...]
    values: NDArray[np.float64]
    references: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Opinion:
    """Scores of items, (N,) float64; NaN in `mos` where fewer than the minimum rated it.

    `half_width` is half of the 95 % confidence interval, `raters` how many ratings count, `rejected` the raters left
    out, `bias` each rater's (P.913), `too_few` the items without a score.
    """

    items: tuple[str, ...]
    mos: NDArray[np.float64]
    half_width: NDArray[np.float64]
    raters: NDArray[np.int64]
    rejected: tuple[str, ...]
    too_few: tuple[str, ...]
    bias: tuple[float, ...] | None = None
    differential: bool = False


def read_ratings(path: str) -> Ratings:
    """A CSV with a row an item: its file, perhaps a column `reference`, then a column for every rater; empty is not rated."""
    table = read_table(path)
    if len(table.header) < 2:
        raise InputError(f"{path}: ratings need a row of titles: file, [reference], and the raters")
    reference = table.column("reference", "ref")
    raters = [n for n in range(1, len(table.header)) if n != reference]
    rows = [[number(row[n]) if n < len(row) else math.nan for n in raters] for row in table.rows]
    return Ratings(tuple(row[0] for row in table.rows), tuple(table.header[n] for n in raters), np.array(rows, np.float64),
                   None if reference is None else tuple(row[reference] for row in table.rows))  # fmt: skip


def opinion(ratings: Ratings, method: str = "bt500", *, minimum: int = 15, differential: bool = False,
            best: float = 5.0) -> Opinion:  # fmt: skip
    """MOS, or with `differential` DMOS, of every item.

    Raises
        UsageError: no such method, or sureal is not installed.
        InputError: too few items or raters to screen, or a reference without ratings.
    """
    if method not in _MODELS:
        raise UsageError(f"no method '{method}'; there are {', '.join(METHODS)}")
    values = ratings.values
    if values.ndim != 2 or values.shape != (len(ratings.items), len(ratings.raters)):
        raise InputError(f"ratings of {len(ratings.items)} items by {len(ratings.raters)} raters have shape {values.shape}")
    rated: NDArray[np.bool_] = np.any(np.isfinite(values), axis=1)
    if rated.sum() < 2 or not np.isfinite(values).sum(axis=0).all():
        raise InputError("ratings: fewer than two rated items, or a rater who rated nothing")
    result = _run(ratings, method, rated, differential, best)
    rejected = np.array(result.get("observer_rejected", [False] * len(ratings.raters)))
    counts = np.isfinite(values[:, ~rejected]).sum(axis=1)
    mos, half = np.full(len(values), np.nan), np.full(len(values), np.nan)
    mos[rated], half[rated] = result["quality_scores"], result["quality_scores_ci95"][0]
    few = counts < max(minimum, 1)
    mos[few] = half[few] = np.nan
    bias = result.get("observer_bias")
    return Opinion(ratings.items, mos, half, counts.astype(np.int64),
                   tuple(np.array(ratings.raters)[rejected].tolist()), tuple(np.array(ratings.items)[few].tolist()),
                   None if bias is None else tuple(map(float, bias)), differential)  # fmt: skip


def _run(ratings: Ratings, method: str, rated: NDArray[np.bool_], differential: bool, best: float) -> dict[str, Any]:
    """sureal's result for the rated items; a rater who never stands out divides 0 by 0 there, which is harmless."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        sureal = need("sureal", "ratings", "turning raw ratings into scores")
        reader = need("sureal.dataset_reader", "ratings", "turning raw ratings into scores").RawDatasetReader
        model = getattr(sureal, _MODELS[method])(reader(_as_dataset(ratings, rated, best, differential)))
        result: dict[str, Any] = model.run_modeling(**({"dscore_mode": True} if differential else {}))
    return result


def _as_dataset(ratings: Ratings, rated: NDArray[np.bool_], best: float, differential: bool) -> Any:
    """The ratings as sureal takes them: an object with `ref_videos`, `dis_videos` and `ref_score`."""
    places = np.flatnonzero(rated)
    names = [ratings.items[n] for n in places]
    references = [ratings.references[n] or ratings.items[n] for n in places] if ratings.references else names
    missing = sorted(set(references) - set(names))
    if differential and (ratings.references is None or missing):
        raise InputError(f"differential scores need ratings of every item's reference; missing: {', '.join(missing) or 'all'}")
    contents = {name: n for n, name in enumerate(dict.fromkeys(references))}
    dis = [{"content_id": contents[ref], "asset_id": n, "path": name, "os": ratings.values[place].tolist()}
           for n, (place, name, ref) in enumerate(zip(places, names, references, strict=True))]  # fmt: skip
    refs = [{"content_id": n, "path": name} for name, n in contents.items()]
    return types.SimpleNamespace(dataset_name="ratings", ref_videos=refs, dis_videos=dis, ref_score=best)
