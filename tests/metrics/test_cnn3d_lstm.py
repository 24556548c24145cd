"""3D-CNN + LSTM: its grid by hand, its scores against a plain rendition, and what does not change them."""

from __future__ import annotations

import sys
from collections.abc import Callable
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
from vqmeter.metrics.nr.cnn3d_grid import SIZES, Grid, groups, linspace
from vqmeter.metrics.nr.cnn3d_lstm import BlockMeter
from vqmeter.networks.cnn3d import Cnn3d, GroupLstm
from vqmeter.sources import open_video
from vqmeter.weights import build, manifest, save

WIDTHS, HIDDEN = (2, 3, 4, 4), (8, 6)
SMALL = {"groups": 2, "columns": 2, "rows": 2}
LONG = 37


def seeded(module: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """A module's tensors at random, so that signals neither die nor grow."""
    generator = torch.Generator().manual_seed(seed)
    state = module.state_dict()
    for key, value in state.items():
        spread = (2 / value[0].numel()) ** 0.5 if value.dim() > 1 else 0.1
        state[key] = torch.randn(value.shape, generator=generator) * spread * (3 if key.startswith("lstm.weight_ih") else 1)
    return state


def parts(preset: str, options: dict[str, int]) -> tuple[Cnn3d, GroupLstm]:
    """The small networks of a preset."""
    inputs = HIDDEN[1] if preset == "fcn" else options["columns"] * options["rows"]
    clips = build(lambda: Cnn3d(preset, WIDTHS, HIDDEN), seeded(Cnn3d(preset, WIDTHS, HIDDEN)))
    return clips, build(lambda: GroupLstm(inputs, 8, 4), seeded(GroupLstm(inputs, 8, 4), 1))


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Writes small weights of a preset; `svr` takes the LSTM's place."""
    folder = tmp_path_factory.mktemp("weights")

    def make(name: str, preset: str = "lite", svr: dict[str, Tensor] | None = None, **changed: Any) -> str:
        options = {"preset": preset, **SMALL}
        clips, video = parts(preset, SMALL)
        state = {f"clip.{key}": value for key, value in clips.state_dict().items()}
        state |= {f"video.{key}": value for key, value in video.state_dict().items()} if svr is None else svr
        meta = {"options": options, "label": {"low": -4, "high": 4, "scale": 2.0, "offset": 0.5}} | changed
        save(folder / f"{name}.safetensors", state, {"name": name, "model": "cnn3d_lstm", **meta})
        return str(folder / f"{name}.safetensors")

    return make


@pytest.fixture(scope="module")
def weights(write: Callable[..., str]) -> str:
    return write("lite")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, moving_luma: Callable[..., Any]) -> dict[str, str]:
    """One clip of 37 frames of 320x240 as mp4 and what that decodes to as y4m; one of 250x180."""
    folder = tmp_path_factory.mktemp("clips")
    for name, width, height in (("a", 320, 240), ("small", 250, 180)):
        with av.open(str(folder / f"{name}.mp4"), "w") as out:
            stream = out.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for n, y in enumerate(moving_luma(LONG, width, height, 255)):
                picture = np.stack([y, np.roll(y, 9 * n, 1), 255 - y], 2).astype(np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            out.mux(stream.encode(None))
        source = open_video(str(folder / f"{name}.mp4"))
        with open(folder / f"{name}.y4m", "wb") as file:
            file.write(f"YUV4MPEG2 W{width} H{height} F25:1 C420mpeg2\n".encode())
            for frame in source.frames(0.0):
                file.write(b"FRAME\n" + b"".join(p.tobytes() for p in frame.planes))
        source.close()
    return {path.name: str(path) for path in folder.iterdir()}


def run(path: str, weights: str, spec: str = "cnn3d_lstm", **options: Any) -> Any:
    result = measure(path, models=f"{spec}:weights={weights}", **options).only
    assert result.error is None, result.error
    return result


def plain(path: str, preset: str) -> tuple[list[float], float]:
    """Group scores and the video's raw score, block by block as the paper tells it."""
    source = open_video(path)
    video = np.stack([np.floor(tensors.rgb_array(frame) * 255 + 0.5) for frame in source.frames(0.0)])
    source.close()
    for axis in (2, 3):
        lack = max(0, 224 - video.shape[axis])
        video = np.pad(video, [(lack // 2, lack - lack // 2) if a == axis else (0, 0) for a in range(4)], "reflect")
    network, lstm = parts(preset, SMALL)
    inputs, scores = [], []
    for first in (0, len(video) - 16):
        group = torch.from_numpy(video[first : first + 16] / 255).float().movedim(0, 1)[None]
        tops, lefts = ((0, n - 224) for n in video.shape[2:])
        blocks = [group] if preset == "fcn" else [group[..., y : y + 224, x : x + 224] for y in tops for x in lefts]
        with torch.inference_mode():
            of_blocks = [float(network(block)[0]) for block in blocks]
            inputs.append(network.features(group)[0].tolist() if preset == "fcn" else of_blocks)
        scores.append(float(np.mean(of_blocks)))
    with torch.inference_mode():
        return scores, float(lstm(torch.tensor(inputs)[None])[0])


def test_the_grid_by_hand() -> None:
    assert SIZES == {"paper": (32, 8, 4), "lite": (8, 4, 2), "fcn": (8, 1, 1), "stats": (8, 4, 2)}
    starts = [group[0] for group in groups(250, 32)]
    assert starts == [round(k * 234 / 31) for k in range(32)] and starts[:3] == [0, 8, 15] and starts[-1] == 234
    assert all(group == tuple(range(group[0], group[0] + 16)) for group in groups(250, 32))
    assert groups(16, 32) == [tuple(range(16))] * 32
    assert groups(5, 2) == [(0, 1, 2, 3, *[4] * 12)] * 2
    assert [group[0] for group in groups(18, 8)] == [0, 0, 1, 1, 1, 1, 2, 2]
    assert linspace(960 - 224, 8) == [0, 105, 210, 315, 421, 526, 631, 736] and linspace(540 - 224, 4) == [0, 105, 211, 316]
    assert linspace(7, 1) == [0] and linspace(0, 4) == [0] * 4


@pytest.mark.parametrize(
    ("width", "height", "kept"), [(1920, 1080, (896, 1792)), (960, 540, (540, 960)), (540, 960, (960, 540))]
)
def test_kept_rows_and_columns_hold_every_block(width: int, height: int, kept: tuple[int, int]) -> None:
    grid = Grid.over(width, height, 8, 4)
    assert (len(grid.rows), len(grid.columns)) == kept and len(grid.corners) == 32
    lefts, tops = linspace(width - 224, 8 if width > height else 4), linspace(height - 224, 4 if width > height else 8)
    for (top, left), (y, x) in zip(grid.corners, [(y, x) for y in tops for x in lefts], strict=True):
        assert (grid.rows[top : top + 224] == np.arange(y, y + 224)).all()
        assert (grid.columns[left : left + 224] == np.arange(x, x + 224)).all()


def test_small_frames_are_mirrored_as_numpy_does() -> None:
    rgb = np.random.default_rng(0).random((3, 50, 300), np.float32)
    grid = Grid.over(300, 50, 8, 4)
    whole = np.pad(np.floor(rgb * 255 + 0.5), ((0, 0), (87, 87), (0, 0)), "reflect").astype(np.uint8)
    assert (grid.cut(rgb) == whole).all() and Grid.over(300, 50, 1, 1, whole=True).size == (224, 300)
    assert (Grid.over(1, 1, 8, 4).cut(np.ones((3, 1, 1), np.float32)) == 255).all()


@pytest.mark.parametrize(("name", "preset"), [("a", "lite"), ("small", "lite"), ("a", "fcn"), ("a", "paper"), ("a", "stats")])
def test_scores_are_the_plain_rendition(name: str, preset: str, clips: dict[str, str], write: Callable[..., str]) -> None:
    scores, raw = plain(clips[f"{name}.y4m"], preset)
    result = run(clips[f"{name}.y4m"], write(preset, preset), f"cnn3d_lstm:preset={preset}")
    assert [(c["first"], c["last"]) for c in result.clips] == [(0, 15), (21, 36)]
    expected = [100 * (2 * score + 4.5) / 8 for score in scores]
    np.testing.assert_allclose([c["cnn3d_lstm"] for c in result.clips], expected, rtol=0, atol=1e-2)
    pooled = result.pooled["cnn3d_lstm"]
    assert pooled["raw"] == pytest.approx(raw, abs=1e-5) and pooled["mos"] == pytest.approx(2 * raw + 0.5, abs=1e-4)
    assert 1 < pooled["score"] < 99 and 1 < min(expected) < max(expected) < 99


def test_scores_do_not_depend_on_batch_threads_company_or_container(
    clips: dict[str, str], weights: str, write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = run(clips["a.y4m"], weights, batch=1, threads=1)
    file = open(clips["a.y4m"], "rb")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
    company = [f"cnn3d_lstm:as=other:weights={write('company')}", f"cnn3d_lstm:weights={weights}"]
    for other in (
        run(clips["a.y4m"], weights, batch=16, threads=2), run(clips["a.mp4"], weights),
        run("-", weights, frames=LONG), measure(clips["a.y4m"], models=company).only,
    ):  # fmt: skip
        got = [c["cnn3d_lstm"] for c in other.clips if "cnn3d_lstm" in c]
        np.testing.assert_allclose(got, [c["cnn3d_lstm"] for c in base.clips], rtol=0, atol=1e-2)
        assert other.pooled["cnn3d_lstm"]["score"] == pytest.approx(base.pooled["cnn3d_lstm"]["score"], abs=1e-2)
    file.close()


def test_a_pipe_must_say_its_length(clips: dict[str, str], weights: str, monkeypatch: pytest.MonkeyPatch, cli: Any) -> None:
    with open(clips["a.y4m"], "rb") as file:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file, isatty=lambda: False))
        code, _, err = cli("nr", "-", "--model", f"cnn3d_lstm:weights={weights}")
    assert code == 4 and "--frames" in err and "cnn3d_lstm" in err


@pytest.mark.parametrize("preset", ["lite", "fcn", "stats"])
@pytest.mark.parametrize(("width", "height", "frames"), [(64, 64, 5), (90, 261, 1), (34, 18, 17), (241, 231, 16)])
def test_small_odd_upright_and_short_videos(
    preset: str, width: int, height: int, frames: int, raw_pair: Callable[..., Any], write: Callable[..., str]
) -> None:
    result = run(raw_pair(width, height, frames)[1], write("any", preset))
    assert 0 <= result.pooled["cnn3d_lstm"]["score"] <= 100 and not result.validity["warnings"]
    spans = [(c["first"], c["last"]) for c in result.clips]
    assert all(last < frames for _, last in spans) and len(spans) == (2 if frames > 1 else 0)


def test_groups_alike_are_scored_once(
    raw_pair: Callable[..., Any], write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, counted, own = (
        write("eight", "stats", options={"preset": "stats", **SMALL, "groups": 8}),
        list[int](),
        BlockMeter._run,
    )
    monkeypatch.setattr(BlockMeter, "_run", lambda self, blocks: counted.append(len(blocks)) or own(self, blocks))
    result = run(raw_pair(240, 230, 18)[1], path)
    assert sum(counted) == 3 * 4 and [c["first"] for c in result.clips] == [0, 0, 1, 1, 1, 1, 2, 2]
    assert len({c["cnn3d_lstm"] for c in result.clips}) == 3


def test_a_picture_is_a_video_of_itself(tmp_path: Path, weights: str) -> None:
    from PIL import Image

    picture = np.random.default_rng(0).integers(0, 256, (270, 290, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    (tmp_path / "a_290x270.yuv").write_bytes(picture.transpose(2, 0, 1)[[1, 2, 0]].tobytes() * 20)
    once, often = (run(str(tmp_path / name), weights, **how) for name, how in
                   (("a.png", {}), ("a_290x270.yuv", {"pix_fmt": "gbrp"})))  # fmt: skip
    assert once.pooled["cnn3d_lstm"]["raw"] == pytest.approx(often.pooled["cnn3d_lstm"]["raw"], abs=1e-6)


def test_a_video_that_ends_early_still_fills_the_grid(
    clips: dict[str, str], weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(clips["a.y4m"], "rb") as file:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
        result = run("-", weights, frames=90)
    assert "ended early" in result.validity["warnings"][0] and len(result.clips) + len(result.series["cnn3d_lstm"].frames) == 2


def test_support_vectors_stand_in_for_the_lstm(clips: dict[str, str], write: Callable[..., str]) -> None:
    network, _ = parts("lite", SMALL)
    source = open_video(clips["a.y4m"])
    video = np.stack([np.floor(tensors.rgb_array(frame) * 255 + 0.5) for frame in source.frames(0.0)])
    source.close()
    blocks = [video[n : n + 16, :, y : y + 224, x : x + 224] for n in (0, 21) for y in (0, 16) for x in (0, 96)]
    with torch.inference_mode():
        features = network.features(torch.from_numpy(np.stack(blocks) / 255).float().movedim(2, 1))
        for mean in (features.mean(0), network.out(features).mean(0)):
            weight = torch.linspace(-1, 1, len(mean)) + 0.3
            path = write(f"svr{len(mean)}", svr={
                "svr.weight": weight, "svr.intercept": torch.tensor(0.2), "svr.mean": torch.full_like(mean, 0.1),
                "svr.std": torch.full_like(mean, 2.0),
            })  # fmt: skip
            result = run(clips["a.y4m"], path)
            expected = float((mean - 0.1) / 2 @ weight) + 0.2
            assert result.pooled["cnn3d_lstm"]["raw"] == pytest.approx(expected, abs=1e-5) and len(result.clips) == 2


def test_no_score_without_the_right_weights(
    clips: dict[str, str], write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Any
) -> None:
    monkeypatch.setattr(manifest.platformdirs, "user_data_path", lambda *_, **__: tmp_path)
    monkeypatch.delenv("VQMETER_WEIGHTS", raising=False)
    odd = {"svr.weight": torch.zeros(5), "svr.intercept": torch.zeros(()), "svr.mean": torch.zeros(5), "svr.std": torch.ones(5)}
    for path, says in (
        ("nothing.safetensors", "no such file"), (write("nolabel", label=None), "scale is not known"),
        (write("grid", options={"columns": 3}), "an LSTM of 4"), (write("what", options={"preset": "x"}), "preset x"),
        (write("none", svr={}), "neither an LSTM"), (write("odd", svr=odd), "an SVR of 5"),
        (write("flat", options={"preset": "paper", **SMALL}), "do not fit"),
    ):  # fmt: skip
        code, out, err = cli("nr", clips["a.y4m"], "--model", f"cnn3d_lstm:weights={path}", "--score", "cnn3d_lstm")
        assert code == 6 and says in err and "nan" in out, (path, err)
    error = measure(clips["a.y4m"], models=f"cnn3d_lstm:preset=paper:weights={write('lite2')}").only.error
    assert isinstance(error, WeightsError) and "preset lite" in str(error)


def test_the_preset_in_the_box_stays_within_half_a_tera() -> None:
    """Multiplications and additions of a video at the widths that come with vqmeter, FACTS.md 0.7."""
    network = Cnn3d("lite", (8, 16, 32, 64))
    macs = 0

    def count(module: Any, _: Any, out: Tensor) -> None:
        nonlocal macs
        macs += out[0].numel() * module.weight[0].numel()

    for module in network.modules():
        if isinstance(module, (nn.Conv3d, nn.Linear)):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros((1, 3, 16, 224, 224)))
    count_, columns, rows = SIZES["lite"]
    assert 0.1e12 < macs * count_ * columns * rows < 0.5e12
