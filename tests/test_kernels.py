"""The kernels against exact integers and against scikit-image in float64."""

import numpy as np
import pytest
from scipy.ndimage import correlate1d
from skimage import data
from skimage.metrics import structural_similarity

from vqmeter.frames import Part
from vqmeter.kernels.sse import BLOCK, sse, sse_reading
from vqmeter.kernels.ssim import BAND, LANES, MARGIN, STRIDE, ssim, ssim_cs, ssim_map

DEPTHS = (8, 10, 12, 16)


def samples(values, depth):
    """`values` in [0, 255] at `depth` bits: rounded, clipped."""
    scaled = np.rint(np.asarray(values) * ((2**depth - 1) / 255)).clip(0, 2**depth - 1)
    return scaled.astype(np.uint8 if depth == 8 else np.uint16)


def noise(shape, depth, seed=0):
    dtype = np.uint8 if depth == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 2**depth, shape, dtype)


def padded(plane, extra, seed):
    """`plane` with `extra` columns of rubbish on the right."""
    rubbish = np.random.default_rng(seed).integers(0, np.iinfo(plane.dtype).max, (len(plane), extra), plane.dtype)
    return np.ascontiguousarray(np.hstack([plane, rubbish]))


def oracle(ref, dist, peak):
    """The SSIM map by scikit-image in float64, valid region."""
    _, full = structural_similarity(
        ref.astype(float),
        dist.astype(float),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=peak,
        full=True,
    )
    return full[5:-5, 5:-5]


def contrast_structure(ref, dist, peak):
    """The mean of CS from its definition, in float64."""
    window = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    window /= window.sum()

    def mean(x):
        return correlate1d(correlate1d(x, window, 0), window, 1)[5:-5, 5:-5]

    a, b = ref.astype(float), dist.astype(float)
    covariance = mean(a * b) - mean(a) * mean(b)
    variances = mean(a * a) - mean(a) ** 2 + mean(b * b) - mean(b) ** 2
    c2 = (0.03 * peak) ** 2
    return float(np.mean((2 * covariance + c2) / (variances + c2)))


def check(ref, dist, depth, mean=1e-6, pixel=2e-4):
    expected = oracle(ref, dist, 2**depth - 1)
    score, score_map = ssim(ref, dist, ref.shape[1], depth), ssim_map(ref, dist, ref.shape[1], depth)
    assert score == pytest.approx(expected.mean(), abs=mean)
    assert score_map.dtype == np.float32
    assert score_map.shape == expected.shape
    np.testing.assert_allclose(score_map, expected, rtol=0, atol=pixel)
    assert score == pytest.approx(score_map.mean(dtype=float), abs=1e-6)


# --- sse


def one_sse(ref, dist, width):
    """Of a frame of one plane."""
    [total] = sse((ref,), (dist,), (width,))
    return total


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (17, 63), (5, 257), (3, BLOCK - 1), (2, BLOCK), (2, 2 * BLOCK + 5)])
@pytest.mark.parametrize("depth", DEPTHS)
def test_sse_is_exact(shape, depth):
    ref, dist = noise(shape, depth, 1), noise(shape, depth, 2)
    error = ref.astype(np.int64) - dist
    assert one_sse(ref, dist, shape[1]) == int((error * error).sum())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_sse_of_black_against_white_does_not_overflow(dtype):
    white = np.iinfo(dtype).max
    shape = (300, 2 * BLOCK + 1)
    ref, dist = np.zeros(shape, dtype), np.full(shape, white, dtype)
    exact = shape[0] * shape[1] * int(white) ** 2
    assert exact > 2**32
    assert one_sse(ref, dist, shape[1]) == one_sse(dist, ref, shape[1]) == exact


@pytest.mark.parametrize("depth", [8, 16])
def test_sse_reads_only_the_picture(depth):
    ref, dist = noise((9, 61), depth, 1), noise((9, 61), depth, 2)
    assert one_sse(padded(ref, 19, 3), padded(dist, 19, 4), 61) == one_sse(ref, dist, 61) > 0


def test_sse_counts_one_wrong_sample_anywhere():
    ref = noise((3, 70), 16, 1) // 2
    for y, x in np.ndindex(ref.shape):
        dist = ref.copy()
        dist[y, x] += 257
        assert one_sse(ref, dist, 70) == 257**2


def test_sse_of_planes_is_that_of_each():
    refs, dists = [tuple(noise(shape, 10, seed + n) for n, shape in enumerate([(9, 61), (5, 31), (1, 7)])) for seed in (1, 5)]
    widths = tuple(plane.shape[1] for plane in refs)
    assert sse(refs, dists, widths).tolist() == [one_sse(*plane) for plane in zip(refs, dists, widths, strict=True)]


@pytest.mark.parametrize("depth", [8, 10, 16])
def test_sse_of_files_is_that_of_their_samples(depth, tmp_path):
    """More than is read at once, planes of odd sizes, and places in the files that no sample begins at."""
    sizes = [(1 << 20) + 77, 4001, 1]
    lots = [[noise((1, size), depth, seed + n) for n, size in enumerate(sizes)] for seed in (1, 5)]
    whole = [np.concatenate(lot, axis=1)[0] for lot in lots]
    with open(tmp_path / "a", "w+b") as a, open(tmp_path / "b", "w+b") as b:
        for file, samples, gap in zip((a, b), whole, (3, 1000), strict=True):
            file.write(bytes(gap) + samples.tobytes())
            file.flush()
        room = [np.zeros_like(samples) for samples in whole]
        ref, dist = Part(a.fileno(), 3, room[0], ()), Part(b.fileno(), 1000, room[1], ())
        found = sse_reading(ref, dist, sizes)
        assert found.tolist() == sse(*lots, sizes).tolist()
        assert all(np.array_equal(*pair) for pair in zip(room, whole, strict=True))
        assert sse_reading(ref._replace(at=4), dist, sizes) is None  # one byte short
        assert sse_reading(ref, dist._replace(file=1 << 20), sizes) is None  # no such file


