"""DIPQA, DIQaM and the cubic fits learn a small list of pairs, and score with what they wrote as they said they would."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from vqmeter import measure
from vqmeter.errors import UsageError, WeightsError
from vqmeter.metric import Context
from vqmeter.networks.dipqa import Dipqa as Network
from vqmeter.networks.dipqa import shape_of
from vqmeter.training.cards import figures, publish
from vqmeter.training.comparison import compare
from vqmeter.training.data import Data, divide
from vqmeter.training.datasets import Dataset, Item
from vqmeter.training.loop import Trainer
from vqmeter.training.recipes import find, with_options
from vqmeter.training.recipes.dipqa import Dipqa, Diqam
from vqmeter.training.recipes.ipm import IpmFsim, IpmSrsim, IpmSsim
from vqmeter.training.recipes.patches import Drawing, Part
from vqmeter.training.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")
LEVELS = (0.0, 0.8, 1.6, 3.0)  # sigma of blur
SMALL = Dipqa(size="pooled", patch=32, scratch=True, width=0.125, fusion="absolute", patches=2)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Ten sources of 72x64, texture over patches of colour, each as it is and blurred in three steps; 5 is best."""
    folder, items = tmp_path_factory.mktemp("pairs"), []
    for n in range(10):
        rng = np.random.default_rng(n)
        colours = np.repeat(np.repeat(rng.uniform(60, 200, (8, 9, 3)), 8, 0), 8, 1)
        ref = Image.fromarray(np.clip(colours + rng.normal(0, 14, (64, 72, 1)), 0, 255).astype(np.uint8))
        for level, sigma in enumerate(LEVELS):
            path = folder / f"{n}_{level}.png"
            ref.filter(ImageFilter.GaussianBlur(sigma)).save(path) if sigma else ref.save(path)
            items.append(Item(str(path), 5.0 - level, str(folder / f"{n}_0.png"), str(n), "blur", level))
    return Dataset("pairs", tuple(items), low=1.0, high=5.0, unit="DMOS")


def parts(dataset, how="60/20/20"):
    return next(divide(dataset, how))


def run(folder, **options):
    return Run(folder, **({"epochs": 3, "batch": 8} | options))


def scored(trained, model, data, folder, items):
    """Raw numbers by a weight file, as `vqmeter fr` gives them."""
    path = folder / "mine.safetensors"
    publish(path, model, trained, data, "")
    reports = (measure(i.path, reference=i.reference, metrics=f"{model}:weights={path}", threads=1) for i in items)
    return [next(iter(report.only.whole.values()))["raw"] for report in reports]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize(("recipe", "model"), [
    (SMALL, "dipqa"),
    (replace(SMALL, variants=4), "dipqa"),
    (Diqam(width=0.125, patches=2, variants=4, fusion="absolute"), "diqam"),
])  # fmt: skip
def test_it_learns_and_scores_as_it_predicts(recipe, model, dataset, tmp_path):
    data = parts(dataset)
    trained = recipe.train(data, run(tmp_path, epochs=8, rate=3e-3))
    raw = trained.predict(data.test)
    assert figures(raw, data.test, trained, data)["srocc"] > 0.7
    for name in {item.group for item in data.test}:
        ladder = {item.level: value for item, value in zip(data.test, raw, strict=True) if item.group == name}
        assert max(ladder, key=ladder.__getitem__) == 0  # the reference itself
    np.testing.assert_allclose(raw, scored(trained, model, data, tmp_path, data.test), rtol=0, atol=1e-5)


