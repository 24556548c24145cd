"""The recipe of VSFA: it learns, goes on where it was killed, predicts what the metric says, and makes its tables."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vqmeter import measure
from vqmeter.errors import UsageError, WeightsError
from vqmeter.evaluation.correlation import srocc
from vqmeter.metric import Context
from vqmeter.networks.resnet import ResNet, width_of
from vqmeter.networks.vsfa import Vsfa as Head
from vqmeter.training.cards import publish
from vqmeter.training.comparison import compare
from vqmeter.training.data import Data
from vqmeter.training.datasets import Dataset, Item
from vqmeter.training.recipes import find, vsfa_head
from vqmeter.training.recipes.vsfa import Vsfa
from vqmeter.training.recipes.vsfa_head import HeadTask, Standard
from vqmeter.training.run import Run
from vqmeter.weights import find as find_weights
from vqmeter.weights import load

SIZE, FRAMES = 64, 3
SMALL = {"scratch": True, "backbone": "resnet18", "width": 1 / 16}
CROPS = SMALL | {"end_to_end": True, "crop": 48, "frames": 2, "sources": 4, "variants": 3}


def blurred(picture, times):
    for _ in range(times):
        padded = np.pad(picture, 1, mode="wrap")
        picture = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
    return picture


def write(path, luma, frames):
    """A grey video in which the picture moves."""
    with open(path, "wb") as file:
        file.write(f"YUV4MPEG2 W{SIZE} H{SIZE} F10:1 Ip A1:1 C420jpeg\n".encode())
        for n in range(frames):
            moved = np.roll(luma, n, 1).clip(0, 255).astype(np.uint8)
            file.write(b"FRAME\n" + moved.tobytes() + b"\x80" * (SIZE * SIZE // 2))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Ten sources of noise and waves in four strengths of blur: train 6, val 2, test 2; the score falls with the blur."""
    folder, rng = tmp_path_factory.mktemp("mini"), np.random.default_rng(5)
    y, x = np.mgrid[:SIZE, :SIZE]
    items = []
    for k in range(10):
        waves = 30 * np.sin(x / rng.uniform(3, 9) + y / rng.uniform(3, 9))
        luma = 128 + waves + rng.normal(0, rng.uniform(30, 45), (SIZE, SIZE))
        for level in range(4):
            path = folder / f"{k}_{level}.y4m"
            write(path, blurred(luma, (0, 1, 3, 8)[level]), FRAMES + k % 2)
            items.append(Item(str(path), 5.0 - level, str(folder / f"{k}_0.y4m"), str(k), "blur", level))
    dataset = Dataset("mini", tuple(items), low=1.0, high=5.0, root=str(folder))
    return Data(dataset, tuple(items[:24]), tuple(items[24:32]), tuple(items[32:]))


def judged(trained, data):
    return srocc(trained.predict(data.test), np.array([item.score for item in data.test]))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def learned(data, tmp_path_factory):
    """One run end to end."""
    folder = tmp_path_factory.mktemp("learned")
    return folder, Vsfa(**CROPS).train(data, Run(folder, epochs=16, batch=4))


def test_end_to_end_it_orders_blur_on_new_contents(learned, data):
    _, trained = learned
    assert judged(trained, data) > 0.6
    assert trained.label.value(1.0) == 5 and not trained.needs
    assert "backbone.conv1.weight" in trained.state and trained.options["width"] == 1 / 16


def test_predicting_is_what_the_metric_says_of_the_written_file(learned, data, tmp_path):
    _, trained = learned
    path = tmp_path / "mine.safetensors"
    publish(path, "vsfa", trained, data, "a card")
    raw = trained.predict(data.test[:3])
    for item, value in zip(data.test, raw, strict=False):
        whole = measure(item.path, models=f"vsfa:weights={path}").only.whole["vsfa"]
        assert whole["raw"] == pytest.approx(value, abs=1e-5) and whole["mos"] == pytest.approx(1 + 4 * value, abs=1e-4)
    assert np.ptp(raw) > 0.01


def test_statistics_of_all_stages_are_trained_and_scored_alike(data, tmp_path):
    trained = Vsfa(**CROPS, stages=2, levels="all").train(data, Run(tmp_path, epochs=1, batch=4))
    assert trained.options["levels"] == "all" and trained.state["ann.fc0.weight"].shape[1] == 2 * (4 + 4 + 8)
    path = tmp_path / "mine.safetensors"
    publish(path, "vsfa", trained, data, "a card")
    [raw] = trained.predict(data.test[:1])
    assert measure(data.test[0].path, models=f"vsfa:weights={path}").only.whole["vsfa"]["raw"] == pytest.approx(raw, abs=1e-5)


