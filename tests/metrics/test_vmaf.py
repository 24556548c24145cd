"""VMAF against libvmaf's own numbers; an ffmpeg that is missing, dies, or is given up."""

import gc
import json
import os
import shutil
import signal
import stat
import sys
import tracemalloc

import numpy as np
import pytest

from vqmeter import measure
from vqmeter.errors import DeviceError, InputError, MismatchError, UsageError
from vqmeter.frames import Frame, PixelFormat, VideoInfo
from vqmeter.metric import Clip, Context, Sample, Stream
from vqmeter.metrics.fr import vmaf
from vqmeter.metrics.fr.vmaf import Vmaf, Vmaf4k, VmafNeg, find_ffmpeg


@pytest.fixture
def only_on_path(monkeypatch, tmp_path):
    """Hides imageio-ffmpeg, and puts a shell script called ffmpeg on an otherwise empty PATH."""
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", str(tmp_path))

    def place(body):
        script = tmp_path / "ffmpeg"
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return str(script)

    return place


@pytest.fixture(scope="module", params=[0, 1])
def golden(request, testdata, ffmpeg):
    folder = testdata / "golden"
    case = json.loads((folder / "fr_peers.json").read_text())[request.param]
    report = measure(folder / case["distorted"], reference=folder / case["reference"], metrics="vmaf", size=case["size"],
                     pix_fmt=case["pix_fmt"])  # fmt: skip
    return case["libvmaf_f85a8536"], report.only


def test_golden_frames(golden):
    """libvmaf at commit f85a8536, model vmaf_v0.6.1, 8 and 10 bits: 1e-4 a frame."""
    log, result = golden
    assert result.frames["vmaf"] == pytest.approx([frame["vmaf"] for frame in log["frames"]], abs=1e-4)


def test_golden_pools(golden):
    """libvmaf at commit f85a8536: min, max, mean and harmonic mean."""
    log, result = golden
    for statistic, value in log["pooled"]["vmaf"].items():
        assert result.pooled["vmaf"][statistic] == pytest.approx(value, abs=1e-4)
    assert result.pooled["vmaf"]["score"] == result.pooled["vmaf"]["mean"]


def test_the_other_models_on_an_odd_size(testdata, ffmpeg):
    """ffmpeg 9.0.2's libvmaf filter on yuv422p 353x201, `model=version=...`; log_fmt=csv, first and last frame.

    vmaf_v0.6.1, vmaf_v0.6.1neg, vmaf_4k_v0.6.1, and vmaf_v0.6.1 with enable_transform.
    """
    folder = testdata / "golden"
    case = json.loads((folder / "fr_peers.json").read_text())[2]
    result = measure(folder / case["distorted"], reference=folder / case["reference"], size=case["size"], pix_fmt="yuv422p",
                     metrics="vmaf,vmaf_neg,vmaf_4k,vmaf:phone=true").only  # fmt: skip
    expected = {"vmaf": (47.320376, 53.489867), "vmaf_neg": (45.570278, 51.164381),
                "vmaf_4k": (64.929116, 71.521142), "vmaf_phone": (67.609147, 73.873764)}  # fmt: skip
    assert list(result.metrics) == list(expected)
    for name, (first, last) in expected.items():
        assert result.frames[name][[0, -1]] == pytest.approx([first, last], abs=1e-4)


def stream_of(fmt="gray", width=96, height=64):
    info = VideoInfo("x", width, height, PixelFormat.parse(fmt))
    return Stream(info, info, info.pix_fmt, None, None)


