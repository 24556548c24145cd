"""FSIM and FSIMc against the authors' MATLAB, and phase congruency against its definition in float64."""

import numpy as np
import pytest
import torch

from vqmeter.metrics.fr import phase_congruency as pc
from vqmeter.metrics.fr.fsim import Fsim, Fsimc


def test_goldhill_as_matlab(piq_pairs, score_of):
    """.89691: the authors' FeatureSIM.m, as asserted by piq 0.8's tests/test_fsim.py."""
    assert score_of(Fsim(), *piq_pairs["gray"]) == pytest.approx(0.89691, abs=1e-5)


def test_i01_as_matlab(piq_pairs, score_of):
    """.93674 (FSIM) and .92587 (FSIMc): the authors' FeatureSIM.m, as asserted by piq 0.8's tests/test_fsim.py."""
    assert score_of(Fsim(), *piq_pairs["colour"]) == pytest.approx(0.93674, abs=1e-5)
    assert score_of(Fsimc(), *piq_pairs["colour"]) == pytest.approx(0.92587, abs=1e-5)


def test_grey_has_no_chroma_to_differ_in(textured, score_of):
    pair = textured(100, 90)
    assert score_of(Fsimc(), *pair) == pytest.approx(score_of(Fsim(), *pair), abs=1e-6)


def plain_phase_congruency(x):
    """phasecong2 step by step in float64."""
    h, w = x.shape
    axis = [(np.arange(n) - n // 2) / (n - n % 2) for n in (h, w)]
    fy, fx = (np.fft.ifftshift(a) for a in np.meshgrid(*axis, indexing="ij"))
    radius, theta = np.sqrt(fx**2 + fy**2), np.arctan2(-fy, fx)
    low_pass = 1 / (1 + (radius / 0.45) ** 30)
    radius[0, 0] = 1
    energy, amplitude = np.zeros((h, w)), np.zeros((h, w))
    for o in range(4):
        angle = o * np.pi / 4
        away = np.abs(np.arctan2(np.sin(theta) * np.cos(angle) - np.cos(theta) * np.sin(angle),
                                 np.cos(theta) * np.cos(angle) + np.sin(theta) * np.sin(angle)))  # fmt: skip
        bank = []
        for s in range(4):
            gabor = np.exp(-(np.log(radius * 6 * 2**s) ** 2) / (2 * np.log(0.55) ** 2)) * low_pass
            gabor[0, 0] = 0
            bank.append(gabor * np.exp(-(away**2) / (2 * (np.pi / 4 / 1.2) ** 2)))
        eo = [np.fft.ifft2(np.fft.fft2(x) * f) for f in bank]
        amplitude += sum(np.abs(e) for e in eo)
        total = sum(eo)
        size = np.abs(total) + 1e-4
        me, mo = total.real / size, total.imag / size
        local = sum(e.real * me + e.imag * mo - np.abs(e.real * mo - e.imag * me) for e in eo)
        power = np.median(np.abs(eo[0]) ** 2) / np.log(2) / (bank[0] ** 2).sum()
        a = [np.fft.ifft2(f).real * np.sqrt(h * w) for f in bank]
        cross = sum((a[i] * a[j]).sum() for i in range(4) for j in range(i + 1, 4))
        tau = np.sqrt((2 * power * sum((k**2).sum() for k in a) + 4 * power * cross) / 2)
        threshold = (tau * np.sqrt(np.pi / 2) + 2 * np.sqrt((2 - np.pi / 2) * tau**2)) / 1.7
        energy += np.maximum(local - threshold, 0)
    return energy / amplitude


@pytest.mark.parametrize("size", [(48, 64), (45, 63), (33, 48)])
def test_phase_congruency_is_as_defined_on_both_roads(size):
    x = np.random.default_rng(3).uniform(0, 255, size)
    x[10:20, 12:30] += 200
    expected = plain_phase_congruency(x)
    picture = torch.from_numpy(x)[None]
    np.testing.assert_allclose(pc.phase_congruency(picture)[0].numpy(), expected, atol=2e-6)
    spectrum = torch.fft.fft2((picture - picture[:, :1, :1]).float())
    np.testing.assert_allclose(pc.congruency(spectrum, *pc.filters(*size, picture.device))[0].numpy(), expected, atol=2e-6)
