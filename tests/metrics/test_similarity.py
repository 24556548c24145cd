"""What FSIM, FSIMc, SR-SIM, VSI and RFSIM share: D(F), gradients, and how any of them behaves at the edges."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from vqmeter.errors import MismatchError
from vqmeter.kernels import box
from vqmeter.metric import Clip, Sample
from vqmeter.metrics.fr import rfsim, similarity, srsim, vsi
from vqmeter.metrics.fr.fsim import Fsim, Fsimc
from vqmeter.metrics.fr.rfsim import Rfsim
from vqmeter.metrics.fr.srsim import Srsim
from vqmeter.metrics.fr.vsi import Vsi

METRICS = [Fsim(), Fsimc(), Srsim(), Srsim(taps=9), Vsi(), Rfsim()]
SMALLEST = {Fsim: 16, Fsimc: 16, Srsim: srsim.SMALLEST, Vsi: vsi.SMALLEST, Rfsim: rfsim.SMALLEST}
every_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda m: next(iter(m.scales())))


def down_plainly(x, factor):
    """MATLAB's conv2(x, ones(F)/F^2, 'same')(1:F:end, 1:F:end), by the book."""
    h, w = x.shape
    full = np.zeros((h + factor - 1, w + factor - 1))
    for i in range(factor):
        for j in range(factor):
            full[i : i + h, j : j + w] += x
    start = factor // 2
    return full[start : start + h, start : start + w][::factor, ::factor] / factor**2


@pytest.mark.parametrize(
    ("side", "factor"), [(1, 1), (383, 1), (384, 2), (639, 2), (640, 3), (720, 3), (896, 4), (1080, 4), (1152, 5)]
)
def test_factor_rounds_halves_up_as_matlab(side, factor):
    assert box.factor(side, side + 100) == box.factor(side + 100, side) == factor


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_box_sum_is_conv2_same(factor, dtype):
    x = np.random.default_rng(factor).integers(0, np.iinfo(dtype).max + 1, (23, 31)).astype(dtype)
    padded = np.zeros((23, 40), dtype)
    padded[:, :31] = x
    padded[:, 31:] = 77
    np.testing.assert_allclose(box.box_sum(padded, 31, factor) / factor**2, down_plainly(x, factor), rtol=1e-6)


def test_scharr_of_a_ramp():
    x = torch.arange(8.0).expand(1, 6, 8)
    assert torch.allclose(similarity.scharr(x)[0, 1:-1, 1:-1], torch.tensor(2.0))


def test_negative_chroma_products_give_the_real_part():
    a, b = torch.tensor([[[50.0]]]), torch.tensor([[[-50.0]]])
    got = similarity.chroma_similarity((a, a), (b, a), 130.0, 0.02).item()
    expected = (complex(-5000 + 130, 0) / (5000 + 130)) ** 0.02
    assert got == pytest.approx(expected.real, abs=1e-6)


@every_metric
@pytest.mark.parametrize("size", [(64, 64), (65, 91), (400, 387), (643, 640)])
def test_identical_is_one_and_grain_is_less(metric, size, textured, score_of):
    ref, dist = textured(*size)
    assert score_of(metric, ref, ref) == pytest.approx(1, abs=1e-6)
    assert score_of(metric, ref, dist) < 0.999


@every_metric
def test_smallest_frames_are_scored_and_smaller_refused(metric, textured, score_of):
    side = SMALLEST[type(metric)]
    assert 0 < score_of(metric, *textured(side, side + 3)) < 1
    with pytest.raises(MismatchError, match=f"{side}x{side}"):
        score_of(metric, *textured(side - 1, 64))


@every_metric
@pytest.mark.parametrize("size", [(64, 64), (67, 51), (400, 390)])
def test_flat_frames_are_defined(metric, size, as_frame, textured, score_of):
    grey, white = (as_frame(np.full(size[::-1], value, np.uint8)) for value in (128, 255))
    assert score_of(metric, grey, grey) == pytest.approx(1, abs=1e-6)
    for pair in ((grey, white), (white, textured(*size)[0]), (textured(*size)[0], grey)):
        assert np.isfinite(score_of(metric, *pair)) and score_of(metric, *pair) <= 1


@every_metric
def test_symmetric(metric, textured, score_of):
    ref, dist = textured(120, 90, "yuv420p")
    assert score_of(metric, ref, dist) == pytest.approx(score_of(metric, dist, ref), abs=1e-9)


@every_metric
def test_ten_bits_score_as_eight(metric, textured, as_frame, score_of):
    """The same samples times four: a limited range reaches 4 x 255 / 1023 of the 8-bit scale, no more than that."""
    eight = textured(96, 80, "yuv420p")
    ten = [as_frame([p.astype(np.uint16) * 4 for p in frame.planes], "yuv420p10le") for frame in eight]
    assert score_of(metric, *ten) == pytest.approx(score_of(metric, *eight), abs=3e-3)


@every_metric
@pytest.mark.parametrize("fmt", ["yuv422p", "yuv444p10le", "rgb24", "gray10le"])
def test_other_formats(metric, fmt, textured, score_of):
    ref, dist = textured(70, 66, fmt)
    assert score_of(metric, ref, ref) == pytest.approx(1, abs=1e-6) and 0 < score_of(metric, ref, dist) < 1


@every_metric
def test_threads_change_nothing(metric, textured, open_meter):
    pairs = [textured(130, 110, "yuv420p", seed=n) for n in range(4)]
    meter = open_meter(metric, *pairs[0])
    alone = [meter.prepare(Sample(n, dist, ref)) for n, (ref, dist) in enumerate(pairs)]
    for frame in (frame for pair in pairs for frame in pair):
        frame._memo.clear()
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda pair: meter.prepare(Sample(0, pair[1], pair[0])), pairs)) == alone


@every_metric
def test_batches_change_nothing(metric, textured, open_meter):
    """The road of the GPU, taken on the CPU: reduced frames, stacked and scored together."""
    pairs = [textured(130, 110, "yuv420p", seed=n) for n in range(3)]
    meter = open_meter(metric, *pairs[0])
    batch = meter.scored([(meter.reduced(ref), meter.reduced(dist)) for ref, dist in pairs])
    alone = [meter.prepare(Sample(0, dist, ref))[0] for ref, dist in pairs]
    np.testing.assert_allclose(batch, alone, atol=1e-6)


@pytest.mark.cuda
@every_metric
def test_cuda_equals_cpu(metric, textured, open_meter, score_of, cuda):
    pairs = [textured(400, 390, "yuv420p", seed=n) for n in range(3)]
    meter = open_meter(metric, *pairs[0], device=cuda)
    clips = [Clip((n,), (meter.prepare(Sample(n, dist, ref)),)) for n, (ref, dist) in enumerate(pairs)]
    on_gpu = [score.value for score in meter.score(clips)]
    np.testing.assert_allclose(on_gpu, [score_of(metric, *pair) for pair in pairs], atol=1e-4)
