"""One evaluation from end to end: figures of the whole, their intervals, tables by column, splits, and another model beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vqmeter.errors import InputError, UsageError
from vqmeter.evaluation.correlation import FEWEST, Agreement, agreement, pearson, srocc
from vqmeter.evaluation.intervals import bootstrap, bootstrap_difference
from vqmeter.evaluation.joining import Pairs, common
from vqmeter.evaluation.significance import steiger, wilcoxon, williams
from vqmeter.evaluation.splits import split, summary
from vqmeter.metric import nearest
from vqmeter.training.datasets.items import Dataset, some


@dataclass(frozen=True)
class Plan:
    """What to find out. `fits` are orders of curves; `splits` is None for none; `group` and `by` name columns."""

    fits: tuple[int, ...] = (4,)
    bootstrap: int = 1000
    splits: str | None = None
    repeats: int = 10
    seed: int = 0
    group: str | None = None
    by: tuple[str, ...] = ()


def sign_of(pairs: Pairs, dataset: Dataset) -> int:
    """-1 where score and label count in opposite directions, so that good agreement is always positive."""
    return 1 if (pairs.better != "lower") == dataset.higher_is_better else -1


def study(pairs: Pairs, dataset: Dataset, plan: Plan, other: Pairs | None = None) -> dict[str, Any]:
    """The evaluation of one score as plain values; numbers that cannot be had are NaN.

    Raises
        InputError: no item has both a score and a label.
        UsageError: no such column, or contents too few for the split.
    """
    if not pairs.items:
        hint = some(pairs.no_score) or some(pairs.failed) or "nothing"
        raise InputError(f"{pairs.name}: no item has both a score and a label; without a score: {hint}")
    sign, groups = sign_of(pairs, dataset), column(pairs, dataset, plan.group or "group")
    whole = agreement(pairs.scores, pairs.labels, plan.fits, sign=sign)
    document: dict[str, Any] = {
        "score": pairs.name, "flipped": sign < 0, "groups": len(set(groups)), "validity": validity(pairs),
        "all": whole.to_json(), "intervals": None, "by": {}, "splits": None, "against": None,
        "items": [{"file": dataset.name_of(item.path), "score": float(x), "label": float(y), "group": group, "type": item.type}
                  for item, x, y, group in zip(pairs.items, pairs.scores, pairs.labels, groups, strict=True)],
    }  # fmt: skip
    for name in plan.by:
        document["by"][name] = by_column(pairs, column(pairs, dataset, name), plan, sign)
    if plan.splits:
        rows = over_splits(pairs, groups, plan, sign)
        document["splits"] = {"how": plan.splits, "repeats": plan.repeats, "seed": plan.seed, "contents": len(set(groups)),
                              "failed_fits": sum(f.error is not None for r in rows for f in r.fits),
                              "figures": summary([r.values() for r in rows])}  # fmt: skip
    if plan.bootstrap and len(pairs.items) >= FEWEST:
        document["intervals"] = bootstrap(pairs.scores, pairs.labels, whole, sign=sign, groups=groups,
                                          repeats=plan.bootstrap, seed=plan.seed)  # fmt: skip
    if other is not None:
        document["against"] = compare(pairs, other, dataset, plan)
    return document


def validity(pairs: Pairs) -> dict[str, Any]:
    """How many items count, and every one that does not, by reason."""
    keys = ("no_score", "no_label", "failed", "unlabelled", "ambiguous")
    return {"n": len(pairs.items), **{key: getattr(pairs, key) for key in keys}}


def column(pairs: Pairs, dataset: Dataset, name: str) -> list[str]:
    """The values of a column, one an item; a missing group is the item itself.

    Raises
        UsageError: no item has it.
    """
    values = [item.column(name) for item in pairs.items]
    if name == "reference":
        values = [dataset.name_of(value) if value else None for value in values]
    if name != "group" and not any(values):
        known = dict.fromkeys(["group", "type", "level", "reference", *(k for item in dataset.items for k in item.columns)])
        raise UsageError(f"no column '{name}' with values in the labels{nearest(name, known)} ({', '.join(known)})")
    return [value or (item.path if name == "group" else "") for value, item in zip(values, pairs.items, strict=True)]


def by_column(pairs: Pairs, values: Sequence[str], plan: Plan, sign: int) -> dict[str, Any]:
    """The figures of the items of each value, and their median, mean and sd over values."""
    rows = {}
    for value in sorted(set(values), key=_natural):
        chosen = np.array([v == value for v in values])
        rows[value] = agreement(pairs.scores[chosen], pairs.labels[chosen], plan.fits, sign=sign)
    return {"values": {value: found.to_json() for value, found in rows.items()},
            "summary": summary([found.values() for found in rows.values()])}  # fmt: skip


def _natural(text: str) -> tuple[int, float, str]:
    return (0, float(text), "") if text.isdecimal() else (1, 0.0, text)


def over_splits(pairs: Pairs, groups: Sequence[str], plan: Plan, sign: int) -> list[Agreement]:
    """The figures of the test part of every split; curves are fitted to that part, as the field does."""
    parts = [part[-1] for part in split(groups, plan.splits or "80/20", plan.repeats, plan.seed)]
    return [agreement(pairs.scores[part], pairs.labels[part], plan.fits, sign=sign) for part in parts]


def compare(pairs: Pairs, other: Pairs, dataset: Dataset, plan: Plan) -> dict[str, Any]:
    """Is `pairs` better than `other` on the items both have?"""
    a, b = common(pairs, other)
    if len(a.items) < FEWEST:
        raise InputError(f"--against: {len(a.items)} items have both scores, too few to compare")
    signs = sign_of(a, dataset), sign_of(b, dataset)
    x, z, y = signs[0] * a.scores, signs[1] * b.scores, a.labels
    groups = column(a, dataset, plan.group or "group")
    found: dict[str, Any] = {"score": b.name, "n": len(a.items)}
    for name, figure in (("srocc", srocc), ("plcc", pearson)):
        values = figure(x, y), figure(z, y), figure(x, z)
        found[name] = {"a": values[0], "b": values[1], "between": values[2], "williams": williams(*values, len(y)),
                       "steiger": steiger(*values, len(y))}  # fmt: skip
    if plan.bootstrap:
        found["bootstrap"] = bootstrap_difference(a.scores, b.scores, y, signs=signs, groups=groups, repeats=plan.bootstrap,
                                                  seed=plan.seed)  # fmt: skip
    how = plan.splits or ("80/20" if len(set(groups)) >= 5 else None)
    if how:
        parts = [part[-1] for part in split(groups, how, plan.repeats, plan.seed)]
        results = ([srocc(v[p], y[p]) for p in parts] for v in (x, z))
        found["wilcoxon"] = {"how": how, "of": "srocc", **wilcoxon(*results)}
    return found


def settings(plan: Plan) -> dict[str, Any]:
    """The plan as the document tells it."""
    return {**asdict(plan), "fits": list(plan.fits), "by": list(plan.by)}
