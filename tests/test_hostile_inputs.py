"""Input that is hard but valid, and input that is bad: each has one answer."""

import math
import os
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vqmeter import measure
from vqmeter.frames import PixelFormat
from vqmeter.metric import NAMES
from vqmeter.sources import open_video

#: Files of the test data that are damaged, hold no picture, or what FFmpeg does not read; every other one has a score.
BAD = {
    "audio_only.wav", "audio_only_opus.mp4", "subtitle_only.mp4", "header_only.mp4", "init_segment_no_frames.mp4",
    "pngsuite_corrupt_xc9n2c08.png", "pngsuite_corrupt_xcrn0g04.png", "pngsuite_corrupt_xd0n2c08.png",
    "pngsuite_corrupt_xd3n2c08.png", "pngsuite_corrupt_xdtn0g01.png", "pngsuite_corrupt_xs1n0g01.png",
    "pngsuite_corrupt_xs2n0g01.png", "pngsuite_corrupt_xs7n0g01.png", "rs_Bad_reallybig.bad_bmp", "rs_anim.webp",
    "rs_rgba16-1924.bmp", "rs_rgba32.bmp", "short-cenc.mp4", "sps_subsetsps_bothVUI.264", "truncated_jpeg.jpg",
}  # fmt: skip


def write(path, size=(64, 48), frames=4, pix_fmt="yuv420p", streams=1, times=None, **options):
    """A small H.264 video; `times` are in milliseconds."""
    with av.open(str(path), "w") as out:
        made = [out.add_stream("libx264", rate=25, options=options) for _ in range(streams)]
        for number, stream in enumerate(made):
            stream.width, stream.height, stream.pix_fmt = size[0] << number, size[1] << number, pix_fmt
            if times:
                stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for n in range(frames):
            for stream in made:
                rgb = np.full((stream.height, stream.width, 3), 40 * n, np.uint8)
                picture = av.VideoFrame.from_ndarray(rgb, "rgb24")
                if times:
                    picture.pts, picture.time_base = times[n], stream.codec_context.time_base
                out.mux(stream.encode(picture))
        for stream in made:
            out.mux(stream.encode(None))
    return str(path)


def raw(path, width, height, fmt, value, frames=1):
    """A headless file whose every sample is `value`."""
    pixel = PixelFormat.parse(fmt)
    samples = pixel.frame_bytes(width, height) // pixel.bytes_per_sample * frames
    np.full(samples, value << pixel.shift, pixel.memory_dtype).tofile(path)
    return str(path)


