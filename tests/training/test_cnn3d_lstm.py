"""The recipe of cnn3d_lstm on blurred miniatures: it learns, goes on to the same bits, and scores as its weight file does."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from vqmeter import measure
from vqmeter.errors import UsageError, WeightsError
from vqmeter.evaluation.correlation import srocc
from vqmeter.metric import Context
from vqmeter.metrics.nr.cnn3d_grid import Layout
from vqmeter.networks.cnn3d import Cnn3d, GroupLstm
from vqmeter.tensors import fold_norms
from vqmeter.training.cards import publish
from vqmeter.training.comparison import compare, named
from vqmeter.training.data import divide
from vqmeter.training.datasets import Dataset, Item
from vqmeter.training.recipes import cnn3d_clips, find
from vqmeter.training.recipes.cnn3d_clips import GridBlocks
from vqmeter.training.recipes.cnn3d_lstm import Cnn3dLstm
from vqmeter.training.recipes.cnn3d_video import Video
from vqmeter.training.run import Run
from vqmeter.weights import Label
from vqmeter.weights.files import read

TINY = {
    "widths": "2-4-4-8",
    "hidden": "16-8",
    "groups": 2,
    "columns": 1,
    "rows": 1,
    "crop": 32,
    "lstm": 4,
    "fc": 4,
    "videos": 4,
}
pytestmark = pytest.mark.usefixtures("one_thread")
SIZE, FRAMES, LEVELS = 56, 18, 3


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Eight moving textures, sharp and blurred twice; 0..100, sharp is 90."""
    folder, items = tmp_path_factory.mktemp("clips"), []
    for content in range(8):
        rng = np.random.default_rng(content)
        noise = rng.normal(0, 1, (SIZE, SIZE))
        texture = noise + 2 * uniform_filter(noise, 5, mode="wrap")
        for level in range(LEVELS):
            soft = uniform_filter(texture, 1 + 2 * level, mode="wrap")
            soft = np.clip(128 + 40 * soft / soft.std(), 0, 255).astype(np.uint8)
            path = folder / f"c{content}l{level}_{SIZE}x{SIZE}.yuv"
            grey = bytes([128]) * (SIZE * SIZE // 2)
            path.write_bytes(b"".join(np.roll(soft, n, 1).tobytes() + grey for n in range(FRAMES)))
            score = 90.0 - 30 * level + content / 10
            items.append(Item(str(path), score, group=f"c{content}", level=level, size=(SIZE, SIZE), rate=25.0))
    return Dataset("miniature", tuple(items), low=0.0, high=100.0, unit="blur")


@pytest.fixture
def data(dataset):
    return next(divide(dataset, "60/20/20"))


@pytest.fixture
def simple(dataset):
    """Nothing to validate on."""
    return next(divide(dataset, "80/20"))


def a_run(folder, **how):
    (folder / "cache").mkdir(parents=True, exist_ok=True)
    return Run(folder, **{"context": Context(threads=1), "epochs": 1, **how})


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_it_learns_and_its_weight_file_says_the_same(data, tmp_path):
    recipe = Cnn3dLstm(**TINY | {"widths": "4-4-8-8", "videos": 0, "lstm": 8}, clips=1)
    trained = recipe.train(data, a_run(tmp_path, epochs=25, rate=0.01, context=Context(threads=1, batch=4)))
    said, known = trained.predict(data.test), np.array([item.score for item in data.test])
    assert len({item.group for item in data.test}) > 1 and srocc(said, known) > 0.8
    assert np.mean((100 * said - known) ** 2) < 0.25 * known.var()
    publish(tmp_path / "w.safetensors", "cnn3d_lstm", trained, data, "card")
    state, header = read(tmp_path / "w.safetensors")
    assert header["options"] == {"preset": "lite", "groups": 2, "columns": 1, "rows": 1} and same(state, trained.state)
    for item, raw in list(zip(data.test, said, strict=True))[:2]:
        pooled = measure(item.path, models=f"cnn3d_lstm:weights={tmp_path / 'w.safetensors'}").only.pooled["cnn3d_lstm"]
        assert pooled["raw"] == pytest.approx(raw, abs=1e-5) and pooled["mos"] == pytest.approx(100 * raw, abs=1e-3)


def test_killed_and_begun_again_gives_the_same_bits(simple, tmp_path):
    recipe, how = Cnn3dLstm(**TINY, preset="stats", dropout=0.2, clips=1), {"epochs": 2, "context": Context(threads=1, batch=4)}
    whole = recipe.train(simple, a_run(tmp_path / "whole", **how)).state
    for stage, step in (("clips", 3), ("video", 2)):
        folder = tmp_path / stage

        def tell(what, done, total, stage=stage, step=step):
            if what == stage and done == step:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            recipe.train(simple, a_run(folder, tell=tell, keep_every=0.0, **how))
        assert (folder / f"{stage}.ckpt").exists()
        assert same(whole, recipe.train(simple, a_run(folder, **how)).state)


@pytest.mark.parametrize("name", sorted(Cnn3dLstm.comparisons))
def test_every_comparison_runs(name, simple, tmp_path):
    recipe, how = Cnn3dLstm(**TINY, clips=1), {"steps": 2, "context": Context(threads=1, batch=2)}
    if name == "over":
        pytest.importorskip("sklearn")
    if name == "transfer":
        with pytest.raises(UsageError, match="--init FILE"):
            Cnn3dLstm(start="init").train(simple, a_run(tmp_path))
        trained = recipe.train(simple, a_run(tmp_path / "first", steps=1))
        publish(tmp_path / "first.safetensors", "cnn3d_lstm", trained, simple, "card")
        how["init"] = str(tmp_path / "first.safetensors")
    rows = compare(recipe, named(recipe, name), [simple], a_run(tmp_path, **how))
    assert [row.name for row in rows] == list(recipe.comparisons[name].rows)
    found = [row.splits[0]["rmse"] for row in rows]
    assert all(map(math.isfinite, found)) and len(set(found)) == len(found)
    published = [row.published for row in rows if row.published]
    assert published == ([{"plcc": 0.21}] if name == "downscaled" else [])


@pytest.mark.parametrize("options", [
    {"preset": "fcn", "end_to_end": True}, {"as_published": True, "widths": "2-2-2-2", "clips": 2},
    {"downscaled": True}, {"over": "ridge"}, {"optimiser": "sgd", "loss": "huber"}, {"preset": "stats"}, {"norms": True},
])  # fmt: skip
def test_variants_score_as_their_weight_files(options, simple, tmp_path):
    trained = Cnn3dLstm(**TINY | options).train(simple, a_run(tmp_path, steps=2, context=Context(threads=1, batch=2)))
    publish(tmp_path / "w.safetensors", "cnn3d_lstm", trained, simple, "card")
    [raw] = trained.predict(simple.test[:1])
    result = measure(simple.test[0].path, models=f"cnn3d_lstm:weights={tmp_path / 'w.safetensors'}").only
    assert result.error is None and result.pooled["cnn3d_lstm"]["raw"] == pytest.approx(raw, rel=1e-4, abs=1e-4)
    published = options.get("as_published", False)
    assert trained.label.scale == (1 if published else 100)
    assert trained.options["preset"] == ("paper" if published else options.get("preset", "lite"))
    assert trained.options.get("view") == ("downscaled" if "downscaled" in options else None)
    assert not [key for key in trained.state if "bn" in key]


def test_first_filters_do_not_see_brightness():
    for norms, seen in ((False, True), (True, False)):
        network = Cnn3d("stats", (8, 3, 4, 5), (8, 6))
        cnn3d_clips.begin(network, False, 0.25, norms)
        colour = torch.rand(3, 16, 1, 1).expand(1, 3, 16, 9, 9)  # of every frame another one
        inside = network.conv1(torch.cat([torch.full_like(colour, 0.7), colour]))[:, :, 1:-1, 1:-1, 1:-1]
        assert inside[0].abs().max() < 1e-4 and bool((inside[1].abs() > 0.1).any()) is seen
        assert network.out.bias.item() == 0.25


def test_norms_are_settled_on_what_the_weights_make_of_clips(simple, tmp_path, monkeypatch):
    monkeypatch.setattr(cnn3d_clips, "SETTLED", 1)
    torch.manual_seed(0)
    network, run = Cnn3d("stats", (2, 3, 4, 5), (8, 6)), a_run(tmp_path)
    cnn3d_clips.normed(network)
    source = cnn3d_clips.sources(simple, simple.train, Label(100.0), run, Layout("stats", 2, 1, 1), grid=False, side=32,
                                 clips=1, variants=3)  # fmt: skip
    task = cnn3d_clips.Clips(network.eval(), run, source, None, batch=6, loss="mse", weight=1.0)
    fed = []
    hooks = [module.register_forward_pre_hook(lambda _, inputs: fed.append(inputs[0]))
             for name, module in network.named_children() if name.startswith("bn")]  # fmt: skip
    task.settle()
    for hook in hooks:
        hook.remove()
    norms = [module for name, module in network.named_children() if name.startswith("bn")]
    assert len(fed) == len(norms) == 6 and not network.training
    for x, norm in zip(fed, norms, strict=True):
        values = x.transpose(0, 1).flatten(1).numpy().astype(np.float64)
        np.testing.assert_allclose(norm.running_mean, values.mean(1), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(norm.running_var, values.var(1, ddof=1), rtol=1e-4)
        torch.nn.init.normal_(norm.weight)  # of either sign: a norm stands before the pool
    clip = torch.rand(2, 3, 16, 40, 32)
    before = network(clip)
    fold_norms(network)
    torch.testing.assert_close(network(clip), before, rtol=1e-4, atol=1e-5)
    assert network.state_dict().keys() == Cnn3d("stats", (2, 3, 4, 5), (8, 6)).state_dict().keys()


def test_the_second_stage_may_last_longer(simple, tmp_path):
    Cnn3dLstm(**TINY, clips=1, lstm_epochs=3).train(simple, a_run(tmp_path, context=Context(threads=1, batch=8)))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(row["stage"], row["epoch"]) for row in rows] == [("clips", 1), ("video", 1), ("video", 2), ("video", 3)]


def test_weights_to_begin_from_are_taken_over(simple, tmp_path):
    trained = Cnn3dLstm(**TINY).train(simple, a_run(tmp_path, steps=1))
    publish(tmp_path / "a.safetensors", "cnn3d_lstm", trained, simple, "card")
    how = {"init": str(tmp_path / "a.safetensors"), "rate": 0.0, "steps": 1}
    again = Cnn3dLstm(**TINY).train(simple, a_run(tmp_path / "b", **how))
    for key, value in trained.state.items():
        torch.testing.assert_close(again.state[key], value, rtol=0, atol=1e-5)
    elsewhere = a_run(tmp_path / "c", context=Context(threads=1, seed=1), **how)
    other = Cnn3dLstm(**TINY, start="scratch").train(simple, elsewhere)
    assert not torch.allclose(other.state["clip.conv1.weight"], trained.state["clip.conv1.weight"])
    with pytest.raises(WeightsError, match="GroupLstm"):
        Cnn3dLstm(**TINY | {"columns": 2}).train(simple, a_run(tmp_path / "d", **how))


def test_blocks_of_the_grid_are_those_that_are_scored(simple, tmp_path):
    layout = Layout("lite", 2, 1, 1)
    blocks = GridBlocks(simple.train, Label(50.0, 0.0), a_run(tmp_path), layout, 0)
    assert sorted(n for batch in blocks.batches(np.random.default_rng(0), 4) for n in batch) == list(
        range(2 * len(simple.train))
    )
    batch = blocks.draw([3], np.random.default_rng(0))  # the second group of the second video
    item = simple.train[1]
    video = np.fromfile(item.path, np.uint8).reshape(FRAMES, -1)[2:18, : SIZE * SIZE].reshape(16, SIZE, SIZE)
    luma = np.pad(video, [(0, 0), (84, 84), (84, 84)], "reflect")
    grey = np.clip(np.floor(255 * (luma.astype(float) - 16) / 219 + 0.5), 0, 255)
    np.testing.assert_array_equal(np.rint(batch.pixels[0, 1].numpy() * 255), grey)
    assert batch.targets.tolist() == [pytest.approx(item.score / 50)] and batch.items == (1,)
    assert len(np.concatenate(GridBlocks(simple.train, Label(), a_run(tmp_path), layout, 1)._blocks)) == len(simple.train)


def test_standardised_inputs_and_labels_are_folded_into_the_lstm(tmp_path):
    torch.manual_seed(0)
    module, x = GroupLstm(3, 4, 2), 5 + 2 * torch.randn(6, 4, 3)
    before = module(x).detach()
    y = 10 + 3 * torch.randn(6)
    task = Video(module, a_run(tmp_path), (x, y), None, batch=2, loss="mse", standard=True)
    inside, labels = task._train
    for values in (inside, labels):
        assert abs(float(values.mean())) < 1e-6 and float(values.std(correction=0)) == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(task.module(inside).detach() * y.std(correction=0) + y.mean(), before, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(task.folded()(x), before, rtol=1e-4, atol=1e-5)


def test_options_that_make_no_sense():
    for spec, says in (("widths=1-2-3", "4 whole numbers"), ("hidden=a-b", "2 whole numbers"),
                       ("end_to_end=true", "preset=fcn"), ("preset=fcn:downscaled=true", "whole frames")):  # fmt: skip
        with pytest.raises(UsageError, match=says):
            find(f"cnn3d_lstm:{spec}")[1].settled()
    published = Cnn3dLstm(as_published=True).settled()
    assert (published.preset, published.widths, published.dropout, published.clips) == ("paper", "32-64-128-256", 0.5, 208)
    assert published.layout() == Layout("paper", 32, 8, 4)
    norms = {preset: Cnn3dLstm(preset).settled().norms for preset in ("lite", "fcn", "stats")}
    assert norms == {"lite": False, "fcn": False, "stats": True} and not Cnn3dLstm("stats", norms=False).settled().norms
    assert sum(p.numel() for p in Cnn3d("lite", (8, 16, 32, 64), (128, 64)).parameters()) < 120_000
