"""IPM: a cubic of another metric's score, and its own numbers under their own name."""

import numpy as np
import pytest

from vqmeter.metrics.fr.fsim import Fsim
from vqmeter.metrics.fr.ipm import IpmFsim, IpmSrsim, IpmSsim, cubic
from vqmeter.metrics.fr.srsim import Srsim
from vqmeter.metrics.fr.ssim import Ssim


@pytest.mark.parametrize(("metric", "inner"), [(IpmSsim, Ssim), (IpmFsim, Fsim), (IpmSrsim, Srsim)])
def test_is_the_cubic_of_the_inner_score(metric, inner, textured, score_of):
    ref, dist = textured(90, 70, "yuv420p")
    q = score_of(inner(), ref, dist)
    own = metric(a=10.0, b=20.0, c=30.0, d=5.0)
    assert score_of(own, ref, dist) == pytest.approx(10 * q**3 + 20 * q**2 + 30 * q + 5, abs=1e-9)
    assert next(iter(own.scales())) == next(iter(metric().scales())) + "_own"


@pytest.mark.parametrize("metric", [IpmSsim(), IpmFsim(), IpmSrsim()])
def test_default_never_falls_and_stays_within_its_scale(metric):
    scores = np.array([cubic(q, metric.a, metric.b, metric.c, metric.d) for q in np.linspace(-1, 1, 2001)])
    assert (np.diff(scores) >= 0).all() and scores[0] >= 0 and 50 < scores[-1] <= 100
