"""RankIQA on video: crops, frames chosen by time, and scores against a plain rendition, with seeded weights."""

import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from torch import nn

from vqmeter import measure
from vqmeter.errors import UsageError, WeightsError
from vqmeter.metric import find
from vqmeter.metrics import crops
from vqmeter.metrics.nr import rankiqa
from vqmeter.networks.shallow import Shallow
from vqmeter.weights import Weights, save

pytestmark = pytest.mark.usefixtures("one_thread")

LABEL = {"scale": 2.0, "offset": 1.0, "low": -40.0, "high": 40.0, "unit": "MOS, seeded"}


def seeded(width=4):
    torch.manual_seed(3)
    network = Shallow(width).eval()
    for parameter in network.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5)
    return network


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rankiqa")


def write(path, state=None, **meta):
    known = {"name": path.stem, "model": "rankiqa", "variant": "Shallow", "label": LABEL}
    known["preprocessing"] = {"order": "BGR", "divide": 20, "mean": [5.5, 5, 6], "std": [1, 2, 1]}
    save(path, state or seeded().state_dict(), known | meta)
    return path


@pytest.fixture(scope="module")
def weights(folder):
    return write(folder / "seeded.safetensors")


def spec(path, **options):
    return ":".join([f"rankiqa:weights={path}", *(f"{key}={value}" for key, value in options.items())])


def run(clip, model, **options):
    result = measure(str(clip), models=model, **options).only
    assert result.error is None, result.error
    return result


def same(one, other, tolerance=1e-2):
    """Frame scores and the video's, to 1e-4 of their 0..100."""
    np.testing.assert_allclose(one.frames["rankiqa"], other.frames["rankiqa"], rtol=0, atol=tolerance)
    assert one.whole["rankiqa"]["score"] == pytest.approx(other.whole["rankiqa"]["score"], abs=tolerance)


def scene(count, width, height):
    """(luma, cb, cr) of 4:2:0: waves over noise, every frame and every place different."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:height, 0:width]
    out = []
    for t in range(count):
        luma = 128 + 70 * np.sin(x / (7 + y / 60) + t) + rng.normal(0, 4 + 6 * (t % 4), (height, width))
        chroma = [rng.normal(120, 25, (-(-height // 2), -(-width // 2))) for _ in range(2)]
        out.append(tuple(np.clip(plane, 0, 255).astype(np.uint8) for plane in (luma, *chroma)))
    return out


def write_y4m(path, frames, rate="25:1"):
    h, w = frames[0][0].shape
    with open(path, "wb") as file:
        file.write(f"YUV4MPEG2 W{w} H{h} F{rate} Ip A1:1 C420jpeg\n".encode())
        for planes in frames:
            file.write(b"FRAME\n" + b"".join(plane.tobytes() for plane in planes))
    return path


@pytest.fixture(scope="module")
def clip(folder):
    return write_y4m(folder / "scene.y4m", scene(5, 320, 250))


def plain_bgr(planes):
    """(H, W, 3) B, G, R in 0..255 of 4:2:0, limited range, BT.601: chroma between two lines, on every second sample."""
    luma, *chroma = (plane.astype(np.float64) for plane in planes)
    h, w = luma.shape
    rows, columns = (np.arange(h) + 0.5) / 2 - 0.5, np.arange(w) / 2
    up = []
    for plane in chroma:
        at = np.clip(rows, 0, len(plane) - 1), np.clip(columns, 0, plane.shape[1] - 1)
        tall = np.stack([np.interp(at[0], np.arange(len(plane)), column) for column in plane.T], 1)
        up.append(np.stack([np.interp(at[1], np.arange(plane.shape[1]), row) for row in tall]))
    y, cb, cr = (luma - 16) / 219, (up[0] - 128) / 224, (up[1] - 128) / 224
    red, blue = y + 1.402 * cr, y + 1.772 * cb
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    return 255 * np.clip(np.stack([blue, green, red], 2), 0, 1)


def plain(planes, corners):
    """The mean over crops, the authors' way: a picture in memory, crops one by one."""
    picture = (plain_bgr(planes) / 20 - [5.5, 5, 6]) / [1, 2, 1]
    network, out = seeded(), []
    with torch.no_grad():
        for top, left in corners:
            crop = picture[top : top + 227, left : left + 227].transpose(2, 0, 1).astype(np.float32)
            out.append(float(network(torch.from_numpy(crop)[None])))
    return float(np.mean(out))


def scaled(raw):
    return 100 * (2 * np.asarray(raw) + 1 + 40) / 80


