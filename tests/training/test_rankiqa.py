"""The recipe of RankIQA: ladders and their pairs, what is learned from them, going on after a kill, and the source's tables."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vqmeter import measure
from vqmeter.errors import UsageError, WeightsError
from vqmeter.evaluation.correlation import srocc
from vqmeter.metric import Context
from vqmeter.metrics.crops import Recipe
from vqmeter.metrics.nr import rankiqa as metric
from vqmeter.networks.shallow import Shallow
from vqmeter.networks.vgg_pool import VggPool
from vqmeter.training import loop
from vqmeter.training.cards import publish
from vqmeter.training.comparison import compare
from vqmeter.training.data import Data
from vqmeter.training.datasets import Dataset, Item
from vqmeter.training.recipes import ranking, rankiqa, rankiqa_start
from vqmeter.training.recipes.ranking import Mix, Ranking, RankTask, draw, hinges, ladders, rungs, set_apart, shared
from vqmeter.training.recipes.rankiqa import Rankiqa
from vqmeter.training.recipes.rankiqa_crops import Cropper, ScoredTask
from vqmeter.training.run import Run
from vqmeter.training.store import Store

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = Rankiqa(network="vgg16-pool", width=1 / 16, crop=96, crops=2, preset="tid", variants=4)
LEVELS = 3


class KilledError(Exception):
    pass


def blurred(picture, times):
    for _ in range(times):
        padded = np.pad(picture, 1, mode="wrap")
        picture = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
    return picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of waves and grain at three levels of blur and of noise, as `vqmeter distort` leaves them."""
    where, rng = tmp_path_factory.mktemp("ladders"), np.random.default_rng(1)
    y, x = np.mgrid[:96, :112]
    rows = ["path,reference,type,level,seed,parameters"]

    def save(name, luma):
        Image.fromarray(luma.clip(0, 255).astype(np.uint8)).save(where / f"{name}.png")
        return f"{name}.png"

    for k in range(8):
        waves = 40 * np.sin(x / rng.uniform(3, 9) + y / rng.uniform(3, 9))
        luma = 128 + waves + rng.normal(0, rng.uniform(20, 30), x.shape)
        reference = save(k, luma)
        for level in range(1, LEVELS + 1):
            for kind in ("blur", "noise"):
                copy = blurred(luma, (0, 1, 3, 9)[level]) if kind == "blur" else luma + rng.normal(0, 18 * level, x.shape)
                rows.append(f"{save(f'{k}_{kind}_{level}', copy)},{reference},{kind},{level},0,")
    (where / "distortions.csv").write_text("\n".join(rows) + "\n")
    return where


@pytest.fixture(scope="module")
def unrated(folder):
    """Five contents to train on, one to validate, two to test."""
    from vqmeter.training.datasets import open_dataset

    dataset = open_dataset("distorted", folder)
    part = {name: tuple(i for i in dataset.items if i.group in groups) for name, groups in
            (("train", "01234"), ("val", "5"), ("test", "67"))}  # fmt: skip
    return Data(dataset, **part)


@pytest.fixture(scope="module")
def data(unrated):
    """The same with scores of 0..100 that fall with the level."""

    def rated(items):
        return tuple(replace(item, score=95.0 - 28 * item.level) for item in items)

    whole = replace(unrated.dataset, items=rated(unrated.dataset.items), low=0, high=100, unit="MOS")
    return Data(whole, *(rated(items) for items in unrated.parts.values()))


@pytest.fixture
def run(tmp_path_factory, folder, monkeypatch):
    """A run of one epoch whose folder shares decoded frames with the others'; no curves, which take longer than it."""
    monkeypatch.setattr(loop, "draw", lambda _: None)
    (folder / "runs" / "cache").mkdir(parents=True, exist_ok=True)
    where = folder / "runs" / tmp_path_factory.mktemp("run").name
    return Run(where, Context(threads=1, seed=3), epochs=1)


def made_of(types, contents, levels):
    """Items in memory only: `types` of distortion of `contents`, with pristine ones."""
    items = [Item(f"{c}", math.nan, f"{c}", f"{c}", "pristine", 0) for c in range(contents)]
    items += [Item(f"{t}-{c}-{n}", math.nan, f"{c}", f"{c}", f"t{t}", n)
              for t, c, n in itertools.product(range(types), range(contents), range(1, levels + 1))]  # fmt: skip
    return items


