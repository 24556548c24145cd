"""Offsets: found, told, applied; frames paired by number and by time."""

import json
import os

import jsonschema
import numpy as np
import pytest

from vqmeter import measure
from vqmeter.errors import MismatchError, UsageError
from vqmeter.sources.align import Offset, find_offset, out_of_step


@pytest.fixture(scope="module")
def walk_signatures():
    """Signatures of something that never comes back: (200, 256) of a random walk."""
    rng = np.random.default_rng(0)
    return np.float32(100 + np.cumsum(rng.normal(0, 3, (200, 256)), axis=0))


@pytest.mark.parametrize("lag", [-30, -7, -1, 0, 1, 5, 30])
@pytest.mark.parametrize("change", ["none", "noise", "limited"])
def test_offsets_of_signatures(walk_signatures, lag, change):
    ref, dist = (walk_signatures[s : s + 90] for s in (50, 50 - lag))
    if change == "noise":
        dist = dist + np.random.default_rng(1).normal(0, 1, dist.shape)
    elif change == "limited":
        dist = dist * (219 / 255) + 16
    found = find_offset(ref, np.float32(dist))
    assert found.frames == lag and found.confidence > 0.5
    assert found.gain > 0.5 if lag else found.gain == 0


def test_what_never_changes_has_no_offset():
    still = np.full((60, 256), 90, np.float32)
    assert find_offset(still, still).confidence == 0
    noise = np.random.default_rng(0).normal(0, 0.3, (2, 60, 256))
    found = find_offset(np.float32(still + noise[0]), np.float32(still + noise[1]))
    assert found.gain < 0.3 and found.confidence < 0.1
    assert find_offset(still[:5], still[:5]) == Offset()


def test_frames_out_of_step_are_named(walk_signatures):
    ref = walk_signatures[:60]
    doubled, put_in = ref.copy(), np.insert(ref, 20, ref[19], 0)
    doubled[20] = ref[19]
    assert out_of_step(ref, doubled) == [(20, 1)] and not out_of_step(ref, ref)
    assert out_of_step(ref, put_in) == [(n, 1) for n in range(20, 60)]
    assert out_of_step(ref, np.delete(ref, 20, 0)) == [(n, -1) for n in range(20, 59)]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def copies(encode, frames, lag, count=60):
    """A reference and an encode of it that lags."""
    begin = max(0, lag)
    ref = encode("ref.mp4", frames[begin : begin + count], crf=8)
    return ref, encode("dist.mp4", frames[begin - lag : begin - lag + count])


@pytest.mark.parametrize("lag", [-7, 5])
def test_sync_finds_and_applies_the_offset(encode, real_frames, cli, lag):
    ref, dist = copies(encode, real_frames, lag)
    off, auto, fixed = (measure(dist, reference=ref, metrics="psnr", sync=sync).only for sync in ("off", "auto", lag))
    assert off.validity["warnings"] == [f"frames look offset by {lag:+d}: --sync auto aligns them"]
    assert off.validity["offset"] == 0 and "offset_confidence" not in off.validity
    assert auto.validity["offset"] == lag and auto.validity["offset_confidence"] > 0.5 and not auto.validity["warnings"]
    assert fixed.validity["offset"] == lag and fixed.error is None and "offset_confidence" not in fixed.validity
    assert auto.error is None and auto.validity["frames_compared"] == 60 - abs(lag)
    np.testing.assert_array_equal(auto.frames["psnr_y"], fixed.frames["psnr_y"])
    assert auto.frames["n"][0] == max(0, lag) and auto.pooled["psnr_y"]["min"] > off.pooled["psnr_y"]["max"] + 5
    code, out, err = cli("fr", ref, dist, "-m", "psnr", "--sync", "auto", "-f", "json")
    assert code == 0 and f"found the distorted {abs(lag)} frames {'late' if lag > 0 else 'early'}" in err
    jsonschema.validate(json.loads(out), json.loads(cli("schema")[1]))


def test_sync_says_nothing_of_what_is_in_step(encode, real_frames):
    ref, dist = copies(encode, real_frames, 0)
    for sync in ("off", "auto"):
        result = measure(dist, reference=ref, metrics="psnr", sync=sync).only
        assert result.validity["offset"] == 0 and not result.validity["warnings"] and result.validity["frames_compared"] == 60
    assert result.validity["offset_confidence"] > 0.5


