"""RFSIM against another port, and Canny's edges on pictures whose edges are known."""

import numpy as np
import pytest
import torch

from vqmeter.kernels import canny
from vqmeter.metrics.fr.rfsim import HIGH, LOW, SIGMA, Rfsim, riesz


def test_as_another_port(piq_pairs, score_of):
    """.3494 and .3216: an independent port of the authors' RFSIM.m, to its last printed digit."""
    assert score_of(Rfsim(), *piq_pairs["gray"]) == pytest.approx(0.3494, abs=5e-5)
    assert score_of(Rfsim(), *piq_pairs["colour"]) == pytest.approx(0.3216, abs=5e-5)


@pytest.mark.parametrize("size", [(40, 56), (41, 55), (40, 55)])
def test_riesz_transforms_are_as_defined(size):
    x = np.random.default_rng(1).uniform(0, 255, size)
    v, u = (np.fft.ifftshift((np.arange(n) - n // 2) / (n - n % 2)) for n in size)
    radius = np.hypot(v[:, None], u)
    radius[0, 0] = 1
    h1, h2 = -1j * u / radius, -1j * v[:, None] / radius
    expected = [np.fft.ifft2(np.fft.fft2(x) * h).real for h in (h1, h2, h1 * h1, h1 * h2, h2 * h2)]
    np.testing.assert_allclose(riesz(torch.from_numpy(x)[None])[0].numpy(), expected, atol=2e-4)


def test_one_straight_edge():
    """A step between columns 29 and 30: an edge one pixel wide there, grown to -1..+2."""
    x = np.zeros((60, 60))
    x[:, 30:] = 100
    thin = canny.edges(x, SIGMA, LOW, HIGH, 1)
    assert set(np.flatnonzero(thin[30])) <= {29, 30} and thin[30].any()
    first = np.flatnonzero(thin[30])
    grown = canny.edges(x, SIGMA, LOW, HIGH, 4)
    assert list(np.flatnonzero(grown[30])) == list(range(first[0] - 1, first[-1] + 3))


def test_weak_edges_count_only_where_joined_to_strong_ones():
    x = np.zeros((120, 120))
    x[:, 80:] = 100  # strong
    x[:60, 30:] += 11  # weak: above low, below high, apart from the strong one
    found = canny.edges(x, SIGMA, LOW, HIGH, 1)
    assert found[:, 70:90].any() and not found[:40, 20:40].any()


def test_a_flat_picture_has_no_edges():
    assert not canny.edges(np.full((30, 30), 7.0), SIGMA, LOW, HIGH, 4).any()
