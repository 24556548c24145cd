"""Stored frames are those of scoring to the bit, labels of places are areas counted by hand, batches are of one place."""

import numpy as np
import pytest
import torch

from vqmeter import tensors
from vqmeter.errors import InputError, UsageError
from vqmeter.sources import InputOptions, open_video
from vqmeter.training import store as store_module
from vqmeter.training.datasets import Dataset, Item
from vqmeter.training.dense import Labels, Sampler, labels_of, ranking
from vqmeter.training.run import Run
from vqmeter.training.store import Store
from vqmeter.weights import Label


@pytest.fixture
def clips(tmp_path):
    """Two sources of three copies, 64x48 and 96x80, nine frames, 4:2:0; a copy's luma differs from its source by its level."""
    folder = tmp_path / "clips"
    folder.mkdir()
    rng, items = np.random.default_rng(3), []
    for name, (w, h) in {"a": (64, 48), "b": (96, 80)}.items():
        planes = [rng.integers(16, 200, (h, w), np.uint8), *rng.integers(16, 240, (2, h // 2, w // 2), np.uint8)]
        for level in range(3):
            path = folder / f"{name}{level}_{w}x{h}.yuv"
            path.write_bytes(b"".join(
                (np.roll(p, n, 1) + (3 * level if not k else 0)).astype(np.uint8).tobytes() for n in range(9)
                for k, p in enumerate(planes)))  # fmt: skip
            items.append(
                Item(str(path), 1.0 - level / 2, str(folder / f"{name}0_{w}x{h}.yuv"), name, "add", level, (w, h), 25.0)
            )
    return items


def whole(item, n):
    source = open_video(item.path, InputOptions(size=item.size))
    frame = next(frame for frame in source.frames() if frame.index == n)
    rgb = tensors.rgb_array(frame)
    source.close()
    return rgb


def test_a_stored_crop_is_that_of_the_whole_frame_to_the_bit(clips, tmp_path):
    store = Store(clips, Run(tmp_path), windows=4)
    assert store.frames(0) == (1, 3, 5, 7)
    for n, at, top, left in ((1, 0, 0, 0), (4, 2, 13, 7), (5, 3, 47, 63)):
        frame = whole(clips[n], store.frames(n)[at])
        np.testing.assert_array_equal(store.rgb(n, at, top, left, 33, 33), frame[:, top : top + 33, left : left + 33])
    assert store.rgb(0, range(4), 2, 3, 8, 10).shape == (3, 4, 8, 10)


def test_ten_bits_and_odd_sizes_too(tmp_path):
    path = tmp_path / "ten_33x27_10b.yuv"
    path.write_bytes(np.random.default_rng(0).integers(64, 940, 27 * 33 + 2 * 14 * 17, np.uint16).astype("<u2").tobytes())
    source = open_video(str(path), InputOptions())
    frame = tensors.rgb_array(next(iter(source.frames())))
    source.close()
    stored = Store([Item(str(path), 0.0)], Run(tmp_path)).rgb(0, 0, 5, 9, 22, 24)
    np.testing.assert_array_equal(stored, frame[:, 5:27, 9:33])


def test_windows_and_that_nothing_is_decoded_twice(clips, tmp_path, monkeypatch):
    store = Store(clips, Run(tmp_path), windows=2, length=3)
    assert store.frames(0) == (1, 2, 3, 5, 6, 7) and store.stored[0].windows == ((0, 3), (3, 6))
    monkeypatch.setattr(store_module, "_decode", None)
    again = Store(clips, Run(tmp_path), windows=2, length=3)
    np.testing.assert_array_equal(again.rgb(2, 4, 0, 0, 16, 16), store.rgb(2, 4, 0, 0, 16, 16))


def test_a_label_is_the_mean_of_tiles_by_area_and_of_frames(tmp_path):
    tiles = np.array([[[1.0, 2.0], [3.0, 5.0]], [[2.0, 4.0], [6.0, 10.0]]])
    boxes = np.array([[[0, 0, 10, 10], [0, 10, 10, 20]], [[10, 0, 10, 10], [10, 10, 10, 20]]])
    (tmp_path / "labels").mkdir()
    np.savez(tmp_path / "labels/x.npz", vmaf=[7.0, 8.0], tile_vmaf=tiles, boxes=boxes, tile_other=tiles + 1)
    data = Dataset("d", (), unit="vmaf", root=str(tmp_path))
    for item in (Item("x.mp4", 9.0, columns={"dense": "labels/x.npz"}), Item(str(tmp_path / "clips/x.mp4"), 9.0)):
        labels = labels_of(item, data)
        assert labels.at([0], 0, 0, 10, 10) == 1 and labels.at([0, 1], 0, 0, 10, 10) == 1.5
        assert labels.at([0], 8, 5, 4, 15) == pytest.approx((2 * 5 * (1 + 3) + 2 * 10 * (2 + 5)) / 60)
        assert labels.at([1], 30, 40, 4, 4) == 8 and labels.length == 2  # beyond the tiles: the frame's
    assert labels_of(Item("x.mp4", 9.0), data).at([0], 0, 0, 4, 4) == 9
    other = Dataset("d", (), unit="other (pseudo label)", root=str(tmp_path))
    assert labels_of(Item("x.mp4", 9.0, columns={"dense": "labels/x.npz"}), other).at([0], 0, 0, 10, 10) == 2
    mos = Dataset("d", (), root=str(tmp_path))
    assert labels_of(Item(str(tmp_path / "clips/x.mp4"), 9.0), mos).at([0], 0, 0, 10, 10) == 9
    with pytest.raises(InputError, match="neither 'MOS' nor 'tile_MOS'"):
        labels_of(Item("x.mp4", 9.0, columns={"dense": "labels/x.npz"}), mos)
    np.savez(tmp_path / "labels/x.npz", tile_vmaf=tiles)
    with pytest.raises(InputError, match="needs 'boxes'"):
        labels_of(Item("x.mp4", 9.0, columns={"dense": "labels/x.npz"}), data)
    with pytest.raises(InputError, match="no file of labels"):
        labels_of(Item("x.mp4", 9.0, columns={"dense": "nowhere.npz"}), data)


def test_a_batch_shows_copies_of_a_source_at_one_place(clips, tmp_path):
    distorted = [item for item in clips if item.level]
    store = Store(distorted, Run(tmp_path), windows=3, length=2, paired=True)
    labels = [Labels(item.score) for item in distorted]
    sampler = Sampler(store, labels, Label(2.0, -1.0), (40, 32), frames=2, variants=2, paired=True)
    rng = np.random.default_rng(1)
    assert sorted(n for batch in sampler.batches(rng, 1, rounds=2) for n in batch) == [0, 0, 1, 1]
    batch = sampler.draw([0, 1], rng)
    assert batch.pixels.shape == (4, 3, 2, 40, 32) and batch.sources.tolist() == [0, 0, 1, 1]
    assert batch.targets.tolist() == [(distorted[n].score + 1) / 2 for n in batch.items]
    step = 255 / 219 * 3 / 255  # of luma, limited range
    for k, n in enumerate(batch.items):
        difference = (batch.pixels[k] - batch.reference[k]).numpy()
        inside = (batch.pixels[k] < 1).numpy() & (batch.reference[k] > 0).numpy()
        np.testing.assert_allclose(difference[inside], step * distorted[n].level, atol=1e-5)
    assert torch.equal(sampler.draw([1], np.random.default_rng(5)).pixels, sampler.draw([1], np.random.default_rng(5)).pixels)
    with pytest.raises(UsageError, match="2 frames of 200x200"):
        Sampler(store, labels, Label(), 200, frames=2)
    with pytest.raises(InputError, match="has no label, there are 2"):
        Sampler(store, [Labels(0, np.zeros(2))] * 4, Label(), 32)


def test_the_ranking_loss_counts_pairs_of_one_source_only():
    targets, sources = torch.tensor([0.9, 0.5, 0.1, 0.7]), torch.tensor([0, 0, 0, 1])
    assert ranking(targets, targets, sources).item() == pytest.approx(0, abs=1e-7)
    scores = torch.tensor([0.5, 0.5, 0.0, -9.0])
    assert ranking(scores, targets, sources).item() == pytest.approx((0.4 + 0.3 + 0) / 3)
    assert ranking(scores, targets, sources, 0.5).item() == pytest.approx(0.2 / 3)
    assert ranking(scores[2:], targets[2:], sources[2:]).item() == 0
