"""BRISQUE's 36 numbers against a plain rendition in float64, and its scores from seeded support vectors."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate
from scipy.special import gamma
from scipy.stats import gennorm

from vqmeter import measure
from vqmeter.errors import MismatchError, WeightsError
from vqmeter.frames import PixelFormat
from vqmeter.kernels.mscn import half, moments, mscn
from vqmeter.metrics.natural import brightness, fit
from vqmeter.metrics.nr.brisque import features
from vqmeter.networks.svr import Svr
from vqmeter.tensors import resize_matrix
from vqmeter.weights import build, save

ALPHAS = np.arange(0.2, 10.0005, 0.001)
LABEL = {"low": 10.0, "high": 60.0, "higher_is_better": False, "unit": "DMOS, seeded"}


def window():
    y, x = np.mgrid[-3:4, -3:4]
    weights = np.exp(-(x**2 + y**2) / (2 * (7 / 6) ** 2))
    return weights / weights.sum()


def plain_mscn(x):
    """By one 7x7 filter that sees zeros beyond the border; what rounding leaves of a flat window is taken off."""
    mean = correlate(x, window(), mode="constant")
    mean = np.where(np.abs(x - mean) < 1e-9, x, mean)
    return (x - mean) / (np.sqrt(np.abs(correlate(x * x, window(), mode="constant") - mean**2)) + 1)


def plain_pair(v):
    """alpha, eta, l^2 and r^2 of the products `v`, by the formulas of the paper."""
    left, right = np.sqrt(np.mean(v[v < 0] ** 2)), np.sqrt(np.mean(v[v > 0] ** 2))
    ratio = left / right
    wanted = np.mean(np.abs(v)) ** 2 / np.mean(v**2) * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    alpha = ALPHAS[np.argmin((gamma(2 / ALPHAS) ** 2 / (gamma(1 / ALPHAS) * gamma(3 / ALPHAS)) - wanted) ** 2)]
    shrink = np.sqrt(gamma(1 / alpha) / gamma(3 / alpha))
    return [alpha, (right - left) * shrink * gamma(2 / alpha) / gamma(1 / alpha), left**2, right**2]


def plain_features(picture):
    found, x = [], picture.astype(float)
    for size in range(2):
        m = plain_mscn(x)
        wanted = np.mean(m**2) / np.mean(np.abs(m)) ** 2
        found += [
            ALPHAS[np.argmin(np.abs(gamma(1 / ALPHAS) * gamma(3 / ALPHAS) / gamma(2 / ALPHAS) ** 2 - wanted))],
            np.mean(m**2),
        ]
        for shift in ((0, 1), (1, 0), (1, 1), (-1, 1)):
            found += plain_pair((m * np.roll(m, shift, (0, 1))).ravel())
        if size == 0:
            down, across = (resize_matrix(n, -(-n // 2), "bicubic", 0.5) for n in x.shape)
            x = down @ x @ across.T
    return np.array(found)


@pytest.fixture(scope="module")
def picture(textured):
    """(H, W) float32 of uneven sides, with texture, grain and shadows."""
    _, grainy = textured(251, 174, grain=12.0, seed=3)
    shade = np.linspace(0.05, 1, 251) ** 2
    return np.rint(grainy.planes[0] * shade).astype(np.float32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Six support vectors at random, with DMOS for a label."""
    generator = torch.Generator().manual_seed(0)
    state = {"mean": torch.full((36,), 0.5), "std": torch.ones(36), "support": torch.rand(6, 36, generator=generator),
             "dual": torch.linspace(-90, 80, 6), "gamma": torch.tensor(0.03), "intercept": torch.tensor(40.0)}  # fmt: skip
    path = tmp_path_factory.mktemp("weights") / "brisque.safetensors"
    save(path, {f"svr.{k}": v for k, v in state.items()}, {"name": "brisque", "model": "brisque", "label": LABEL})
    return path, build(lambda: Svr.like(state), state), state


def test_features_meet_a_plain_rendition(picture):
    found, wanted = features(picture), plain_features(picture)
    alphas = [n for n in range(36) if n % 18 in (0, 2, 6, 10, 14)]
    assert np.abs(found - wanted)[alphas].max() < 0.0021  # a step of the table and its neighbour
    np.testing.assert_allclose(np.delete(found, alphas), np.delete(wanted, alphas), rtol=1e-3, atol=2e-5)