def test_several_lags_against_one_reference(encode, real_frames):
    ref = encode("ref.mp4", real_frames[10:60])
    dists = [encode(f"{lag}.mp4", real_frames[10 - lag : 60 - lag]) for lag in (4, 0, -6)]
    together = measure(dists, reference=ref, metrics="psnr", sync="auto").results
    alone = [measure(dist, reference=ref, metrics="psnr", sync="auto").only for dist in dists]
    assert [r.validity["offset"] for r in together] == [4, 0, -6]
    assert [r.validity["frames_compared"] for r in together] == [46, 50, 44]
    for one, other in zip(together, alone, strict=True):
        assert one.to_json()["frames"] == other.to_json()["frames"] and one.error is None


@pytest.mark.parametrize(("lag", "options", "numbers"), [
    (3, {}, list(range(3, 20))), (-3, {}, list(range(17))), (3, {"frames": 5}, [3, 4, 5, 6, 7]),
    (-3, {"frames": 5}, [0, 1, 2, 3, 4]), (3, {"subsample": 4}, [3, 7, 11, 15, 19]),
    (-3, {"subsample": 4}, [1, 5, 9, 13]), (-3, {"subsample": 4, "frames": 3}, [1, 5, 9]),
])  # fmt: skip
def test_offsets_with_selections(raw_pair, tmp_path, lag, options, numbers):
    """Frame n of the distorted is a copy of frame n - lag, so every pair is identical."""
    ref, _ = raw_pair(frames=26, noise=0)
    size, data = 64 * 48 * 3 // 2, read(ref)
    paths = [tmp_path / name for name in ("a_64x48.yuv", "b_64x48.yuv")]
    for path, begin in zip(paths, (3, 3 - lag), strict=True):
        path.write_bytes(data[begin * size : (begin + 20) * size])
    result = measure(paths[1], reference=paths[0], metrics="psnr", sync=lag, **options).only
    assert result.error is None and result.frames["n"].tolist() == numbers
    assert result.validity["identical_frames"] == len(numbers)


def test_worst_frames_keep_the_offset(raw_pair, tmp_path):
    from PIL import Image

    ref, _ = raw_pair(frames=12, noise=0)
    data, size = bytearray(read(ref)), 64 * 48 * 3 // 2
    late = tmp_path / "late_64x48.yuv"
    late.write_bytes(data[: 2 * size] + data)
    result = measure(late, reference=ref, metrics="psnr", sync=2, worst=1, worst_dir=tmp_path / "worst").only
    [name] = os.listdir(tmp_path / "worst")
    picture = np.asarray(Image.open(tmp_path / "worst" / name))
    assert result.validity["identical_frames"] == 12
    np.testing.assert_array_equal(picture[:, :64], picture[:, 64:])


def test_an_offset_beyond_the_end_leaves_nothing(raw_pair):
    ref, dist = raw_pair(frames=5)
    assert "--sync leaves no frame" in str(measure(dist, reference=ref, sync=9).only.error)


def test_still_pictures_tell_no_offset(raw_pair, tmp_path):
    ref, _ = raw_pair(frames=1, noise=0)
    still = tmp_path / "still_64x48.yuv"
    still.write_bytes(read(ref) * 40)
    result = measure(still, reference=still, metrics="psnr", sync="auto").only
    assert result.validity["offset"] == 0 and result.validity["offset_confidence"] == 0
    assert "no offset can be told" in result.validity["warnings"][0] and "--sync N" in result.validity["warnings"][0]


@pytest.mark.parametrize(("options", "says"), [
    ({"sync": "auto"}, "--sync N"), ({"sync": "near"}, "off, auto or a number"), ({"sync": 2, "pair": "pts"}, "choose one"),
    ({"pair": "time"}, "index or pts"),
])  # fmt: skip
def test_wrong_requests(raw_pair, options, says):
    with pytest.raises(UsageError, match=says):
        measure("-", reference=raw_pair()[0], size="64x48", **options)


def test_by_time_a_copy_with_frames_left_out(encode, real_frames, cli):
    """Every third frame is missing, in no rhythm that a rate could tell."""
    kept = [n for n in range(60) if n % 3 != 1 and n != 30]
    ref = encode("ref.mp4", real_frames[:60], crf=8)
    dist = encode("dist.mkv", [real_frames[n] for n in kept], times=[n * 40 for n in kept], rate="25")
    by_number = measure(dist, reference=ref, metrics="psnr", shortest=True).only
    assert any("the distorted has a variable frame rate" in w and "--pair pts" in w for w in by_number.validity["warnings"])
    assert not any("offset by" in w or "looks like frame" in w for w in by_number.validity["warnings"])
    by_time = measure(dist, reference=ref, metrics="psnr", pair="pts").only
    assert by_time.error is None and by_time.validity["frames_compared"] == len(kept)
    missing = [n for n in range(60) if n not in kept]
    assert [u["n"] for u in by_time.validity["unmatched"]] == missing
    assert {u["file"] for u in by_time.validity["unmatched"]} == {"reference"}
    assert by_time.validity["unmatched"][0]["t"] == pytest.approx(0.04) and by_time.validity["unmatched_frames"] == len(missing)
    assert by_time.pooled["psnr_y"]["min"] > by_number.pooled["psnr_y"]["mean"] + 3
    assert by_time.validity["warnings"][0].startswith(f"{len(missing)} frames of the reference")
    document = json.loads(cli("fr", "-q", ref, dist, "--pair", "pts", "-m", "psnr", "-f", "json")[1])
    jsonschema.validate(document, json.loads(cli("schema")[1]))


