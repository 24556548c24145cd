"""PSNR against exact integers, FFmpeg and libvmaf; the torch road against the kernel."""

import json
import math

import numpy as np
import pytest

from vqmeter import measure
from vqmeter.frames import Frame, PixelFormat, VideoInfo
from vqmeter.metric import Context, Sample, Stream
from vqmeter.metrics.fr.psnr import Psnr, decibels


def exact(a, b, peak):
    """PSNR in arbitrary-precision integers."""
    error = int(((a.astype(object) - b.astype(object)) ** 2).sum())
    return math.inf if error == 0 else 10 * math.log10(peak * peak * a.size / error)


def one_frame(planes, fmt):
    info = VideoInfo("x", planes[0].shape[1], planes[0].shape[0], PixelFormat.parse(fmt))
    return Frame(info, 0, lambda: planes)


def score(ref, dist, fmt, device="cpu"):
    a, b = one_frame(ref, fmt), one_frame(dist, fmt)
    meter = Psnr().open(Stream(b.info, a.info, b.info.pix_fmt, 1, None), Context())
    if device == "torch":
        from vqmeter.metrics.fr.psnr import TorchPsnrMeter

        meter = TorchPsnrMeter(Stream(b.info, a.info, b.info.pix_fmt, 1, None), "cpu")
    return dict(zip(meter.scores, meter.prepare(Sample(0, b, a)), strict=True))


@pytest.mark.parametrize("device", ["cpu", "torch"])
@pytest.mark.parametrize(("fmt", "depth"), [("yuv420p", 8), ("yuv420p10le", 10), ("yuv422p12le", 12), ("yuv444p16le", 16)])
def test_equals_exact_integers(fmt, depth, device):
    rng = np.random.default_rng(depth)
    peak = (1 << depth) - 1
    dtype = np.uint8 if depth == 8 else np.uint16
    pixel = PixelFormat.parse(fmt)
    shapes = [(37, 53), *[pixel.chroma_size(53, 37)[::-1]] * 2]
    ref = tuple(rng.integers(0, peak + 1, s).astype(dtype) for s in shapes)
    dist = (np.full(shapes[0], peak, dtype), *(rng.integers(0, peak + 1, s).astype(dtype) for s in shapes[1:]))
    got = score(ref, dist, fmt, device)
    for name, a, b in zip(("psnr_y", "psnr_cb", "psnr_cr"), ref, dist, strict=True):
        assert got[name] == pytest.approx(exact(a, b, peak), abs=1e-9)
    everything = [np.concatenate([p.ravel() for p in planes]) for planes in (ref, dist)]
    assert got["psnr"] == pytest.approx(exact(*everything, peak), abs=1e-9)


def test_black_against_white_is_0_db_at_every_depth():
    for fmt, peak, dtype in (("gray", 255, np.uint8), ("gray10le", 1023, np.uint16), ("gray16le", 65535, np.uint16)):
        got = score((np.zeros((9, 9), dtype),), (np.full((9, 9), peak, dtype),), fmt)
        assert got == {"psnr_y": 0.0, "psnr": 0.0}


def test_one_sample_off_by_one():
    a = np.zeros((4, 4), np.uint8)
    b = a.copy()
    b[2, 3] = 1
    assert score((a,), (b,), "gray")["psnr_y"] == pytest.approx(10 * math.log10(255**2 * 16), abs=1e-12)
    assert decibels(0, 10, 255**2) == math.inf


def test_rgb_planes_have_their_own_names():
    planes = tuple(np.full((4, 4), n, np.uint8) for n in range(3))
    assert set(score(planes, planes, "gbrp")) == {"psnr_r", "psnr_g", "psnr_b", "psnr"}


@pytest.fixture(scope="module", params=[0, 1, 2])
def golden(request, testdata):
    folder = testdata / "golden"
    case = json.loads((folder / "fr_peers.json").read_text())[request.param]
    report = measure(folder / case["distorted"], reference=folder / case["reference"], metrics="psnr", size=case["size"],
                     pix_fmt=case["pix_fmt"])  # fmt: skip
    return case, report.only


def test_golden_squared_errors(golden):
    """Integer SSE by numpy in 64 bits, three clips (8 bit, 10 bit, 4:2:2 at an odd size)."""
    case, result = golden
    pixel = PixelFormat.parse(case["pix_fmt"])
    width, height = map(int, case["size"].split("x"))
    sizes = [h * w for h, w in pixel.plane_shapes(width, height)]
    for n, frame in enumerate(case["numpy_skimage_float64"]["frames"]):
        errors = [frame[f"sse_{c}"] for c in ("y", "cb", "cr")]
        for name, error, size in zip(("psnr_y", "psnr_cb", "psnr_cr"), errors, sizes, strict=True):
            assert result.frames[name][n] == pytest.approx(decibels(error, size, pixel.peak**2), abs=1e-9)


def test_golden_ffmpeg(golden):
    """FFmpeg 9.0.2, psnr filter, stats_file: every printed digit; its average is our mse_pooled."""
    case, result = golden
    log = case["ffmpeg_9_0_2"]["psnr"]
    pairs = {"psnr_y": "psnr_y", "psnr_u": "psnr_cb", "psnr_v": "psnr_cr", "psnr_avg": "psnr"}
    for n, frame in enumerate(log["frames"]):
        for theirs, ours in pairs.items():
            assert f"{result.frames[ours][n]:.2f}" == frame[theirs]
    summary = dict(part.split(":") for part in log["summary"][0].split()[1:])
    for theirs, ours in {"y": "psnr_y", "u": "psnr_cb", "v": "psnr_cr", "average": "psnr"}.items():
        assert f"{result.pooled[ours]['mse_pooled']:.6f}" == summary[theirs]


def test_golden_libvmaf(golden):
    """libvmaf at commit f85a8536, psnr: every printed digit of its frames and pools."""
    case, result = golden
    log = case["libvmaf_f85a8536"]
    if "frames" not in log:
        pytest.skip("libvmaf refuses odd sizes: no golden values for this clip")
    for n, frame in enumerate(log["frames"]):
        for name in ("psnr_y", "psnr_cb", "psnr_cr"):
            assert result.frames[name][n] == pytest.approx(frame[name], abs=1e-6)
    for name in ("psnr_y", "psnr_cb", "psnr_cr"):
        for statistic, value in log["pooled"][name].items():
            assert result.pooled[name][statistic] == pytest.approx(value, abs=1e-6)


def test_golden_piq_pictures(testdata):
    """RGB PSNR 21.0157 of I01.BMP against i01_01_5.bmp, as piq 0.8 has it."""
    folder = testdata / "golden/expected/piq"
    report = measure(folder / "i01_01_5.bmp", reference=folder / "I01.BMP", metrics="psnr")
    assert report.pooled["psnr"]["score"] == pytest.approx(21.0157, abs=5e-5)