def test_killed_and_begun_again_gives_the_same_bits(data, tmp_path):
    recipe, how = Vsfa(**CROPS), {"epochs": 3, "keep_every": 0.0}
    whole = recipe.train(data, Run(tmp_path / "whole", **how))
    for stage, step in (("backbone", 3), ("head", 5)):

        def tell(what, done, total, at=(stage, step)):
            if (what, done) == at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            recipe.train(data, Run(tmp_path / "broken", tell=tell, **how))
    assert same(recipe.train(data, Run(tmp_path / "broken", **how)).state, whole.state)


def test_a_head_on_a_frozen_backbone_needs_its_very_file(data, tmp_path, monkeypatch):
    monkeypatch.setenv("VQMETER_WEIGHTS", str(tmp_path))
    recipe = Vsfa(backbone="resnet18", temporal="sub-lstm", fps=5.0, features="16")
    with pytest.raises(WeightsError, match="resnet18"):
        recipe.train(data, Run(tmp_path / "none", epochs=1))
    from vqmeter.training.recipes.vsfa_features import begin
    from vqmeter.weights import save

    save(tmp_path / "resnet18.safetensors", begin("resnet18", 1.0, 4, "last", True, None, Run(tmp_path)).state,
         {"name": "resnet18", "model": "resnet18"})  # fmt: skip
    few = replace(data, train=data.train[:3], val=data.val[:3])
    trained = recipe.train(few, Run(tmp_path / "run", epochs=2))
    assert trained.needs == {"resnet18": find_weights("resnet18").sha256} and "backbone.conv1.weight" not in trained.state
    path = tmp_path / "mine.safetensors"
    publish(path, "vsfa", trained, few, "")
    result = measure(data.test[0].path, models=f"vsfa:weights={path}").only
    assert list(result.series["vsfa"].frames) == [0, 2]  # 5 of 10 frames a second
    assert result.whole["vsfa"]["raw"] == pytest.approx(trained.predict(data.test[:1])[0], abs=2e-3)  # features in 16 bits


def test_begun_with_a_file_that_brings_its_backbone(learned, data, tmp_path):
    _, trained = learned
    path = tmp_path / "first.safetensors"
    publish(path, "vsfa", trained, data, "")
    again = Vsfa(**SMALL).train(data, Run(tmp_path / "run", epochs=1, rate=0.0, init=str(path)))
    assert torch.equal(again.state["backbone.conv1.weight"], trained.state["backbone.conv1.weight"])
    np.testing.assert_allclose(again.predict(data.test), trained.predict(data.test), atol=1e-5)  # unfolded and folded again
    with pytest.raises(WeightsError, match=r"say vsfa:backbone=resnet18:width=0\.0625"):
        Vsfa(backbone="resnet18").train(data, Run(tmp_path / "wide", init=str(path)))


def test_as_published_divides_by_the_largest_and_keeps_l1(data, tmp_path):
    trained = Vsfa(**SMALL, as_published=True).train(data, Run(tmp_path, steps=3))
    assert (trained.label.scale, trained.label.offset) == (5.0, 0.0)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[0]["rate"] == 1e-5 and {row["stage"] for row in rows} == {"head"}


class Fake:
    """Features in memory."""

    size = 6

    def __init__(self, lengths):
        rng = np.random.default_rng(2)
        self.rows = {
            str(n): (rng.normal(0, 1, (t, 6)) * [1, 5, 0, 2, 1, 9] + 3).astype(np.float32) for n, t in enumerate(lengths)
        }

    def of(self, item):
        return self.rows[item.path]


def test_noise_is_the_same_in_all_frames_and_only_in_training():
    cache, items, none = Fake((4,)), [Item("0", 0.0)], np.zeros(0, np.float32)
    task = HeadTask(torch.nn.Identity(), cache, Standard.none(6), items, np.zeros(1, np.float32), (), none, batch=1,
                    averaged=True, noise=2.0)  # fmt: skip
    seen = []
    task.module = lambda x: (seen.append(x) or x[..., 0], None)
    task._scores(items, np.random.default_rng(1))
    task._scores(items)
    added = (seen[0] - seen[1])[0]
    expected = 2 * np.random.default_rng(1).standard_normal(6, np.float32)
    np.testing.assert_allclose(added.numpy(), np.tile(expected, (4, 1)), atol=1e-5)


@pytest.mark.parametrize("averaged", [False, True])
def test_a_padded_batch_of_standardised_features_is_each_video_by_the_folded_head(averaged):
    cache, items = Fake((3, 14, 1)), [Item(str(n), 0.0) for n in range(3)]
    torch.manual_seed(0)
    head, standard = Head(6, 5, 4), Standard.of(cache, items)
    stacked = np.concatenate(list(cache.rows.values())).astype(np.float64)
    np.testing.assert_allclose(standard.mean, stacked.mean(0))
    np.testing.assert_allclose(standard.deviation[[0, 1, 5]], stacked.std(0)[[0, 1, 5]])
    task = HeadTask(
        head, cache, standard, items, np.zeros(3, np.float32), (), np.zeros(0, np.float32), batch=3, averaged=averaged
    )
    batched = task._scores(items).detach().numpy()
    folded = standard.fold({key: value.detach() for key, value in head.state_dict().items()})
    cache.make = lambda items: None
    single = vsfa_head.score(folded, {"inputs": 6, "reduced": 5, "hidden": 4}, cache, items, averaged, Context())
    np.testing.assert_allclose(batched, single, atol=1e-5)
    back = standard.unfold(folded)
    for key, value in head.state_dict().items():
        np.testing.assert_allclose(back[key].numpy(), value.numpy(), atol=1e-5)