def test_by_time_a_variable_rate_on_both_sides_needs_no_warning(encode, real_frames):
    times = [n * 40 + (n % 4 == 3) * 15 for n in range(40)]
    ref, dist = (encode(name, real_frames[:40], times=times, crf=crf) for name, crf in (("a.mkv", 10), ("b.mkv", 28)))
    result = measure(dist, reference=ref, metrics="psnr").only
    assert result.error is None and not result.validity["warnings"]


def test_two_rates_a_thousandth_apart(encode, real_frames):
    ref = encode("ref.mp4", real_frames[:60], rate="24")
    dist = encode("dist.mp4", real_frames[:60], rate="24000/1001")
    result = measure(dist, reference=ref, metrics="psnr").only
    assert result.validity["warnings"] == ["rate differs: 24 in the reference, 23.976 in the distorted; frames are paired by "
                                           "number, --pair pts pairs them by time"]  # fmt: skip
    by_time = measure(dist, reference=ref, metrics="psnr", pair="pts").only
    assert by_time.validity["frames_compared"] == 60 and by_time.error is None


def y4m(path, rate, values):
    """4x4 grey pictures, each of one value."""
    frames = b"".join(b"FRAME\n" + bytes([v % 251]) * 16 for v in values)
    path.write_bytes(b"YUV4MPEG2 W4 H4 F%s Cmono\n" % rate + frames)
    return str(path)


def test_by_time_one_frame_in_a_thousand_is_left_over(tmp_path):
    """n / 24 against n x 1001 / 24000: the two part by half a frame after 500 frames, where one is left over."""
    ref = y4m(tmp_path / "ref.y4m", b"24:1", range(1100))
    dist = y4m(tmp_path / "dist.y4m", b"24000:1001", range(1099))
    result = measure(dist, reference=ref, metrics="psnr", pair="pts").only
    assert result.error is None and result.validity["frames_compared"] == 1099
    left = [(u["file"], u["n"]) for u in result.validity["unmatched"]]
    assert len(left) == 1 and left[0][0] == "reference" and 499 <= left[0][1] <= 501


@pytest.mark.parametrize(("rates", "pairs", "left"), [
    ((b"50:1", b"25:1"), 20, {"reference": 20}), ((b"25:1", b"50:1"), 20, {"distorted": 20}),
])  # fmt: skip
def test_by_time_twice_the_rate(tmp_path, rates, pairs, left):
    values = {b"50:1": range(40), b"25:1": range(0, 40, 2)}
    ref, dist = (y4m(tmp_path / f"{name}.y4m", rate, values[rate]) for name, rate in zip("rd", rates, strict=True))
    result = measure(dist, reference=ref, metrics="psnr", pair="pts").only
    assert result.validity["frames_compared"] == result.validity["identical_frames"] == pairs and result.error is None
    files = [u["file"] for u in result.validity["unmatched"]]
    assert {file: files.count(file) for file in set(files)} == left


def test_by_time_an_end_may_differ_by_a_second_and_no_more(tmp_path):
    ref = y4m(tmp_path / "ref.y4m", b"10:1", range(40))
    near, far = (y4m(tmp_path / f"{n}.y4m", b"10:1", range(n)) for n in (32, 20))
    for pair in ((ref, near), (near, ref)):
        result = measure(pair[1], reference=pair[0], metrics="psnr", pair="pts").only
        assert result.error is None and result.validity["frames_compared"] == 32 and result.validity["unmatched_frames"] == 8
    for pair in ((ref, far), (far, ref)):
        result = measure(pair[1], reference=pair[0], metrics="psnr", pair="pts").only
        assert isinstance(result.error, MismatchError) and "--shortest" in str(result.error)
        assert measure(pair[1], reference=pair[0], metrics="psnr", pair="pts", shortest=True).only.error is None


def test_by_time_raw_video_must_say_its_rate(raw_pair):
    ref, dist = raw_pair()
    assert "-r FPS" in str(measure(dist, reference=ref, pair="pts").only.error)
    assert measure(dist, reference=ref, pair="pts", rate=25).only.validity["frames_compared"] == 5
