"""VSI against the authors' MATLAB, and against its definition in float64."""

import numpy as np
import pytest

from vqmeter.metrics.fr.vsi import Vsi
from vqmeter.tensors import resize_matrix


def test_i01_as_matlab(piq_pairs, score_of):
    """.96405: the authors' VSI.m, as asserted by piq 0.8's tests/test_vsi.py (1e-4); ours is .96395."""
    assert score_of(Vsi(), *piq_pairs["colour"]) == pytest.approx(0.96405, abs=1e-4)


def down(x):
    f = max(1, int(min(x.shape) / 256 + 0.5))
    full = np.zeros((x.shape[0] + f - 1, x.shape[1] + f - 1))
    for i in range(f):
        for j in range(f):
            full[i : i + x.shape[0], j : j + x.shape[1]] += x / f**2
    return full[f // 2 :, f // 2 :][: x.shape[0], : x.shape[1]][::f, ::f]


def resize(x, h, w):
    return resize_matrix(x.shape[0], h, "bilinear") @ x @ resize_matrix(x.shape[1], w, "bilinear").T


def plain_saliency(rgb):
    small = np.stack([resize(c, 256, 256) for c in rgb]) / 255
    linear = np.where(small <= 0.04045, small / 12.92, ((small + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = np.tensordot(matrix, linear, 1) / np.array([0.9642, 1, 0.8251])[:, None, None]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), (903.3 * xyz + 16) / 116)
    lab = 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])
    u = np.fft.fftfreq(256)
    radius = np.hypot(u[:, None], u)
    radius[0, 0] = 1
    gabor = np.where(radius <= 0.5, np.exp(-(np.log(radius / 0.021) ** 2) / (2 * 1.34**2)), 0)
    gabor[0, 0] = 0
    strength = np.sqrt(sum(np.fft.ifft2(np.fft.fft2(c) * gabor).real ** 2 for c in lab))
    away = (np.arange(1, 257) - 128) ** 2
    warm = sum(((c - c.min()) / (c.max() - c.min())) ** 2 for c in lab[1:])
    whole = strength * np.exp(-(away[:, None] + away) / 145**2) * (1 - np.exp(-warm / 0.001**2))
    whole = resize(whole, *rgb.shape[1:])
    return (whole - whole.min()) / (whole.max() - whole.min())


def plain_vsi(ref, dist):
    """VSI step by step in float64, of (3, H, W) pictures in 0..255."""
    features = []
    for rgb in (ref, dist):
        opponent, m, n = np.tensordot([[0.06, 0.63, 0.27], [0.30, 0.04, -0.35], [0.34, -0.60, 0.17]], rgb, 1)
        padded = np.pad(down(opponent), 1)
        gy, gx = ((3 * p[:, :-2] + 10 * p[:, 1:-1] + 3 * p[:, 2:]) / 16 for p in (padded, padded.T))
        gradient = np.hypot(gy[2:] - gy[:-2], (gx[2:] - gx[:-2]).T)
        features.append((down(plain_saliency(rgb)), gradient, down(m), down(n)))
    (v1, *one), (v2, *two) = features
    g, m, n = ((2 * a * b + c) / (a**2 + b**2 + c) for a, b, c in zip(one, two, (386, 130, 130), strict=True))
    s = g**0.4 * (2 * v1 * v2 + 1.27) / (v1**2 + v2**2 + 1.27) * ((m * n).astype(complex) ** 0.02).real
    weight = np.maximum(v1, v2)
    return (s * weight).sum() / weight.sum()


@pytest.mark.parametrize("size", [(300, 280), (401, 387), (120, 90)])
@pytest.mark.parametrize("fmt", ["rgb24", "gray"])
def test_as_defined(size, fmt, textured, score_of):
    ref, dist = textured(*size, fmt)
    pictures = [np.stack((list(frame.planes) * 3)[:3]).astype(float) for frame in (ref, dist)]
    assert score_of(Vsi(), ref, dist) == pytest.approx(plain_vsi(*pictures), abs=2e-5)


def test_goldhill_as_defined(piq_pairs, score_of):
    pair = piq_pairs["gray"]
    assert score_of(Vsi(), *pair) == pytest.approx(plain_vsi(*(np.stack(f.planes * 3).astype(float) for f in pair)), abs=2e-5)
