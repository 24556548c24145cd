"""MS-SSIM against its definition in float64 (scipy) and published pictures; the torch road against the kernels."""

import json

import numpy as np
import pytest
from scipy.ndimage import correlate1d, uniform_filter

from vqmeter import measure
from vqmeter.errors import MismatchError
from vqmeter.kernels.rows import rows
from vqmeter.kernels.shrink import shrink
from vqmeter.kernels.ssim import ssim_cs
from vqmeter.metric import Sample, Stream
from vqmeter.metrics.fr.ms_ssim import MsSsim, TorchMsSsimMeter, combined

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def shrunk(x, factor):
    """MATLAB's imfilter(x, ones(F) / F^2, 'symmetric'), every F-th sample, in float64."""
    return uniform_filter(np.asarray(x, float), factor, mode="reflect", origin=-1 if factor % 2 == 0 else 0)[::factor, ::factor]


def similarity(a, b, peak):
    """Mean SSIM and mean contrast-structure term over the valid region, float64."""
    window = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    window /= window.sum()

    def mean(x):
        return correlate1d(correlate1d(x, window, 0), window, 1)[5:-5, 5:-5]

    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    ma, mb = mean(a), mean(b)
    structure = (2 * (mean(a * b) - ma * mb) + c2) / (mean(a * a) - ma**2 + mean(b * b) - mb**2 + c2)
    return float(((2 * ma * mb + c1) / (ma**2 + mb**2 + c1) * structure).mean()), float(structure.mean())


def oracle(a, b, peak):
    product, a, b = 1.0, a.astype(float), b.astype(float)
    for level, weight in enumerate(WEIGHTS):
        if level:
            a, b = shrunk(a, 2), shrunk(b, 2)
        similar, structure = similarity(a, b, peak)
        product *= max(similar if level == 4 else structure, 0.0) ** weight
    return product


def torch_score(ref, dist):
    (value,) = TorchMsSsimMeter(Stream(dist.info, ref.info, dist.info.pix_fmt, 1, None), "cpu").prepare(Sample(0, dist, ref))
    return value


@pytest.mark.parametrize(("fmt", "size"), [("gray", (161, 161)), ("gray", (353, 201)), ("gray10le", (354, 203)),
                                           ("gray12le", (200, 333)), ("gray16le", (353, 201))])  # fmt: skip
def test_equals_float64(score_of, textured, fmt, size):
    ref, dist = textured(*size, fmt, grain=12.0)
    expected = oracle(ref.planes[0], dist.planes[0], ref.info.pix_fmt.peak)
    assert 0.3 < expected < 0.99
    assert score_of(MsSsim(), ref, dist) == pytest.approx(expected, abs=1e-6)
    assert torch_score(ref, dist) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("levels", [(0, 255), (100, 200), (128, 127)])
def test_flat_pictures(score_of, as_frame, levels):
    """Black against white has an SSIM of 1e-4: its power .1333 makes 3e-5 of the kernel's last bit, 6e-8."""
    a, b = (np.full((170, 163), level, np.uint8) for level in levels)
    pair = as_frame(a), as_frame(b)
    tolerance = 1e-4 if levels == (0, 255) else 1e-6
    assert score_of(MsSsim(), *pair) == pytest.approx(oracle(a, b, 255), abs=tolerance)
    assert torch_score(*pair) == pytest.approx(oracle(a, b, 255), abs=tolerance)


def test_golden_piq_pictures(score_of, piq_pairs):
    """piq 0.8 (commit 9948a52) in float64: .90116 on goldhill; .93543 on I01 is of unrounded luma, rounded it is .93536."""
    assert score_of(MsSsim(), *piq_pairs["gray"]) == pytest.approx(0.90116, abs=5e-6)
    ref, dist = piq_pairs["colour"]
    assert score_of(MsSsim(), ref, dist) == pytest.approx(0.93536, abs=1e-5)
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    levels = [[np.tensordot(weights, np.stack(frame.planes).astype(np.float32), 1)] for frame in (ref, dist)]
    for _ in range(4):
        for pyramid in levels:
            pyramid.append(shrink(rows(pyramid[-1]), pyramid[-1].shape[1], 2))
    terms = [ssim_cs(rows(a), rows(b), a.shape[1], 255.0) for a, b in zip(*levels, strict=True)]
    assert combined(terms) == pytest.approx(0.93543, abs=5e-6)


def test_golden_clips_lie_near_libvmaf(testdata):
    """libvmaf f85a8536's float_ms_ssim halves with another filter: within 0.01 a frame."""
    folder = testdata / "golden"
    for case in json.loads((folder / "fr_peers.json").read_text())[:2]:
        result = measure(folder / case["distorted"], reference=folder / case["reference"], metrics="ms_ssim",
                         size=case["size"], pix_fmt=case["pix_fmt"]).only  # fmt: skip
        theirs = [frame["float_ms_ssim"] for frame in case["libvmaf_f85a8536"]["frames"]]
        np.testing.assert_allclose(result.frames["ms_ssim_y"], theirs, rtol=0, atol=0.01)


@pytest.mark.parametrize("fmt", ["gray", "gray16le", "rgb24"])
def test_identical_pictures_are_exactly_one(score_of, textured, fmt):
    ref, _ = textured(177, 163, fmt)
    assert score_of(MsSsim(), ref, ref) == 1.0


def test_negative_contrast_counts_as_zero(score_of, as_frame):
    noise = np.random.default_rng(0).integers(0, 256, (180, 180)).astype(np.uint8)
    assert score_of(MsSsim(), as_frame(noise), as_frame(255 - noise)) == 0.0
    assert combined([(0.9, 0.5), (0.9, -0.1), (0.9, 0.5), (0.9, 0.5), (0.9, 0.5)]) == 0.0
    assert combined([(0.9, 0.5)] * 4 + [(-0.1, 0.5)]) == 0.0


def test_the_smallest_picture(score_of, as_frame):
    flat = np.zeros((161, 161), np.uint8)
    assert score_of(MsSsim(), as_frame(flat), as_frame(flat)) == 1.0
    for shape in ((160, 400), (400, 160)):
        with pytest.raises(MismatchError, match="161x161"):
            score_of(MsSsim(), as_frame(np.zeros(shape, np.uint8)), as_frame(np.zeros(shape, np.uint8)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("shape", [(40, 40), (41, 43), (42, 47), (8, 8), (9, 300)])
def test_shrink_equals_scipy(shape, factor, dtype):
    plane = np.random.default_rng(factor).integers(0, np.iinfo(np.uint8 if dtype == np.uint8 else np.uint16).max, shape)
    wide = np.hstack([plane, np.full((shape[0], 5), 77)]).astype(dtype)
    got = shrink(rows(wide), shape[1], factor)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, shrunk(plane, factor), rtol=1e-6)
