"""Bjontegaard deltas: what one ladder of encodes saves against another, on average, at equal quality or equal bitrate.

    BD-rate     100 (10^d - 1) per cent, d the mean over the common qualities of log10 rate_test(q) - log10 rate_anchor(q)
    BD-quality  the mean over the common log10 rates of q_test - q_anchor, in the score's own unit

The curves go through the points: `pchip` is piecewise cubic and never overshoots, the way of JVET's and AOM's common test
conditions and the default; `akima` lies closer to true curves by the study of Herglotz et al.; `cubic` is one
polynomial of third order, as first proposed, and may turn round between points. The arithmetic is the library
bjontegaard's. Source: G. Bjontegaard, Calculation of average PSNR differences between RD-curves, VCEG-M33, 2001;
JCTVC-L1100; C. Herglotz et al., Beyond Bjontegaard, ICIP 2022, arXiv:2202.12565.
"""

from vqmeter.bdrate.curves import Curve, Point, Reading, read_curves
from vqmeter.bdrate.delta import METHODS, Delta, How, Ladder, compare, deltas, ladder

__all__ = ["METHODS", "Curve", "Delta", "How", "Ladder", "Point", "Reading", "compare", "deltas", "ladder", "read_curves"]
