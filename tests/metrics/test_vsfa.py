"""VSFA against a plain rendition of the authors' loop, the same scores however they are asked for, and its refusals."""

import io
import itertools
import json
import logging
import pickle
import subprocess
import sys
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vqmeter import measure, tensors
from vqmeter.errors import MismatchError, UsageError, WeightsError
from vqmeter.frames import PixelFormat, VideoInfo
from vqmeter.metric import Context, Stream, find
from vqmeter.metrics.nr.vsfa import Vsfa, build_head
from vqmeter.networks.resnet import ResNet
from vqmeter.networks.vsfa import MixedVsfa, mean_std
from vqmeter.networks.vsfa import Vsfa as Head
from vqmeter.weights import manifest, save

LABEL = {"scale": 2.0, "offset": 1.0, "low": 1.0, "high": 5.0, "unit": "MOS, seeded"}
CLIPS = ("bbb_480p_5s.mp4", "samtrack_blackswan.mp4", "vmaf_park_joy_480x270.y4m")
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@lru_cache
def seeded_resnet(depth=18):
    torch.manual_seed(depth)
    network = ResNet(depth).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.7, 1.4)
            module.weight.uniform_(0.3, 0.7)
            module.bias.normal_(0, 0.1)
    return network


@lru_cache
def typical():
    """The features of one picture: heads are centred on them, or their networks would saturate."""
    with torch.inference_mode():
        return mean_std(seeded_resnet()(torch.randn(1, 3, 96, 96)))[0].clone()


def seeded_head(kind=Head, inputs=1024, **sizes):
    torch.manual_seed(7)
    head = kind(inputs=inputs, **sizes).requires_grad_(False)
    fc0 = head.ann["fc0"]
    if inputs == 1024:
        fc0.weight *= 60 / typical().norm()
        fc0.bias -= fc0.weight @ typical()
    head.q.weight *= 2
    head.q.bias[:] = 1.0
    return head


def write(path, head, backbone=None, **meta):
    """A head, with the backbone it brings or needs beside it."""
    state = dict(head.state_dict())
    if backbone is not None:
        state |= {f"backbone.{key}": value for key, value in backbone.state_dict().items()}
    else:
        under = path.with_name("resnet18.safetensors")
        if not under.exists():
            save(under, seeded_resnet().state_dict(), {"name": "resnet18", "model": "resnet18"})
        meta["needs"] = {"resnet18": manifest.sha256(under)}
    options = {"backbone": "resnet18", "temporal": "gru", **meta.pop("options", {})}
    save(path, state, {"name": path.stem, "model": "vsfa", "label": LABEL, "options": options, **meta})
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("vsfa")


@pytest.fixture(scope="session")
def weights(folder):
    return write(folder / "vsfa.safetensors", seeded_head(), seeded_resnet())


def spec(path, **options):
    """`vsfa:weights=PATH...`, the path escaped."""
    escaped = str(path).replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
    return ":".join([f"vsfa:weights={escaped}", *(f"{key}={value}" for key, value in options.items())])


def run(clip, model, **options):
    result = measure(str(clip), models=model, **options).only
    assert result.error is None, result.error
    return result


def same(one, other, tolerance=1e-2):
    """Frame scores and the video's, to 1e-4 of their 0..100."""
    np.testing.assert_allclose(one.frames["vsfa"], other.frames["vsfa"], rtol=0, atol=tolerance)
    assert one.whole["vsfa"]["score"] == pytest.approx(other.whole["vsfa"]["score"], abs=tolerance)
    assert one.whole["vsfa"]["raw"] == pytest.approx(other.whole["vsfa"]["raw"], abs=tolerance / 25)


def write_y4m(path, frames, rate="25:1"):
    """`frames`: (luma, cb, cr) of 8-bit 4:2:0 each."""
    h, w = frames[0][0].shape
    with open(path, "wb") as file:
        file.write(f"YUV4MPEG2 W{w} H{h} F{rate} Ip A1:1 C420jpeg\n".encode())
        for planes in frames:
            file.write(b"FRAME\n" + b"".join(np.ascontiguousarray(p).tobytes() for p in planes))
    return path