def test_mscn_in_float32(picture):
    found = mscn(np.pad(picture, 3), None)
    error = np.abs(found - plain_mscn(picture.astype(float)))
    assert error.max() < 2e-3 and error.mean() < 5e-5  # at most where all is dark and nearly flat


def test_flat_windows_are_zero_to_the_last_bit():
    for value in (0.0, 0.1, 77.3, 255.0):
        stepped = np.full((60, 80), value, np.float32)
        stepped[:, 50:] = 140
        m = mscn(np.pad(stepped, 3, "edge"), None)
        assert not m[:, :47].any() and not m[:, 53:].any() and m[:, 47:53].all()


@pytest.mark.parametrize("shape", [(4, 4), (5, 9), (64, 63), (63, 130)])
def test_half_size_is_imresize(shape):
    x = np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)
    down, across = (resize_matrix(n, -(-n // 2), "bicubic", 0.5) for n in shape)
    np.testing.assert_allclose(half(x), down @ x @ across.T, atol=1e-4)


def test_moments_of_whole_numbers_are_exact():
    m = np.random.default_rng(2).integers(-5, 6, (13, 23)).astype(np.float32)
    found = moments(m, 6, 11)
    assert found.shape == (4, 5, 5)
    for n in range(4):
        block = m[6 * (n // 2) :, 11 * (n % 2) :][:6, :11].astype(float)
        signals = [block] + [block * np.roll(block, shift, (0, 1)) for shift in ((0, 1), (1, 0), (1, 1), (-1, 1))]
        wanted = [[abs(v).sum(), (v * v).sum(), (v * abs(v)).sum(), (v > 0).sum(), (v < 0).sum()] for v in signals]
        np.testing.assert_array_equal(found[n], wanted)


@pytest.mark.parametrize(("shape", "left", "right"), [(0.5, 1.0, 1.0), (1.0, 0.4, 1.3), (2.0, 2.0, 1.0), (3.1, 0.7, 0.8)])
def test_the_fit_finds_what_the_samples_were_drawn_from(shape, left, right):
    """scipy draws them: a side is chosen as often as its beta is wide."""
    rng = np.random.default_rng(4)
    size = np.abs(gennorm.rvs(shape, size=400_000, random_state=rng))
    v = np.where(rng.random(len(size)) < left / (left + right), -left * size, right * size)
    sums = np.array([abs(v).sum(), (v * v).sum(), (v * abs(v)).sum(), (v > 0).sum(), (v < 0).sum()])
    one = fit(sums, len(v))
    assert one.alpha == pytest.approx(shape, rel=0.02)
    assert (one.left * one.unit, one.right * one.unit) == pytest.approx((left, right), rel=0.05)
    assert one.eta == pytest.approx(v.mean(), abs=0.01 * v.std())
    if left == right:
        assert fit(sums, len(v), symmetric=True).alpha == pytest.approx(shape, rel=0.02)


@pytest.mark.parametrize(("fmt", "info", "ends"), [
    ("yuv420p", {}, (16, 235)), ("yuvj420p", {}, (0, 255)), ("yuv420p", {"range": "full"}, (0, 255)),
    ("yuv422p10le", {}, (64, 940)), ("gray", {}, (0, 255)), ("gray12le", {}, (0, 4095)), ("rgb24", {}, (0, 255)),
    ("gbrp", {"range": "limited"}, (16, 235)), ("yuv420p", {"matrix": "ycgco"}, (16, 235)),
])  # fmt: skip
def test_black_is_0_and_white_255(as_frame, fmt, info, ends):
    pixel = PixelFormat.parse(fmt)
    planes = [np.tile(np.array(ends, pixel.dtype), (4, 4))] * len(pixel.components)
    np.testing.assert_allclose(brightness(as_frame(planes, fmt, **info)), np.tile([0, 255], (4, 4)), atol=1e-4)


def test_grey_of_rgb_is_rounded(as_frame):
    planes = [np.full((2, 2), value, np.uint8) for value in (10, 200, 90)]
    assert brightness(as_frame(planes, "rgb24")).tolist() == [[131.0, 131.0]] * 2  # 2.989 + 117.409 + 10.262 = 130.66


def write(path, pictures):
    """Grey pictures as limited-range 8-bit 4:2:0, and their brightness."""
    h, w = pictures[0].shape
    lumas = [np.rint(p * (219 / 255) + 16).astype(np.uint8) for p in pictures]
    path.write_bytes(b"".join(luma.tobytes() + bytes([128]) * (2 * -(-h // 2) * -(-w // 2)) for luma in lumas))
    return [((luma - 16.0) * (255 / 219)).astype(np.float32) for luma in lumas]


def test_scores_of_a_clip(tmp_path, picture, weights):
    path, regression, _ = weights
    clip = tmp_path / "a_251x174.yuv"
    seen = write(clip, [picture, np.minimum(picture, 90), picture[::-1]])
    raw = [float(regression(torch.from_numpy(plain_features(p))[None])[0]) for p in seen]
    result = measure(clip, models=f"brisque:weights={path}")
    assert result.frames["brisque"] == pytest.approx([2 * (r - 10) for r in raw], abs=0.02)
    whole = result.pooled["brisque"]
    assert whole["raw"] == pytest.approx(np.mean(raw), abs=0.01)
    assert whole["score"] == pytest.approx(2 * (np.mean(raw) - 10), abs=0.02) and 0 < whole["score"] < 100
    assert result.only.metrics["brisque"]["better"] == "lower" and result.only.metrics["brisque"]["weights_sha256"]


@pytest.mark.parametrize(("intercept", "higher", "end"), [(500.0, False, 100.0), (-500.0, False, 0.0), (500.0, True, 0.0)])
def test_scores_are_clipped_and_low_is_good_whatever_the_label(tmp_path, picture, weights, intercept, higher, end):
    state = {f"svr.{k}": v for k, v in weights[2].items()} | {"svr.intercept": torch.tensor(intercept)}
    meta = {"name": "brisque", "model": "brisque", "label": LABEL | {"higher_is_better": higher}}
    save(tmp_path / "b.safetensors", state, meta)
    write(tmp_path / "a_251x174.yuv", [picture])
    report = measure(tmp_path / "a_251x174.yuv", models=f"brisque:weights={tmp_path / 'b.safetensors'}")
    assert report.pooled["brisque"]["score"] == end and abs(report.pooled["brisque"]["raw"]) > 400


def test_frames_without_texture_get_no_score(tmp_path, picture, weights):
    clip, flat = tmp_path / "a_251x174.yuv", np.full_like(picture, 100)
    write(clip, [flat, picture, flat])
    result = measure(clip, models=f"brisque:weights={weights[0]}").only
    assert list(result.series["brisque"].frames) == [1]
    assert result.pooled["brisque"]["score"] == result.series["brisque"].values[0]
    write(clip, [flat])
    error = measure(clip, models=f"brisque:weights={weights[0]}").only.error
    assert isinstance(error, MismatchError) and "texture" in str(error)


def test_what_does_not_fit_is_told(tmp_path, picture, weights, cli):
    write(tmp_path / "a_15x40.yuv", [picture[:40, :15]])
    code, _, err = cli("nr", tmp_path / "a_15x40.yuv", "--model", f"brisque:weights={weights[0]}")
    assert code == MismatchError.exit_code and "15x40 is too small for brisque" in err
    write(tmp_path / "a_40x40.yuv", [picture[:40, :40]])
    short = {f"svr.{k}": v for k, v in Svr(35, 2).state_dict().items()}
    save(tmp_path / "short.safetensors", short, {"name": "brisque", "model": "brisque", "label": LABEL})
    code, _, err = cli("nr", tmp_path / "a_40x40.yuv", "--model", f"brisque:weights={tmp_path / 'short.safetensors'}")
    assert code == WeightsError.exit_code and "35 numbers, not on 36" in err
    code, _, err = cli("nr", tmp_path / "a_40x40.yuv", "--model", "brisque:rate=0")
    assert code == 2 and "rate is auto, native or frames a second" in err