@pytest.mark.parametrize("sampling", ["random", "grid"])
def test_the_mean_over_crops_against_a_plain_rendition(clip, weights, sampling):
    result = run(clip, spec(weights, crops=4, sampling=sampling), seed=11)
    raw = []
    for n, planes in enumerate(scene(5, 320, 250)):
        grid = [(0, 0), (0, 93), (23, 0), (23, 93)]
        raw.append(plain(planes, grid if sampling == "grid" else crops.random_corners(11, n, (250, 320), 227, 4)))
    assert scaled(raw).min() > 5 and scaled(raw).max() < 95 and np.ptp(scaled(raw)) > 1
    np.testing.assert_allclose(result.frames["rankiqa"], scaled(raw), rtol=0, atol=1e-2)
    whole = result.whole["rankiqa"]
    assert whole["raw"] == pytest.approx(np.mean(raw), abs=1e-3) and whole["mos"] == pytest.approx(2 * whole["raw"] + 1)
    assert whole["score"] == pytest.approx(scaled(whole["raw"]))
    assert result.metrics["rankiqa"]["weights_sha256"]


def test_batches_threads_and_company_change_nothing(clip, weights):
    one = run(clip, spec(weights), batch=1, threads=1)
    same(one, run(clip, spec(weights), batch=16, threads=2))
    same(one, run(clip, spec(weights), threads=2))
    same(one, run(clip, [spec(weights), spec(weights, sampling="grid") + ":as=grid"]))


def test_containers_names_and_pipes_change_nothing(folder, weights, cli):
    frames = scene(4, 96, 80)
    y4m = write_y4m(folder / "small.y4m", frames)
    write_video(folder / "other name.mp4", frames, [0, 1, 2, 3])
    one = run(y4m, spec(weights))
    same(one, run(folder / "other name.mp4", spec(weights)))
    command = [sys.executable, "-m", "vqmeter", "nr", "-", "--model", spec(weights), "--score", "rankiqa"]
    with open(y4m, "rb") as stdin:
        said = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=True).stdout
    assert float(said) == pytest.approx(one.whole["rankiqa"]["score"], abs=1e-2)


def write_video(path, frames, ticks, rate=25):
    """Lossless H.264; frame k is shown from tick `ticks[k]` of 1/rate on."""
    h, w = frames[0][0].shape
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"qp": "0", "preset": "ultrafast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
        for planes, tick in zip(frames, ticks, strict=True):
            picture = av.VideoFrame(w, h, "yuv420p")
            for to, plane in zip(picture.planes, planes, strict=True):
                view = np.frombuffer(to, np.uint8).reshape(-1, to.line_size)
                view[: plane.shape[0], : plane.shape[1]] = plane
            picture.pts, picture.time_base = tick, Fraction(1, rate)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))


def test_seeds(clip, weights):
    one = run(clip, spec(weights, crops=3), seed=1)
    assert run(clip, spec(weights, crops=3), seed=1).whole == one.whole
    other = run(clip, spec(weights, crops=3), seed=2)
    assert np.all(np.abs(other.frames["rankiqa"] - one.frames["rankiqa"]) > 1e-3)
    run(clip, spec(weights, crops=3), seed=-5)


def test_a_frame_keeps_its_crops_under_subsampling(clip, weights):
    every, third = run(clip, spec(weights)), run(clip, spec(weights), subsample=2)
    np.testing.assert_allclose(third.frames["rankiqa"], every.frames["rankiqa"][::2], atol=1e-3)


def test_random_corners():
    """These very places, on every machine: they are part of a score's definition."""
    assert crops.random_corners(0, 0, (250, 320), 227, 3) == [(6, 24), (17, 58), (19, 54)]
    many = crops.random_corners(0, 5, (231, 228), 227, 4000)
    counts = np.unique(many, axis=0, return_counts=True)[1]
    assert len(counts) == 5 * 2 and counts.min() > 320 and counts.max() < 480
    assert crops.random_corners(0, 0, (100, 227), 227, 30) == [(0, 0)]
    assert crops.random_corners(0, 1, (250, 320), 227, 3) != crops.random_corners(0, 0, (250, 320), 227, 3)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (101, 75), (180, 320), (20, 12), (229, 231), (2, 2)])
def test_any_size(tmp_path, weights, width, height):
    result = run(write_y4m(tmp_path / "a.y4m", scene(2, width, height)), spec(weights, crops=3))
    assert np.isfinite(result.frames["rankiqa"]).all() and len(result.frames["rankiqa"]) == 2


def test_small_frames_are_mirrored(tmp_path, weights):
    planes = scene(1, 100, 90)[0]
    result = run(write_y4m(tmp_path / "a.y4m", [planes]), spec(weights))
    picture = np.pad(plain_bgr(planes), ((68, 69), (63, 64), (0, 0)), "reflect")
    x = ((picture / 20 - [5.5, 5, 6]) / [1, 2, 1]).transpose(2, 0, 1).astype(np.float32)
    with torch.no_grad():
        assert result.whole["rankiqa"]["raw"] == pytest.approx(float(seeded()(torch.from_numpy(x)[None])), abs=1e-3)


