"""The recipe of hybrid: from coded clips to a weight file that scores as predicted; and what its loss holds."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from vqmeter import measure
from vqmeter.errors import InputError, UsageError
from vqmeter.frames import PixelFormat, VideoInfo
from vqmeter.metrics.nr.hybrid import BITS, FEATURES
from vqmeter.training import hybrid
from vqmeter.training.data import divide
from vqmeter.training.datasets import open_dataset
from vqmeter.training.recipes import find
from vqmeter.training.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")
CRFS = (18, 26, 34, 42, 50)


def scene(seed, frames=8, size=(96, 64)):
    """A window over smoothed noise, flatter or rougher by the seed."""
    rng = np.random.default_rng(seed)
    wide = rng.normal(0, 1, (size[1], size[0] + frames))
    for _ in range(seed % 3):
        wide = (wide + np.roll(wide, 1, 0) + np.roll(wide, 1, 1)) / 2
    wide = np.clip(128 + 40 * wide / wide.std(), 16, 235).astype(np.uint8)
    chroma = np.full((size[1] // 2, size[0] // 2), 120, np.uint8)
    for n in range(frames):
        yield np.ascontiguousarray(wide[:, n : n + size[0]]), chroma, chroma


@pytest.fixture(scope="module")
def rated(tmp_path_factory):
    """Seven scenes in H.264 at five quantisers, with a score that falls with it."""
    from vqmeter.distortions.codecs import X264, write

    folder = tmp_path_factory.mktemp("rated")
    info = VideoInfo("scene", 96, 64, PixelFormat.parse("yuv420p"), Fraction(25))
    fast = replace(X264, options={**X264.options, "preset": "veryfast"})
    rows = ["path,mos,group"]
    for n in range(7):
        for crf in CRFS:
            write(scene(n), info, str(folder / f"{n}_{crf}.mp4"), fast, crf)
            rows.append(f"{n}_{crf}.mp4,{100 - 2 * (crf - 10)},g{n}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_trained_on_some_scenes_it_ranks_the_others(cli, rated, tmp_path):
    out = tmp_path / "mine.safetensors"
    code, text, err = cli("train", "hybrid:steps=120", rated / "labels.csv", "-o", out, "--splits", "60/20/20")
    assert code == 0, err
    words = text.splitlines()[-1].split()
    assert float(words[words.index("srocc") + 1]) > 0.8
    scores = []
    for crf in CRFS:
        code, number, err = cli("nr", rated / f"6_{crf}.mp4", "--model", "hybrid", "--weights", out, "--score", "hybrid")
        assert code == 0, err
        scores.append(float(number))
    assert scores == sorted(scores, reverse=True) and scores[0] > scores[-1] + 20


def test_what_is_predicted_is_what_is_scored(rated, tmp_path):
    from vqmeter.training.cards import publish

    [data] = divide(open_dataset("csv", rated / "labels.csv"), "none")
    trained = find("hybrid:steps=5:networks=2:units=4")[1].train(data, Run(tmp_path / "run"))
    assert trained.options["codecs"] == ["h264"]
    publish(tmp_path / "mine.safetensors", "hybrid", trained, data, "")
    for item, raw in zip(data.train[:3], trained.predict(data.train[:3]), strict=True):
        result = measure(item.path, models="hybrid", weights=str(tmp_path / "mine.safetensors")).only
        assert result.whole["hybrid"]["raw"] == pytest.approx(raw, abs=1e-6)


def some(count=120, seed=0):
    """Features at random, and labels that fall with both numbers of bits."""
    features = np.random.default_rng(seed).normal(0, 1, (count, len(FEATURES)))
    bits = features[:, [FEATURES.index(name) for name in BITS]].sum(1)
    return features, ["h264"] * count, 1 / (1 + np.exp(bits + features[:, 0]))


def slope(state):
    """The least change of the raw number as both numbers of bits rise."""
    features, codecs, _ = some(200, 1)
    more = features.copy()
    more[:, -len(BITS) :] += 0.5
    return (hybrid.predict(state, more, codecs) - hybrid.predict(state, features, codecs)).min()


def test_more_bits_never_mean_worse():
    data = some()
    free = hybrid.fit(*data, how=hybrid.Fitting(steps=150, rising=0))
    held = hybrid.fit(*data, how=hybrid.Fitting(steps=150))
    assert slope(free) < -0.15
    assert slope(held) > -0.05


def test_a_seed_gives_the_same_weights_and_leaves_torch_alone():
    import torch

    how = hybrid.Fitting(steps=3)
    before = torch.get_rng_state()
    one, again, other = (hybrid.fit(*some(), seed=seed, how=how) for seed in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(one["out.weight"], other["out.weight"])


def test_cross_validation_sees_nothing_of_a_content():
    features, codecs, labels = some(40)
    groups = [f"g{n // 4}" for n in range(40)]
    how = hybrid.Fitting(steps=5, networks=1)
    changed = labels.copy()
    changed[:4] = 1 - changed[:4]  # of g0 alone: its own predictions must not know
    one, other = (hybrid.cross_validated(features, codecs, y, groups, how=how) for y in (labels, changed))
    np.testing.assert_array_equal(one[:4], other[:4])
    assert not np.array_equal(one, other)


def test_what_cannot_be_learned_from_is_refused(rated, raw_pair, tmp_path):
    with pytest.raises(InputError, match="raw video"):
        hybrid.features_of(raw_pair()[0])
    with pytest.raises(UsageError, match="1 or more"):
        find("hybrid:units=0")