def scene(count, width, height, seed=0):
    """Noise over moving waves with a slow fade, every frame different."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    ch, cw = -(-height // 2), -(-width // 2)
    out = []
    for t in range(count):
        luma = 128 + 60 * np.sin(x / 9 + t / 3) * np.cos(y / (5 + t % 7)) + rng.normal(0, 3 + 2 * (t % 5), (height, width))
        chroma = [np.full((ch, cw), 100 + 8 * t % 50 + 20 * k, np.uint8) for k in range(2)]
        out.append((np.clip(luma, 0, 255).astype(np.uint8), *chroma))
    return out


@pytest.fixture(scope="session")
def cut(testdata, folder):
    """Real clips, 14 frames at 320x180: name -> (y4m, lossless mp4)."""
    import av

    made = {}
    for name in CLIPS:
        with av.open(str(testdata / "media/clips" / name)) as source:
            pictures = [f.reformat(320, 180, "yuv420p") for _, f in zip(range(14), source.decode(video=0), strict=False)]
        planes = [
            tuple(np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width] for p in f.planes) for f in pictures
        ]
        y4m, mp4 = folder / f"{name}.y4m", folder / f"{name}.lossless.mp4"
        write_y4m(y4m, planes)
        with av.open(str(mp4), "w") as out:
            stream = out.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
            for n, picture in enumerate(pictures):
                picture.pts, picture.time_base = n, Fraction(1, 25)
                out.mux(stream.encode(picture))
            out.mux(stream.encode(None))
        made[name] = (y4m, mp4)
    return made


def plain(path, backbone, head, temporal="sub-gru"):
    """The authors' way: the whole clip in memory, all features, the head over all of them, pooling frame by frame."""
    from vqmeter.sources import InputOptions, open_video

    source = open_video(str(path), InputOptions())
    clip = np.stack([tensors.rgb_array(frame).astype(np.float64) for frame in source.frames()])
    source.close()
    x = torch.from_numpy(((clip - MEAN[:, None, None]) / STD[:, None, None]).astype(np.float32))
    with torch.no_grad():
        maps = backbone.eval()(x)
        features = torch.cat([maps.mean((2, 3)), maps.flatten(2).std(2)], 1)
        out = head.ann["fc0"](features)[None]
        q = head.q(head.rnn(out)[0] if head.rnn is not None else out)[0, :, 0].double().numpy()
    if temporal in ("avg-gru", "none"):
        return q, q.mean()
    pooled = []
    for t in range(len(q)):
        ahead = q[t : t + 12]
        memory = (ahead * np.exp(-ahead)).sum() / np.exp(-ahead).sum()
        pooled.append(0.5 * memory + 0.5 * q[max(0, t - 11) : t + 1].min())
    return q, float(np.mean(pooled))


def scaled(raw):
    return 100 * ((2.0 * np.asarray(raw) + 1) - 1) / 4


@pytest.mark.parametrize("name", CLIPS)
def test_streamed_equals_the_plain_loop_over_a_whole_clip(cut, weights, name):
    result = run(cut[name][0], spec(weights), batch=4)
    q, raw = plain(cut[name][0], seeded_resnet(), seeded_head())
    assert scaled(q).min() > 5 and scaled(q).max() < 95 and np.ptp(scaled(q)) > 1
    np.testing.assert_allclose(result.frames["vsfa"], scaled(q), rtol=0, atol=1e-2)
    whole = result.whole["vsfa"]
    assert whole["raw"] == pytest.approx(raw, abs=1e-4) and whole["score"] == pytest.approx(scaled(raw), abs=1e-2)
    assert whole["mos"] == pytest.approx(2 * raw + 1, abs=1e-3) and whole["raw_scale"] == "MOS, seeded = 2 raw + 1"


@pytest.mark.parametrize(("temporal", "cell"), [("avg-gru", "gru"), ("sub-lstm", "lstm"), ("none", "none")])
def test_the_ablations_against_the_plain_loop(folder, temporal, cell):
    clip = write_y4m(folder / "scene.y4m", scene(20, 96, 72))
    head = seeded_head(temporal=cell)
    path = write(folder / f"{temporal}.safetensors", head, options={"temporal": cell})
    result = run(clip, spec(path, temporal=temporal))
    q, raw = plain(clip, seeded_resnet(), head, temporal)
    np.testing.assert_allclose(result.frames["vsfa"], scaled(q).clip(0, 100), rtol=0, atol=1e-2)
    assert result.whole["vsfa"]["raw"] == pytest.approx(raw, abs=1e-4)
    if cell != "gru":
        same(result, run(clip, spec(path)))  # what the file says is what it does


