"""XPSNR against FFmpeg's own logs, and the traps of its filter: frame rate, order of inputs, padding, depth, size."""

import json
import math
import resource
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vqmeter import measure
from vqmeter.errors import MismatchError
from vqmeter.frames import Frame, PixelFormat, VideoInfo
from vqmeter.metric import Clip, Context, Sample, Stream
from vqmeter.metrics.fr.xpsnr import Xpsnr

PLANES = {"y": "y", "u": "cb", "v": "cr"}


@pytest.fixture(scope="module", params=[0, 1, 2])
def golden(request, testdata):
    folder = testdata / "golden"
    case = json.loads((folder / "fr_peers.json").read_text())[request.param]
    report = measure(folder / case["distorted"], reference=folder / case["reference"], metrics="xpsnr", size=case["size"],
                     pix_fmt=case["pix_fmt"])  # fmt: skip
    return case, report.only


def test_golden_frames(golden):
    """FFmpeg 9.0.2, `-i DIST -i REF -lavfi xpsnr=stats_file`: every printed digit of every frame."""
    case, result = golden
    *frames, _ = case["ffmpeg_9_0_2"]["xpsnr"]["frames"]
    assert len(frames) == result.validity["frames_compared"]
    for n, frame in enumerate(frames):
        for theirs, ours in PLANES.items():
            assert f"{result.frames[f'xpsnr_{ours}'][n]:.4f}" == frame[theirs]


def test_golden_summary(golden):
    """FFmpeg 9.0.2's summary line is our score. The mean of the frames is another number."""
    case, result = golden
    summary = case["ffmpeg_9_0_2"]["xpsnr"]["frames"][-1]
    for theirs, ours in PLANES.items():
        assert f"{result.statistic(f'xpsnr_{ours}'):.4f}" == summary[theirs]
        assert f"{result.statistic(f'xpsnr_{ours}.mean'):.4f}" != summary[theirs]


def meter_of(info, metric=None, rate=None):
    return (metric or Xpsnr()).open(Stream(info, info, info.pix_fmt, None, rate), Context())


def scores(meter, info, refs, dists):
    """All scores of a run: ({name: [per frame]}, {name: whole})."""
    frames, whole = {name: [] for name in meter.scores}, {}
    for n, (ref, dist) in enumerate(zip(refs, dists, strict=True)):
        item = meter.prepare(Sample(n, Frame(info, n, lambda d=dist: d), Frame(info, n, lambda r=ref: r)))
        for score in meter.score([Clip((n,), (item,))]):
            assert score.span == range(n, n + 1)
            frames[score.name].append(score.value)
    for score in meter.finish():
        assert score.span is None
        whole[score.name] = score.value
    return frames, whole


def pictures(fmt, width, height, count=3, grain=6.0, padding=0, seed=0):
    """`count` pictures and the same with grain, as planes of `fmt`; `padding` samples behind every row."""
    pixel, rng = PixelFormat.parse(fmt), np.random.default_rng(seed)
    shift = pixel.bit_depth - 8
    out = [], []
    for t in range(count):
        pair = [], []
        for n in range(len(pixel.components)):
            w, h = pixel.chroma_size(width, height) if n else (width, height)
            y, x = np.mgrid[0:h, 0:w]
            clean = 128 + 60 * np.sin(0.2 * x + 0.1 * y + 0.3 * t) + 30 * np.sin(0.7 * y - 0.2 * x + n)
            for planes, amount in zip(pair, (0.0, grain), strict=True):
                memory = np.full((h, w + padding), 0, pixel.dtype)
                noisy = np.clip(np.rint(clean + amount * rng.normal(0, 1, (h, w))), 0, 255)
                memory[:, :w] = noisy.astype(pixel.dtype) << shift
                planes.append(memory[:, :w])
        for clip, planes in zip(out, pair, strict=True):
            clip.append(tuple(planes))
    return VideoInfo("x", width, height, pixel), *out


@pytest.mark.parametrize(
    "fmt", ["gray", "yuv420p", "yuv422p", "yuv444p", "gray10le", "yuv420p10le", "yuv422p12le", "yuv444p14le"]
)
def test_planes_padding_and_odd_sizes(fmt):
    """Deep and odd pictures score as the same pictures at 8 bits; rows with padding as rows without."""
    info, refs, dists = pictures(fmt, 99, 63)
    plain, whole = scores(meter_of(info), info, refs, dists)
    assert list(plain) == [f"xpsnr_{c}" for c in info.pix_fmt.component_names] == list(whole)
    padded = scores(meter_of(info), *pictures(fmt, 99, 63, padding=31))
    assert padded == (plain, whole)
    shallow = "gray" if info.pix_fmt.family == "gray" else fmt[:7]
    eight, _ = scores(meter_of(replace(info, pix_fmt=PixelFormat.parse(shallow))), *pictures(shallow, 99, 63))
    for name, values in plain.items():  # peak 2^n - 1 against 255 x 2^(n - 8) is 0.034 dB at most
        np.testing.assert_allclose(values, eight[name], rtol=0, atol=0.036)


