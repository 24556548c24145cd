"""NIQE's numbers of blocks and its distance against a plain rendition in float64, and its scores of clips."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from scipy.special import gammaln

from vqmeter import measure
from vqmeter.errors import MismatchError, WeightsError
from vqmeter.metric import Context, Stream
from vqmeter.metrics.nr.niqe import Niqe, distance, features, gaussian
from vqmeter.tensors import resize_matrix
from vqmeter.weights import save

TABLE = np.arange(200, 10001) / 1000
RHO = np.exp(2 * gammaln(2 / TABLE) - gammaln(1 / TABLE) - gammaln(3 / TABLE))
ALPHAS = [n for n in range(36) if n % 18 in (0, 2, 6, 10, 14)]


def blurred(x):
    taps = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
    taps /= taps.sum()
    return correlate1d(correlate1d(x, taps, 0, mode="nearest"), taps, 1, mode="nearest")


def asymmetric(v):
    """alpha, beta_l, beta_r of samples."""
    left, right = np.sqrt((v[v < 0] ** 2).mean()), np.sqrt((v[v > 0] ** 2).mean())
    g = left / right
    wanted = np.abs(v).mean() ** 2 / (v**2).mean() * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
    alpha = TABLE[np.abs(RHO - wanted).argmin()]
    return alpha, *(side * np.exp((gammaln(1 / alpha) - gammaln(3 / alpha)) / 2) for side in (left, right))


def of_block(m):
    alpha, left, right = asymmetric(m.ravel())
    found = [alpha, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (-1, 1)):
        alpha, left, right = asymmetric((m * np.roll(m, shift, (0, 1))).ravel())
        found += [alpha, (right - left) * np.exp(gammaln(2 / alpha) - gammaln(1 / alpha)), left, right]
    return found


def plain_features(picture, block):
    """(blocks, 36), and the mean deviation of each block."""
    rows, columns = (n // block for n in picture.shape)
    x = picture[: rows * block, : columns * block].astype(float)
    out, sharp = [], []
    for side in (block, block // 2):
        mean = blurred(x)
        sigma = np.sqrt(np.abs(blurred(x * x) - mean * mean))
        m = (x - mean) / (sigma + 1)
        tiles = [np.s_[r * side : (r + 1) * side, c * side : (c + 1) * side] for r in range(rows) for c in range(columns)]
        out.append([of_block(m[tile]) for tile in tiles])
        sharp.append([sigma[tile].mean() for tile in tiles])
        down, across = (resize_matrix(n, n // 2, "bicubic", 0.5) for n in x.shape)
        x = down @ x @ across.T
    return np.hstack(out), np.array(sharp[0])


def plain_distance(rows, mu, cov):
    both = (np.cov(rows, rowvar=False) + cov) / 2
    values, vectors = np.linalg.eigh(both)
    along = vectors.T @ (rows.mean(0) - mu)
    return np.sqrt((along**2 / values).sum())


@pytest.fixture(scope="module")
def picture(textured):
    """Texture and grain in 0..255 that grow from left to right, 230x310."""
    clean, grainy = textured(310, 230, grain=9.0, seed=5)
    share = np.linspace(0.1, 0.9, 310)
    return np.rint(clean.planes[0] * (1 - share) + grainy.planes[0] * share).astype(np.float32)


@pytest.fixture(scope="module")
def pristine():
    rng = np.random.default_rng(8)
    spread = rng.normal(0, 0.1, (60, 36))
    return rng.uniform(0.2, 1.0, 36), spread.T @ spread / 60 + 0.01 * np.eye(36)


@pytest.fixture(scope="module")
def weights(tmp_path_factory, pristine):
    return keep(tmp_path_factory.mktemp("weights") / "niqe.safetensors", pristine)


def keep(path, pristine, **options):
    mu, cov = (torch.from_numpy(part) for part in pristine)
    save(path, {"mu": mu, "cov": cov}, {"name": "niqe", "model": "niqe", "options": options})
    return path


def write(path, pictures):
    """Grey pictures as full-range 8-bit luma in 4:2:0."""
    h, w = pictures[0].shape
    chroma = bytes([128]) * (2 * -(-h // 2) * -(-w // 2))
    path.write_bytes(b"".join(picture.astype(np.uint8).tobytes() + chroma for picture in pictures))
    return path


def run(path, weights, options="", **settings):
    return measure(path, models=f"niqe:weights={weights}{options}", range="full", **settings).only


@pytest.mark.parametrize("block", [96, 64])
def test_features_of_blocks_meet_a_plain_rendition(picture, block):
    found, (wanted, _) = features(picture, block), plain_features(picture, block)
    assert found.shape == wanted.shape == ((6, 36) if block == 96 else (12, 36))
    assert np.abs(found - wanted)[:, ALPHAS].max() < 0.0021  # a step of the table and its neighbour
    np.testing.assert_allclose(np.delete(found, ALPHAS, 1), np.delete(wanted, ALPHAS, 1), rtol=1e-3, atol=1e-4)


def test_sharp_blocks_alone(picture):
    shaded = picture * np.linspace(0.4, 1, 310, dtype=np.float32)
    wanted, sharp = plain_features(shaded, 64)
    chosen = sharp > 0.75 * sharp.max()
    assert 0 < chosen.sum() < len(sharp)
    assert np.abs(features(shaded, 64, 0.75) - wanted[chosen])[:, 1].max() < 1e-3


def test_blocks_without_texture_are_left_out(picture):
    """Windows reach three lines into the bar: the first row of blocks in it still sees the picture, the second none."""
    barred = np.vstack([picture[:96], np.full((192, 310), 16, np.float32)])
    assert len(features(barred)) == 6 and len(features(np.full((200, 200), 7, np.float32))) == 0


@pytest.mark.parametrize("shape", [(95, 200), (20, 120), (33, 57), (3, 2)])
def test_small_pictures_are_mirrored(picture, shape):
    lack = [max(0, 96 - n) for n in shape]
    whole = np.pad(picture[: shape[0], : shape[1]], [(n // 2, n - n // 2) for n in lack], "reflect")
    assert min(whole.shape) == 96
    np.testing.assert_array_equal(features(picture[: shape[0], : shape[1]]), features(whole))


def test_the_distance(picture, pristine):
    rows = features(picture, 48)
    assert distance(gaussian(rows), pristine) == pytest.approx(plain_distance(rows, *pristine), rel=1e-9)
    assert distance(pristine, pristine) == 0
    one, (mu, cov) = rows[:1], pristine  # the covariance of one block is zero
    direct = (one[0] - mu) @ np.linalg.solve(cov / 2, one[0] - mu)
    assert distance(gaussian(one), pristine) == pytest.approx(np.sqrt(direct), rel=1e-6)


def test_scores_of_a_clip(tmp_path, picture, pristine, weights):
    frames = [picture, picture[::-1], np.minimum(picture, 140)]
    clip = write(tmp_path / "a_310x230.yuv", frames)
    wanted = [plain_distance(plain_features(frame, 96)[0], *pristine) for frame in frames]
    result = run(clip, weights)
    assert result.frames["niqe"] == pytest.approx(wanted, rel=2e-3)
    assert result.pooled["niqe"]["score"] == pytest.approx(np.mean(result.frames["niqe"])) == result.pooled["niqe"]["raw"]
    facts = result.metrics["niqe"]
    assert (facts["better"], facts["low"], facts["high"]) == ("lower", 0.0, None) and facts["weights_sha256"]


def test_blocks_of_the_size_that_the_weights_say(tmp_path, picture, pristine):
    path = keep(tmp_path / "niqe.safetensors", pristine, block=64)
    wanted = plain_distance(plain_features(picture, 64)[0], *pristine)
    result = run(write(tmp_path / "a_310x230.yuv", [picture]), path)
    assert result.pooled["niqe"]["score"] == pytest.approx(wanted, rel=2e-3)


def test_rate_picks_frames(tmp_path, picture, weights):
    clip = write(tmp_path / "a_310x230.yuv", [np.roll(picture, n, 1) for n in range(9)])
    every = run(clip, weights, rate=25).frames["niqe"]
    for rate, chosen in (("10", [0, 3, 5, 8]), ("native", range(9)), ("60", range(9)), ("2", [0])):
        series = run(clip, weights, f":rate={rate}", rate=25).series["niqe"]
        assert list(series.frames) == list(chosen) and list(series.values) == [every[n] for n in chosen]


def test_only_frames_of_a_plan_are_prepared(as_frame, weights):
    info = as_frame(np.zeros((96, 96), np.uint8)).info
    meter = Niqe(rate="5", weights=str(weights)).open(Stream(info, None, info.pix_fmt, None, None), Context())
    plan = meter.plan()
    assert [next(plan) for _ in range(3)] == [(0,), (5,), (10,)]  # of 25 a second, where nothing is said


def test_frames_without_texture_get_no_score(tmp_path, picture, weights):
    black = np.zeros_like(picture)
    result = run(write(tmp_path / "a_310x230.yuv", [black, picture, black]), weights)
    assert list(result.series["niqe"].frames) == [1] and result.pooled["niqe"]["score"] == result.frames["niqe"][0]
    error = run(write(tmp_path / "b_310x230.yuv", [black, black]), weights).error
    assert isinstance(error, MismatchError) and "no frame has any texture" in str(error)


def test_what_does_not_fit_is_told(tmp_path, picture, pristine, cli):
    clip = write(tmp_path / "a_310x230.yuv", [picture])
    mu, cov = pristine
    for name, parts, options, message in (("half", (mu[:18], cov), {}, "not the mean 'mu' of 36 numbers"),
                                          ("odd", (mu, cov), {"block": 95}, "blocks of 95 are not even")):  # fmt: skip
        path = keep(tmp_path / f"{name}.safetensors", parts, **options)
        code, _, err = cli("nr", clip, "--model", f"niqe:weights={path}")
        assert code == WeightsError.exit_code and message in err
    code, _, err = cli("nr", clip, "--model", "niqe:rate=fast")
    assert code == 2 and "rate is auto, native or frames a second, not 'fast'" in err