def test_scores_depend_on_nothing_but_the_frames(cut, weights):
    y4m, mp4 = cut[CLIPS[0]]
    model = spec(weights)
    base = run(y4m, model, threads=1, batch=1)
    same(base, run(y4m, model, threads=2, batch=16))
    same(base, run(mp4, model, threads=2))
    others = ["psnr", f"{model}:as=again"]
    company = measure(str(y4m), reference=str(mp4), metrics=["psnr", "fsim"], models=[model, others[1]]).only
    same(base, company)
    assert company.whole["again"]["score"] == company.whole["vsfa"]["score"]
    command = [sys.executable, "-m", "vqmeter", "nr", "-", "--model", model, "-f", "json", "-q"]
    with open(y4m, "rb") as stdin:
        piped = json.loads(subprocess.run(command, stdin=stdin, capture_output=True, check=True).stdout)
    [one] = piped["results"]
    np.testing.assert_allclose([f["vsfa"] for f in one["frames"]], base.frames["vsfa"], rtol=0, atol=1e-2)
    assert one["pooled"]["vsfa"]["score"] == pytest.approx(base.whole["vsfa"]["score"], abs=1e-2)
    assert one["pooled"]["vsfa"]["raw_scale"].startswith("MOS") and len(one["metrics"]["vsfa"]["weights_sha256"]) == 64


def test_threads_of_the_session_are_used_after_a_worker_set_one(weights, folder, monkeypatch):
    clip = write_y4m(folder / "threads.y4m", scene(3, 64, 64))
    seen, real = [], ResNet.maps
    monkeypatch.setattr(ResNet, "maps", lambda self, x: seen.append(torch.get_num_threads()) or real(self, x))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run(clip, spec(weights), threads=2)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {2}


@pytest.mark.parametrize(("size", "frames"), [((64, 64), 3), ((49, 71), 3), ((72, 128), 14), ((200, 20), 2), ((96, 64), 1)])
def test_portrait_odd_small_and_single_frames(weights, folder, size, frames):
    clip = write_y4m(folder / "shape.y4m", scene(frames, *size))
    result = run(clip, spec(weights), batch=2)
    q, raw = plain(clip, seeded_resnet(), seeded_head())
    np.testing.assert_allclose(result.frames["vsfa"], scaled(q).clip(0, 100), rtol=0, atol=1e-2)
    assert result.whole["vsfa"]["raw"] == pytest.approx(raw, abs=1e-4)


def test_a_picture_and_ten_bits(weights, folder):
    from PIL import Image

    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (80, 60, 3), np.uint8)).save(folder / "picture.png")
    assert len(run(folder / "picture.png", spec(weights)).frames["vsfa"]) == 1
    eight = write_y4m(folder / "eight.y4m", scene(2, 64, 48))
    with open(folder / "ten_64x48.yuv", "wb") as file:
        for planes in scene(2, 64, 48):
            file.write(b"".join((plane.astype("<u2") * 4).tobytes() for plane in planes))
    same(run(eight, spec(weights)), run(folder / "ten_64x48.yuv", spec(weights), pix_fmt="yuv420p10le"))


def test_fps_takes_the_nearest_frames(weights, folder, caplog):
    clip = write_y4m(folder / "rate.y4m", scene(20, 64, 48), "25:1")
    chosen = [int(np.floor(k * 2.5 + 0.5)) for k in range(8)]
    sampled = run(clip, spec(weights, fps=10))
    assert list(sampled.series["vsfa"].frames) == chosen
    thinned = write_y4m(folder / "thinned.y4m", [scene(20, 64, 48)[n] for n in chosen])
    np.testing.assert_allclose(sampled.series["vsfa"].array, run(thinned, spec(weights)).series["vsfa"].array, atol=1e-2)
    own = write(folder / "ten.safetensors", seeded_head(), options={"fps": 10})
    assert list(run(clip, spec(own)).series["vsfa"].frames) == chosen
    logging.getLogger("vqmeter").propagate = True
    with caplog.at_level("WARNING", "vqmeter"):
        assert len(run(clip, spec(weights, fps=50)).frames["vsfa"]) == 20
    assert "fewer than fps=50; every frame is scored" in caplog.text
    with pytest.raises(UsageError, match="fps is more than 0"):
        find("nr", "vsfa:fps=0")


