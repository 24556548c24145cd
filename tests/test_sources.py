"""Readers: headless raw, Y4M, containers, pipes, names, and what each says of bad input."""

import io
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vqmeter.errors import DecodeError, MismatchError, MissingInputError, UsageError
from vqmeter.frames import PixelFormat
from vqmeter.sources import InputOptions, open_video
from vqmeter.sources.geometry import guess
from vqmeter.sources.pair import Selection, at_depth, fit
from vqmeter.sources.streams import Ahead


def read(path, options=None, start=0.0):
    """All frames of a video as lists of copied planes."""
    source = open_video(str(path), options)
    try:
        return [[p.copy() for p in frame.planes] for frame in source.frames(start)], source.info
    finally:
        source.close()


def write_video(path, codec="libx264", frames=12, size=(64, 48), pix_fmt="yuv420p", rate=25, options=None, seed=0, muxer=None):
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w", options=muxer or {}) as out:
        stream = out.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        base = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        for n in range(frames):
            picture = av.VideoFrame.from_ndarray(np.roll(base, n, 1), "rgb24")
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return str(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("clip_1920x1080_30.yuv", ((1920, 1080), None, Fraction(30))),
        ("odd_353x201_422_dist.yuv", ((353, 201), "yuv422p", None)),
        ("joy_480x270_10b_ref.yuv", ((480, 270), "yuv420p10le", None)),
        ("two_320x192_12fps.yuv", ((320, 192), None, Fraction(12))),
        ("a-640x360_yuv422p10le_59.94fps.yuv", ((640, 360), "yuv422p10le", Fraction(60000, 1001))),
        ("foreman_cif.yuv", ((352, 288), None, None)),
        ("x_100x100_200x200.yuv", (None, None, None)),
        ("take_2_of_30.yuv", (None, None, None)),
    ],
)
def test_names_say_size_format_and_rate(name, expected):
    assert guess(name) == expected


@pytest.mark.parametrize("fmt", ["yuv420p", "yuv422p10le", "gray12be", "nv12", "p010le", "yuv444p16le", "rgb24", "yuyv422"])
def test_raw_frames_are_read_by_position(tmp_path, fmt):
    pixel = PixelFormat.parse(fmt)
    size = pixel.frame_bytes(17, 11)
    data = np.random.default_rng(0).integers(0, 256, 3 * size, dtype=np.uint8)
    if pixel.bytes_per_sample == 2 and not pixel.shift:  # keep samples within the depth
        words = data[: data.size // 2 * 2].view(pixel.memory_dtype)
        words &= pixel.peak
    path = tmp_path / "a.yuv"
    data.tofile(path)
    frames, info = read(path, InputOptions(size=(17, 11), pix_fmt=fmt))
    assert len(frames) == info.frames == 3
    last = data[2 * size :].view(pixel.memory_dtype)
    expected = pixel.planes(_memory(pixel, last, 17, 11), 17, 11)
    for got, want in zip(frames[2], expected, strict=True):
        np.testing.assert_array_equal(got, want)


def _memory(pixel, samples, width, height):
    planes, at = [], 0
    for h, w in pixel.plane_shapes(width, height):
        planes.append(samples[at : at + h * w].reshape(h, w))
        at += h * w
    return planes


def y4m(tags, frames, marker=b"FRAME\n"):
    return b"YUV4MPEG2 " + tags.encode() + b"\n" + b"".join(marker + f for f in frames)


@pytest.mark.parametrize(
    ("tag", "fmt"),
    [("", "yuv420p"), (" C420jpeg", "yuv420p"), (" C422", "yuv422p"), (" C444p10", "yuv444p10le"), (" Cmono", "gray"),
     (" Cmono12", "gray12le"), (" C420p16", "yuv420p16le"), (" C411", "yuv411p"), (" C444alpha", "yuva444p")],
)  # fmt: skip
@pytest.mark.parametrize("marker", [b"FRAME\n", b"FRAME Ip\n"])
def test_y4m(tmp_path, tag, fmt, marker):
    pixel = PixelFormat.parse(fmt)
    frames = [bytes([n + 1]) * pixel.frame_bytes(9, 7) for n in range(3)]
    path = tmp_path / "a.y4m"
    path.write_bytes(y4m(f"W9 H7 F30000:1001 Ip A1:1{tag} XCOLORRANGE=FULL", frames, marker))
    got, info = read(path)
    assert (info.pix_fmt.name, info.rate, info.range, info.field_order) == (fmt, Fraction(30000, 1001), "full", "progressive")
    assert [int(planes[0][0, 0]) & 0xFF for planes in got] == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"YUV4MPEG2 W9 H7", "no end"), (b"YUV4MPEG2 W9\n", "broken"), (b"YUV4MPEG2 W0 H7\n", "0x7"),
        (b"YUV4MPEG2 W9 H7 C420p11\n", "colour space"), (b"YUV4MPEG2 W9 Hx\n", "broken"), (b"YUV4MPEG2 W9 H7 F1:0\n", "broken"),
        (b"YUV4MPEG2 W999999 H999999\n", "--max-pixels"), (b"YUV4MPEG2 W9 H7 Cmono\nFRAME\n12", "no whole frame"),
        (b"YUV4MPEG2 W9 H7 Cmono\n", "no whole frame"),
    ],
)  # fmt: skip
def test_bad_y4m_headers(tmp_path, content, says):
    path = tmp_path / "a.y4m"
    path.write_bytes(content)
    with pytest.raises(DecodeError, match=says):
        read(path)