def test_pictures(tmp_path, weights):
    from PIL import Image

    picture = np.random.default_rng(0).integers(0, 256, (240, 300, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    result = run(tmp_path / "a.png", spec(weights, sampling="grid", rate=2))
    x = torch.from_numpy(((picture[..., ::-1] / 20 - [5.5, 5, 6]) / [1, 2, 1]).transpose(2, 0, 1).astype(np.float32))
    with torch.no_grad():
        parts = torch.stack([x[:, top : top + 227, left : left + 227] for top in (0, 13) for left in (0, 73)])
        assert result.whole["rankiqa"]["raw"] == pytest.approx(float(seeded()(parts).mean()), abs=1e-3)


class Tiny(nn.Module):
    """Stands in for AlexNet, whose weights would be 230 MB."""

    def __init__(self, outputs):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 8, 8)
        self.fc = nn.Linear(2, outputs)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))


@pytest.mark.parametrize(
    ("rate", "ticks", "chosen"),
    [
        ("auto", range(60), [0, 13, 25, 38, 50]),  # 25 frames a second: the nearest to 0, 0.5 s, 1 s; of two as near the later
        ("5", range(12), [0, 5, 10]),
        ("60", range(5), [0, 1, 2, 3, 4]),
        ("native", range(5), [0, 1, 2, 3, 4]),
        ("auto", [0, 3, 20, 21, 22, 24, 26, 100, 101, 124, 126], [0, 2, 6, 7, 9, 10]),  # of uneven times
    ],
)
def test_frames_are_chosen_by_their_times(folder, monkeypatch, rate, ticks, chosen):
    monkeypatch.setattr(rankiqa, "AlexNet", Tiny)
    torch.manual_seed(0)
    path = write(folder / "tiny.safetensors", Tiny(1).state_dict(), variant="AlexNet", preprocessing={"crop": 224})
    ticks = list(ticks)
    write_video(folder / "times.mkv", scene(1, 32, 32) * len(ticks), ticks)
    result = run(folder / "times.mkv", spec(path, crops=1, rate=rate))
    assert list(result.series["rankiqa"].frames) == chosen
    if ticks == list(range(len(ticks))):
        result = run(write_y4m(folder / "times.y4m", scene(1, 32, 32) * len(ticks)), spec(path, crops=1, rate=rate))
        assert list(result.series["rankiqa"].frames) == chosen


def test_networks_are_told_by_the_weight_file():
    for said, name in (("VGG-16", "vgg16"), ("shallow", "shallow"), ("Caffe AlexNet", "caffe-alexnet"), ("AlexNet", "alexnet")):
        assert rankiqa.network_name(Weights("x", "rankiqa", variant=said)) == name
    assert rankiqa.network_name(Weights("x", "rankiqa", variant="mine", options={"network": "vgg16"})) == "vgg16"
    with pytest.raises(WeightsError, match="none of shallow"):
        rankiqa.network_name(Weights("x", "rankiqa", variant="ResNet"))


def test_a_label_that_is_lower_for_better_is_turned_round(folder, clip, weights):
    turned = write(folder / "dmos.safetensors", label=LABEL | {"higher_is_better": False})
    one, other = run(clip, spec(weights)), run(clip, spec(turned))
    np.testing.assert_allclose(other.frames["rankiqa"], 100 - one.frames["rankiqa"], atol=1e-9)
    assert other.whole["rankiqa"]["raw"] == one.whole["rankiqa"]["raw"]


def test_what_cannot_be_done_is_said_in_one_line(folder, clip, cli, monkeypatch, tmp_path, empty_box):
    monkeypatch.setenv("VQMETER_WEIGHTS", str(tmp_path))
    code, out, err = cli("nr", clip, "--model", "rankiqa")
    assert code == 6 and not out and len(err.splitlines()) == 1 and "rankiqa" in err
    for options, says in (
        ("rate=0", "rate is"),
        ("rate=often", "rate is"),
        ("crops=0", "crops is"),
        ("sampling=all", "sampling"),
    ):
        with pytest.raises(UsageError, match=says):
            find("nr", f"rankiqa:{options}")
    for meta in ({"preprocessing": {"order": "YUV"}}, {"preprocessing": {"crop": 100}}, {"label": None}):
        path = write(folder / "bad.safetensors", **meta)
        assert isinstance(measure(str(clip), models=spec(path)).only.error, WeightsError)