@pytest.mark.usefixtures("seeded_weights")
@pytest.mark.parametrize("size", [(1, 1), (63, 65)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_tiny_and_odd_frames_have_a_score_or_are_said_to_be_too_small(tmp_path, size):
    ref, dist = (tmp_path / f"{name}_{size[0]}x{size[1]}.yuv" for name in ("ref", "dist"))
    pixel, rng = PixelFormat.parse("yuv420p"), np.random.default_rng(0)
    for path in (ref, dist):
        rng.integers(0, 256, 2 * pixel.frame_bytes(*size), dtype=np.uint8).tofile(path)
    answered = set()
    for family, name in [(f, n) for f, table in NAMES.items() for n in table if not n.startswith("vmaf")]:
        asked = {"metrics": name, "reference": ref} if family == "fr" else {"models": name}
        result = measure(dist, **asked).only
        if result.error is not None:
            assert result.error.exit_code == 4 and any(w in str(result.error) for w in ("small", "needs", "texture", "raw"))
            continue
        answered.add(name)
        for key, pooled in result.pooled.items():
            low, high = result.metrics[key]["low"], result.metrics[key]["high"]
            assert math.isfinite(pooled["score"]) and (low is None or pooled["score"] >= low), key
            assert high is None or pooled["score"] <= high + 1e-6, key
    assert "psnr" in answered


def test_huge_frames(tmp_path):
    """8192x4320; one sample of luma is off by one."""
    ref, dist = tmp_path / "ref_8192x4320.yuv", tmp_path / "dist_8192x4320.yuv"
    for path, first in ((ref, 0), (dist, 1)):
        with open(path, "wb") as file:
            file.write(bytes([first]))
            file.truncate(8192 * 4320 * 3 // 2)
    result = measure(dist, reference=ref, metrics="psnr").only
    assert result.frames["psnr_y"] == pytest.approx([10 * math.log10(255**2 * 8192 * 4320)])


LAYOUTS = ["gray", "yuv411p", "yuv410p", "yuv422p", "yuv440p", "yuv444p", "yuva420p", "rgb24", "bgra", "nv21", "yuyv422",
           "gbrp10le", "yuv420p10le", "yuv422p12be", "gray16be", "yuv444p16le", "p010le", "p416be", "rgb48be"]  # fmt: skip


@pytest.mark.parametrize("fmt", LAYOUTS)
def test_every_layout_and_depth(tmp_path, fmt):
    """Every sample is off by one: the PSNR of every component is that of the peak."""
    pixel = PixelFormat.parse(fmt)
    ref, dist = (raw(tmp_path / f"{n}.yuv", 18, 10, fmt, 100 + n) for n in (0, 1))
    frames = measure(dist, reference=ref, size="18x10", pix_fmt=fmt, metrics="psnr").only.frames
    names = [name for name in frames if name.startswith("psnr")]
    assert len(names) == (2 if pixel.family == "gray" else 4)
    for name in names:
        assert frames[name] == pytest.approx([20 * math.log10(pixel.peak)]), name


def test_alpha_is_not_looked_at_and_that_is_said(tmp_path):
    paths = []
    for alpha in (0, 200):
        paths.append(str(tmp_path / f"{alpha}.png"))
        Image.new("RGBA", (16, 16), (10, 20, 30, alpha)).save(paths[-1])
    result = measure(paths[1], reference=paths[0], metrics="psnr").only
    assert result.validity["identical_frames"] == 1
    assert "alpha is not looked at" in result.inputs["distorted"]["notes"]


def test_variable_rates_and_times_that_come_twice(tmp_path):
    """Frames are paired by number; their times stand beside them as the file has them."""
    times = [0, 40, 90, 1000]
    path = write(tmp_path / "a.mkv", times=times)
    result = measure(path, reference=path, metrics="psnr").only
    assert result.columns["t"] == [t / 1000 for t in times] and result.error is None
    with av.open(path) as source, av.open(str(tmp_path / "b.nut"), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts = packet.dts = 0
                packet.stream = stream
                out.mux(packet)
    result = measure(tmp_path / "b.nut", reference=path, metrics="psnr").only
    assert result.validity["identical_frames"] == 4 and result.columns["t"] == [0.0] * 4


@pytest.mark.parametrize(
    ("second", "says"), [({"size": (96, 64)}, "64x48 to 96x64"), ({"pix_fmt": "yuv444p"}, "yuv420p to yuv444p")]
)
def test_a_stream_that_changes_is_scored_up_to_there(cli, tmp_path, second, says):
    first, other = write(tmp_path / "a.264"), write(tmp_path / "b.264", **second)
    path = tmp_path / "both.264"
    path.write_bytes(Path(first).read_bytes() + Path(other).read_bytes())
    code, out, err = cli("fr", "-q", path, path, "-m", "psnr", "--score", "psnr")
    assert code == 4 and says in err and "frame 4" in err and "4 frames were scored" in err and out == "inf\n"


@pytest.mark.parametrize(
    "options", [["--frames", 10**30], ["--frames", 2, "--subsample", 10**30], ["--frames", 10**30, "--sync", 3]]
)
def test_numbers_beyond_all_bounds(cli, tmp_path, options):
    path = write(tmp_path / "a.mp4")
    code, out, _ = cli("fr", "-q", path, path, "-m", "psnr", "--score", "psnr_y.max", *options)
    assert code == 0 and float(out) > 0


def test_of_several_streams_one_is_measured_and_said(tmp_path):
    path = write(tmp_path / "a.mkv", streams=2)
    result = measure(path, reference=path, metrics="psnr").only
    assert "2 video streams, stream 1 is measured" in result.inputs["distorted"]["notes"]
    assert result.inputs["distorted"]["width"] == 128


def test_an_attached_picture_is_no_video_unless_there_is_nothing_else(tmp_path):
    picture, video = tmp_path / "cover.png", write(tmp_path / "v.mp4")
    av.VideoFrame.from_ndarray(np.zeros((8, 8, 3), np.uint8), "rgb24").save(str(picture))
    with av.open(video) as movie, av.open(str(picture)) as cover, av.open(str(tmp_path / "both.mp4"), "w") as out:
        streams = [out.add_stream_from_template(source.streams.video[0]) for source in (cover, movie)]
        streams[0].disposition = av.stream.Disposition.attached_pic
        for source, stream in zip((cover, movie), streams, strict=True):
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
    source = open_video(str(tmp_path / "both.mp4"))
    assert (source.info.width, source.info.height, source.info.codec) == (64, 48, "h264")
    source.close()


def test_interlaced_video_is_compared_as_it_is_stored(tmp_path):
    path = write(tmp_path / "a.mp4", **{"x264-params": "tff=1", "flags": "+ildct+ilme"})
    result = measure(path, reference=path, metrics="psnr").only
    assert result.inputs["distorted"]["field_order"] in ("tt", "interlaced") and result.validity["identical_frames"] == 4


@pytest.mark.parametrize(
    "name", ["with space", "ünï-日本", "new\nline", "a:b", "pct%04d", "quo'te\"", "[x]*", "file:x", "-dash"]
)
def test_names(tmp_path, monkeypatch, cli, name):
    monkeypatch.chdir(tmp_path)
    os.rename(write("v.mp4"), f"{name}.mp4")
    words = ["fr", "-q", "-m", "psnr", "--score", "psnr", "-o", "a.csv"]
    code, out, err = cli(*words, "--", f"{name}.mp4", f"{name}.mp4")
    assert (code, out, err) == (0, "inf\n", "")


def test_containers_through_named_pipes(tmp_path, cli):
    path, fifo = write(tmp_path / "a.mkv"), tmp_path / "pipe"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(Path(path).read_bytes()))
    writer.start()
    code, out, _ = cli("fr", "-q", path, fifo, "-m", "psnr", "--score", "psnr")
    writer.join(30)
    assert (code, out) == (0, "inf\n")


def test_metadata_in_any_encoding(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        out.metadata["title"] = "a title that is long"
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")))
        out.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().replace(b"a title", b"\xe9 \xff\xfe\xe9 e"))
    source = open_video(str(path))
    assert len(list(source.frames())) == 1
    source.close()


# --- bad ones --------------------------------------------------------------------------------------------------------


def test_every_odd_file_has_a_score_or_one_clear_line(testdata):
    folder = testdata / "media" / "oddities"
    if not folder.is_dir():
        pytest.skip("the test data has no media/oddities")
    failed = {}
    for path in sorted(folder.iterdir()):
        result = measure(path, reference=path, metrics="psnr", frames=2).only
        if result.error is not None:
            failed[path.name] = str(result.error)
            assert result.error.exit_code == 4, failed[path.name]
            assert failed[path.name].startswith(str(path)) and "\n" not in failed[path.name]
    assert set(failed) == BAD


CUT = [("mkv", "libx264"), ("webm", "libvpx"), ("ivf", "libvpx"), ("avi", "mpeg4"), ("flv", "libx264"), ("ts", "mpeg2video")]


@pytest.mark.parametrize(("ending", "codec"), CUT, ids=[ending for ending, _ in CUT])
def test_a_file_that_was_cut_keeps_its_frames_and_is_exit_4(tmp_path, ending, codec):
    path, rng = tmp_path / f"a.{ending}", np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for _ in range(12):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8), "rgb24")))
        out.mux(stream.encode(None))
    assert measure(path, reference=path, metrics="psnr").only.error is None
    os.truncate(path, path.stat().st_size * 2 // 3)
    result = measure(path, reference=path, metrics="psnr").only
    assert result.error is not None and result.error.exit_code == 4 and result.truncated
    assert 0 < result.validity["frames_compared"] < 12 and any(word in str(result.error) for word in ("cut short", "damaged"))


def test_a_stream_that_nobody_can_decode(tmp_path, cli):
    path = tmp_path / "a.mp4"
    write(path)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
    code, _, err = cli("fr", path, path)
    assert code == 4 and "no decoder" in err and len(err.splitlines()) == 1


def test_a_packet_that_claims_gigabytes_is_damage_and_no_lack_of_memory(tmp_path, cli):
    path = tmp_path / "a.ivf"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libvpx", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(3):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 * n, np.uint8), "rgb24")))
        out.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    second = 32 + 12 + int.from_bytes(data[32:36], "little")
    data[second : second + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    code, _, err = cli("fr", "-q", path, path, "-m", "psnr", "--score", "psnr")
    assert code == 4 and "a.ivf" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("ending", ["mp4", "264", "png"])
def test_pictures_larger_than_allowed_name_the_option(tmp_path, cli, ending):
    path = tmp_path / f"a.{ending}"
    if ending == "png":
        av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24").save(str(path))
    else:
        write(path)
    code, _, err = cli("probe", path, "--max-pixels", 64 * 48 - 1)
    assert code == 4 and "64x48 is more than --max-pixels 3071 allows" in err
    assert cli("probe", path, "--max-pixels", 64 * 48)[0] == 0


@pytest.mark.parametrize("ending", ["mp4", "264", "y4m", "yuv"])
def test_frames_beyond_those_allowed_end_a_run_and_keep_what_came_before(tmp_path, cli, ending):
    path = tmp_path / f"a_64x48.{ending}"
    if ending == "yuv":
        raw(path, 64, 48, "yuv420p", 90, frames=6)
    elif ending == "y4m":
        path.write_bytes(b"YUV4MPEG2 W64 H48 F25:1\n" + (b"FRAME\n" + bytes(64 * 48 * 3 // 2)) * 6)
    else:
        write(path, frames=6)
    report = measure(path, reference=path, metrics="psnr", max_frames=5)
    assert str(report.only.error) == f"{path}: more frames than --max-frames 5 allows" and len(report.only.columns["n"]) == 5
    code, _, err = cli("fr", "-q", path, path, "-m", "psnr", "--max-frames", 5)
    assert code == 4 and err.count("more frames than --max-frames 5 allows") == 1
    assert cli("fr", "-q", path, path, "-m", "psnr", "--max-frames", 6)[0] == 0
    assert cli("fr", "-q", path, path, "-m", "psnr", "--frames", 5, "--max-frames", 5)[0] == 0


def test_no_size_larger_than_allowed_is_scaled_to(tmp_path, cli):
    path = raw(tmp_path / "a_16x16.yuv", 16, 16, "yuv420p", 90)
    for size in ("99999999999999999999x8", "16x17"):
        code, _, err = cli("fr", "-q", path, path, "-m", "psnr", "--scale", size, "--max-pixels", 256)
        assert code == 2 and err == f"vqmeter: --scale {size} is more than --max-pixels 256 allows\n"


def test_what_ffmpeg_cannot_scale_to_is_said(tmp_path, cli):
    path = raw(tmp_path / "a_16x16.yuv", 16, 16, "yuv420p", 90)
    code, _, err = cli("fr", "-q", path, path, "-m", "psnr", "--scale", "1x9999999")
    assert code == 4 and "FFmpeg cannot bring 16x16 to 1x9999999 (bicubic)" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(("words", "code"), [(["-ss", "1" + "0" * 40], 4), (["--threads", "2147483648"], 2)])
def test_numbers_beyond_what_ffmpeg_counts_to(tmp_path, cli, words, code):
    path = write(tmp_path / "a.mp4")
    got, _, err = cli("fr", "-q", path, path, "-m", "psnr", *words)
    assert got == code and len(err.splitlines()) == 1 and "bug" not in err


def test_a_size_of_nothing_in_a_name_is_none(tmp_path, cli):
    (tmp_path / "a_0x48.yuv").write_bytes(bytes(100))
    code, _, err = cli("probe", tmp_path / "a_0x48.yuv")
    assert code == 2 and "-s WIDTHxHEIGHT" in err


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
def test_out_of_memory_for_libraries_is_exit_5(raw_pair):
    code = "import resource, sys; n = 200 << 20; resource.setrlimit(resource.RLIMIT_AS, (n, n))\n" \
           "sys.argv[0] = 'vqmeter'; from vqmeter.cli import main; main()"  # fmt: skip
    words = ["--no-config", "fr", "-q", *raw_pair()]
    run = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert run.returncode == 5 and "memory" in run.stderr and len(run.stderr.splitlines()) == 1, run.stderr


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(12, "Cannot allocate memory"), RuntimeError("can't start new thread")]
)
def test_out_of_memory_at_work_is_exit_5(raw_pair, cli, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("vqmeter.runs.identical", fail)
    code, _, err = cli("fr", "-q", *raw_pair())
    assert code == 5 and "out of memory" in err and len(err.splitlines()) == 1


MISTAKES = [
    (["{ref}", "{dist}"], 2, "a command comes first: vqmeter fr REF DIST"),
    (["fr", "{ref}"], 2, "vqmeter nr CLIP"),
    (["fr", "{raw}", "{raw}"], 2, "give it with -s WIDTHxHEIGHT"),
    (["fr", "{ref}", "{small}"], 4, "--scale ref"),
    (["fr", "{ref}", "{short}"], 4, "--shortest"),
    (["fr", "{ref}", "{dist}", "-m", "VMAF"], 2, "did you mean vmaf"),
    (["fr", "{ref}", "{dist}", "-m", "vsfa"], 2, "fr --model vsfa"),
    (["fr", "{ref}", "{dist}", "-o", "report.txt"], 2, ".json"),
    (["fr", "https://example.org/a.mp4", "{dist}"], 4, "pipe it to '-'"),
    (["fr", "{ref}", "{dist}", "-threads", "2"], 2, "--threads"),
    (["nr", "{ref}", "--weights", "mine.pt"], 6, "vqmeter weights list"),
    (["fr", "{ref}", "{list}"], 4, "--input-format hls"),
    (["fr", "{ref}", "{dist}", "-m", "psnr", "ssim"], 2, "-m psnr,ssim"),
    (["fr", "{ref}", "{dist}", "--score", "vmaf"], 2, "ask for it with -m vmaf"),
]


@pytest.mark.parametrize(
    ("words", "code", "says"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else None
)
def test_likely_mistakes_name_their_mend(tmp_path, cli, words, code, says):
    (tmp_path / "raw.yuv").write_bytes(bytes(64))
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\na.mp4\n")
    paths = {"raw": tmp_path / "raw.yuv", "list": tmp_path / "list.m3u8"}
    made = {"ref": {}, "dist": {}, "small": {"size": (32, 32)}, "short": {"frames": 2}}
    for name in (name for name in made if f"{{{name}}}" in " ".join(words)):
        paths[name] = write(tmp_path / f"{name}.mp4", **made[name])
    got, _, err = cli("--no-config", *(word.format(**paths) for word in words))
    assert got == code and says in err and len(err.splitlines()) == 1, err
