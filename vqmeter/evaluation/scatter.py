"""Scores against labels as a picture, with the fitted curve: PNG, SVG or PDF by the ending, drawn by matplotlib (an extra)."""

from __future__ import annotations

import os

import numpy as np

from vqmeter.errors import OutputError, UsageError
from vqmeter.evaluation.correlation import agreement
from vqmeter.evaluation.joining import Pairs
from vqmeter.training import need

ENDINGS = (".png", ".svg", ".pdf")


def check_plot(path: str) -> None:
    """Fail before the work where the plot cannot be drawn.

    Raises
        UsageError: an ending it does not know, or matplotlib is missing.
    """
    if not path.lower().endswith(ENDINGS):
        raise UsageError(f"{path}: a plot ends in {', '.join(ENDINGS)}")
    need("matplotlib", "plots", "--plot")


def scatter(pairs: Pairs, path: str, *, sign: int = 1, orders: tuple[int, ...] = (4,), unit: str = "MOS") -> None:
    """Draw the items, colours by type where there are a few types, and every curve that could be fitted.

    Raises
        UsageError: matplotlib is missing.
        OutputError: the file cannot be written.
    """
    matplotlib = need("matplotlib", "plots", "--plot")
    figure = need("matplotlib.figure", "plots", "--plot").Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot()
    types = sorted({item.type for item in pairs.items})
    for kind in types if 1 < len(types) <= 10 else [None]:
        chosen = np.array([kind is None or item.type == kind for item in pairs.items])
        axes.scatter(pairs.scores[chosen], pairs.labels[chosen], s=12, alpha=0.6, linewidths=0, label=kind)
    found = agreement(pairs.scores, pairs.labels, orders, sign=sign)
    finite = pairs.scores[np.isfinite(pairs.scores)]
    along = np.linspace(finite.min(), finite.max(), 256)
    for fit, colour in zip(found.fits, ("black", "tab:red"), strict=False):
        if not fit.error:
            axes.plot(along, fit(sign * along), color=colour, lw=1.5, label=f"logistic-{fit.order}")
    axes.set(xlabel=pairs.name, ylabel=unit, title=f"n {found.n}, SROCC {found.srocc:.3f}, PLCC {found.plcc:.3f}")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
    metadata = {"Date": None} if path.lower().endswith(".svg") else None
    try:
        with matplotlib.rc_context({"svg.hashsalt": "vqmeter"}):
            figure.savefig(path, dpi=150, metadata=metadata)
    except OSError as error:
        raise OutputError(f"{os.fspath(path)}: {(error.strerror or str(error)).lower()}") from None
