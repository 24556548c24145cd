"""C3D with and without a reference: its clips, views and regressors, held against a plain rendition."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vqmeter import measure, tensors
from vqmeter.errors import WeightsError
from vqmeter.metric import find
from vqmeter.metrics.nr.c3d import Look, planned, spaced
from vqmeter.networks.c3d import C3d, Regressor
from vqmeter.networks.svr import Svr
from vqmeter.sources import open_video
from vqmeter.weights import build, manifest, save

LABEL = {"low": -8, "high": 8, "scale": 2.0, "offset": 1.0}
PIXELS = {"order": "BGR", "divide": 1, "mean": [95, 103, 108], "std": [1, 1, 1], "resize": "squeeze"}
WIDTH = 1 / 32
LONG = 40


def seeded(module: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """A module's tensors at random, so that signals neither die nor grow."""
    generator = torch.Generator().manual_seed(seed)
    state = module.state_dict()
    for key, value in state.items():
        if not key.endswith(("mean", "std")):
            spread = (2 / value[0].numel()) ** 0.5 if value.dim() > 1 else 0.1
            state[key] = torch.randn(value.shape, generator=generator) * spread
    return state


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Writes weights of a small C3D and its regressor; the pixels go in at about 0..1 unless told."""
    folder = tmp_path_factory.mktemp("weights")

    def make(name: str, head: dict[str, Tensor] | None = None, inputs: int = 128, store: bool = True, **meta: Any) -> str:
        state = head if head is not None else seeded(Regressor(inputs, 32), 1)
        if store:
            state = state | {f"backbone.{key}": value for key, value in seeded(C3d(width=WIDTH)).items()}
        meta = {"options": {"width": WIDTH}, "preprocessing": PIXELS | {"std": [60, 60, 60]}, "label": LABEL} | meta
        save(folder / f"{name}.safetensors", state, {"name": name, "model": "c3d", **meta})
        return str(folder / f"{name}.safetensors")

    return make


@pytest.fixture(scope="module")
def weights(write: Callable[..., str]) -> str:
    return write("c3d")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, moving_luma: Callable[..., Any]) -> dict[str, str]:
    """One clip of 40 frames of 160x96 as mp4, what that decodes to as y4m, and that with grain."""
    folder = tmp_path_factory.mktemp("clips")
    luma, rng = moving_luma(LONG, 160, 96, 255), np.random.default_rng(0)
    with av.open(str(folder / "a.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for n, y in enumerate(luma):
            picture = np.stack([y, np.roll(y, 9 * n, 1), 255 - y], 2).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(stream.encode(None))
    source = open_video(str(folder / "a.mp4"))
    with open(folder / "a.y4m", "wb") as same, open(folder / "b.y4m", "wb") as grainy:
        for file in (same, grainy):
            file.write(b"YUV4MPEG2 W160 H96 F25:1 C420mpeg2\n")
        for frame in source.frames(0.0):
            same.write(b"FRAME\n" + b"".join(p.tobytes() for p in frame.planes))
            noisy = [np.clip(p + np.rint(rng.normal(0, 9, p.shape)), 0, 255).astype(np.uint8) for p in frame.planes]
            grainy.write(b"FRAME\n" + b"".join(p.tobytes() for p in noisy))
    source.close()
    return {name: str(folder / name) for name in ("a.mp4", "a.y4m", "b.y4m")}


def run(path: str | list[str], spec: str, weights: str, **options: Any) -> Any:
    result = measure(path, models=[f"{spec}:weights={weights}"], **options).only
    assert result.error is None, result.error
    return result


def raw(path: str, spec: str, weights: str, **options: Any) -> float:
    return float(run(path, spec, weights, **options).pooled["c3d"]["raw"])


def pictures(path: str, shape: tuple[int, int] = (112, 112)) -> list[np.ndarray]:
    """Every frame as RGB in 0..1 at `shape`, by whole matrices in float64."""
    out = []
    source = open_video(path)
    for frame in source.frames(0.0):
        rgb = tensors.rgb_array(frame).astype(np.float64)
        down, across = (tensors.resize_matrix(a, b, "bilinear") for a, b in zip(rgb.shape[1:], shape, strict=True))
        out.append(down @ rgb @ across.T)
    source.close()
    return out


def halved(x: np.ndarray) -> np.ndarray:
    """Rounded as frames are while they wait."""
    return x.astype(np.float32).astype(np.float16).astype(np.float32)


def plain(clip: list[np.ndarray], mean: float = 1.0, head: dict[str, Tensor] | None = None) -> float:
    """The raw score of 16 pictures (3, 112, 112), written down as the report has it."""
    network = build(lambda: C3d(width=WIDTH), seeded(C3d(width=WIDTH)))
    regressor = build(lambda: Regressor(128, 32), seeded(Regressor(128, 32), 1) if head is None else head)
    x = torch.from_numpy(halved(np.stack(clip, 1)[None])).flip(1) * 255
    x = (x - mean * torch.tensor(PIXELS["mean"]).float().view(3, 1, 1, 1)) / 60
    with torch.inference_mode():
        return float(regressor(network(x))[0])


def test_frames_of_a_clip_by_hand() -> None:
    assert spaced("equal16", 250) == tuple(1 + 15 * k for k in range(16)) and spaced("equal16", 250)[-1] == 226
    assert spaced("equal16", 16) == (*range(1, 16), 15)
    assert spaced("equal16", 5) == (1, 2, 3, *[4] * 13)
    assert spaced("equal16", 1) == spaced("centre16", 1) == (0,) * 16
    assert spaced("equal16", 250, 1, 2)[:3] == (8, 23, 38)
    assert spaced("centre16", 160) == tuple(range(5, 160, 10)) and spaced("centre16", 16) == tuple(range(16))
    assert spaced("centre16", 5)[:7] == (0, 0, 0, 1, 1, 1, 2)
    assert [clip[0] for clip in planned("equal16", 250, 3)] == [1, 6, 11]
    assert len(list(planned("equal16", 20, 8))) == 1
    assert [clip[0] for clip in islice(planned("every", None, 1), 3)] == [0, 16, 32]
    assert [clip[0] for clip in islice(planned("every", 9, 2), 4)] == [0, 8, 16, 24]


def test_equal16_is_the_plain_rendition(clips: dict[str, str], weights: str) -> None:
    seen = pictures(clips["a.y4m"])
    expected = plain([seen[min(LONG - 1, 1 + 2 * k)] for k in range(16)])
    pooled = run(clips["a.y4m"], "c3d", weights).pooled["c3d"]
    assert pooled["raw"] == pytest.approx(expected, abs=1e-4) and 1 < pooled["score"] < 99
    assert pooled["mos"] == pytest.approx(2 * pooled["raw"] + 1)
    assert pooled["score"] == pytest.approx(100 * (pooled["mos"] + 8) / 16)


def test_every_window_is_the_plain_rendition_and_the_last_is_filled_up(clips: dict[str, str], weights: str) -> None:
    seen = pictures(clips["a.y4m"])
    expected = [plain((seen[n : n + 16] + [seen[-1]] * 8)[:16]) for n in (0, 16, 32)]
    result = run(clips["a.y4m"], "c3d:clips=every", weights)
    assert [(c["first"], c["last"]) for c in result.clips] == [(0, 15), (16, 31), (32, 39)]
    np.testing.assert_allclose([c["c3d"] for c in result.clips], [100 * (2 * x + 9) / 16 for x in expected], atol=1e-2)
    assert result.pooled["c3d"]["raw"] == pytest.approx(np.mean(expected), abs=1e-4)
    halves = run(clips["a.y4m"], "c3d:clips=every:phases=2", weights)
    assert [c["first"] for c in halves.clips] == [0, 8, 16, 24, 32]


def test_views_see_what_they_say(clips: dict[str, str], weights: str) -> None:
    middle = [picture[:, 8:120, 29:141] for picture in pictures(clips["a.y4m"], (128, 171))]
    expected = plain([middle[1 + 2 * k] for k in range(16)])
    assert raw(clips["a.y4m"], "c3d:view=c3d", weights) == pytest.approx(expected, abs=1e-4)
    native = np.pad(pictures(clips["a.y4m"], (96, 160)), ((0, 0), (0, 0), (8, 8), (0, 0)), "reflect")
    places = Look("crops", 3, 7).corners(112, 160)
    assert len(set(places)) == 3 and places != Look("crops", 3, 8).corners(112, 160)
    views = [plain([native[1 + 2 * k][:, top : top + 112, left : left + 112] for k in range(16)]) for top, left in places]
    assert raw(clips["a.y4m"], "c3d:view=crops:crops=3", weights, seed=7) == pytest.approx(np.mean(views), abs=1e-4)


def test_scores_do_not_depend_on_batch_threads_company_or_container(
    clips: dict[str, str], weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, others = "c3d:clips=every:phases=4", [f"c3d:view=c3d:as=middle:weights={weights}"]
    base = run(clips["a.y4m"], spec, weights, batch=1, threads=1)
    file = open(clips["a.y4m"], "rb")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
    for other in (
        run(clips["a.y4m"], spec, weights, batch=16, threads=2),
        run(clips["a.mp4"], spec, weights),
        run("-", spec, weights),
        measure(clips["a.y4m"], models=[*others, f"{spec}:weights={weights}"]).only,
    ):
        got = [c["c3d"] for c in other.clips if "c3d" in c]
        np.testing.assert_allclose(got, [c["c3d"] for c in base.clips], rtol=0, atol=1e-2)
        assert other.pooled["c3d"]["score"] == pytest.approx(base.pooled["c3d"]["score"], abs=1e-2)
    file.close()


def test_a_pipe_must_say_its_length(clips: dict[str, str], weights: str, monkeypatch: pytest.MonkeyPatch, cli: Any) -> None:
    def pipe() -> Any:
        return SimpleNamespace(buffer=open(clips["a.y4m"], "rb"), isatty=lambda: False)

    args = ("nr", "-", "--model", "c3d", "--weights", weights, "--score", "c3d.raw")
    monkeypatch.setattr(sys, "stdin", pipe())
    code, _, err = cli(*args)
    assert code == 4 and "--frames" in err and "c3d" in err
    monkeypatch.setattr(sys, "stdin", pipe())
    code, out, _ = cli(*args, "--frames", LONG)
    assert code == 0 and float(out) == pytest.approx(raw(clips["a.y4m"], "c3d", weights), abs=1e-4)


@pytest.mark.parametrize(
    "spec", ["c3d", "c3d:view=c3d:crops=2", "c3d:view=crops:crops=2", "c3d:clips=every", "c3d:clips=centre16"]
)
@pytest.mark.parametrize(("width", "height", "frames"), [(64, 64, 5), (90, 161, 1), (34, 18, 17), (201, 131, 3)])
def test_small_odd_upright_and_short_videos(
    spec: str, width: int, height: int, frames: int, raw_pair: Callable[..., Any], weights: str
) -> None:
    result = run(raw_pair(width, height, frames)[1], spec, weights)
    score = result.pooled["c3d"]["score"]
    assert 0 <= score <= 100 and not result.validity["warnings"]
    spans = [(c["first"], c["last"]) for c in result.clips]
    assert all(last < frames for _, last in spans) and bool(spans) == (frames > 1)


def test_a_picture_is_a_clip_of_itself(tmp_path: Path, weights: str) -> None:
    from PIL import Image

    picture = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    seen = pictures(str(tmp_path / "a.png"))
    assert raw(str(tmp_path / "a.png"), "c3d", weights) == pytest.approx(plain(seen * 16), abs=1e-4)


def test_a_video_that_ends_early_repeats_its_last_frame(
    clips: dict[str, str], weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(clips["a.y4m"], "rb") as file:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
        result = run("-", "c3d", weights, frames=80)
    assert "ended early" in result.validity["warnings"][0]
    assert result.clips[0]["first"] == 1 and result.clips[0]["last"] == 36 and "score" in result.pooled["c3d"]


def test_ridge_and_support_vectors_stand_in_for_the_regressor(clips: dict[str, str], write: Callable[..., str]) -> None:
    rng = np.random.default_rng(3)
    network = build(lambda: C3d(width=WIDTH), seeded(C3d(width=WIDTH)))
    seen = pictures(clips["a.y4m"])
    x = torch.from_numpy(halved(np.stack([seen[1 + 2 * k] for k in range(16)], 1)[None])).flip(1) * 255
    x = (x - torch.tensor(PIXELS["mean"]).float().view(3, 1, 1, 1)) / 60
    with torch.inference_mode():
        feature = network(x)[0].double().numpy()
    mean, std, weight = rng.normal(size=128), rng.uniform(0.5, 2, 128), rng.normal(size=128) / 12
    support, dual, gamma = feature + rng.normal(size=(5, 128)) / 9, rng.normal(size=5), 0.02
    z, near = (feature - mean) / std, (support - mean) / std
    expected = {
        "ridge": weight @ z + 0.25,
        "rbf": float(dual @ np.exp(-gamma * ((near - z) ** 2).sum(1))) + 0.25,
    }
    shared = {"mean": mean, "std": std, "intercept": np.array(0.25)}
    kept = {"ridge": shared | {"weight": weight}, "rbf": shared | {"support": near, "dual": dual, "gamma": np.array(gamma)}}
    for name, arrays in kept.items():
        path = write(name, {f"svr.{key}": torch.from_numpy(value).float() for key, value in arrays.items()})
        assert raw(clips["a.y4m"], "c3d", path) == pytest.approx(expected[name], abs=1e-4)
    assert set(Svr(3, 2).state_dict()) == set(kept["rbf"])


def test_the_backbone_may_be_a_file_of_its_own(clips: dict[str, str], write: Callable[..., str], weights: str) -> None:
    folder = Path(weights).parent
    meta = {"model": "c3d_backbone", "options": {"width": WIDTH}, "preprocessing": PIXELS | {"std": [60, 60, 60]}}
    save(folder / "small.safetensors", seeded(C3d(width=WIDTH)), {"name": "small", **meta})
    digest = manifest.sha256(folder / "small.safetensors")
    head = write("head", store=False, options={}, preprocessing={}, needs={"small": digest})
    assert raw(clips["a.y4m"], "c3d", head) == raw(clips["a.y4m"], "c3d", weights)


def test_differences_and_features_of_pairs(clips: dict[str, str], write: Callable[..., str]) -> None:
    ref, dist = (pictures(clips[name]) for name in ("a.y4m", "b.y4m"))
    picked = [1 + 2 * k for k in range(16)]

    def fr(path: str, spec: str = "c3d_fr", dist: str = clips["b.y4m"]) -> float:
        result = measure(dist, reference=clips["a.y4m"], metrics=f"{spec}:weights={path}").only
        assert result.error is None, result.error
        return float(result.pooled["c3d_fr"]["raw"])

    pixel = write("fr", model="c3d_fr")
    assert fr(pixel) == pytest.approx(plain([ref[k] - dist[k] for k in picked], mean=0), abs=1e-4)
    zero = plain([np.zeros((3, 112, 112))] * 16, mean=0)
    assert fr(pixel, dist=clips["a.y4m"]) == pytest.approx(zero, abs=1e-5)

    network = build(lambda: C3d(width=WIDTH), seeded(C3d(width=WIDTH)))
    both = torch.from_numpy(halved(np.stack([np.stack([v[k] for k in picked], 1) for v in (ref, dist)]))).flip(1) * 255
    with torch.inference_mode():
        a, b = network((both - torch.tensor(PIXELS["mean"]).float().view(3, 1, 1, 1)) / 60).split(1)
        for name, fusion, inputs, fused in (
            ("abs", "abs", 128, (a - b).abs()), ("signed", "r-d", 128, a - b),
            ("side", "r,d,r-d", 384, torch.cat([a, b, a - b], 1)),
        ):  # fmt: skip
            regressor = build(lambda n=inputs: Regressor(n, 32), seeded(Regressor(inputs, 32), 1))
            options = {"width": WIDTH, "mode": "feature", "fusion": fusion}
            path = write(name, inputs=inputs, model="c3d_fr", options=options)
            assert fr(path, "c3d_fr:mode=feature") == pytest.approx(float(regressor(fused)[0]), abs=1e-4)
    error = measure(clips["b.y4m"], reference=clips["a.y4m"], metrics=f"c3d_fr:mode=feature:weights={pixel}").only.error
    assert isinstance(error, WeightsError) and "mode=difference" in str(error)


def test_no_score_without_the_right_weights(
    clips: dict[str, str], write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Any
) -> None:
    monkeypatch.setattr(manifest.platformdirs, "user_data_path", lambda *_, **__: tmp_path)
    monkeypatch.delenv("VQMETER_WEIGHTS", raising=False)
    for path, says in (
        ("nothing.safetensors", "no such file"), (write("nolabel", label=None), "scale is not known"),
        (write("long", inputs=256), "256 features"), (write("none", {}), "hidden.weight"),
        (write("odd", {"svr.mean": torch.zeros(128)}), "neither"), (write("wide", options={"width": 1 / 16}), "do not fit"),
        (write("crop", options={"width": WIDTH, "view": "all"}), "view 'all'"),
    ):  # fmt: skip
        code, out, err = cli("nr", clips["a.y4m"], "--model", f"c3d:weights={path}", "--score", "c3d")
        assert code == 6 and says in err and "nan" in out, (path, err)
    for spec in ("c3d:crops=2", "c3d:phases=0", "c3d:view=crops:crops=0"):
        code, _, err = cli("nr", clips["a.y4m"], "--model", f"{spec}:weights={write('good')}")
        assert code == 2 and ("crops=" in err or "phases" in err)
    assert find("nr", "c3d:clips=every").metric.needs_length is False and find("fr", "c3d_fr").metric.needs_length is True


def test_memory_does_not_grow_with_length(tmp_path: Path, weights: str) -> None:
    rng = np.random.default_rng(0)
    body = b"".join(rng.integers(0, 256, 480 * 272 * 3 // 2, np.uint8).tobytes() for _ in range(64))
    code = ("import sys; from vqmeter import measure\n"
            "r = measure(sys.argv[1], models=f'c3d:clips=every:weights={sys.argv[2]}', threads=2).only\n"
            "print(len(r.clips), r.timing['peak_rss_mib'])")  # fmt: skip
    peaks = []
    for times in (1, 10):
        path = tmp_path / f"{times}x_480x272.yuv"
        path.write_bytes(body * times)
        done = subprocess.run([sys.executable, "-c", code, path, weights], capture_output=True, text=True, check=True)
        windows, peak = done.stdout.split()
        assert int(windows) == 4 * times
        peaks.append(float(peak))
    assert peaks[1] < peaks[0] * 1.05 and peaks[1] < 700


@pytest.fixture(autouse=True)
def _same_torch_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before
