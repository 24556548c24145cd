"""Items in parts, labels as networks learn them, pseudo labels, and distorted folders as data sets."""

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vqmeter.errors import InputError, UsageError
from vqmeter.training.data import Data, divide, need_scores, targets
from vqmeter.training.datasets import Dataset, Item, open_dataset, problems
from vqmeter.training.labels import pseudo_labels
from vqmeter.training.reading import Reader, as_reference, every, pictures, read


def dataset(count=12, **how):
    parts = ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    items = tuple(Item(f"{n}.png", 10.0 * n, group=f"content{n // 3}", columns={"part": parts[n]}) for n in range(count))
    return Dataset("made", items, low=0.0, high=200.0, **how)


def test_labels_become_0_to_1_and_higher_is_better_either_way():
    up = Data(dataset(), dataset().items)
    assert targets(up.train[:3], up.label).tolist() == pytest.approx([0, 0.05, 0.1])
    down = Data(dataset(higher_is_better=False), dataset().items)
    assert targets(down.train[:3], down.label).tolist() == pytest.approx([1, 0.95, 0.9])
    for data in (up, down):
        for item, raw in zip(data.train, targets(data.train, data.label), strict=True):
            assert data.label.value(float(raw)) == pytest.approx(item.score)
            assert data.label.score(float(raw)) == pytest.approx(100 * raw)  # 0..100, higher is better


def test_a_scale_nobody_told_is_that_of_the_training_part():
    data = replace(Data(dataset(), dataset().items[:3]), dataset=replace(dataset(), low=None, high=None))
    assert (data.label.low, data.label.high) == (0.0, 20.0)
    with pytest.raises(InputError, match="nothing to learn"):
        _ = Data(replace(dataset(), low=None, high=None), dataset().items[:1]).label


def test_as_published_leaves_scores_alone():
    data = Data(dataset(higher_is_better=False), dataset().items)
    assert targets(data.train, data.as_published()).tolist() == [item.score for item in data.train]


def test_parts_share_no_content():
    for data in divide(dataset(), "60/20/20", 5, seed=3):
        groups = [{item.group for item in items} for items in data.parts.values()]
        assert all(groups) and not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
        assert sum(map(len, data.parts.values())) == 12
    [by_column] = divide(dataset(), "column:part")
    assert [len(items) for items in by_column.parts.values()] == [6, 3, 3]
    [whole] = divide(dataset(), "none")
    assert len(whole.train) == 12 and not whole.test
    assert len(list(divide(dataset(), "4-fold"))) == 4
    with pytest.raises(UsageError, match="'train'"):
        next(divide(dataset(), "column:group"))


def test_scores_that_are_missing_are_asked_for():
    items = (*dataset().items, Item("x.png", math.nan))
    with pytest.raises(UsageError, match=r"1 of 13 items have no score.*--labels"):
        need_scores(Data(dataset(), items), "vsfa")


@pytest.fixture(scope="module")
def distorted(tmp_path_factory):
    """Two pristine pictures, distorted by two types at two levels, as `vqmeter distort` writes them."""
    from vqmeter.cli import main

    folder = tmp_path_factory.mktemp("distorted")
    (folder / "in").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        smooth = np.cumsum(rng.normal(size=(48, 64, 3)), 1)
        picture = 128 + 60 * smooth / np.abs(smooth).max() + rng.normal(size=smooth.shape) * 6
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(folder / "in" / f"{name}.png")
    with pytest.raises(SystemExit) as left:
        main(["distort", str(folder / "in"), str(folder / "out"), "--types", "GN,GB", "--levels", "1,3", "-q"])
    assert left.value.code == 0
    return folder / "out"


def test_a_distorted_folder_is_a_data_set(distorted):
    found = open_dataset("distorted", distorted)
    assert len(found.items) == 2 * (1 + 4) and found.groups == ["a", "b"]
    assert {(i.type, i.level) for i in found.items} == {("pristine", 0), ("GN", 1), ("GN", 3), ("GB", 1), ("GB", 3)}
    assert all("without a score" in line for line in problems(found)) and len(problems(found)) == 1


def test_pseudo_labels_are_the_metric_and_are_kept(distorted, tmp_path):
    from vqmeter import measure

    bare, cache = open_dataset("distorted", distorted), str(tmp_path / "labels.ndjson")
    found = pseudo_labels(bare, "ssim", cache=cache, jobs=2)
    assert (found.low, found.high, found.higher_is_better) == (-1.0, 1.0, True) and "pseudo" in found.unit
    for item in found.items:
        report = measure(item.path, reference=item.reference, metrics="ssim")
        assert item.score == pytest.approx(report.results[0].pooled["ssim_y"]["score"], abs=1e-9)
    before = (tmp_path / "labels.ndjson").read_text()
    again = pseudo_labels(bare, "ssim", cache=cache, jobs=2)
    assert (tmp_path / "labels.ndjson").read_text() == before
    assert [i.score for i in again.items] == [i.score for i in found.items]


def test_a_metric_of_several_scores_has_one_named(distorted):
    bare = open_dataset("distorted", distorted)
    found = pseudo_labels(bare, "psnr")  # of all samples; a pristine one stands at the ceiling
    assert found.unit.startswith("psnr ") and [i.score for i in found.items if not i.level] == [60, 60]
    with pytest.raises(UsageError, match="psnr_cb"):
        pseudo_labels(bare, "psnr.psnr_z")
    with pytest.raises(UsageError, match="one metric"):
        pseudo_labels(bare, "psnr,ssim")
    lone = replace(bare, items=(Item("lone.png", math.nan),))
    with pytest.raises(UsageError, match="needs references"):
        pseudo_labels(lone, "psnr")


def test_pictures_and_clips_are_read_as_in_scoring(distorted, raw_pair):
    from vqmeter.sources import open_video
    from vqmeter.tensors import rgb_array

    item = open_dataset("distorted", distorted).items[1]
    both = pictures(item, paired=True)
    assert both.shape == (2, 1, 3, 48, 64) and both.dtype == np.uint8
    assert np.array_equal(both[1], pictures(as_reference(item))[0])
    ref, dist = raw_pair(64, 48, 9)
    video = Item(dist, 1.0, ref)
    assert pictures(video, None).shape == (1, 9, 3, 48, 64)
    few = pictures(video, 3)
    source = open_video(dist)
    frames = [(rgb_array(frame) * 255 + 0.5).astype(np.uint8) for frame in source.frames()]
    source.close()
    assert np.array_equal(few[0], np.stack([frames[n] for n in (1, 4, 7)]))
    clips = read(video, Reader(lambda stream: [(0, 1), (7, 8)], lambda sample: sample.index, counted=True), frames=8)
    assert [clip.items for clip in clips] == [(0, 1), (7, 7)]  # past the end the last frame is repeated
    assert len(list(every(5)(replace_frames(3)))) == 3


def replace_frames(count):
    class Stream:
        frames = count

    return Stream()