@pytest.mark.parametrize("recipe", [SMALL, Diqam(weighted=True, width=0.125, patches=3)])
def test_killed_and_begun_again_it_ends_with_the_same_weights(recipe, dataset, tmp_path, monkeypatch):
    data = parts(dataset)
    whole = recipe.train(data, run(tmp_path / "whole", epochs=2, keep_every=0.0))
    step = Trainer._step

    def killed(self, *what):
        if self.state.step == 4:
            raise KeyboardInterrupt
        step(self, *what)

    monkeypatch.setattr(Trainer, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        recipe.train(data, run(tmp_path / "broken", epochs=2, keep_every=0.0))
    monkeypatch.undo()
    assert same(recipe.train(data, run(tmp_path / "broken", epochs=2, keep_every=0.0)).state, whole.state)


def test_copies_of_a_source_share_the_features_of_its_reference():
    torch.manual_seed(0)
    network = Network(None, "r,|r-d|", width=0.125).eval()
    dist, ref, of = torch.rand(5, 3, 32, 32), torch.rand(2, 3, 32, 32), torch.tensor([0, 0, 1, 1, 1])
    torch.testing.assert_close(network(dist, ref, of), network(dist, ref[of]))


@pytest.mark.parametrize("shape", [
    {"size": 64}, {"size": 128, "fusion": "r-d"}, {"size": None, "cut": 3, "fusion": "r,|r-d|"}, {"size": 64, "cut": 5},
    {"size": None, "width": 0.25, "fusion": "r,d"}, {"size": 64, "backbone": "resnet18"},
    {"size": None, "backbone": "resnet18", "cut": 5, "width": 0.25},
])  # fmt: skip
def test_tensors_tell_the_shape_of_their_network(shape):
    shape = {"size": 64, "fusion": "r,d,r-d", "backbone": "vgg13", "cut": 4, "width": 1.0} | shape
    with torch.device("meta"):
        network = Network(**shape)
        side = shape["size"] or 48
        assert network(torch.empty(2, 3, side, side), torch.empty(2, 3, side, side)).shape == (2,)
    state = dict(reversed(network.state_dict().items()))
    assert shape_of(state, shape["fusion"]) == shape


def test_patches_are_cut_at_one_place_and_small_pictures_mirrored(dataset, tmp_path):
    data = Data(dataset, dataset.items[:4])
    part = Part(data.train, data, data.label, Run(tmp_path), Drawing(32, 1))
    pictures = [np.asarray(Image.open(i.path)).transpose(2, 0, 1) / 255 for i in data.train]
    for dist, ref, target in part.draw(2, 3, np.random.default_rng(0), False):
        ref, dist = ref.numpy(), dist.numpy()
        places = [(y, x) for y in range(33) for x in range(41) if np.abs(pictures[0][:, y, x] - ref[:, 0, 0]).max() < 1e-3]
        match = [(y, x) for y, x in places if np.abs(pictures[0][:, y : y + 32, x : x + 32] - ref).max() < 1e-4]
        assert len(match) == 1 and target == 0.5
        (y, x), = match  # fmt: skip
        np.testing.assert_allclose(dist, pictures[2][:, y : y + 32, x : x + 32], atol=1e-4)
    large = Part(data.train, data, data.label, Run(tmp_path), Drawing(80, 1))
    [(dist, _, _)] = large.draw(1, 1, np.random.default_rng(0), False)
    expected = np.pad(pictures[1], ((0, 0), (8, 8), (4, 4)), "reflect")
    np.testing.assert_allclose(dist, expected, atol=1e-4)


def test_frozen_convolutions_stay_as_they_are(dataset, tmp_path):
    data = parts(dataset)
    began = replace(SMALL, extractor="frozen").train(data, run(tmp_path / "a", steps=1, epochs=1))
    ended = replace(SMALL, extractor="frozen").train(data, run(tmp_path / "b", epochs=3))
    for key, value in ended.state.items():
        assert torch.equal(value, began.state[key]) == key.startswith("features."), key


def test_imagenet_backbones_are_taken_up(dataset, tmp_path, monkeypatch):
    from vqmeter.weights import save

    torch.manual_seed(1)
    network = Network(None)
    state = {key: value for key, value in network.state_dict().items() if key.startswith("features.")}
    save(tmp_path / "vgg13_bn.safetensors", state, {"name": "vgg13_bn", "model": "vgg13_bn"})
    data = parts(dataset)
    recipe = Dipqa(size="pooled", patch=16, extractor="frozen", backbone_weights=str(tmp_path / "vgg13_bn.safetensors"))
    trained = recipe.train(data, run(tmp_path, steps=1, epochs=1, batch=2))
    assert all(torch.equal(trained.state[key], value) for key, value in state.items())
    monkeypatch.setenv("VQMETER_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="cut=5 needs torchvision's own"):
        replace(recipe, cut=5, patch=32).train(data, run(tmp_path / "five"))


def test_an_earlier_file_is_a_beginning(dataset, tmp_path):
    data = parts(dataset)
    first = SMALL.train(data, run(tmp_path / "a", epochs=1))
    publish(tmp_path / "first.safetensors", "dipqa", first, data, "")
    again = SMALL.train(data, run(tmp_path / "b", epochs=1, rate=0.0, init=str(tmp_path / "first.safetensors")))
    assert torch.equal(again.state["fc1.weight"], first.state["fc1.weight"])
    with pytest.raises(WeightsError, match=r"no .* of shape"):
        replace(SMALL, width=0.25).train(data, run(tmp_path / "c", init=str(tmp_path / "first.safetensors")))


def test_published_choices_leave_scores_as_they_are(dataset, tmp_path):
    data = parts(dataset)
    trained = replace(SMALL, as_published=True).train(data, run(tmp_path))
    raw = trained.predict(data.test)
    assert trained.label.scale == 1 and 2 < raw.mean() < 5
    assert find("dipqa")[1] == Dipqa() and find("diqam:weighted=true:size=64")[1] == Diqam(weighted=True, size=64)


@pytest.mark.parametrize("recipe", [IpmSsim(), IpmFsim(), IpmSrsim(), IpmSsim("free", True)])
def test_a_cubic_is_fitted_and_scores_as_it_predicts(recipe, dataset, tmp_path):
    data = parts(dataset, "80/20")
    trained = recipe.train(data, run(tmp_path))
    raw = trained.predict(data.test)
    assert figures(raw, data.test, trained, data)["srocc"] > 0.9
    model = f"ipm_{recipe.metric}"
    np.testing.assert_allclose(raw, scored(trained, model, data, tmp_path, data.test), rtol=0, atol=1e-12)
    a, b, c, _ = trained.state["cubic"].double().tolist()
    if recipe.shape == "rising":
        q = np.linspace(0, 1, 500)
        assert (3 * a * q**2 + 2 * b * q + c > -1e-5).all()


def test_the_free_cubic_is_that_of_least_squares(dataset, tmp_path):
    data = Data(dataset, dataset.items)
    trained = IpmSsim(as_published=True).train(data, run(tmp_path))
    q = np.array([measure(i.path, reference=i.reference, metrics="ssim").pooled["ssim_y"]["score"] for i in data.train])
    wanted = np.array([item.score for item in data.train])
    best = np.linalg.lstsq(np.vander(q, 4), wanted, rcond=None)[0]
    np.testing.assert_allclose(np.polyval(trained.state["cubic"].double().numpy(), q), np.vander(q, 4) @ best, atol=1e-4)


@pytest.mark.parametrize("name", ["table_4_1_64", "table_4_2_64", "cut", "fusion", "backbone"])
def test_tables_of_the_thesis(name, dataset, tmp_path):
    base = Dipqa(size="pooled", patch=32, scratch=True, width=0.125)
    comparison = base.comparisons[name]
    rows = {key: {k: v for k, v in row.items() if k != "size" or row.get("baseline") == "diqam"}
            for key, row in comparison.rows.items()}  # fmt: skip
    rows = {key: row for key, row in rows.items() if key not in ("RFSIM", "VSI", "IPM (FSIM)", "IPM (SRSIM)")}
    data = parts(dataset, comparison.splits.replace("10-fold", "80/20"))
    table = compare(base, replace(comparison, rows=rows), [data], run(tmp_path, steps=2, epochs=1, batch=4))
    for row in table:
        assert np.isfinite([row.mean(column)[0] for column in ("plcc", "srocc", "srocc_per_reference")]).all(), row
    ours = {row.name: row for row in table}
    if name == "table_4_1_64":
        assert all(row.mean("srocc_per_reference")[0] > 0.9 for row in table)
        assert ours["SSIM"].published == {"plcc": 0.785, "srocc": 0.787}


def test_tables_hold_rows_that_recipes_take():
    for recipe in (Dipqa(scratch=True), IpmSsim(), IpmFsim(), IpmSrsim()):
        for comparison in recipe.comparisons.values():
            for options in comparison.rows.values():
                with_options(recipe, options)
            assert {row for row, _ in comparison.published} <= set(comparison.rows)


def test_what_cannot_be_trained_is_said(dataset, tmp_path):
    lone = Data(dataset, tuple(replace(item, reference=None) for item in dataset.items))
    for recipe in (SMALL, IpmSsim()):
        with pytest.raises(UsageError, match="reference"):
            recipe.train(lone, run(tmp_path))
    for bad, says in (
        (lambda: Dipqa(width=0.5), "scratch"),
        (lambda: Dipqa(width=0.3, scratch=True), "multiple"),
        (lambda: Diqam(weighted=True, variants=2), "variants=1"),
        (lambda: Dipqa(patches=0), "1 or more"),
    ):
        with pytest.raises(UsageError, match=says):
            bad()
    assert Context().seed == Run(tmp_path).seed
