"""SR-SIM against values asserted by piq, and MATLAB's resizing."""

import numpy as np
import pytest

from vqmeter.metric import find
from vqmeter.metrics.fr.srsim import Srsim
from vqmeter.tensors import resize_matrix

#: piq 0.8's tests/test_srsim.py, from the authors' SR_SIM.m; piq says its even kernel may differ from MATLAB's.
GOLD = {("gray", 10): 0.94652679, ("gray", 9): 0.94623509, ("colour", 10): 0.965973, ("colour", 9): 0.96667468}


@pytest.mark.parametrize(("pair", "taps"), GOLD)
def test_as_piq_asserts(pair, taps, piq_pairs, score_of):
    assert score_of(Srsim(taps=taps), *piq_pairs[pair]) == pytest.approx(GOLD[pair, taps], abs=1e-6)


def test_another_window_is_another_score():
    assert list(Srsim().scales()) == ["srsim"] and list(Srsim(taps=9).scales()) == ["srsim9"]


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("before", "after"), [(512, 128), (270, 68), (68, 270), (100, 256), (384, 256)])
def test_resizing_keeps_constants_and_the_middle_of_ramps(kernel, before, after):
    matrix = resize_matrix(before, after, kernel)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-12)
    ramp = matrix @ np.arange(before)
    inside = slice(after // 4, -after // 4)
    np.testing.assert_allclose(ramp[inside], ((np.arange(after) + 0.5) * before / after - 0.5)[inside], atol=0.05)


def test_bicubic_halving_has_matlabs_weights():
    """imresize(x, .5): eight taps of Keys's cubic at quarter steps, halved; MATLAB's `contributions` gives these."""
    row = resize_matrix(32, 16, "bicubic")[8]
    near = np.array([-0.01171875, -0.03515625, 0.11328125, 0.43359375])
    np.testing.assert_allclose(row[13:21], np.concatenate((near, near[::-1])), atol=1e-12)


def test_an_unknown_window_is_refused():
    from vqmeter.errors import UsageError
    from vqmeter.metric import NAMES

    if "srsim" in NAMES["fr"]:
        with pytest.raises(UsageError, match="taps is one of 10, 9"):
            find("fr", "srsim:taps=11")
