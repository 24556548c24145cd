"""Warnings before scores: each is given where it is due, names its fix, and is never given to ordinary encodes."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from vqmeter import measure
from vqmeter.errors import UsageError
from vqmeter.frames import PixelFormat, VideoInfo
from vqmeter.metric import choose
from vqmeter.sources.differences import differences
from vqmeter.validity import Clock, of_input

INFO = VideoInfo("a.mp4", 64, 48, PixelFormat.parse("yuv420p"), Fraction(25))


@pytest.mark.parametrize(("change", "says", "fix"), [
    ({"range": "full"}, "range differs: limited in the reference, full in the distorted", "--range limited"),
    ({"matrix": "bt601"}, "matrix differs: bt709 in the reference, bt601", "--matrix bt709"),
    ({"transfer": "smpte2084"}, "transfer differs: bt709 in the reference", "zscale=transfer=bt709"),
    ({"rotation": 90}, "rotation differs: 0 in the reference, 90", "-vf transpose"),
    ({"rate": Fraction(50)}, "rate differs: 25 in the reference, 50", "--pair pts"),
    ({"pix_fmt": PixelFormat.parse("yuv420p10le")}, "depth differs: 8 bit in the reference, 10", "-pix_fmt"),
])  # fmt: skip
def test_every_difference_names_its_fix(change, says, fix):
    ref = replace(INFO, range="limited", matrix="bt709", transfer="bt709")
    [said] = differences(ref, replace(ref, **change))
    assert said.startswith(says) and fix in said
    assert not differences(ref, ref) and not differences(ref, INFO)


@pytest.mark.parametrize(("rate", "told"), [
    (Fraction(24000, 1001), True), (Fraction(24), False), (Fraction(23976, 1000), True), (Fraction(2401, 100), False),
    (Fraction(2399, 100), False), (Fraction(25), True), (Fraction(2350, 100), True),
])  # fmt: skip
def test_rates_that_are_averages_may_be_a_little_off(rate, told):
    assert bool(differences(replace(INFO, rate=Fraction(24)), replace(INFO, rate=rate))) == told


def test_hdr_and_interlaced_inputs_are_told():
    chosen = choose("fr", ["psnr,ssim,vmaf,dipqa"]) + choose("nr", ["vsfa"])
    hdr = replace(INFO, transfer="smpte2084")
    [said] = of_input("reference", hdr, chosen)
    assert "hdr (PQ), and vmaf, dipqa, vsfa learned from SDR" in said and "tonemap" in said
    assert "HLG" in next(of_input("reference", replace(INFO, transfer="arib-std-b67"), chosen))
    assert not list(of_input("reference", hdr, chosen[:2])) and not list(of_input("reference", INFO, chosen))
    [said] = of_input("distorted", replace(INFO, field_order="tt"), chosen)
    assert said.startswith("the distorted is interlaced (tt)") and "--deinterlace" in said
    assert not list(of_input("distorted", replace(INFO, field_order="progressive"), chosen))


def test_a_clock_knows_a_variable_rate():
    def clock(times):
        one = Clock()
        for time in times:
            one.tick(time)
        return one

    assert not clock([0, 0.033, 0.067, 0.1]).varies and not clock([0.04]).varies and not clock([None, None]).varies
    assert clock([0, 0.04, 0.08, 0.16]).varies


def warnings_of(dist, ref, **options):
    result = measure(dist, reference=ref, metrics="psnr", **options).only
    assert result.error is None
    return result.validity["warnings"]


@pytest.mark.parametrize(("quality", "codec"), [(18, "libx264"), (34, "libx264"), (24, "libx265"), (36, "libx265")])
def test_ordinary_encodes_are_let_be(encode, real_frames, quality, codec):
    quiet = {"x265-params": "log-level=none:pools=1", "preset": "ultrafast"} if codec == "libx265" else {}
    frames = real_frames[:45]
    dist = encode("dist.mp4", frames, codec, crf=quality, **quiet)
    lossless = encode("ref.mkv", frames, "ffv1")
    assert warnings_of(dist, lossless) == []
    assert warnings_of(encode("again.mp4", frames, crf=quality + 8), dist) == []


def test_a_swapped_pair(encode, real_frames):
    coarse, fine = encode("coarse.mp4", real_frames[:30], crf=40), encode("fine.mp4", real_frames[:30], crf=12)
    [said] = warnings_of(fine, coarse)
    assert said.startswith("the reference looks more compressed than the distorted") and "swapped?" in said
    assert "swapped?" in warnings_of(encode("raw.mkv", real_frames[:30], "ffv1"), coarse)[0]
    assert not warnings_of(coarse, fine)


def squeezed(frames):
    """Full range brought to limited, as a conversion does: luma x 219 / 255 + 16."""
    out = []
    for frame in frames:
        planes = frame.astype(np.float64)
        planes[:180] = planes[:180] * 219 / 255 + 16
        planes[180:] = (planes[180:] - 128) * 224 / 255 + 128
        out.append(np.rint(planes).astype(np.uint8))
    return out


@pytest.mark.parametrize("flag", [0, 1])
def test_a_change_of_range_that_no_flag_tells(encode, real_frames, flag):
    full, limited = (
        encode("full.mkv", real_frames[:30], color_range=flag),
        encode("limited.mkv", squeezed(real_frames[:30]), color_range=flag),
    )
    [said] = warnings_of(limited, full)
    assert said.startswith("luma is squeezed") and "the reference looks like full range read as limited" in said
    [said] = warnings_of(full, limited)
    assert said.startswith("luma is stretched") and "the distorted looks like full range read as limited" in said
    assert "scale=in_range=full:out_range=limited" in said


def test_a_change_of_range_that_flags_tell(encode, real_frames):
    full = encode("full.mkv", real_frames[:30], color_range=2)
    limited = encode("limited.mkv", squeezed(real_frames[:30]), color_range=1)
    [said] = warnings_of(limited, full)
    assert said.startswith("range differs: full in the reference, limited in the distorted") and "--range full" in said
    assert warnings_of(full, full, range="limited") == []
    doubled = squeezed([*real_frames[:20], real_frames[19], *real_frames[21:30]])
    told = warnings_of(encode("doubled.mkv", doubled, color_range=1), full)
    assert len(told) == 2 and told[1].startswith("frame 20 of the distorted looks like frame 19"), "seen through the range"


@pytest.mark.parametrize("damage", ["doubled", "put in", "left out"])
def test_doubled_and_dropped_frames(encode, real_frames, damage):
    frames = real_frames[:45]
    bad = {"doubled": [*frames[:20], frames[19], *frames[21:]], "put in": [*frames[:20], frames[19], *frames[20:]],
           "left out": [*frames[:20], *frames[21:]]}[damage]  # fmt: skip
    ref, dist = encode("ref.mp4", frames, crf=12), encode("dist.mp4", bad, crf=20)
    [said] = warnings_of(dist, ref, shortest=True)
    other = 21 if damage == "left out" else 19
    assert said.startswith(f"frame 20 of the distorted looks like frame {other} of the reference") and "--pair pts" in said


def test_crops_are_views_of_both(raw_pair):
    ref, dist = raw_pair(width=64, height=48, frames=4)
    result = measure(dist, reference=ref, metrics="psnr", crop="32:20:16:8").only
    planes = [np.fromfile(p, np.uint8).reshape(4, -1)[:, : 64 * 48].reshape(4, 48, 64)[:, 8:28, 16:48].astype(int)
              for p in (ref, dist)]  # fmt: skip
    expected = 10 * np.log10(255**2 / ((planes[0] - planes[1]) ** 2).mean(axis=(1, 2)))
    np.testing.assert_allclose(result.frames["psnr_y"], expected, atol=1e-9)
    assert result.inputs["distorted"]["width"] == 32 and result.settings["crop"] == "32:20:16:8"
    assert "cropped from 64x48 to 32:20:16:8" in result.inputs["reference"]["notes"][-1]


def test_a_crop_comes_before_scaling(raw_pair, tmp_path):
    ref, dist = raw_pair(width=64, height=48, frames=3)
    parts = []
    for path in (ref, dist):
        planes = np.fromfile(path, np.uint8).reshape(3, 72, 64)
        luma, chroma = planes[:, 8:40, 16:48], planes[:, 48:].reshape(3, 2, 24, 32)[:, :, 4:20, 8:24]
        part = tmp_path / f"part_{path.rpartition('/')[2].replace('64x48', '32x32')}"
        part.write_bytes(b"".join(y.tobytes() + c.tobytes() for y, c in zip(luma, chroma, strict=True)))
        parts.append(part)
    whole = measure(dist, reference=ref, metrics="psnr", crop="32:32:16:8", scale="64x64").only
    cut = measure(parts[1], reference=parts[0], metrics="psnr", scale="64x64").only
    np.testing.assert_array_equal(whole.frames["psnr"], cut.frames["psnr"])


@pytest.mark.parametrize(("crop", "says"), [
    ("32:20:17:8", "the nearest that does not is 32:20:16:8"), ("31:20:16:8", "the nearest that does not is 30:20:16:8"),
    ("32:20:40:8", "reaches out of 64x48"),
])  # fmt: skip
def test_crops_that_do_not_fit(raw_pair, crop, says):
    ref, dist = raw_pair()
    assert says in str(measure(dist, reference=ref, crop=crop).only.error)


@pytest.mark.parametrize("crop", ["64", "1:2:3", "a:b:c:d", "0:4:0:0", "-2:4:0:0"])
def test_what_is_no_crop(raw_pair, crop):
    ref, dist = raw_pair()
    with pytest.raises(UsageError, match="WIDTH:HEIGHT:X:Y"):
        measure(dist, reference=ref, crop=crop)


def test_odd_crops_reach_the_edge_of_odd_pictures(raw_pair):
    ref, dist = raw_pair(width=33, height=17, frames=2)
    assert measure(dist, reference=ref, crop="17:7:16:10").only.inputs["distorted"]["height"] == 7


def combs(path, frames):
    """Moving bars whose odd lines are a moment later, top field first, as Y4M; and one moment of them."""
    x, moments = np.arange(64), []
    with open(path, "wb") as file:
        file.write(b"YUV4MPEG2 W64 H48 F25:1 It Cmono\n")
        for n in range(frames):
            first, second = ((np.sin((x - 4 * t) / 5) * 90 + 128).astype(np.uint8) for t in (2 * n, 2 * n + 1))
            picture = np.tile(first, (48, 1))
            picture[1::2] = second
            moments.append(np.tile(first, (48, 1)))
            file.write(b"FRAME\n" + picture.tobytes())
    return moments


def test_deinterlacing_gives_the_first_moment(tmp_path):
    moments = combs(tmp_path / "combs.y4m", 8)
    whole = tmp_path / "whole.y4m"
    whole.write_bytes(b"YUV4MPEG2 W64 H48 F25:1 Ip Cmono\n" + b"".join(b"FRAME\n" + m.tobytes() for m in moments))
    woven = measure(tmp_path / "combs.y4m", reference=whole, metrics="psnr").only
    assert "the distorted is interlaced (tt)" in woven.validity["warnings"][0]
    plain = measure(tmp_path / "combs.y4m", reference=whole, metrics="psnr", deinterlace=True).only
    assert plain.error is None and not plain.validity["warnings"] and plain.validity["frames_compared"] == 8
    assert plain.pooled["psnr_y"]["min"] > woven.pooled["psnr_y"]["max"] + 10
    assert "deinterlaced (bwdif, tff)" in plain.inputs["distorted"]["notes"][-1]
    assert not any("deinterlaced" in note for note in plain.inputs["reference"]["notes"])