def test_copies_of_a_source_stand_together_where_they_are_ranked():
    items = [Item(str(n), 0.0, reference=f"{n % 5}") for n in range(30)]
    none = np.zeros(0, np.float32)
    task = HeadTask(Head(6, 5, 4), Fake([1] * 30), Standard.none(6), items, np.zeros(30, np.float32), (), none, batch=8,
                    averaged=False, weight=1.0)  # fmt: skip
    batches = task.batches(0, np.random.default_rng(0))
    assert sorted(n for batch in batches for n in batch) == list(range(30))
    assert all(len({n % 5 for n in batch}) < len(batch) for batch in batches if len(batch) > 5)


def test_unlabelled_items_teach_by_predictions_and_by_contrast(data, tmp_path):
    recipe = Vsfa(**SMALL, self_label=2, labelled=0.5)
    trained = recipe.train(data, Run(tmp_path / "self", epochs=2))
    kept = trained.figures["rounds"]
    values = [trained.figures[key] for key in ("val_srocc_1", "val_srocc_2") if key in trained.figures]
    assert kept in (0, 1, 2) and trained.figures["val_srocc"] >= max(values[: int(kept)], default=-1)
    with pytest.raises(UsageError, match="needs items without a score"):
        replace(recipe, labelled=1.0).train(data, Run(tmp_path / "all", epochs=1))
    blank = replace(data, train=tuple(replace(item, score=float("nan")) for item in data.train))
    with pytest.raises(UsageError, match="--labels vmaf"):
        Vsfa(**SMALL).train(blank, Run(tmp_path / "blank"))


def test_contrast_learns_to_tell_copies_apart(data, tmp_path):
    contrastive = Vsfa(**CROPS | {"end_to_end": False, "pretrain": "contrastive"})
    trained = contrastive.train(data, Run(tmp_path, epochs=12))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["stage"] == "contrast"]
    assert losses[-1] < 0.9 * losses[0]
    assert trained.notes and "without labels" in trained.notes[0]


@pytest.mark.parametrize("name", sorted(Vsfa.comparisons))
def test_every_comparison_runs_on_the_miniature(data, tmp_path, name):
    (tmp_path / "cache").mkdir()
    comparison, base = Vsfa.comparisons[name], CROPS | {"end_to_end": False}
    if name == "backbones":
        base["backbone"] = "resnet50"
    rows = compare(Vsfa(**base), comparison, [data], Run(tmp_path, steps=1))
    assert [row.name for row in rows] == list(comparison.rows)
    assert all(np.isfinite(row.mean("srocc")[0]) for row in rows if row.name != "ChipQA")
    for row, column in comparison.published:
        assert row in comparison.rows and column.removesuffix("_std") in comparison.columns


def test_published_figures_are_the_studys():
    known = Vsfa.comparisons
    assert known["temporal"].published["sub-GRU", "srocc"] == 0.804 and known["fps"].published["5 fps", "krocc"] == 0.587
    assert known["backbones"].published["ResNet-18", "plcc"] == 0.776 and known["chipqa"].published["ChipQA", "srocc"] == 0.83


def test_options_are_checked():
    assert find("vsfa:end_to_end=true:width=0.5:scratch=true")[1] == Vsfa(end_to_end=True, width=0.5, scratch=True)
    for options in ({"labelled": 0.0}, {"width": 0.0}, {"as_published": True, "end_to_end": True}):
        with pytest.raises(UsageError, match="vsfa:"):
            Vsfa(**options)


def test_a_narrow_resnet_tells_its_width():
    state = ResNet(18, 0.25).state_dict()
    assert width_of(state) == 0.25 and state["layer4.1.conv2.weight"].shape == (128, 128, 3, 3)
    with pytest.raises(UsageError, match="scratch=true begins without"):
        from vqmeter.training.recipes.vsfa_features import begin

        begin("resnet18", 0.25, 4, "last", False, None, Run(Path(".")))


def test_the_state_is_that_of_the_file(learned, data, tmp_path):
    _, trained = learned
    path = tmp_path / "mine.safetensors"
    publish(path, "vsfa", trained, data, "")
    state, found = load("vsfa", str(path))
    assert same(state, trained.state)
    assert found.options["temporal"] == "sub-gru" and found.label == trained.label
