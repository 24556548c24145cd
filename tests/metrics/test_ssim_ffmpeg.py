"""FFmpeg's block SSIM against its own logs, stored and fresh, to the last digit; the torch road against the kernel."""

import json
import re
import subprocess

import numpy as np
import pytest

from vqmeter import measure
from vqmeter.errors import MismatchError
from vqmeter.frames import PixelFormat
from vqmeter.kernels.block_ssim import PITCH, block_ssim
from vqmeter.kernels.rows import rows
from vqmeter.metric import Sample, Stream
from vqmeter.metrics.fr.ssim_ffmpeg import SsimFfmpeg, TorchSsimFfmpegMeter

PLANES = {"Y": "_y", "U": "_u", "V": "_v", "R": "_r", "G": "_g", "B": "_b", "All": ""}


def assert_same_digits(result, logged):
    """`logged` holds, for each frame, what FFmpeg printed under Y, U, V and All."""
    for n, frame in enumerate(logged):
        values = {name: f"{result.frames['ssim_ffmpeg' + PLANES[name]][n]:.6f}" for name in frame}
        assert values == frame, f"frame {n}"
    assert len(logged) == len(result.frames["ssim_ffmpeg"])


@pytest.mark.parametrize("case", [0, 1, 2])
def test_golden_logs(testdata, case):
    """The stats_file of FFmpeg 9.0.2's ssim filter: 8 bit 4:2:0, 10 bit 4:2:0, 4:2:2 at 353x201."""
    folder = testdata / "golden"
    case = json.loads((folder / "fr_peers.json").read_text())[case]
    result = measure(folder / case["distorted"], reference=folder / case["reference"], metrics="ssim_ffmpeg",
                     size=case["size"], pix_fmt=case["pix_fmt"]).only  # fmt: skip
    logged = [{k: v for k, v in frame.items() if k in PLANES} for frame in case["ffmpeg_9_0_2"]["ssim"]["frames"]]
    assert_same_digits(result, logged)


@pytest.mark.parametrize(
    ("fmt", "size"),
    [("yuv420p", (640, 360)), ("yuv422p", (111, 57)), ("yuv444p", (35, 22)), ("yuv420p10le", (640, 360)),
     ("yuv422p12le", (111, 57)), ("yuv444p16le", (130, 66)), ("gray", (64, 40)), ("gbrp", (90, 50))],
)  # fmt: skip
def test_fresh_clips_equal_ffmpeg(tmp_path, fmt, size):
    """The ffmpeg of imageio-ffmpeg, whatever its version, on twelve frames of new noise."""
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    pixel, rng = PixelFormat.parse(fmt), np.random.default_rng(len(fmt) + size[0])
    with open(tmp_path / "ref.yuv", "wb") as ref, open(tmp_path / "dist.yuv", "wb") as dist:
        for n in range(12):
            for h, w in pixel.plane_shapes(*size):
                y, x = np.mgrid[0:h, 0:w]
                clean = (np.sin(x * 0.07 + n) * np.cos(y * 0.05) * 0.4 + 0.5) * pixel.peak
                for file, grain in ((ref, 0.01), (dist, 0.003 * n)):
                    noisy = np.rint(clean + rng.normal(0, grain * pixel.peak, (h, w))).clip(0, pixel.peak)
                    file.write(noisy.astype(pixel.dtype).tobytes())
    raw = ["-f", "rawvideo", "-s", f"{size[0]}x{size[1]}", "-pix_fmt", fmt, "-i"]
    command = [ffmpeg, "-v", "error", *raw, "dist.yuv", *raw, "ref.yuv", "-lavfi", "ssim=stats_file=log", "-f", "null", "-"]
    subprocess.run(command, cwd=tmp_path, check=True, stdin=subprocess.DEVNULL)
    logged = [dict(re.findall(r"(Y|U|V|R|G|B|All):([\d.-]+)", line)) for line in (tmp_path / "log").read_text().splitlines()]
    result = measure(tmp_path / "dist.yuv", reference=tmp_path / "ref.yuv", metrics="ssim_ffmpeg", size=size, pix_fmt=fmt).only
    assert len(logged) == 12 and len(logged[0]) == len(pixel.components) + 1
    assert_same_digits(result, logged)