def test_plan_of_long_videos_keeps_to_the_rate(weights):
    info = VideoInfo("x", 64, 64, PixelFormat.parse("yuv420p"), rate=Fraction(30000, 1001))
    meter = Vsfa(fps=25.0, weights=str(weights)).open(Stream(info, None, info.pix_fmt, None, info.rate), Context())
    plan = [n for (n,), _ in zip(meter.plan(), range(30000), strict=False)]
    assert plan[0] == 0 and all(b > a for a, b in itertools.pairwise(plan))
    assert plan[-1] == int(29999 * 30000 / 1001 / 25 + 0.5)


def test_memory_does_not_grow_with_length(weights, folder, monkeypatch):
    """Ten times the frames: a float each is kept by the meter, and no features (2 KiB a frame here)."""
    import tracemalloc

    monkeypatch.setattr(ResNet, "forward", lambda self, x: torch.zeros(len(x), 512, 2, 2))
    peaks = []
    for count in (400, 4000):
        clip = write_y4m(folder / "long.y4m", scene(10, 48, 48) * (count // 10))
        tracemalloc.start()
        run(clip, spec(weights), threads=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 3600 * 512
    info = VideoInfo("x", 48, 48, PixelFormat.parse("yuv420p"))
    meter = Vsfa(weights=str(weights)).open(Stream(info, None, info.pix_fmt, None, None), Context())
    meter._frames.push(torch.zeros(500, 1024))
    assert meter._frames.values.itemsize * len(meter._frames.values) == 2000
    assert not [v for v in vars(meter).values() if isinstance(v, (list, torch.Tensor))]


def test_fr_scores_the_reference_too(weights, folder):
    frames = scene(4, 64, 48)
    ref = write_y4m(folder / "ref.y4m", frames)
    dist = write_y4m(folder / "dist.y4m", [(np.roll(f[0], 1, 0) // 2, *f[1:]) for f in frames])
    result = measure(str(dist), reference=str(ref), metrics="psnr", models=spec(weights), model_ref=True).only
    assert result.error is None
    alone = {path: run(path, spec(weights)).whole["vsfa"]["score"] for path in (ref, dist)}
    assert result.pooled["vsfa"]["score"] == pytest.approx(alone[dist], abs=1e-2)
    assert result.pooled["vsfa_ref"]["score"] == pytest.approx(alone[ref], abs=1e-2)
    assert result.pooled["vsfa_diff"]["score"] == pytest.approx(alone[dist] - alone[ref], abs=2e-2)


def test_mdtvsfa_maps_frames_and_video_to_the_shared_scale(folder):
    head = seeded_head(MixedVsfa)
    with torch.no_grad():
        head.nlm[0].weight[:] = 2.0
        head.nlm[2].weight[:], head.nlm[2].bias[:] = 1.0, 0.0
    path = write(folder / "mixed.safetensors", head, label={"low": 0, "high": 1})
    clip = write_y4m(folder / "mixed.y4m", scene(6, 64, 48))
    result = run(clip, spec(path))
    q, raw = plain(clip, seeded_resnet(), head)
    with torch.no_grad():
        frames, video = (head.align(torch.tensor(v).float()).numpy() for v in (q, [raw]))
    np.testing.assert_allclose(result.frames["vsfa"], 100 * frames, atol=1e-2)
    assert result.whole["vsfa"]["raw"] == pytest.approx(float(video[0]), abs=1e-4)


def test_bf16_is_near_and_only_when_named(weights, folder):
    clip = write_y4m(folder / "bf16.y4m", scene(3, 128, 96))
    exact = run(clip, spec(weights))
    near = run(clip, spec(weights), precision="bf16")
    assert exact.whole["vsfa"]["score"] != near.whole["vsfa"]["score"]
    assert exact.whole["vsfa"]["score"] == pytest.approx(near.whole["vsfa"]["score"], abs=2)
    failed = measure(str(clip), models=spec(weights), precision="fp16", device="cpu").only
    assert failed.error is not None and "fp16 needs a GPU" in str(failed.error)


def test_too_small_frames_are_refused(weights):
    info = VideoInfo("tiny", 32, 32, PixelFormat.parse("yuv420p"))
    with pytest.raises(MismatchError, match="more than 32 pixels"):
        Vsfa(weights=str(weights)).open(Stream(info, None, info.pix_fmt, 1, None), Context())


def test_missing_and_unfit_weights(cli, folder, weights, tmp_path, monkeypatch, empty_box):
    monkeypatch.setattr(manifest.platformdirs, "user_data_path", lambda *_, **__: tmp_path)
    monkeypatch.delenv("VQMETER_WEIGHTS", raising=False)
    clip = write_y4m(folder / "missing.y4m", scene(1, 64, 48))
    code, out, err = cli("nr", clip)
    assert code == 6 and out.count("\n") <= 1 and len(err.splitlines()) == 1 and "weights pull vsfa" in err
    code, _, err = cli("nr", clip, "--model", spec(tmp_path / "nowhere.pt"))
    assert code == 6 and "no such file" in err and len(err.splitlines()) == 1
    for options, said in [({"backbone": "resnet50"}, "trained on resnet18"), ({"temporal": "sub-lstm"}, "trained for sub-gru")]:
        code, _, err = cli("nr", clip, "--model", spec(weights, **options))
        assert code == 6 and said in err and len(err.splitlines()) == 1
    unscaled = write(folder / "unscaled.safetensors", seeded_head(), label=None)
    code, _, err = cli("nr", clip, "--model", spec(unscaled))
    assert code == 6 and "--range WORST:BEST" in err
    narrow = write(folder / "narrow.safetensors", seeded_head(inputs=512))
    assert "takes 512 numbers, resnet18 gives 1024" in cli("nr", clip, "--model", spec(narrow))[2]
    with pytest.raises(WeightsError, match="no head of VSFA"):
        build_head({"q.weight": torch.zeros(1, 32)})
    monkeypatch.setenv("VQMETER_WEIGHTS", str(weights))
    code, out, _ = cli("nr", clip, "--score", "vsfa", "-q")
    assert code == 0 and 0 < float(out) < 100


def test_networks_are_made_once_and_the_metric_pickles(weights):
    metric = pickle.loads(pickle.dumps(Vsfa(weights=str(weights), fps=5.0)))
    info = VideoInfo("x", 64, 64, PixelFormat.parse("yuv420p"), rate=Fraction(25))
    stream = Stream(info, None, info.pix_fmt, None, info.rate)
    first, second = (metric.open(stream, Context()) for _ in range(2))
    assert first._networks is second._networks and first._frames is not second._frames
    assert first.weights.sha256 == manifest.sha256(Path(weights))


@pytest.mark.slow
def test_the_published_head_over_a_torchvision_backbone(testdata, tmp_path, monkeypatch, cli):
    """VSFA.pt and a ResNet-50 file with torchvision's keys, imported by the command, in an installation of its own."""
    bundled, data = tmp_path / "bundled", tmp_path / "data"
    bundled.mkdir()
    entries = json.loads((manifest.bundled() / "manifest.json").read_text())["weights"]
    backbone = seeded_resnet(50)
    published = {**backbone.state_dict(), "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    buffer = io.BytesIO()
    torch.save(published, buffer)
    file = tmp_path / "resnet50-0676ba61.pth"
    file.write_bytes(buffer.getvalue())
    for entry in entries:
        if entry["name"] == "resnet50":
            entry["sha256"] = manifest.sha256(file)
        if "resnet50" in entry.get("needs", {}):
            entry["needs"]["resnet50"] = manifest.sha256(file)
    (bundled / "manifest.json").write_text(json.dumps({"weights": entries}))
    monkeypatch.setattr(manifest, "bundled", lambda: bundled)
    monkeypatch.setattr(manifest.platformdirs, "user_data_path", lambda *_, **__: data)
    clip = write_y4m(tmp_path / "clip.y4m", scene(5, 96, 64))
    code, _, err = cli("nr", clip, "--model", spec(testdata / "weights/VSFA.pt"))
    assert code == 6 and "weights pull resnet50" in err
    for source in (testdata / "weights/VSFA.pt", file):
        code, _, err = cli("weights", "import", source)
        assert code == 0, err
    head = torch.load(testdata / "weights/VSFA.pt", "cpu", weights_only=True)
    _, raw = plain(clip, backbone, build_head({k: v for k, v in head.items() if "ann.fc." not in k}))
    for model in ("vsfa", spec(data / "weights/vsfa-konvid.safetensors"), spec(testdata / "weights/VSFA.pt")):
        code, out, err = cli("nr", clip, "--model", model, "-f", "json")
        assert code == 0, err
        pooled = json.loads(out)["results"][0]["pooled"]["vsfa"]
        assert pooled["raw"] == pytest.approx(raw, abs=1e-4) and pooled["mos"] == pytest.approx(4.64 * raw, abs=5e-4)
        assert pooled["raw_scale"] == "MOS, KoNViD-1k = 4.64 raw"