# --- ladders and pairs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mix", "types", "levels", "pictures", "pairs"), [(Mix(4, 2), 4, 5, 48, 240), (Mix(9, 1), 18, 4, 45, 90)]
)
def test_batches_of_the_authors(mix, types, levels, pictures, pairs):
    items = made_of(types, 7, levels)
    found = ladders(items)
    assert len(found) == types and {len(ladder.contents) for ladder in found} == {7} and mix.pictures(found) == pictures
    batch = draw(found, mix, "all", np.random.default_rng(0))
    assert len(batch.items) == pictures and len(batch.pairs) == len(set(batch.pairs)) == pairs
    chosen = [items[n] for n in batch.items]
    for better, worse in batch.pairs:
        assert chosen[better].level < chosen[worse].level
        kinds = {chosen[n].type for n in (better, worse)} - {"pristine"}
        assert len(kinds) == 1, "no pairs across distortions"
    across = {len({chosen[n].group for n in pair}) for pair in batch.pairs}
    assert across == ({1, 2} if mix.contents == 2 else {1})
    assert [chosen[batch.contents.index(c)].group for c in batch.contents] == [item.group for item in chosen]


@pytest.mark.parametrize("pairs", ["standard", "hard"])
def test_siamese_pairs_take_as_many_pictures(pairs):
    items = made_of(4, 5, 5)
    batch = draw(ladders(items), Mix(4, 2), pairs, np.random.default_rng(0))
    assert batch.pairs == tuple((n, n + 1) for n in range(0, 48, 2)) and len(batch.items) == 48
    for better, worse in batch.pairs:
        one, other = items[batch.items[better]], items[batch.items[worse]]
        assert one.level < other.level and len({one.type, other.type} - {"pristine"}) == 1
        assert (batch.contents[better] == batch.contents[worse]) == (one.group == other.group)


def test_one_forward_gives_the_gradient_of_every_pair_by_itself():
    """The mean over pairs of a Siamese network that sees each pair apart."""
    torch.manual_seed(0)
    network, x, pairs = nn.Linear(5, 1), 3 * torch.randn(6, 5), [(0, 1), (0, 2), (1, 2), (3, 4), (3, 5)]

    def gradient(loss):
        network.zero_grad()
        loss.backward()
        return network.weight.grad.clone()

    apart = torch.stack([(1.0 - (network(x[i]) - network(x[j]))).clamp_min(0) for i, j in pairs])
    assert 0 < int((apart == 0).sum()) < len(pairs)
    together = hinges(network(x)[:, 0], pairs, 1.0)
    assert together.tolist() == pytest.approx(apart.flatten().tolist())
    assert torch.allclose(gradient(apart.mean()), gradient(hinges(network(x)[:, 0], pairs, 1.0).mean()), atol=1e-6)


def test_levels_shares_and_contents_apart():
    items = made_of(2, 20, 5)
    for count, kept in ((2, {0, 5}), (3, {0, 2, 5}), (6, set(range(6)))):
        assert {level for ladder in ladders(items, count) for c in ladder.contents for level, _ in c} == kept
    rng = np.random.default_rng(0)
    assert len({i.group for i in shared(items, 0.2, rng)}) == 4 and len(shared(items, 1.0, rng)) == len(items)
    learned, held = set_apart(items, rng)
    assert len({i.group for i in held}) == 2 and not {i.group for i in held} & {i.group for i in learned}
    assert {n for ladder in ladders(held, None, 100) for c in ladder.contents for _, n in c} == set(range(100, 100 + len(held)))


def test_references_stand_at_level_0_where_no_pristine_item_is():
    items = [replace(item, reference=f"ref{item.group}") for item in made_of(1, 2, 2) if item.level]
    found = rungs([*items, Item("loose", 1.0)])
    assert len(found) == 6 and [(i.path, i.level, i.group) for i in found[4:]] == [("ref0", 0, "0"), ("ref1", 0, "1")]
    assert [len(content) for content in ladders(found)[0].contents] == [3, 3]


# --- learning --------------------------------------------------------------------------------------------------------


