"""DIPQA on video: patches at the same places of both frames, maps, and scores against a plain rendition."""

import numpy as np
import pytest
import torch

from vqmeter import measure
from vqmeter.errors import UsageError
from vqmeter.metric import Clip, Context, QualityMap, Sample, Stream, find
from vqmeter.metrics import crops
from vqmeter.networks.dipqa import Dipqa
from vqmeter.sources import open_video
from vqmeter.tensors import rgb_array
from vqmeter.weights import save

pytestmark = pytest.mark.usefixtures("one_thread")

LABEL = {"scale": 1.0, "offset": 3.0, "low": 1.0, "high": 5.0, "unit": "DMOS, seeded"}
MEAN, STD = (np.array(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def seeded(size):
    torch.manual_seed(5)
    network = Dipqa(size).eval()
    for name, value in network.state_dict().items():
        if value.dim() > 1:
            torch.nn.init.normal_(value, std=(1.6 / value[0].numel()) ** 0.5)
        elif name.endswith(("running_var", "running_mean")):
            value.add_(0.3 * torch.rand(value.shape))
    network.fc2.weight.data *= 12
    return network


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dipqa")


def write(path, size=None, **meta):
    save(path, seeded(size).state_dict(), {"name": path.stem, "model": "dipqa", "label": LABEL} | meta, store="fp32")
    return path


@pytest.fixture(scope="module")
def weights(folder):
    return write(folder / "pooled.safetensors", preprocessing={"patch": 32})


@pytest.fixture(scope="module")
def pair(folder):
    """30 frames of 130x98 at 25 a second, and the same with grain that grows."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[0:98, 0:130]
    paths = []
    for name, amount in (("ref", 0.0), ("dist", 1.0)):
        path = folder / f"{name}.y4m"
        with open(path, "wb") as file:
            file.write(b"YUV4MPEG2 W130 H98 F25:1 Ip A1:1 C420jpeg\n")
            for t in range(30):
                luma = 128 + 80 * np.sin(x / (6 + y / 20) + t) + amount * (3 + t) * rng.normal(0, 1, (98, 130))
                chroma = [rng.normal(125 + k, 12 * amount + 3, (49, 65)) for k in range(2)]
                planes = (np.clip(plane, 0, 255).astype(np.uint8) for plane in (luma, *chroma))
                file.write(b"FRAME\n" + b"".join(plane.tobytes() for plane in planes))
        paths.append(str(path))
    return tuple(paths)


def run(pair, *metrics, **options):
    result = measure(pair[1], reference=pair[0], metrics=list(metrics), **options).only
    assert result.error is None, result.error
    return result


def spec(path, **options):
    return ":".join([f"dipqa:weights={path}", *(f"{key}={value}" for key, value in options.items())])


def pictures(path, wanted):
    """Frames as (3, H, W) with ImageNet's mean and deviation."""
    source = open_video(path)
    out = {frame.index: (rgb_array(frame) - MEAN) / STD for frame in source.frames() if frame.index in wanted}
    source.close()
    return [out[n].astype(np.float32) for n in wanted]


def plain(network, ref, dist, corners, size):
    """Qualities of patches, one by one."""
    out = []
    with torch.no_grad():
        for top, left in corners:
            a, b = (torch.from_numpy(p[:, top : top + size, left : left + size])[None] for p in (ref, dist))
            out.append(float(network(b, a)))
    return np.array(out)


def scaled(raw):
    return 100 * (np.asarray(raw) + 3 - 1) / 4


def test_the_mean_over_patches_against_a_plain_rendition(pair, weights):
    result = run(pair, spec(weights, patches=5), seed=9)
    assert list(result.series["dipqa"].frames) == [0, 13, 25]
    both = zip(*(pictures(path, (0, 13, 25)) for path in pair), strict=True)
    raw = [plain(seeded(None), *frames, crops.random_corners(9, n, (98, 130), 32, 5), 32).mean()
           for n, frames in zip((0, 13, 25), both, strict=True)]  # fmt: skip
    assert scaled(raw).min() > 2 and scaled(raw).max() < 98 and np.ptp(scaled(raw)) > 1
    np.testing.assert_allclose(result.frames["dipqa"], scaled(raw), rtol=0, atol=1e-2)
    whole = result.whole["dipqa"]
    assert whole["raw"] == pytest.approx(np.mean(raw), abs=4e-4) and whole["mos"] == pytest.approx(whole["raw"] + 3)
    assert whole["score"] == pytest.approx(scaled(whole["raw"]))


def test_flattened_features_and_the_grid(folder, pair):
    path = write(folder / "flat.safetensors", 64)
    result = run(pair, spec(path, patches="grid", rate="native"), frames=2)
    grid = [(top, left) for top in (0, 34) for left in (0, 33, 66)]
    both = zip(*(pictures(path, (0, 1)) for path in pair), strict=True)
    raw = [plain(seeded(64), *frames, grid, 64).mean() for frames in both]
    np.testing.assert_allclose(result.frames["dipqa"], scaled(raw), rtol=0, atol=1e-2)
    bad = measure(pair[1], reference=pair[0], metrics=spec(path, size=32)).only.error
    assert isinstance(bad, UsageError) and "patches of 64, not 32" in str(bad)


def same(one, other):
    """To 1e-4 of 0..100."""
    np.testing.assert_allclose(one.frames["dipqa"], other.frames["dipqa"], rtol=0, atol=1e-2)
    assert one.whole["dipqa"]["score"] == pytest.approx(other.whole["dipqa"]["score"], abs=1e-2)


def test_batches_threads_company_and_maps_change_nothing(pair, weights, tmp_path):
    one = run(pair, spec(weights), batch=1, threads=1)
    same(one, run(pair, spec(weights), batch=16, threads=2))
    same(one, run(pair, spec(weights), "psnr", spec(weights, patches="grid") + ":as=grid"))
    same(one, run(pair, spec(weights), map=tmp_path))
    assert len(list(tmp_path.glob("*_dipqa_*.png"))) == 3


def test_seeds_and_several_distorted_files(pair, weights):
    one, other = run(pair, spec(weights), seed=1), run(pair, spec(weights), seed=2)
    assert np.abs(one.frames["dipqa"] - other.frames["dipqa"]).min() > 1e-3
    report = measure([pair[1], pair[0]], reference=pair[0], metrics=spec(weights), seed=1)
    same(one, report.results[0])
    assert abs(report.results[1].whole["dipqa"]["score"] - one.whole["dipqa"]["score"]) > 0.1


@pytest.mark.parametrize("patches", ["4", "grid"])
def test_a_map_has_a_place_for_every_patch_of_the_grid(pair, weights, patches):
    metric = find("fr", spec(weights, patches=patches)).metric
    ref, dist = (open_video(path) for path in pair)
    stream = Stream(dist.info, ref.info, dist.info.pix_fmt, 1, dist.info.rate)
    meter = metric.open(stream, Context(maps=True))
    a, b = next(ref.frames()), next(dist.frames())
    out = [*meter.score([Clip((0,), (meter.prepare(Sample(0, b, a)),))]), *meter.finish()]
    quality = next(one for one in out if isinstance(one, QualityMap))
    score = next(one for one in out if not isinstance(one, QualityMap))
    assert quality.values.shape == (4, 5) and (quality.low, quality.high, quality.frame) == (0, 100, 0)
    assert quality.values.min() > 0 and quality.values.max() < 100
    assert (abs(quality.values.mean() - score.value) < 1e-3) == (patches == "grid")
    corners = [(top, left) for top in (0, 22, 44, 66) for left in (0, 24, 49, 74, 98)]
    frames = (pictures(path, (0,))[0] for path in pair)
    np.testing.assert_allclose(quality.values.ravel(), scaled(plain(seeded(None), *frames, corners, 32)), atol=1e-2)
    ref.close()
    dist.close()


def test_grids_cover_the_frame_with_as_few_as_can_be():
    assert crops.grid_lines(227, 227) == [0] and crops.grid_lines(64, 227) == [0]
    assert crops.grid_lines(192, 64) == [0, 64, 128] and crops.grid_lines(193, 64) == [0, 43, 86, 129]
    assert crops.grid_corners((64, 100), 64) == [(0, 0), (0, 36)]


@pytest.mark.parametrize("fmt", ["yuv420p", "yuv422p", "yuv444p10le", "yuv440p", "yuv411p", "yuv410p", "gray", "rgb24"])
@pytest.mark.parametrize("size", [(161, 97), (160, 90)])
def test_windows_hold_what_the_whole_frame_has(textured, fmt, size):
    frame, _ = textured(*size, fmt)
    width, height = size
    corners = [(0, 0), (height - 16, width - 16), (0, width - 16), (height - 16, 0), (31, 40), (32, 41), (33, 43), (1, 1)]
    recipe = crops.Recipe("BGR", 1.0, (1.0, 2.0, 3.0))
    cut = crops.cut(frame, corners, 16)
    assert len({id(crop.picture) for crop in cut}) == len(corners)
    whole = crops.cut(frame, corners * 40, 16)[: len(corners)]
    assert len({id(crop.picture) for crop in whole}) == 1
    torch.testing.assert_close(recipe.pixels(cut, 16, "cpu"), recipe.pixels(whole, 16, "cpu"), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (33, 21), (36, 64), (20, 12), (2, 2)])
def test_any_size(raw_pair, weights, width, height):
    for patches in ("3", "grid"):
        result = run(raw_pair(width, height, frames=2), spec(weights, patches=patches, rate="native"))
        assert np.isfinite(result.frames["dipqa"]).all() and len(result.frames["dipqa"]) == 2


def test_pictures_and_patch_sizes(tmp_path, weights):
    from PIL import Image

    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
    for name, shown in (("a.png", picture), ("b.png", picture // 2)):
        Image.fromarray(shown).save(tmp_path / name)
    both = [((shown.transpose(2, 0, 1) / 255 - MEAN) / STD).astype(np.float32) for shown in (picture, picture // 2)]
    for size in (16, 48):
        result = run((str(tmp_path / "a.png"), str(tmp_path / "b.png")), spec(weights, size=size, patches="grid"))
        corners = crops.grid_corners((50, 60), size)
        expected = plain(seeded(None), *both, corners, size).mean()
        assert result.whole["dipqa"]["raw"] == pytest.approx(expected, abs=4e-4)


def test_lower_for_better_is_turned_round(folder, pair, weights):
    path = write(folder / "turned.safetensors", preprocessing={"patch": 32}, label=LABEL | {"higher_is_better": False})
    one, other = run(pair, spec(weights), frames=2), run(pair, spec(path), frames=2)
    np.testing.assert_allclose(other.frames["dipqa"], 100 - one.frames["dipqa"], atol=1e-9)


def test_what_cannot_be_done_is_said_in_one_line(pair, cli, monkeypatch, tmp_path, empty_box):
    monkeypatch.setenv("VQMETER_WEIGHTS", str(tmp_path))
    code, out, err = cli("fr", *pair, "-m", "dipqa")
    assert code == 6 and not out and len(err.splitlines()) == 1 and "dipqa" in err
    for options, says in (
        ("rate=-1", "rate is"),
        ("patches=0", "patches is"),
        ("patches=all", "patches is"),
        ("size=8", "size is"),
    ):
        with pytest.raises(UsageError, match=says):
            find("fr", f"dipqa:{options}")
