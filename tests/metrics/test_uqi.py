"""UQI against its definition in exact sums, the rules of its zeros, and the torch road against the kernel."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from vqmeter.errors import MismatchError
from vqmeter.kernels.rows import rows
from vqmeter.kernels.uqi import PITCH, uqi
from vqmeter.metric import Sample, Stream
from vqmeter.metrics.fr.uqi import TorchUqiMeter, Uqi


def oracle(ref, dist):
    """The mean over all windows: sums in 64-bit integers, quotients in float64."""

    def sums(x):
        return sliding_window_view(x, (8, 8)).sum((2, 3))

    x, y = ref.astype(np.int64), dist.astype(np.int64)
    sx, sy, squares, product = sums(x), sums(y), sums(x * x + y * y), sums(x * y)
    structure, variance = 2 * (64 * product - sx * sy), 64 * squares - sx**2 - sy**2
    light, power = 2 * sx * sy, sx**2 + sy**2
    first = np.where(variance == 0, 1, structure / np.where(variance == 0, 1, variance))
    second = np.where(power == 0, 1, light / np.where(power == 0, 1, power))
    return (first * second).mean()


def noise(shape, depth, seed):
    return np.random.default_rng(seed).integers(0, 1 << depth, shape).astype(np.uint8 if depth == 8 else np.uint16)


def pair_of(kind, depth, shape=(37, 61)):
    peak = (1 << depth) - 1
    a, b = noise(shape, depth, 1), noise(shape, depth, 2)
    y, x = np.mgrid[: shape[0], : shape[1]]
    smooth = np.rint((np.sin(x / 9) * np.cos(y / 7) * 0.4 + 0.5) * peak).astype(a.dtype)
    return {
        "noise": (a, b), "smooth": (smooth, np.clip(smooth.astype(int) + b % 9 - 4, 0, peak).astype(a.dtype)),
        "extremes": ((a & 1) * peak, (b & 1) * peak), "opposite": ((a & 1) * peak, peak - (a & 1) * peak),
        "half flat": (np.where(x < 30, 7, a).astype(a.dtype), np.where(x < 25, 9, b).astype(a.dtype)),
        "half black": (np.where(x < 30, 0, a).astype(a.dtype), np.where(x < 25, 0, b).astype(a.dtype)),
        "faint": (np.full_like(a, peak), peak - (b & 1)),
    }[kind]  # fmt: skip


def torch_score(ref, dist):
    stream = Stream(dist.info, ref.info, dist.info.pix_fmt, 1, None)
    return TorchUqiMeter(stream, "cpu").prepare(Sample(0, dist, ref))[0]


@pytest.mark.parametrize("depth", [8, 10, 12, 16])
@pytest.mark.parametrize("kind", ["noise", "smooth", "extremes", "opposite", "half flat", "half black", "faint"])
def test_equals_exact_sums(score_of, as_frame, depth, kind):
    a, b = pair_of(kind, depth)
    fmt = "gray" if depth == 8 else f"gray{depth}le"
    pair = as_frame(a, fmt), as_frame(b, fmt)
    assert score_of(Uqi(), *pair) == pytest.approx(oracle(a, b), abs=1e-6)
    assert torch_score(*pair) == pytest.approx(oracle(a, b), abs=1e-12)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("shape", [(8, 8), (8, 41), (41, 8), (11, PITCH), (11, PITCH + 1), (9, 2 * PITCH + 17)])
def test_sizes_and_strips(depth, shape):
    a, b = pair_of("smooth", depth, shape)
    assert uqi(rows(a), rows(b), shape[1]) == pytest.approx(oracle(a, b), abs=1e-6)


def test_reads_only_the_picture():
    a, b = pair_of("noise", 8)
    wide = [np.hstack([p, noise((len(p), 9), 8, 5)])[:, : p.shape[1]] for p in (a, b)]
    assert uqi(rows(wide[0]), rows(wide[1]), a.shape[1]) == uqi(rows(a), rows(b), a.shape[1])


@pytest.mark.parametrize(
    ("ref", "dist", "expected"),
    [(0, 0, 1.0), (100, 100, 1.0), (100, 200, 0.8), (0, 255, 0.0), (255, 0, 0.0), (1, 2, 0.8)],
)
def test_flat_pictures(score_of, as_frame, ref, dist, expected):
    """No variance: 2 mx my / (mx^2 + my^2), and 1 where both are black."""
    pair = [as_frame(np.full((20, 23), level, np.uint8)) for level in (ref, dist)]
    assert score_of(Uqi(), *pair) == pytest.approx(expected, abs=1e-7)
    assert torch_score(*pair) == pytest.approx(expected, abs=1e-12)


def test_one_flat_picture_scores_zero(score_of, as_frame):
    assert score_of(Uqi(), as_frame(np.full((20, 23), 90, np.uint8)), as_frame(noise((20, 23), 8, 1))) == 0.0


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("kind", ["noise", "half flat", "half black", "faint"])
def test_identical_pictures_are_exactly_one(score_of, as_frame, depth, kind):
    frame = as_frame(pair_of(kind, depth)[0], "gray" if depth == 8 else "gray16le")
    assert score_of(Uqi(), frame, frame) == 1.0 == torch_score(frame, frame)


def test_golden_pictures(score_of, piq_pairs):
    """.49626 on goldhill and .66927 on I01 (rounded luma): design/FACTS.md's float64 port of the authors' formula."""
    assert score_of(Uqi(), *piq_pairs["gray"]) == pytest.approx(0.49626, abs=5e-6)
    assert score_of(Uqi(), *piq_pairs["colour"]) == pytest.approx(0.66927, abs=5e-6)


def test_too_small_is_said(score_of, as_frame):
    with pytest.raises(MismatchError, match="8x8"):
        score_of(Uqi(), as_frame(np.zeros((7, 40), np.uint8)), as_frame(np.zeros((7, 40), np.uint8)))
