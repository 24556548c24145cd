"""C3D's recipe: it learns, goes on where it stopped, and its weight files score as it predicted."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from vqmeter import measure
from vqmeter.errors import UsageError
from vqmeter.metric import Context
from vqmeter.metrics.nr import c3d as nr
from vqmeter.networks.c3d import C3d as Network
from vqmeter.training.cards import publish
from vqmeter.training.comparison import compare
from vqmeter.training.data import Data, divide
from vqmeter.training.datasets import Dataset, Item, open_dataset
from vqmeter.training.recipes import c3d_heads as heads
from vqmeter.training.recipes import find, with_options
from vqmeter.training.recipes.c3d_network import Whole, copied, fresh, settle
from vqmeter.training.recipes.c3d_windows import Sight
from vqmeter.training.run import Run
from vqmeter.weights import save

SIDE, FRAMES, LEVELS = 120, 18, (0, 15, 35, 70)
WIDTH, LENGTH = 1 / 32, 128
PIXELS = {"order": "BGR", "divide": 1.0, "mean": [110.0] * 3, "std": [60.0] * 3, "resize": "squeeze"}
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Six sources of moving waves, each plain and behind grain of three strengths, raw, 18 frames; a low score is good."""
    folder, items = tmp_path_factory.mktemp("clips"), []
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    for s in range(6):
        rng = np.random.default_rng(s)
        a, b, c, d = rng.uniform(0.02, 0.1, 4)
        clean = [110 + 20 * np.sin(a * x + b * y + 0.3 * t) + 20 * np.sin(c * x - d * y) for t in range(FRAMES)]
        chroma = rng.integers(100, 156, 2).astype(np.uint8)
        for level, sigma in enumerate(LEVELS):
            path = folder / f"{s}_{level}_{SIDE}x{SIDE}.yuv"
            grain = rng.normal(0, sigma, (SIDE, SIDE))
            luma = [np.clip(p + grain, 16, 235).astype(np.uint8) for p in clean]
            path.write_bytes(b"".join(p.tobytes() + np.repeat(chroma, SIDE * SIDE // 4).tobytes() for p in luma))
            reference = str(folder / f"{s}_0_{SIDE}x{SIDE}.yuv") if level else None
            columns = {"std": str(2.0 + 3 * level)}
            items.append(Item(str(path), 10.0 + 20 * level, reference, f"s{s}", size=(SIDE, SIDE), rate=25.0, columns=columns))
    return Dataset("waves", tuple(items), False, 0, 100, "DMOS", root=str(folder))


@pytest.fixture(scope="module")
def data(dataset):
    return Data(dataset, dataset.items[:12], dataset.items[12:16], dataset.items[16:])


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A network at random, for C3D's published one."""
    path = tmp_path_factory.mktemp("backbone") / "small.safetensors"
    torch.manual_seed(1)
    meta = {"name": "small", "model": "c3d_backbone", "options": {"width": WIDTH}, "preprocessing": PIXELS}
    save(path, fresh(("ceil", WIDTH, 0)).state_dict(), meta)
    return str(path)


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """A folder whose runs share what they read."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "cache").mkdir()
    return folder


@pytest.fixture
def trained(backbone, cached, tmp_path, monkeypatch):
    """Trains, and holds that the written file scores what was predicted."""
    monkeypatch.setenv("VQMETER_WEIGHTS", backbone)

    def train(spec, data, checked=1, scored="", folder=None, **run):
        name, recipe = find(spec)
        made = Run(folder or cached / f"run{len(list(cached.iterdir()))}", **{"context": Context(threads=2), **run})
        out = recipe.train(data, made)
        publish(tmp_path / "mine.safetensors", name, out, data, "card")
        items = data.test[-checked:]
        found = out.predict(items)
        for item, value in zip(items, found, strict=True):
            metric = f"{name}{scored}:weights={tmp_path / 'mine.safetensors'}"
            how = {"reference": item.reference, "metrics": metric} if name == "c3d_fr" else {"models": metric}
            result = measure(item.path, **how, seed=made.seed).only
            assert result.error is None, result.error
            assert result.pooled[name]["raw"] == pytest.approx(value, abs=1e-4)
        return out, result.pooled[name]

    return train


def srocc(out, items):
    return (
        heads.validated(-out.predict(items), np.array([item.score for item in items]))["srocc"] * np.sign(out.label.scale) * -1
    )


@pytest.mark.parametrize(
    ("spec", "scored"),
    [
        ("c3d:hidden=64", ""),
        ("c3d:head=ridge:layer=fc6:clips=centre16", ":clips=centre16"),
        ("c3d:head=svr:view=c3d:phases=2", ":phases=2"),
        ("c3d_fr:hidden=64", ""),
        ("c3d_fr:mode=feature:fusion=r,d,r-d:head=ridge", ""),
    ],
)
def test_a_regressor_on_frozen_features_learns_and_scores_as_it_predicts(spec, scored, data, trained):
    out, _ = trained(spec, data, 2, scored, epochs=80, batch=4)
    assert srocc(out, data.test) > 0.8
    assert list(out.needs) == ["small"] and not any(key.startswith("backbone") for key in out.state)
    assert bool(out.notes) == bool(scored)


def test_the_deviation_of_ratings_is_learned_beside_the_score(data, trained):
    known = Data(data.dataset, data.train, data.train, data.train)
    out, pooled = trained("c3d:outputs=mos+std:hidden=64:dropout=0", known, epochs=60, batch=4)
    assert pooled["std"] == pytest.approx(11, abs=1.5) and out.state["out.weight"].shape == (2, 64)
    bare = Data(data.dataset, tuple(Item(i.path, i.score, size=i.size, rate=i.rate) for i in data.train))
    with pytest.raises(UsageError, match="deviation of ratings"):
        trained("c3d:outputs=mos+std", bare)


def test_live_vqa_brings_the_deviation_of_its_ratings(tmp_path):
    (tmp_path / "live_video_quality_seqs.txt").write_text("pa2_25fps.yuv\npa9_25fps.yuv\n")
    (tmp_path / "live_video_quality_data.txt").write_text("44.5\t12.2\n70.1\t8.4\n")
    assert [item.columns for item in open_dataset("live-vqa", str(tmp_path)).items] == [{"std": "12.2"}, {"std": "8.4"}]


def test_as_published_leaves_labels_and_features_alone(data, trained):
    whole = Data(data.dataset, data.dataset.items, (), data.test)
    out, pooled = trained("c3d:as_published=true:hold=4:hidden=32", whole, epochs=3)
    assert (out.label.scale, out.label.offset) == (1, 0) and pooled["raw"] == pooled["mos"]
    assert not out.state["mean"].any() and (out.state["std"] == 1).all()
    assert {"mse_train", "mse", "mse_constant", "epoch 1", "epoch 2", "epoch 3"} == set(out.figures)
    total, possible = sum(item.score for item in whole.train), []
    for held in itertools.combinations_with_replacement((10, 30, 50, 70), 4):
        possible.append(np.mean((np.array(held) - (total - sum(held)) / 20) ** 2))
    assert min(abs(np.array(possible) - out.figures["mse_constant"])) < 1e-9


def test_ridge_and_support_vectors_are_the_textbooks():
    svm = pytest.importorskip("sklearn.svm")
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(30, 8)).astype(np.float32) * 3 + 1, rng.normal(size=8)
    samples = heads.Samples(x, (x @ w)[:, None].astype(np.float32), np.arange(30))
    z, y = (x - x.mean(0)) / x.std(0), samples.y[:, 0].astype(float)
    weight = np.linalg.solve(z.T @ z + 1000 * np.eye(8), z.T @ (y - y.mean()))
    found = heads.predicted(heads.ridge(samples, None, samples), samples)
    np.testing.assert_allclose(found, z @ weight + y.mean(), atol=1e-4)
    chosen = heads.predicted(heads.ridge(samples, samples, samples), samples)
    np.testing.assert_allclose(chosen, y, atol=0.3)  # the least lambda is best where validation is what was fitted
    machine = svm.SVR(C=10, gamma=1 / 8, epsilon=0.1).fit(z, (y - y.mean()) / y.std())
    expected = machine.predict(z) * y.std() + y.mean()
    np.testing.assert_allclose(heads.predicted(heads.svr(samples, None, samples), samples), expected, atol=1e-3)


@pytest.mark.parametrize("spec", ["c3d:finetune=2", "c3d:finetune=5:norms=false", "c3d_fr:finetune=1:mode=feature"])
def test_blocks_trained_along_end_in_one_file(spec, data, trained):
    out, _ = trained(f"{spec}:hidden=32", data, steps=4, rate=1e-3)
    assert out.needs == {} and set(out.state) == {"mean", "std", "hidden.weight", "hidden.bias", "out.weight", "out.bias"} | {
        f"backbone.{key}" for key in Network(width=WIDTH).state_dict()
    }


def test_norms_begin_as_nothing_and_fold_to_the_same():
    torch.manual_seed(0)
    state, look = fresh(("ceil", WIDTH, 0)).state_dict(), nr.Look("squeeze", 1, 0)
    x, head = torch.rand(3, 1, 3, 16, 112, 112), heads.fresh(LENGTH, 16, 1, 0.5)
    pixels = nr.Recipe("RGB", 1.0, (110.0,) * 3, (60.0,) * 3)

    def module(*normed, begin=0):
        network = copied(state, ("ceil", WIDTH, 0), 0.5, normed)
        return Whole(network, head, Sight(look, "equal16", 1), pixels, "fc7", begin).eval()

    plain, normed = module(), module("4a", "5b")
    with torch.no_grad():
        wanted = plain(x)
        settle(normed, x)
        torch.testing.assert_close(normed(x), wanted, rtol=0, atol=1e-5)
        middle = torch.stack([plain.network.maps(side, 0, 3) for side in plain.sight.inputs(x, pixels)], 1)
        torch.testing.assert_close(module(begin=3)(middle), wanted, rtol=0, atol=1e-6)
        normed.network.bn5b.bias += 0.3
        moved = normed(x)
        folded = normed.state()
        assert set(folded) == set(state) and not torch.allclose(moved, wanted)
        again = Whole(copied(folded, ("ceil", WIDTH, 0), 0.5, ()), head, plain.sight, pixels, "fc7", 0).eval()
        torch.testing.assert_close(again(x), moved, rtol=0, atol=1e-5)


THIN = "scratch=true:width=0.03125:fc_rank=8:hidden=16:view=crops:variants=2:rounds=1:crops=2"


@pytest.mark.parametrize(("name", "layer"), [("c3d", "fc7"), ("c3d", "blocks"), ("c3d_fr", "fc7"), ("c3d_fr", "blocks")])
def test_a_thin_network_from_scratch_learns_from_crops(name, layer, data, trained):
    spec = f"{name}:{THIN.replace('rounds=1', 'rounds=14')}:layer={layer}"
    out, _ = trained(spec, data, scored=":crops=2", epochs=1, rate=3e-3, batch=6)
    assert srocc(out, data.test) > 0.5
    assert {key: out.options[key] for key in ("width", "fc_rank", "view")} == {"width": 1 / 32, "fc_rank": 8, "view": "crops"}


@pytest.mark.parametrize("spec", [f"c3d:{THIN}", "c3d:hidden=16"])
def test_broken_off_and_begun_again_gives_the_same_bits(spec, data, trained, tmp_path):
    def run(folder, kill=None):
        def tell(what, done, total):
            if what in ("head", "network") and done == kill:
                raise KeyboardInterrupt

        scored = ":crops=2" if "crops" in spec else ""
        how = {"epochs": 2, "batch": 4, "patience": 0, "keep_every": 0.0, "tell": tell}
        return trained(spec, data, scored=scored, folder=tmp_path / folder, **how)[0].state

    wanted = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("broken", 3)
    assert list((tmp_path / "broken").glob("*.ckpt"))
    found = run("broken")
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_a_weight_file_may_be_begun_from(data, trained, tmp_path):
    first, _ = trained(f"c3d:{THIN}", data, scored=":crops=2", steps=1)
    mine = str(tmp_path / "mine.safetensors")
    again, _ = trained("c3d:hidden=16:view=crops:crops=2", data, scored=":crops=2", init=mine, steps=1, rate=0.0)
    assert torch.equal(again.state["backbone.conv5b.weight"], first.state["backbone.conv5b.weight"])
    np.testing.assert_allclose(again.state["out.bias"], first.state["out.bias"], atol=1e-5)
    with pytest.raises(UsageError, match="hidden=16"):
        trained("c3d:hidden=32", data, init=mine, steps=1)


def test_first_filters_may_begin_blind_to_brightness(data, trained):
    for detail, blind in (("true", True), ("false", False)):
        out, _ = trained(f"c3d:{THIN}:detail={detail}", data, scored=":crops=2", steps=1, rate=0.0)
        sums = out.state["backbone.conv1.weight"].sum((3, 4)).abs().max()
        assert bool(sums < 1e-6) is blind


def test_every_comparison_runs(dataset, cached, monkeypatch, backbone):
    monkeypatch.setenv("VQMETER_WEIGHTS", backbone)
    few = dataclasses.replace(dataset, items=dataset.items[:12])
    for name in ("c3d", "c3d_fr"):
        recipe = find(f"{name}:hidden=8:rounds=1")[1]
        for key, comparison in recipe.comparisons.items():
            thin = {
                row: {k: 1 / 32 if k == "width" else v for k, v in options.items()} for row, options in comparison.rows.items()
            }
            run = Run(cached / f"{name}-{key}", Context(threads=2), epochs=1, steps=1)
            parts = list(divide(few, comparison.splits))
            rows = compare(recipe, dataclasses.replace(comparison, rows=thin), parts, run)
            assert [row.name for row in rows] == list(comparison.rows)
            for row in rows:
                figures = row.splits[0]
                wanted = {"epoch 1"} if key == "log" else set(comparison.columns) - {"srocc", "plcc"}
                assert wanted <= set(figures), (key, figures)
                assert all(np.isfinite(figures[column]) for column in wanted)


def test_published_figures_stand_where_ours_come():
    report = find("c3d")[1].comparisons["report"]
    assert report.published == {("as published", "mse_train"): 0.8, ("as published", "mse"): 83.0}
    log = find("c3d")[1].comparisons["log"]
    assert set(log.columns) == {column for _, column in log.published} and log.published["as published", "epoch 21"] == 25.3932


def test_what_does_not_go_together_is_told(data, trained):
    assert with_options(find("c3d")[1], {"hidden": 64}).hidden == 64
    for spec, says in (
        ("c3d:head=svr:finetune=1", "head=mlp"), ("c3d:finetune=6", "0 to 5"), ("c3d_fr:fusion=x", "fusion"),
        ("c3d:hold=99", "hold=99"), ("c3d:crops=3", "crops=3"), ("c3d:dropout=1.5", "dropout"),
        ("c3d:layer=blocks", "scratch=true"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=says):
            trained(spec, data)
    lone = Data(data.dataset, tuple(Item(i.path, i.score, size=i.size) for i in data.train))
    with pytest.raises(UsageError, match="needs references"):
        trained("c3d_fr", lone)
