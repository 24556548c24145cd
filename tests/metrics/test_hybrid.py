"""hybrid: its numbers against plain renditions of them, what it refuses, and that bits count apart by type of frame."""

import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from vqmeter import measure
from vqmeter.errors import InputError, MismatchError, WeightsError
from vqmeter.frames import Frame, PixelFormat, VideoInfo
from vqmeter.kernels.texture import motion, texture
from vqmeter.metrics.nr import hybrid
from vqmeter.metrics.nr.hybrid import BITS, FEATURES, PIXELS, Gathered, Seen, look, moved
from vqmeter.weights import load, load_arrays, save


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of two small networks filled by a seed, for H.264 and VP9."""
    import torch

    from vqmeter.networks.hybrid import Perceptrons

    torch.manual_seed(1)
    state = {"mean": torch.zeros(len(FEATURES)), "std": torch.full((len(FEATURES),), 3.0)}
    state |= Perceptrons(len(FEATURES) + 2, 2, 6).state_dict()
    path = tmp_path_factory.mktemp("hybrid") / "tiny.safetensors"
    options = {"features": list(FEATURES), "codecs": ["h264", "vp9"], "limit": 3.5}
    label = {"scale": 100.0, "low": 0.0, "high": 100.0, "unit": "none"}
    save(path, state, {"name": "tiny", "model": "hybrid", "label": label, "options": options})
    return path


@pytest.fixture(scope="module")
def spec(weights):
    return f"hybrid:weights={weights}"


def coded(path, codec, frames, size=(96, 64), **options):
    """Textured frames as an encoder leaves them."""
    from vqmeter.distortions import codecs

    info = VideoInfo(str(path), *size, PixelFormat.parse("yuv420p"), Fraction(25))
    rng = np.random.default_rng(3)
    wide = rng.integers(0, 60, (size[1], size[0] + frames)).cumsum(1) % 200 + 20
    chroma = np.full((size[1] // 2, size[0] // 2), 110, np.uint8)
    planes = ((np.ascontiguousarray(wide[:, n : n + size[0]]).astype(np.uint8), chroma, chroma) for n in range(frames))
    codecs.write(planes, info, str(path), codec, options.pop("value", None))
    return str(path)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """12 frames of H.264 with an I frame in every 5."""
    from vqmeter.distortions.codecs import X264

    encoder = replace(X264, options={**X264.options, "g": "5", "sc_threshold": "0"})
    return coded(tmp_path_factory.mktemp("hybrid") / "clip.mp4", encoder, 12, value=30)


def plain_sums(plane, side, limit):
    """Edges, mixed and still of blocks, sample by sample."""
    x = plane.astype(np.float64)
    h, w = x.shape
    out = np.zeros((3, h // side, w // side))
    for i in range(min(h // side * side, h - 1)):
        for j in range(min(w // side * side, w - 1)):
            dx, dy = x[i, j + 1] - x[i, j], x[i + 1, j] - x[i, j]
            e = dx**2 + dy**2
            out[:, i // side, j // side] += e, (x[i + 1, j + 1] - x[i + 1, j] - dx) ** 2, e < limit
    return out


@pytest.mark.parametrize(
    ("shape", "side", "dtype"), [((16, 24), 8, np.uint8), ((21, 19), 4, np.float32), ((9, 30), 2, np.uint16)]
)
def test_texture_sums(shape, side, dtype):
    plane = np.random.default_rng(0).integers(0, 9, shape).astype(dtype)
    padded = np.full((shape[0], shape[1] + 5), 77, dtype)
    padded[:, : shape[1]] = plane
    sums, across, down = texture(padded, shape[1], side, 2.0)
    np.testing.assert_array_equal(sums, plain_sums(plane, side, 2.0))
    steps = plane.astype(int)
    np.testing.assert_array_equal(across, np.abs(np.diff(steps, axis=1))[:-1].sum(0))
    np.testing.assert_array_equal(down, np.abs(np.diff(steps, axis=0))[:, :-1].sum(1))


def test_motion_is_the_residual_of_least_squares():
    rng = np.random.default_rng(1)
    a, b = (rng.normal(100, 20, (17, 26)).astype(np.float32) for _ in range(2))
    found = motion(a, b, 8)
    middle = (a.astype(float) + b) / 2
    gy, gx = np.gradient(middle)
    gy[0], gy[-1] = (middle[1] - middle[0]) / 2, (middle[-1] - middle[-2]) / 2  # as if the border went on
    t = b.astype(float) - a
    for i in range(2):
        for j in range(3):
            block = (slice(8 * i, 8 * i + 8), slice(max(1, 8 * j), min(25, 8 * j + 8)))
            slopes = np.stack([gx[block].ravel(), gy[block].ravel()], 1)
            rest = t[block].ravel() - slopes @ np.linalg.lstsq(slopes, t[block].ravel(), rcond=None)[0]
            assert found[0, i, j] == pytest.approx((t[block] ** 2).sum(), rel=1e-5)
            assert found[1, i, j] == pytest.approx((rest**2).sum(), rel=1e-4)


def test_a_ramp_that_shifts_is_explained_whole():
    ramp = np.tile(np.arange(40, dtype=np.float32) * 3, (16, 1))
    change, left = motion(ramp, ramp + 6, 8)
    assert change[0, 1] == 64 * 36 and left[0, 1] < 0.01


def frame_of(planes, fmt="yuv420p", **facts):
    h, w = planes[0].shape
    info = VideoInfo("a", w, h, PixelFormat.parse(fmt), range=facts.pop("range", None))
    return Frame(info, 0, lambda: tuple(planes), **facts)


def picture(seed=0, size=(64, 96)):
    rng = np.random.default_rng(seed)
    return [rng.integers(16, 236, size), *rng.integers(100, 150, (2, size[0] // 2, size[1] // 2))]


def test_the_numbers_of_a_frame():
    """Against the definitions in the head of the module, written plainly."""
    y, cb, cr = (p.astype(np.uint8) for p in picture())
    seen = look(frame_of([y, cb, cr], type="I", bytes=960))
    got = dict(zip(PIXELS, seen.numbers, strict=True))
    sizes = {1: y.astype(float)}
    sizes[2] = sizes[1].reshape(32, 2, 48, 2).mean((1, 3))
    sizes[4] = sizes[2].reshape(16, 2, 24, 2).mean((1, 3))
    for scale, plane in sizes.items():
        edges, fine, still = plain_sums(plane, 8 // scale, 1.0) / (8 // scale) ** 2
        level = np.log2(0.25 + edges)
        assert got[f"edges_{scale}"] == pytest.approx(level.mean(), abs=1e-5)
        assert got[f"spread_{scale}"] == pytest.approx(level.std(), abs=1e-5)
        if scale < 4:
            assert got[f"mixed_{scale}"] == pytest.approx(np.log2((fine.mean() + 0.01) / (edges.mean() + 0.01)), abs=1e-5)
        if scale == 1:
            assert got["still"] == pytest.approx(still.mean(), abs=1e-6)
    assert got["contrast"] == pytest.approx(np.log2(sizes[4].std() + 0.5), abs=1e-5)
    chroma = [np.log2(0.25 + plain_sums(p, 8, 0)[0] / 64).mean() for p in (cb, cr)]
    assert got["chroma"] == pytest.approx(np.mean(chroma), abs=1e-5)
    assert seen.bits == 960 * 8 / (96 * 64) and seen.intra
    np.testing.assert_allclose(seen.small, sizes[4], rtol=1e-6)


def test_the_grid_is_that_of_eight():
    flat, chroma = np.full((64, 96), 90, np.uint8), [np.full((32, 48), 128, np.uint8)] * 2
    bars = flat + (np.arange(96) // 8 % 2 * 4).astype(np.uint8)
    at = PIXELS.index("grid")
    assert look(frame_of([flat, *chroma])).numbers[at] == 0
    across = np.log2(4 * 63 / 64 + 0.05) - np.log2(0.05)  # the last row has no neighbour; no steps down
    assert look(frame_of([bars, *chroma])).numbers[at] == pytest.approx(across / 2)
    assert look(frame_of([np.roll(bars, 3, 1), *chroma])).numbers[at] < -1


def test_depth_and_range_do_not_matter():
    planes = picture(2)
    eight = look(frame_of([p.astype(np.uint8) for p in planes])).numbers
    ten = look(frame_of([(p * 4).astype(np.uint16) for p in planes], "yuv420p10le")).numbers
    np.testing.assert_allclose(ten, eight, atol=1e-5)
    full = look(frame_of([p.astype(np.uint8) for p in planes], range="full")).numbers
    assert full[0] == pytest.approx(eight[0] + 2 * np.log2(219 / 255), abs=1e-3)
    grey = look(frame_of([planes[0].astype(np.uint8)], "gray", range="limited")).numbers
    np.testing.assert_array_equal(grey[:-1], eight[:-1])
    assert np.isnan(grey[-1])


def seen_of(bits, intra, level=0.0):
    return Seen(np.full(len(PIXELS), level), np.full((16, 16), level, np.float32), bits, intra)


def test_bits_count_apart_by_type_of_frame():
    once, often = Gathered(), Gathered()
    for n in range(40):
        once.add(seen_of(2.0 if n == 0 else 0.5, n == 0))
        often.add(seen_of(2.0 if n % 5 == 0 else 0.5, n % 5 == 0))
    np.testing.assert_array_equal(once.features(), often.features())
    np.testing.assert_allclose(once.features()[-2:], np.log2([2 + 1e-4, 0.5 + 1e-4]))


def test_what_a_video_lacks_is_not_a_number():
    one = Gathered()
    one.add(seen_of(2.0, True))
    assert np.isnan(one.features()).tolist() == [name in ("other_bits", *hybrid.TIME) for name in FEATURES]
    changed = np.log2(9 * 7 / 8 + 0.05)  # of the 8 columns of a block here one is a border
    np.testing.assert_allclose(moved(seen_of(1, True), seen_of(1, False, 3.0)), [changed, changed, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(moved(seen_of(1, True), seen_of(1, False)), [np.log2(0.05)] * 2 + [0, 1], rtol=1e-5)


def test_inputs_fill_what_is_lacking():
    features = np.array([[*np.arange(16.0), np.nan, 3.0], [*np.full(16, np.nan), 90.0, np.nan]])
    z = hybrid.inputs(features, ["vp9", "h264"], {"mean": np.ones(18), "std": np.full(18, 2.0)}, ("h264", "vp9"), 3.5)
    np.testing.assert_array_equal(z[0], [*np.minimum((np.arange(16) - 1) / 2, 3.5), 1, 1, 0, 1])
    np.testing.assert_array_equal(z[1], [*np.zeros(16), 3.5, 3.5, 1, 0])


def test_arithmetic_is_the_networks_own(weights):
    """What scoring does in NumPy against the module that is fitted."""
    import torch

    from vqmeter.networks.hybrid import Perceptrons
    from vqmeter.weights import build

    state, facts = load("hybrid", weights)
    networks = hybrid.Ensemble.of(state, facts)
    features = np.random.default_rng(0).normal(0, 3, (5, len(FEATURES)))
    codecs = ["h264", "vp9", "h264", "h264", "vp9"]
    rest = {key: value for key, value in state.items() if key not in ("mean", "std")}
    module = build(lambda: Perceptrons(len(FEATURES) + 2, 2, 6), rest)
    z = hybrid.inputs(features, codecs, networks.state, networks.codecs, networks.limit)
    wanted = module(torch.from_numpy(z).float()).mean(0)
    np.testing.assert_allclose(networks(features, codecs), wanted, atol=1e-6)


def test_a_video_has_one_score(clip, weights, spec):
    result = measure(clip, models=spec).only
    assert result.error is None and not result.clips
    raw = result.whole["hybrid"]["raw"]
    state, facts = load_arrays("hybrid", weights)
    gathered = Gathered()
    for frame in frames_of(clip):
        gathered.add(look(frame))
    assert sum(gathered._bits[True]) * 96 * 64 / 8 == sum(b for b, t in sizes(result) if t == "I")
    assert raw == hybrid.Ensemble.of(state, facts)(gathered.features()[None], ["h264"])[0]
    assert result.whole["hybrid"]["score"] == 100 * raw
    assert measure(clip, models=spec, threads=3).only.whole == result.whole


def frames_of(path):
    from vqmeter.sources import open_video

    source = open_video(path)
    yield from source.frames()
    source.close()


def sizes(result):
    return list(zip(result.columns["bytes"], result.columns["type"], strict=True))


def test_frames_tell_their_type_and_size(clip, spec):
    result = measure(clip, models=spec).only
    assert [n for n, (_, kind) in enumerate(sizes(result)) if kind == "I"] == [0, 5, 10]
    assert all(size > 0 for size, _ in sizes(result))


@pytest.mark.parametrize("start", [0.0, 0.2])
def test_starts_within_and_single_frames(clip, spec, start):
    result = measure(clip, models=spec, start=start, frames=1).only
    assert result.error is None and 0 <= result.whole["hybrid"]["score"] <= 100


def test_torch_is_not_needed(clip, spec):
    """Scoring imports no torch: a second less for every call in a loop."""
    code = "import sys; from vqmeter.cli import main\ntry: main(sys.argv[1:])\nfinally: print('torch' in sys.modules)"
    words = [sys.executable, "-c", code, "nr", clip, "--model", spec, "--score", "hybrid"]
    out = subprocess.run(words, capture_output=True, check=True, text=True).stdout.split()
    assert 0 <= float(out[0]) <= 100 and out[1] == "False"


def test_what_has_no_bitstream_is_refused(raw_pair, tmp_path, cli, spec):
    from PIL import Image

    from vqmeter.distortions.codecs import FFV1

    raw, _ = raw_pair()
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    lossless = coded(tmp_path / "a.mkv", FFV1, 2)
    for path, what in ((raw, "raw video"), (tmp_path / "a.png", "png"), (lossless, "ffv1")):
        code, _, err = cli("nr", path, "--model", spec, "-s", "64x48")
        assert code == 4 and len(err.strip().splitlines()) == 1, err
        assert f"this is {what}; use --model vsfa" in err and str(path) in err


def test_codecs_that_weights_do_not_know_are_refused(tmp_path, spec):
    from vqmeter.distortions.codecs import MPEG2

    path = coded(tmp_path / "a.mkv", MPEG2, 2, value=4)
    error = measure(path, models=spec).only.error
    assert isinstance(error, InputError) and "h264, vp9" in str(error) and "mpeg2video" in str(error)


def test_frames_of_less_than_a_block_are_refused(tmp_path, spec):
    from vqmeter.distortions.codecs import X264

    path = coded(tmp_path / "a.mp4", X264, 2, size=(64, 24), value=20)
    error = measure(path, models=spec).only.error
    assert isinstance(error, MismatchError) and "32x32" in str(error)


@pytest.mark.parametrize("wrong", [{"features": ["edges"]}, {"limit": None}, {"codecs": []}])
def test_weights_of_something_else_are_refused(clip, weights, tmp_path, wrong):
    state, facts = load("hybrid", weights)
    meta = facts.to_json()
    save(tmp_path / "bad.safetensors", state, {**meta, "options": {**meta["options"], **wrong}})
    assert isinstance(measure(clip, models=f"hybrid:weights={tmp_path / 'bad.safetensors'}").only.error, WeightsError)


@pytest.mark.parametrize(
    ("ending", "store"), [("safetensors", "fp32"), ("safetensors", "fp16"), ("safetensors", "int8"), ("pt", "fp32")]
)
def test_arrays_are_what_torch_reads(tmp_path, ending, store):
    import torch

    torch.manual_seed(0)
    state = {"wide.weight": torch.randn(64, 8, 9), "small.weight": torch.randn(3, 4), "bias": torch.randn(5)}
    path = tmp_path / f"mine.{ending}"
    save(path, state, {"name": "mine", "model": "hybrid"}, store)
    arrays, tensors = load_arrays("hybrid", path)[0], load("hybrid", path)[0]
    assert arrays.keys() == tensors.keys() == state.keys()
    for key, array in arrays.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, tensors[key].numpy())


def test_json_stays_strict(clip, spec, cli):
    code, out, _ = cli("nr", clip, "--model", spec, "-f", "json")
    pooled = json.loads(out)["results"][0]["pooled"]["hybrid"]
    assert code == 0 and set(pooled) >= {"score", "raw"}


def test_bits_are_the_last_features():
    assert FEATURES[-2:] == BITS