def test_y4m_cut_short_or_damaged_gives_whole_frames_first(tmp_path):
    path = tmp_path / "a.y4m"
    good = y4m("W4 H4 Cmono", [b"a" * 16, b"b" * 16, b"c" * 16])
    for content, says, whole in ((good[:-5], "cut short", 2), (good.replace(b"FRAME\nc", b"FRAMX\nc"), "FRAME", 2)):
        path.write_bytes(content)
        source, seen = open_video(str(path)), []
        with pytest.raises(DecodeError, match=says):
            for frame in source.frames():
                seen.append(frame.planes[0][0, 0])
        assert len(seen) == whole
        source.close()


def test_raw_of_wrong_length_names_the_options(tmp_path):
    path = tmp_path / "a_4x4.yuv"
    path.write_bytes(bytes(24 * 2 + 5))
    source = open_video(str(path))
    with pytest.raises(DecodeError, match=r"5 bytes left over after 2 frames of 4x4 yuv420p .*-pix_fmt.*--frames 2"):
        source.check_length(None)
    source.check_length(2)
    with pytest.raises(DecodeError):
        source.check_length(3)
    source.close()


def test_what_cannot_be_opened(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("not a video at all " * 50)
    (tmp_path / "nosize.yuv").write_bytes(bytes(100))
    cases = [
        (tmp_path / "none.mp4", MissingInputError, "no such file"), (tmp_path, MissingInputError, "folder"),
        (tmp_path / "empty.mp4", DecodeError, "empty"), (tmp_path / "text.mp4", DecodeError, "not a video"),
        (tmp_path / "nosize.yuv", UsageError, "-s WIDTHxHEIGHT"), (tmp_path / "f%03d.png", MissingInputError, "pattern"),
    ]  # fmt: skip
    for path, error, says in cases:
        with pytest.raises(error, match=says):
            open_video(str(path))
    with pytest.raises(UsageError, match="pixel format"):
        open_video(str(tmp_path / "nosize.yuv"), InputOptions(size=(4, 4), pix_fmt="yuv420q"))


def test_audio_only_and_playlists_are_refused(tmp_path):
    with av.open(str(tmp_path / "a.wav"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        out.mux(stream.encode(sound))
    with pytest.raises(DecodeError, match="no video stream"):
        open_video(str(tmp_path / "a.wav"))
    write_video(tmp_path / "a.mp4")
    for name, text in (("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\na.mp4\n#EXT-X-ENDLIST\n"),
                       ("a.ffconcat", "ffconcat version 1.0\nfile a.mp4\n")):  # fmt: skip
        (tmp_path / name).write_text(text)
        with pytest.raises(DecodeError, match="not a video"):
            open_video(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "codec", "fmt", "options"),
    [
        ("a.mp4", "libx264", "yuv420p", {}), ("a.mkv", "libx264", "yuv422p10le", {}), ("a.webm", "libvpx-vp9", "yuv420p", {}),
        ("a.avi", "mpeg4", "yuv420p", {}), ("a.mov", "prores_ks", "yuv422p10le", {}), ("a.264", "libx264", "yuv420p", {}),
        ("a.hevc", "libx265", "yuv420p", {"x265-params": "log-level=none"}),
        ("a.obu", "libsvtav1", "yuv420p", {"preset": "10"}),
    ],
)  # fmt: skip
def test_containers_give_the_decoders_own_samples(tmp_path, name, codec, fmt, options):
    """Oracle: PyAV's to_ndarray of the same frames."""
    if codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "0")
    path = write_video(tmp_path / name, codec, 6, (70, 66), fmt, options=options)
    frames, info = read(path)
    with av.open(path) as container:
        expected = [frame.to_ndarray() for frame in container.decode(video=0)]
    assert len(frames) == len(expected) == 6
    assert info.codec is not None and info.pix_fmt.name == fmt
    for planes, want in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(planes[0], want.reshape(-1)[: 70 * 66].reshape(66, 70))
        if fmt == "yuv420p":
            np.testing.assert_array_equal(planes[2], want.reshape(-1)[-35 * 33 :].reshape(33, 35))


def test_frame_facts_of_a_container(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=8, options={"bf": "2"})
    source = open_video(path)
    frames = list(source.frames())
    assert [round(f.time * 25) for f in frames] == list(range(8)) and frames[0].type == "I"
    assert {f.type for f in frames} <= {"I", "P", "B"}
    with av.open(path) as container:
        assert sum(f.bytes for f in frames) == sum(p.size for p in container.demux(video=0))
    source.close()


def test_bare_streams_have_sizes_but_no_times(tmp_path):
    """Oracle: the same pictures in an MP4, whose packets carry times and differ by start codes only."""
    bare, timed = (open_video(write_video(tmp_path / name, frames=20, options={"bf": "2"})) for name in ("a.264", "a.mp4"))
    frames, expected = list(bare.frames()), list(timed.frames())
    assert {f.type for f in expected} == {"I", "P", "B"} and len({f.bytes for f in expected}) > 15
    assert [(f.type, f.pts, f.time) for f in frames] == [(f.type, None, n / 25) for n, f in enumerate(expected)]
    assert all(abs(f.bytes - g.bytes) <= 8 for f, g in zip(frames[1:], expected[1:], strict=True))
    with av.open(str(tmp_path / "a.264")) as container:
        assert sorted(f.bytes for f in frames) == sorted(p.size for p in container.demux(video=0) if p.size)
    assert not bare._stream.codec_context.copy_opaque  # with it, closing a decoder at work may never end
    bare.close()
    timed.close()


def test_a_picture_with_a_colour_profile_survives_a_collection(tmp_path):
    """In a process of its own, for what fails here is no exception."""
    from PIL import Image, ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "a.png", icc_profile=profile)
    code = (
        "import gc, sys; from vqmeter.sources import open_video; source = open_video(sys.argv[1])\n"
        "print([int(p[0, 0]) for f in source.frames() for p in f.planes]); source.close(); del source; gc.collect()"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")], capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip()) == (0, "[1, 2, 3]"), run.stderr


@pytest.mark.parametrize("name", ["a.mp4", "a.264", "a.yuv", "a.y4m"])
def test_starting_later_gives_the_same_frames(tmp_path, name):
    if name.endswith(("yuv", "y4m")):
        body = [bytes([n]) * 16 for n in range(50)]
        (tmp_path / name).write_bytes(y4m("W4 H4 Cmono F25:1", body) if name.endswith("y4m") else b"".join(body))
        options = InputOptions(size=(4, 4), pix_fmt="gray")
    else:
        write_video(tmp_path / name, frames=50, options={"g": "10"})
        options = None
    everything, _ = read(tmp_path / name, options)
    late, _ = read(tmp_path / name, options, start=0.92)
    assert len(late) == 50 - 23
    for a, b in zip(everything[23:], late, strict=True):
        np.testing.assert_array_equal(a[0], b[0])


def test_numbered_pictures_are_a_video(tmp_path):
    for n in (7, 8, 9):
        picture = av.VideoFrame.from_ndarray(np.full((8, 8, 3), n, np.uint8), "rgb24")
        picture.save(str(tmp_path / f"f{n:03d}.png"))
    frames, info = read(tmp_path / "f%03d.png")
    assert [int(planes[0][0, 0]) for planes in frames] == [7, 8, 9] and info.pix_fmt.family == "rgb"


def test_truncated_mp4_says_so_and_gives_what_is_there(tmp_path):
    whole = write_video(tmp_path / "a.mp4", frames=40, options={"g": "5"}, muxer={"movflags": "faststart"})
    data = Path(whole).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    source, seen = open_video(str(tmp_path / "cut.mp4")), 0
    with pytest.raises(DecodeError, match=r"cut short|damaged"):
        for _ in source.frames():
            seen += 1
    assert 0 < seen < 40
    source.close()


def test_stdin_raw_y4m_and_mp4(tmp_path):
    """Each through a real pipe, with the same samples as the file."""
    code = (
        "import sys; from vqmeter.sources import *; from vqmeter.sources.geometry import parse_size\n"
        "o = InputOptions(size=parse_size(sys.argv[1]) if len(sys.argv) > 1 else None)\n"
        "s = open_video('-', o); print([int(p.sum()) for f in s.frames() for p in f.planes])"
    )
    body = b"".join(bytes([n]) * 24 for n in range(5))
    (tmp_path / "a.yuv").write_bytes(body)
    (tmp_path / "a.y4m").write_bytes(y4m("W4 H4", [body[i : i + 24] for i in range(0, 120, 24)]))
    write_video(tmp_path / "a.mkv", frames=5)
    for name, size in (("a.yuv", ["4x4"]), ("a.y4m", []), ("a.mkv", [])):
        options = InputOptions(size=(4, 4)) if size else None
        frames, _ = read(tmp_path / name, options)
        with open(tmp_path / name, "rb") as stdin:
            command = [sys.executable, "-c", code, *size]
            pipe = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=True)
        assert pipe.stdout.strip() == str([int(p.sum()) for planes in frames for p in planes])