def sample_of(stream, n=0, grain=15.0):
    """A smooth frame and the same with grain, of the stream's format; chroma is another picture on either side."""
    fmt, width, height = stream.compare_format, stream.dist.width, stream.dist.height
    y, x = np.mgrid[0:height, 0:width]
    clean = 128 + 50 * np.sin(0.15 * x + 0.3 * n) + 40 * np.sin(0.2 * y - 0.1 * x)
    noise = np.random.default_rng(n).normal(0, grain, clean.shape)
    frames = []
    for luma, chroma in ((clean, 7), (clean + noise, 90)):
        planes = [np.rint(np.clip(luma, 0, 255)).astype(fmt.dtype) << (fmt.bit_depth - 8)]
        planes += [np.full(fmt.chroma_size(width, height)[::-1], chroma, fmt.dtype)] * (len(fmt.components) - 1)
        frames.append(Frame(stream.dist, n, lambda planes=tuple(planes): planes))
    return Sample(n, frames[1], frames[0])


def run(meter, stream, count=3):
    for n in range(count):
        assert list(meter.score([Clip((n,), (meter.prepare(sample_of(stream, n)),))])) == []
    scores = list(meter.finish())
    assert [s.span for s in scores] == [range(n, n + 1) for n in range(count)]
    return [s.value for s in scores]


def test_luma_alone_counts_at_every_layout_and_depth(ffmpeg):
    """Grey, odd 4:2:0 and deep pictures with chroma that differs score as grey 8-bit ones."""
    expected = run(Vmaf().open(stream_of("gray", 97, 61), Context()), stream_of("gray", 97, 61))
    assert len(set(expected)) == 3 and all(0 < value < 100 for value in expected)
    for fmt in ("yuv420p", "yuv444p10le", "yuv422p12le", "gray16le"):
        stream = stream_of(fmt, 97, 61)
        assert run(Vmaf().open(stream, Context(threads=2)), stream) == pytest.approx(expected, abs=1e-4)


def test_padded_rows_and_reused_memory(ffmpeg):
    stream = stream_of()
    plain = sample_of(stream)
    wide = [np.hstack([frame.planes[0], np.zeros((64, 13), np.uint8)]) for frame in plain.pair]
    ref, dist = (Frame(stream.dist, 0, lambda p=picture: (p[:, :96],)) for picture in wide)
    meter = Vmaf().open(stream, Context())
    item = meter.prepare(Sample(0, dist, ref))
    for picture in wide:
        picture[...] = 0
    np.testing.assert_array_equal(item, meter.prepare(plain))


@pytest.mark.parametrize(("fmt", "size", "word"), [
    ("gbrp", (64, 64), "not gbrp"),
    ("yuv420p9le", (64, 64), "8, 10, 12, 16 bits, not yuv420p9le"),
    ("gray", (64, 31), "32x32 pixels at least, not 64x31"),
])  # fmt: skip
def test_what_libvmaf_does_not_take_is_refused(fmt, size, word):
    for metric in (Vmaf(), VmafNeg(), Vmaf4k()):
        with pytest.raises(MismatchError, match=word):
            metric.open(stream_of(fmt, *size), Context())


def test_without_ffmpeg_the_message_says_how_to_get_one(raw_pair, cli, only_on_path):
    ref, dist = raw_pair()
    code, out, err = cli("fr", ref, dist, "-m", "vmaf")
    assert code == 2 and "vmaf" not in out
    needs = "vmaf: it needs an ffmpeg with libvmaf, and there is none; pip install 'vqmeter[vmaf]' brings one"
    assert err.splitlines()[-1] == f"vqmeter: {needs}"


def test_an_ffmpeg_without_libvmaf_is_passed_over(only_on_path):
    script = only_on_path("echo \"Unknown filter 'libvmaf'.\"")
    with pytest.raises(UsageError, match=f"{script} has no libvmaf"):
        Vmaf().open(stream_of(), Context())


def test_an_ffmpeg_on_path_is_taken(only_on_path, ffmpeg):
    script = only_on_path(f'exec "{ffmpeg}" "$@"')
    assert find_ffmpeg() == script
    assert len(run(Vmaf().open(stream_of(), Context()), stream_of())) == 3


HELP = 'case "$*" in *filter=libvmaf*) echo version=vmaf_v0.6.1; exit 0;; esac'


DRAIN = f"{shutil.which('cat', path='/bin:/usr/bin')} > /dev/null"