def test_the_rate_decides_between_first_and_second_differences():
    """Below 32 frames a second, change weighs; from there on, change of change: the filter's whole-numbered rate."""
    info, refs, dists = pictures("gray", 96, 96, 4)
    at = {rate: scores(meter_of(info, rate=rate), info, refs, dists)[0]["xpsnr_y"]
          for rate in (None, Fraction(1, 2), 25, Fraction(30000, 1001), Fraction(32000, 1001), 32, 60)}  # fmt: skip
    assert at[None] == at[Fraction(1, 2)] == at[25] == at[Fraction(30000, 1001)] == at[Fraction(32000, 1001)]
    assert at[32] == at[60]
    assert at[60][0] == at[25][0] and at[60][1] > at[25][1] + 1


def test_the_session_passes_the_rate_on(testdata):
    folder = testdata / "golden"
    case = json.loads((folder / "fr_peers.json").read_text())[0]
    slow, fast = (measure(folder / case["distorted"], reference=folder / case["reference"], metrics="xpsnr", size=case["size"],
                          frames=3, rate=rate).only.statistic("xpsnr_y") for rate in (25, 50))  # fmt: skip
    assert fast > slow + 1


def test_the_first_input_weighs(testdata):
    """FFmpeg 9.0.2, `-i REF -i DIST -lavfi xpsnr`, the authors' order: y 26.9996 u 34.6520 v 37.9446."""
    folder = testdata / "golden"
    case = json.loads((folder / "fr_peers.json").read_text())[0]
    result = measure(folder / case["distorted"], reference=folder / case["reference"], metrics="xpsnr:first=reference",
                     size=case["size"]).only  # fmt: skip
    assert [f"{result.statistic(name):.4f}" for name in result.metrics] == ["26.9996", "34.6520", "37.9446"]
    assert list(result.metrics) == ["xpsnr_ref_y", "xpsnr_ref_cb", "xpsnr_ref_cr"]


def test_identical_planes_are_infinite_and_others_are_not():
    info, refs, _ = pictures("yuv420p", 64, 64, 2)
    dists = [(luma, cb, cr ^ 1) for luma, cb, cr in refs]
    frames, whole = scores(meter_of(info), info, refs, dists)
    assert frames["xpsnr_y"] == frames["xpsnr_cb"] == [math.inf] * 2
    assert np.isfinite(frames["xpsnr_cr"]).all() and set(whole) == {"xpsnr_cr"}


def test_a_few_identical_frames_do_not_hide_the_others(raw_pair, tmp_path):
    """ffmpeg's own summary is inf here, for one sample off by 3 in one frame of four."""
    ref, _ = raw_pair(64, 48, 4)
    data = bytearray(Path(ref).read_bytes())
    data[5] ^= 3
    (tmp_path / "once_64x48.yuv").write_bytes(data)
    result = measure(tmp_path / "once_64x48.yuv", reference=ref, metrics="xpsnr").only
    assert np.isinf(result.frames["xpsnr_y"]).tolist() == [False, True, True, True]
    assert math.isfinite(result.statistic("xpsnr_y")) and result.statistic("xpsnr_y") > result.statistic("xpsnr_y.min")
    assert result.statistic("xpsnr_cb") == math.inf and result.pooled["xpsnr_cb"]["score"] == 60.0


def test_the_smallest_picture_has_blocks():
    """One pixel fewer, and FFmpeg's filter ends the process: it divides by a block size of 0."""
    info, refs, dists = pictures("gray", 45, 45, 2)
    frames, _ = scores(meter_of(info), info, refs, dists)
    assert np.isfinite(frames["xpsnr_y"]).all()


@pytest.mark.parametrize(("fmt", "size", "word"), [
    ("gray16le", (64, 64), "8 to 14 bits, not gray16le"),
    ("gbrp", (64, 64), "not gbrp"),
    ("yuv440p", (64, 64), "4:2:0, 4:2:2, 4:4:4"),
    ("gray", (44, 46), "2025 pixels .45x45. at least, not 44x46"),
    ("yuv420p", (2049, 1200), "even width and height, not 2049x1200"),
    ("yuv420p", (2160, 1201), "even width and height, not 2160x1201"),
])  # fmt: skip
def test_what_the_filter_does_not_take_is_refused(fmt, size, word):
    with pytest.raises(MismatchError, match=word):
        meter_of(VideoInfo("x", *size, PixelFormat.parse(fmt)))


def test_prepared_frames_outlive_the_memory_they_came_from():
    info, refs, dists = pictures("yuv420p10le", 98, 62, 1)
    expected, _ = scores(meter_of(info), info, refs, dists)
    meter = meter_of(info)
    item = meter.prepare(Sample(0, Frame(info, 0, lambda: dists[0]), Frame(info, 0, lambda: refs[0])))
    for plane in (*refs[0], *dists[0]):
        plane[...] = 0
    assert {s.name: [s.value] for s in meter.score([Clip((0,), (item,))])} == expected


def test_a_long_input_does_not_grow_memory():
    info, refs, dists = pictures("yuv420p", 320, 240, 1)
    meter = meter_of(info)
    sample = Sample(0, Frame(info, 0, lambda: dists[0]), Frame(info, 0, lambda: refs[0]))
    peaks = []
    for n in range(1000):  # 220 MiB of pictures
        assert len(list(meter.score([Clip((n,), (meter.prepare(sample),))]))) == 3
        if n in (50, 999):
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert peaks[1] - peaks[0] < 20 << 10  # KiB
