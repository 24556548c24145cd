"""Fitting NIQE and BRISQUE: directions on real pictures with what is fitted here, and the regression against scikit-learn."""

import io
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from vqmeter import measure
from vqmeter.errors import InputError, UsageError
from vqmeter.evaluation import srocc
from vqmeter.metrics.nr import brisque, niqe
from vqmeter.metrics.nr.c3d import svr
from vqmeter.sources import InputOptions
from vqmeter.training.natural import Setting, features_of, fit_brisque, fit_niqe, pictures, regression, search
from vqmeter.weights import save

RNG = np.random.default_rng(0)
NOISE = RNG.normal(0, 1, (512, 768))


def jpeg(picture, quality):
    packed = io.BytesIO()
    Image.fromarray(picture.astype(np.uint8)).save(packed, "JPEG", quality=quality)
    return np.asarray(Image.open(packed), np.float32)


def blurred(picture, sigma):
    return gaussian_filter(picture, sigma)


def noisy(picture, sigma):
    h, w = picture.shape
    return np.clip(np.rint(picture + sigma * NOISE[:h, :w]), 0, 255).astype(np.float32)


LADDERS = [(blurred, (1, 2, 4)), (noisy, (8, 16, 32)), (jpeg, (30, 14, 6))]


@pytest.fixture(scope="module")
def kodak(testdata):
    """Eleven pictures as (512, 768) float32 of grey."""
    paths = [
        p for n in (2, 3, 5, 6, 7, 11, 12, 13, 14, 15, 16) if (p := testdata / f"media/images/kodak/kodim{n:02}.png").is_file()
    ]
    if len(paths) < 11:
        pytest.skip("no pictures: media/images/kodak")
    return [np.asarray(Image.open(path).convert("L"), np.float32) for path in paths]


def test_niqe_rises_with_every_damage(kodak):
    state = fit_niqe(kodak[4:])
    mu, cov = state["mu"].double().numpy(), state["cov"].double().numpy()
    assert mu.shape == (36,) and np.array_equal(cov, cov.T) and np.linalg.eigvalsh(cov).min() > 0

    def score(picture):
        return niqe.distance(niqe.gaussian(niqe.features(picture)), (mu, cov))

    for picture in kodak[:4]:
        clean = score(picture)
        for damage, amounts in LADDERS:
            ladder = [clean, *(score(damage(picture, amount)) for amount in amounts)]
            assert all(worse > better for better, worse in pairwise(ladder)), (damage.__name__, ladder)


def test_niqe_is_fitted_on_sharp_blocks(kodak):
    rows = np.concatenate([niqe.features(picture, 96, 0.75) for picture in kodak])
    state = fit_niqe(kodak)
    np.testing.assert_allclose(state["mu"], rows.mean(0), rtol=1e-6)
    np.testing.assert_allclose(state["cov"], np.cov(rows, rowvar=False), atol=1e-6)
    assert len(rows) < 0.5 * len(kodak) * 40


@pytest.fixture(scope="module")
def rated(kodak):
    """(N, 36) numbers of clean and damaged quarters of pictures, how much they were damaged, and which picture it was."""
    features, labels, groups = [], [], []
    for n, picture in enumerate(kodak):
        crop = np.ascontiguousarray(picture[128:384, 192:576])
        ladder = [(crop, 0)] + [(f(crop, a), level) for f, amounts in LADDERS for level, a in enumerate(amounts, 1)]
        features += [brisque.features(one) for one, _ in ladder]
        labels += [20.0 * level + 15 for _, level in ladder]
        groups += [str(n)] * len(ladder)
    return np.array(features), np.array(labels), groups


def test_brisque_learns_to_rank_damage(rated, tmp_path, kodak):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: the extra 'train'")
    features, labels, groups = rated
    seen = np.array(groups).astype(int) < 8
    state = fit_brisque(features[seen], labels[seen], [g for g, one in zip(groups, seen, strict=True) if one])
    predicted = svr(state)(torch.from_numpy(features[~seen])).numpy()
    assert srocc(predicted, labels[~seen]) > 0.85
    assert predicted[labels[~seen] == 15].max() < predicted[labels[~seen] == 75].min()

    meta = {"name": "brisque", "model": "brisque", "label": {"low": 0.0, "high": 100.0, "higher_is_better": False}}
    save(tmp_path / "brisque.safetensors", state, meta)
    path = tmp_path / "a_768x512.yuv"
    path.write_bytes(jpeg(kodak[9], 6).astype(np.uint8).tobytes() + bytes([128]) * (768 * 256))
    whole = measure(path, models=f"brisque:weights={tmp_path / 'brisque.safetensors'}", range="full").pooled["brisque"]
    found = features_of(str(path), InputOptions(range="full"))
    assert whole["raw"] == pytest.approx(float(svr(state)(torch.from_numpy(found)[None])[0]))
    assert whole["score"] > 50


def test_search_judges_by_unseen_groups(rated):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: the extra 'train'")
    features, labels, groups = rated
    known = search(features, labels, groups)
    assert 0.85 < known.srocc < 1 and known == search(features, labels, groups)
    own = RNG.permutation(len(set(groups)))[np.array(groups).astype(int)] * 5.0  # labels that only the content tells
    assert search(features, own, groups).srocc < 0.6
    with pytest.raises(UsageError, match="contents"):
        search(features, labels, ["a"] * len(labels))


def test_the_regression_is_scikit_learns():
    svm = pytest.importorskip("sklearn.svm", reason="scikit-learn is not installed: the extra 'train'")
    x = RNG.uniform(-3, 9, (80, 36)) * np.logspace(-2, 2, 36)
    x[:, 7] = 4.0
    y = 30 * np.sin(x[:, 20] / 30) + 200
    fitted = svr(regression(x, y, Setting(8.0, 0.05)))
    low, high = x.min(0), x.max(0)
    z = np.where(high > low, 2 * (x - low) / np.maximum(high - low, 1e-9) - 1, 0)
    peer = svm.SVR(C=8.0, gamma=0.05, epsilon=0.1).fit(z, (y - y.mean()) / y.std())
    wanted = peer.predict(z) * y.std() + y.mean()
    np.testing.assert_allclose(fitted(torch.from_numpy(x)).numpy(), wanted, atol=2e-3)
    assert np.std(wanted) > 5


def test_features_of_a_video_are_the_mean_over_its_frames(raw_pair, tmp_path):
    path, _ = raw_pair(width=96, height=64, frames=3)
    frames = list(pictures(path))
    assert len(frames) == 3 and frames[0].shape == (64, 96) and frames[0].dtype == np.float32
    each = [brisque.features(frame) for frame in frames]
    np.testing.assert_array_equal(features_of(path), np.mean(each, 0))
    assert np.ptp(each, 0).max() > 1e-3
    flat = tmp_path / "flat_32x32.yuv"
    flat.write_bytes(bytes([90]) * 32 * 48)
    with pytest.raises(InputError, match="no frame has any texture"):
        features_of(str(flat))


def test_too_few_blocks_are_refused():
    with pytest.raises(InputError, match=r"1 sharp blocks in these pictures, and 36 numbers a block"):
        fit_niqe([np.rint(128 + 20 * NOISE[:96, :96]).astype(np.float32)])
    with pytest.raises(InputError, match="give more pictures"):
        fit_niqe([])