def test_it_learns_and_predicts_what_the_metric_says(data, run, tmp_path):
    trained = SMALL.train(data, replace(run, epochs=6, rate=2e-3))
    raw, scores = trained.predict(data.test), [item.score for item in data.test]
    assert srocc(raw, np.array(scores)) > 0.5
    assert trained.figures["pair_accuracy"] > 0.7 and trained.figures["level_0"] > trained.figures["level_3"] + 0.5
    log = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    assert [row["stage"] for row in log] == ["rank"] * 6 + ["tune"] * 6 and all("srocc" in row for row in log[6:])
    path = tmp_path / "mini.safetensors"
    publish(path, "rankiqa", trained, data, "a card")
    for item, said in list(zip(data.test, raw, strict=True))[:3]:
        result = measure(item.path, models=f"rankiqa:weights={path}:crops=2", seed=3).only
        assert result.error is None and result.whole["rankiqa"]["raw"] == pytest.approx(said, abs=1e-4)
        assert result.whole["rankiqa"]["mos"] == pytest.approx(100 * said, abs=1e-2)
    with pytest.raises(WeightsError, match="network=vgg16-pool"):
        Rankiqa(network="shallow", stage="tune").train(data, replace(run, init=str(path)))
    again = replace(SMALL, stage="tune").train(data, replace(run.inside("again"), init=str(path), steps=1, rate=0.0))
    assert again.preprocessing == trained.preprocessing and "mini" in again.notes[0]


def test_ranking_alone_says_where_pristine_and_strongest_are(unrated, run):
    trained = SMALL.train(unrated, replace(run, epochs=4))
    assert "not tuned" in " ".join(trained.notes) and trained.label.unit == "levels of distortions"
    assert (trained.label.low, trained.label.high, trained.label.higher_is_better) == (0, 1, True)
    pristine = trained.predict([item for item in unrated.train if item.level == 0])
    worst = trained.predict([item for item in unrated.train if item.level == LEVELS])
    assert np.mean(pristine) == pytest.approx(1, abs=0.15) and np.mean(worst) == pytest.approx(0, abs=0.15)
    table = json.loads((run.folder / "levels.json").read_text())
    assert set(table) == {"blur", "noise"} and all(set(levels) == {"0", "1", "2", "3"} for levels in table.values())


def test_labels_and_rankings_at_once(data, run):
    trained = replace(SMALL, stage="joint").train(data, replace(run, epochs=8, rate=3e-3))
    assert srocc(trained.predict(data.test), np.array([item.score for item in data.test])) > 0.5


def test_ladders_beside_labels_add_their_loss(data, run, folder, monkeypatch):
    steps = []

    class Counted(RankTask):
        def loss(self, batch, rng):
            steps.append(super().loss(batch, rng))
            return steps[-1]

    monkeypatch.setattr(rankiqa, "RankTask", Counted)
    recipe = replace(SMALL, stage="joint", ladders=str(folder))
    trained = recipe.train(data, replace(run, steps=2))
    assert "2 types of distortion, each within a picture" in " ".join(trained.notes) and len(steps) == 2
    assert all(loss.requires_grad and loss > 0 for loss in steps)
    plain = replace(recipe, ladders=None).train(data, replace(run.inside("plain"), steps=2))
    assert not torch.equal(plain.state["features.0.weight"], trained.state["features.0.weight"])


def test_own_pairs_are_of_one_picture(unrated, run, monkeypatch):
    seen = []
    monkeypatch.setattr(ranking, "hinges", lambda scores, pairs, margin: seen.append(pairs) or hinges(scores, pairs, margin))
    items = rungs(unrated.train)
    cropper = Cropper(Store(items, run, windows=1), Recipe(), 96, "cpu")
    task = RankTask(VggPool(1 / 16), cropper, ladders(items), ladders(items), Ranking(Mix(2, 2), own=True), run)
    batch = task.batches(1, np.random.default_rng(0))[0]
    task.loss(batch, np.random.default_rng(0))
    assert len(seen[-1]) < len(batch.pairs) and all(batch.contents[a] == batch.contents[b] for a, b in seen[-1])


def test_killed_and_begun_again_it_ends_with_the_same_weights(data, run, monkeypatch):
    monkeypatch.setattr(rankiqa, "draw_levels", lambda *_: None)
    recipe, run = replace(SMALL, pairs="hard"), replace(run, epochs=2, keep_every=0.0)

    def until(step):
        def tell(what, done, total):
            if (what, done) == step:
                raise KilledError

        return tell

    whole = recipe.train(data, run.inside("whole")).state
    for step in (("rank", 3), ("tune", 2)):
        with pytest.raises(KilledError):
            recipe.train(data, replace(run.inside("killed"), tell=until(step)))
    again = recipe.train(data, run.inside("killed")).state
    assert whole.keys() == again.keys() and all(torch.equal(whole[key], again[key]) for key in whole)