@pytest.mark.parametrize(("does", "frames", "says"), [
    ("read -r -n 1 x 2>/dev/null; echo libvmaf ERROR no such model >&2; echo Conversion failed! >&2; exit 8", 200,
     r"ffmpeg ended at frame \d+ \(exit code 8\): libvmaf ERROR no such model"),
    (f"{DRAIN}; echo Frame,vmaf,; echo 0,50.0,", 2, r"ended at frame 2 .exit code 0.: it gave 1 scores"),
    (f"{DRAIN}; echo Frame,other,; echo 0,50.0,", 1, r"ended at frame 1 .exit code 0.: it gave 0 scores"),
    (f"{DRAIN}; exit 3", 1, r"exit code 3"),
])  # fmt: skip
def test_an_ffmpeg_that_fails_is_told_in_one_line(only_on_path, does, frames, says):
    only_on_path(f"{HELP}\n{does}")
    stream = stream_of("gray", 640, 480)
    with pytest.raises(InputError, match=says) as error:
        run(Vmaf().open(stream, Context()), stream, frames)
    assert "\n" not in str(error.value)


def child(meter):
    return meter._ffmpeg.process


def test_an_ffmpeg_killed_on_the_way(ffmpeg):
    stream = stream_of("gray", 320, 240)
    meter = Vmaf().open(stream, Context())
    item = meter.prepare(sample_of(stream))
    list(meter.score([Clip((0,), (item,))]))
    os.kill(child(meter).pid, signal.SIGKILL)
    with pytest.raises(DeviceError, match=r"vmaf: ffmpeg ended at frame \d+, killed by SIGKILL"):
        for n in range(1, 1000):
            list(meter.score([Clip((n,), (item,))]))
    assert child(meter).poll() == -signal.SIGKILL


def test_an_ffmpeg_killed_before_its_scores(ffmpeg):
    stream = stream_of()
    meter = Vmaf().open(stream, Context())
    list(meter.score([Clip((0,), (meter.prepare(sample_of(stream)),))]))
    os.kill(child(meter).pid, signal.SIGKILL)
    with pytest.raises(DeviceError, match="SIGKILL"):
        list(meter.finish())


@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_a_run_given_up_leaves_no_process(ffmpeg, how):
    stream = stream_of()
    meter = Vmaf().open(stream, Context())
    list(meter.score([Clip((0,), (meter.prepare(sample_of(stream)),))]))
    process, readers = child(meter), meter._ffmpeg._readers
    assert process.poll() is None
    if how == "closed":
        meter.close()
        meter.close()
    else:
        del meter
        gc.collect()
    assert process.returncode == -signal.SIGKILL
    assert not any(reader.is_alive() for reader in readers)
    assert process.stdin.closed and process.stdout.closed and process.stderr.closed


def test_a_meter_that_saw_no_frame_starts_nothing(ffmpeg):
    meter = Vmaf().open(stream_of(), Context())
    assert list(meter.finish()) == [] and meter._ffmpeg is None
    meter.close()


def test_a_long_input_does_not_grow_memory(ffmpeg):
    """2000 frames, 24 MiB: what stays is a number for each."""
    stream = stream_of()
    meter = Vmaf().open(stream, Context(threads=2))
    sample = sample_of(stream)
    list(meter.score([Clip((0,), (meter.prepare(sample),))]))
    tracemalloc.start()
    try:
        for n in range(1, 2000):
            list(meter.score([Clip((n,), (meter.prepare(sample),))]))
        assert sum(1 for _ in meter.finish()) == 2000
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_filter_graphs_hold_numbers_only():
    command = vmaf._command("ffmpeg", 353, 201, 10, "version=vmaf_v0.6.1", 0)
    graph = command[command.index("-filter_complex") + 1]
    assert "n_threads=1" in graph and "crop=353:201:0:201" in graph and "crop=177:101:0:0" in graph
    assert command[command.index("-video_size") + 1] == "353x402" and "gray10le" in command