# --- ssim


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("name", ["camera", "moon", "page", "coins"])
def test_ssim_of_pictures(name, depth):
    picture = getattr(data, name)().astype(float)[:300, :333]
    grain = np.random.default_rng(5).normal(0, 4, picture.shape)
    check(samples(picture, depth), samples(picture + grain, depth), depth, pixel=5e-5)
    check(samples(picture, depth), samples(picture * 0.5 + 10, depth), depth, pixel=1e-4)


@pytest.mark.parametrize("depth", DEPTHS)
def test_ssim_of_noise(depth):
    check(noise((90, 131), depth, 1), noise((90, 131), depth, 2), depth)
    white = 2**depth - 1
    check(noise((90, 131), 1, 1) * white, noise((90, 131), 1, 2) * white, depth)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("ref", "dist"), [(0, 255), (255, 0), (100, 200), (60, 230), (235, 16), (128, 127), (1, 0)])
def test_ssim_of_flat_pictures(ref, dist, depth):
    shape = (40, 53)
    check(samples(np.full(shape, ref), depth), samples(np.full(shape, dist), depth), depth)


@pytest.mark.parametrize("depth", DEPTHS)
def test_ssim_of_structures(depth):
    """Steps, boards and ramps far from any mean level, where float32 moments cancel worst."""
    step = np.where(np.arange(163) < 60, 20.0, 255.0) * np.ones((120, 1))
    check(samples(np.full(step.shape, 20), depth), samples(step, depth), depth, mean=1e-5)
    board = np.add.outer(np.arange(120) // 20, np.arange(163) // 20) % 2 * 255
    check(samples(board, depth), samples(255 - board, depth), depth, mean=1e-5)
    check(samples(board, depth), samples(board * 0.4 + 30, depth), depth, mean=1e-5)
    ramp = np.arange(163) * 1.5 * np.ones((120, 1))
    check(samples(ramp, depth), samples(ramp[:, ::-1], depth), depth, mean=1e-5)


@pytest.mark.parametrize("shape", [(11, 11), (11, 12), (12, 11), (13, 27), (14, 26), (201, 15), (15, 353), (33, 187)])
@pytest.mark.parametrize("depth", [8, 10])
def test_ssim_of_odd_sizes(shape, depth):
    check(noise(shape, depth, 1), noise(shape, depth, 2), depth, pixel=1e-5)


@pytest.mark.parametrize("height", [BAND + MARGIN - 1, BAND + MARGIN, BAND + MARGIN + 1, 2 * BAND + MARGIN + 3])
def test_ssim_across_bands(height):
    check(noise((height, 23), 8, 1), noise((height, 23), 8, 2), 8)


@pytest.mark.parametrize("columns", [LANES * STRIDE - 1, LANES * STRIDE, LANES * STRIDE + 1, 2 * LANES * STRIDE + 17])
def test_ssim_across_strips(columns):
    shape = (13, columns + MARGIN)
    check(noise(shape, 8, 1), noise(shape, 8, 2), 8)


@pytest.mark.parametrize("depth", DEPTHS)
def test_equal_pictures_score_exactly_one(depth):
    for plane in (noise((75, 97), depth), samples(np.full((30, 40), 77), depth), samples(data.camera(), depth)):
        assert ssim(plane, plane.copy(), plane.shape[1], depth) == 1.0
        assert (ssim_map(plane, plane.copy(), plane.shape[1], depth) == 1.0).all()


@pytest.mark.parametrize("depth", [8, 16])
def test_ssim_reads_only_the_picture(depth):
    ref, dist = noise((31, 60), depth, 1), noise((31, 60), depth, 2)
    wide_ref, wide_dist = padded(ref, 21, 3), padded(dist, 21, 4)
    assert ssim(wide_ref, wide_dist, 60, depth) == ssim(ref, dist, 60, depth)
    np.testing.assert_array_equal(ssim_map(wide_ref, wide_dist, 60, depth), ssim_map(ref, dist, 60, depth))


@pytest.mark.parametrize("depth", DEPTHS)
def test_contrast_structure_term(depth):
    ref, peak = samples(data.camera(), depth), 2**depth - 1
    dist = samples(data.camera() * 0.7 + np.random.default_rng(6).normal(20, 8, ref.shape), depth)
    mean, contrast = ssim_cs(ref, dist, ref.shape[1], float(peak))
    assert mean == ssim(ref, dist, ref.shape[1], depth)
    assert contrast == pytest.approx(contrast_structure(ref, dist, peak), abs=1e-6)
    assert mean < contrast < 1


def test_ssim_cs_takes_float_planes():
    """MS-SSIM halves its pictures, so from the second scale on they are no longer whole numbers."""
    half = data.camera().astype(np.float32).reshape(256, 2, 256, 2).mean((1, 3))
    other = half + np.random.default_rng(7).normal(0, 5, half.shape).astype(np.float32)
    mean, contrast = ssim_cs(half, other, 256, 255.0)
    assert mean == pytest.approx(oracle(half, other, 255).mean(), abs=1e-6)
    assert contrast == pytest.approx(contrast_structure(half, other, 255), abs=1e-6)