def test_tuning_begins_at_the_labels_mean_and_spread(data, run):
    store = Store(data.train, run, windows=1)
    targets = np.array([item.score / 100 for item in data.train], np.float32)
    module = VggPool(1 / 16)
    cropper = Cropper(store, rankiqa_start.IMAGENET, 96, "cpu")
    task = ScoredTask(module, cropper, range(len(targets)), targets, lambda: np.random.default_rng(0))
    before = task.scores(task.val, np.random.default_rng(0))
    scale = targets.std() / before.std()
    rankiqa_start.bring_to(module, scale, float(targets.mean() - scale * before.mean()))
    after = task.scores(task.val, np.random.default_rng(0))
    assert after.mean() == pytest.approx(targets.mean(), abs=1e-4) and after.std() == pytest.approx(targets.std(), rel=1e-3)
    assert srocc(before, after) == pytest.approx(1)
    crops = cropper(range(3), np.full((3, 4), 0.75))
    assert crops.shape == (3, 3, 96, 96)
    rgb = store.rgb(0, 0, 0, 12, 96, 96)
    normal = (rgb - np.array([0.485, 0.456, 0.406])[:, None, None]) / np.array([0.229, 0.224, 0.225])[:, None, None]
    assert np.abs(crops[0].numpy() - normal).max() < 1e-5


# --- as published ----------------------------------------------------------------------------------------------------


def test_published_rates_and_pixels():
    network = Shallow(4)
    groups = rankiqa_start.caffe_groups(network, 1e-4)
    told = {name: (group["lr"] / 1e-4, group["weight_decay"])
            for (name, _), group in zip(network.named_parameters(), groups, strict=True)}  # fmt: skip
    assert told["conv1.weight"] == pytest.approx((1, 5e-4)) and told["conv1.bias"] == pytest.approx((2, 0))
    assert told["fc.weight"] == pytest.approx((10, 5e-4)) and told["fc.bias"] == pytest.approx((20, 0))
    x = torch.rand(1, 3, 227, 227)
    with torch.no_grad():
        before = network(rankiqa_start.IMAGENET.of_rgb(x))
        rankiqa_start._take_in(network, rankiqa_start.IMAGENET)
        assert network(rankiqa_start.AS_PUBLISHED.of_rgb(x)).item() == pytest.approx(before.item(), abs=1e-4)


def test_as_published_keeps_scores_as_they_are(data, run):
    turned = Data(replace(data.dataset, higher_is_better=False), *data.parts.values())
    recipe = replace(SMALL, as_published=True, crops=1)
    trained = recipe.train(turned, replace(run, steps=1))
    assert trained.preprocessing["order"] == "BGR" and trained.preprocessing["divide"] == 1
    assert (trained.label.scale, trained.label.offset, trained.label.higher_is_better) == (1, 0, False)


# --- the source's tables, and what cannot be done --------------------------------------------------------------------


class Tiny(nn.Module):
    """Stands in for networks of hundreds of megabytes."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 2, 8, 8), nn.Linear(2, 1)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))


@pytest.mark.parametrize("name", Rankiqa.comparisons)
def test_tables(name, data, run, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rankiqa, "draw_levels", lambda *_: None)
    for link in ("waterloo", "places2"):
        (tmp_path / link).symlink_to(folder, target_is_directory=True)
    table, recipe = Rankiqa.comparisons[name], replace(SMALL, crops=1, frames=1)
    if name == "networks":
        monkeypatch.setattr(metric, "maker", lambda *_: Tiny)
        recipe = replace(Rankiqa(), crops=1)
    few = Data(data.dataset, data.train[:14], data.val, data.test[:3])
    rows = compare(recipe, table, [few], replace(run, steps=1, batch=8))
    assert [row.name for row in rows] == list(table.rows)
    assert all(set(key) <= {*table.columns, *table.rows} for key in table.published)
    for row, options in zip(rows, table.rows.values(), strict=True):
        if options != {"published": "only"}:
            assert all(math.isfinite(row.mean(column)[0]) for column in table.columns), row


def test_what_cannot_be_done_is_said(data, unrated, run):
    for options, says in (
        ({"levels": 1}, "levels is 2 or more"),
        ({"crop": 100}, "crop is 227 or more"),
        ({"share": 0.0}, "share is more than 0"),
    ):
        with pytest.raises(UsageError, match=says):
            Rankiqa(**options)
    with pytest.raises(UsageError, match="have no score"):
        replace(SMALL, stage="tune").train(unrated, run)
    flat = tuple(replace(item, level=None) for item in data.train)
    with pytest.raises(UsageError, match="stage=tune"):
        SMALL.train(Data(Dataset("flat", flat), flat), run)