def test_an_mp4_with_its_index_at_the_end_cannot_come_through_a_pipe_and_is_told_so(tmp_path):
    write_video(tmp_path / "a.mp4", frames=30, size=(320, 240), options={"crf": "1", "preset": "ultrafast"})
    code = "from vqmeter.sources import open_video; open_video('-')"
    with open(tmp_path / "a.mp4", "rb") as stdin:
        run = subprocess.run([sys.executable, "-c", code], stdin=stdin, capture_output=True, text=True)
    assert "faststart" in run.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), list(range(20))), (Selection(frames=3), [0, 1, 2]), (Selection(every=7), [0, 7, 14]),
        (Selection(duration=0.2), [0, 1, 2, 3, 4]), (Selection(start=0.4, every=4), [10, 14, 18]),
        (Selection(start=0.4, duration=0.2, every=2, frames=2), [10, 12]), (Selection(start=9.0), []),
    ],
)  # fmt: skip
def test_selection_picks_and_counts_alike(tmp_path, selection, expected):
    path = tmp_path / "a.yuv"
    path.write_bytes(b"".join(bytes([n]) * 16 for n in range(20)))
    source = open_video(str(path), InputOptions(size=(4, 4), pix_fmt="gray"))
    got = [int(frame.planes[0][0, 0]) for frame in selection.pick(source.frames(selection.start))]
    assert got == expected
    assert selection.count(source.info, source.count) == len(expected)
    source.close()