def block(ref, dist, depth):
    """One 8x8 block in Python's integers."""
    x, y = (p.astype(object).ravel() for p in (ref, dist))
    peak = (1 << depth) - 1
    c1, c2 = int(0.0001 * peak**2 * 64 + 0.5), int(0.0009 * peak**2 * 64 * 63 + 0.5)
    sx, sy, squares, product = x.sum(), y.sum(), (x * x + y * y).sum(), (x * y).sum()
    similar = (2 * sx * sy + c1) * (2 * (64 * product - sx * sy) + c2)
    return float(similar) / float((sx**2 + sy**2 + c1) * (64 * squares - sx**2 - sy**2 + c2))


@pytest.mark.parametrize("depth", [8, 10, 12, 16])
def test_equals_exact_integers(depth):
    """Noise, black against white, and boards of both, in 8x8 blocks at every fourth sample."""
    peak, dtype = (1 << depth) - 1, np.uint8 if depth == 8 else np.uint16
    rng = np.random.default_rng(depth)
    a, b = rng.integers(0, peak + 1, (2, 23, 34)).astype(dtype)
    black, white = np.zeros_like(a), np.full_like(a, peak)
    for ref, dist in ((a, b), (black, white), (white, black), ((a & 1) * peak, (b & 1) * peak), (a, peak - a)):
        ref, dist = ref.astype(dtype), dist.astype(dtype)
        places = [(slice(i, i + 8), slice(j, j + 8)) for i in range(0, 13, 4) for j in range(0, 25, 4)]
        expected = np.mean([block(ref[place], dist[place], depth) for place in places])
        assert block_ssim(rows(ref), rows(dist), 34, depth) == pytest.approx(expected, abs=2e-7)


@pytest.mark.parametrize("depth", [8, 10])
def test_strips_and_left_over_samples(depth):
    dtype = np.uint8 if depth == 8 else np.uint16
    a, b = np.random.default_rng(3).integers(0, 1 << depth, (2, 19, 2 * PITCH + 24)).astype(dtype)
    whole = block_ssim(rows(a[:16]), rows(b[:16]), 2 * PITCH + 20, depth)
    for height, width in ((16, 2 * PITCH + 23), (19, 2 * PITCH + 20), (18, 2 * PITCH + 22)):
        assert block_ssim(rows(a[:height]), rows(b[:height]), width, depth) == whole
    columns = (2 * PITCH + 20) // 4 - 1
    apart = [block_ssim(rows(a[:16, i : i + 8]), rows(b[:16, i : i + 8]), 8, depth) for i in range(0, 4 * columns, 4)]
    assert whole == pytest.approx(np.mean(apart), abs=1e-7)


@pytest.mark.parametrize("fmt", ["yuv420p", "yuv422p10le", "yuv444p16le", "gray", "gbrp"])
def test_torch_equals_the_kernel(open_meter, textured, fmt):
    ref, dist = textured(75, 61, fmt)
    meter = open_meter(SsimFfmpeg(), ref, dist)
    other = TorchSsimFfmpegMeter(Stream(dist.info, ref.info, dist.info.pix_fmt, 1, None), "cpu")
    values = meter.prepare(Sample(0, dist, ref))
    assert list(meter.scores) == list(other.scores) and 0.1 < values[-1] < 0.99
    np.testing.assert_allclose(other.prepare(Sample(0, dist, ref)), values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("fmt", ["yuv420p", "yuv420p10le", "gray16le"])
def test_identical_pictures_are_exactly_one(open_meter, textured, fmt):
    ref, _ = textured(75, 61, fmt)
    assert set(open_meter(SsimFfmpeg(), ref, ref).prepare(Sample(0, ref, ref))) == {1.0}


def test_planes_weigh_by_their_samples(open_meter, textured):
    ref, dist = textured(64, 48, "yuv420p", grain=10)
    y, u, v, everything = open_meter(SsimFfmpeg(), ref, dist).prepare(Sample(0, dist, ref))
    assert everything == pytest.approx((4 * y + u + v) / 6, abs=1e-12)
    assert len({y, u, v}) == 3


def test_too_small_is_said(open_meter, textured):
    ref, dist = textured(64, 14, "yuv420p")
    with pytest.raises(MismatchError, match="8x8"):
        open_meter(SsimFfmpeg(), ref, dist)
    assert open_meter(SsimFfmpeg(), *textured(64, 15, "yuv420p"))