def info_of(fmt, **more):
    from vqmeter.frames import VideoInfo

    return VideoInfo("x", 4, 4, PixelFormat.parse(fmt), **more)


def test_pairs_that_do_not_fit():
    from dataclasses import replace

    with pytest.raises(MismatchError, match="4x4"):
        fit(info_of("yuv420p"), replace(info_of("yuv420p"), width=8))
    with pytest.raises(MismatchError, match="yuv422p"):
        fit(info_of("yuv420p"), info_of("yuv422p"))
    assert fit(info_of("nv12"), info_of("yuv420p")).compare_format.name == "yuv420p"
    told = fit(info_of("yuv420p", range="full"), info_of("yuv420p10le", range="limited"))
    assert told.compare_format.name == "yuv420p10le"
    assert [w.split()[0] for w in told.warnings] == ["range", "depth"]


def test_depths_meet_at_the_greater():
    from vqmeter.frames import Frame

    plane = np.array([[0, 16, 235, 255]], np.uint8)
    limited = at_depth(Frame(info_of("gray"), 0, lambda: (plane,)), 10).planes[0]
    full = at_depth(Frame(info_of("gray", range="full"), 0, lambda: (plane,)), 10).planes[0]
    np.testing.assert_array_equal(limited, [[0, 64, 940, 1020]])
    np.testing.assert_array_equal(full, [[0, 64, 943, 1023]])


def test_ahead_keeps_order_passes_errors_on_and_stops():
    def items():
        yield from range(5)
        raise DecodeError("then it broke")

    ahead, seen = Ahead(items(), 2), []
    with pytest.raises(DecodeError, match="then it broke"):
        for item in ahead:
            seen.append(item)
    assert seen == [0, 1, 2, 3, 4]
    ahead.close()
    endless = Ahead(iter(int, 1), 2)
    assert next(endless) == 0
    endless.close()


def test_prefixed_streams_read_as_one():
    from vqmeter.sources.streams import Prefixed

    stream = Prefixed(b"abc", io.BytesIO(b"defgh"))
    assert stream.read(2) == b"ab" and stream.read(4) == b"cdef"
    buffer = bytearray(4)
    assert stream.readinto(buffer) == 2 and buffer[:2] == b"gh"
