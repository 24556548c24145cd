"""Conversions: samples come back bit by bit, tags are carried over, nothing is converted or overwritten unasked."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vqmeter.convert import How, convert, evenly
from vqmeter.sources import InputOptions, open_video
from vqmeter.sources.pair import Selection

CLIPS = {
    "yuv420p": ("clips/CiscoVT2people_320x192_12fps.yuv", "yuv420p"),
    "yuv420p10le": ("oddities/blue_sky_360p_60f_8b_converted_to_10b.mp4", "yuv420p10le"),
    "yuv444p": ("oddities/h264_444_1280x272_sidebyside.mp4", "yuv444p"),
}


def planes(path, **options):
    """Every frame of a file, and what is known of it."""
    with closing(open_video(str(path), InputOptions(**options))) as source:
        return [tuple(plane.copy() for plane in frame.planes) for frame in source.frames()], source.info


def info_of(path):
    with closing(open_video(str(path))) as source:
        return source.info


def same(one, other):
    return len(one) == len(other) > 0 and all(
        np.array_equal(a, b) for f, g in zip(one, other, strict=True) for a, b in zip(f, g, strict=True)
    )


@pytest.fixture
def noise(tmp_path):
    """Writes `NAME.yuv` of random samples in a pixel format: its path and how to read it."""

    def make(name, size=(64, 48), frames=3):
        from vqmeter.frames import PixelFormat

        fmt = PixelFormat.parse(name)
        rng = np.random.default_rng(0)
        count = frames * fmt.frame_bytes(*size) // fmt.bytes_per_sample
        samples = rng.integers(0, fmt.peak + 1, count, np.uint16) << fmt.shift
        path = tmp_path / f"{name}.yuv"
        path.write_bytes(samples.astype(fmt.memory_dtype).tobytes())
        return str(path), InputOptions(size, name)

    return make


# --- samples ---------------------------------------------------------------------------------------------------------


def by_pyav(path, frames):
    """Raw planar bytes of the first frames, by PyAV alone."""
    out = b""
    with av.open(str(path)) as container:
        for n, picture in enumerate(container.decode(video=0)):
            if n == frames:
                break
            bits = picture.to_ndarray()
            out += bits.astype(bits.dtype.newbyteorder("<")).tobytes()
    return out


@pytest.mark.parametrize("name", CLIPS)
def test_real_clips_come_back_bit_by_bit(testdata, tmp_path, name):
    source, fmt = CLIPS[name]
    source = testdata / "media" / source
    raw, chosen = str(tmp_path / "a.yuv"), Selection(frames=3)
    convert(str(source), raw, How(), selection=chosen)
    about = info_of(source)
    info = planes(raw, size=(about.width, about.height), pix_fmt=fmt)[1]
    with open(raw, "rb") as file:
        want = file.read()
    whole = source.read_bytes()[: len(want)] if source.suffix == ".yuv" else by_pyav(source, 3)
    assert want == whole and info.frames == 3
    reading = InputOptions((info.width, info.height), fmt)
    forms = [("b.y4m", How()), ("b.avi", How()), ("b.mkv", How()), ("b.mp4", How(lossless=True))]
    if name == "yuv420p":
        forms += [("raw.avi", How("rawvideo")), ("b.mov", How("libx265", lossless=True))]
    for out, how in forms:
        convert(raw, str(tmp_path / out), how, reading)
        convert(str(tmp_path / out), str(tmp_path / f"{out}.yuv"), How())
        assert (tmp_path / f"{out}.yuv").read_bytes() == want, out


@pytest.mark.parametrize("out", ["a.avi", "a.mkv", "a.mp4", "a.y4m", "raw.avi"])
def test_ffmpeg_reads_the_same_samples(noise, tmp_path, out):
    ffmpeg = pytest.importorskip(
        "imageio_ffmpeg", reason="the extra vmaf, which brings an ffmpeg, is not installed"
    ).get_ffmpeg_exe()
    path, reading = noise("yuv420p")
    out = str(tmp_path / out)
    convert(path, out, How("rawvideo" if "raw." in out else None, lossless=True), reading)
    command = [ffmpeg, "-v", "error", "-i", out, "-f", "rawvideo", "-"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    with open(path, "rb") as file:
        assert done.stdout == file.read()


@pytest.mark.parametrize("name", ["nv12", "p010le", "yuv422p10be", "yuv411p", "gray", "gray10le", "yuyv422"])
def test_other_layouts_keep_their_samples(noise, tmp_path, name):
    path, reading = noise(name, (35, 21))
    want, _ = planes(path, size=reading.size, pix_fmt=name)
    for out in ("a.y4m", "a.avi"):
        convert(path, str(tmp_path / out), How(), reading)
        assert same(planes(tmp_path / out)[0], want), out


def test_rgb_and_grey_pictures_and_back(noise, tmp_path):
    for name, form in (("rgb24", "RGB"), ("gray", "L")):
        path, reading = noise(name, (35, 21))
        folder = tmp_path / name
        convert(path, f"{folder}/", How(), reading)
        assert sorted(os.listdir(folder)) == ["00001.png", "00002.png", "00003.png"]
        with Image.open(folder / "00002.png") as picture:
            assert picture.mode == form
            want = np.frombuffer((tmp_path / f"{name}.yuv").read_bytes(), np.uint8).reshape(3, 21, 35, -1)[1]
            assert np.array_equal(np.asarray(picture).reshape(want.shape), want)
        convert(str(folder), str(tmp_path / f"{name}.mkv"), How())
        assert same(planes(tmp_path / f"{name}.mkv")[0], planes(path, size=(35, 21), pix_fmt=name)[0])


def test_colours_to_pictures_and_back(tmp_path):
    """BT.601, limited: grey 126 is code 124.4, and full red is Y 81, Cb 90, Cr 240 (to the nearest code)."""
    (tmp_path / "red_16x16.yuv").write_bytes(bytes([81]) * 256 + bytes([90]) * 64 + bytes([240]) * 64)
    convert(str(tmp_path / "red_16x16.yuv"), str(tmp_path / "red.png"), How())
    with Image.open(tmp_path / "red.png") as picture:
        red = np.asarray(picture).reshape(-1, 3)
    assert np.abs(red.astype(int) - [255, 0, 0]).max() <= 2
    convert(str(tmp_path / "red.png"), str(tmp_path / "back.y4m"), How(pix_fmt="yuv420p"))
    (frame,), info = planes(tmp_path / "back.y4m")
    assert [int(np.abs(plane.astype(int) - code).max()) <= 1 for plane, code in zip(frame, (81, 90, 240), strict=True)] == [
        True
    ] * 3
    assert info.range == "limited"


def test_deeper_and_thinner(noise, tmp_path):
    path, reading = noise("yuv420p")
    want, _ = planes(path, size=reading.size)
    convert(path, str(tmp_path / "deep.y4m"), How(pix_fmt="yuv420p10"), reading)
    deep, info = planes(tmp_path / "deep.y4m")
    assert info.pix_fmt.name == "yuv420p10le" and same(deep, [tuple(p.astype(np.uint16) << 2 for p in frame) for frame in want])
    convert(path, str(tmp_path / "full.y4m"), How(pix_fmt="yuv444p"), reading)
    full, _ = planes(tmp_path / "full.y4m")
    assert full[0][1].shape == (48, 64) and np.array_equal(full[0][0], want[0][0])


# --- which frames ----------------------------------------------------------------------------------------------------


def test_evenly_is_the_middles_of_equal_parts():
    assert evenly(16, 16) == tuple(range(16)) and evenly(1, 9) == (4,) and evenly(4, 8) == (1, 3, 5, 7)
    assert evenly(16, 250) == (7, 23, 39, 54, 70, 85, 101, 117, 132, 148, 164, 179, 195, 210, 226, 242)
    assert all(b > a for n in range(1, 40) for a, b in zip(evenly(n, 40), evenly(n, 40)[1:], strict=False))


def numbered(tmp_path, frames=20):
    """A grey clip whose frame n is all n."""
    path = tmp_path / "n_16x16_gray.yuv"
    path.write_bytes(b"".join(bytes([n]) * 256 for n in range(frames)))
    return str(path)


@pytest.mark.parametrize(
    ("selection", "count", "want", "rate"),
    [(Selection(), 4, [2, 7, 12, 17], 5), (Selection(start=0.4), 2, [12, 17], 5),
     (Selection(every=3), None, [0, 3, 6, 9, 12, 15, 18], 25 / 3),
     (Selection(start=0.2, duration=0.4), None, list(range(5, 15)), 25), (Selection(frames=6, every=2), 3, [2, 6, 10], 6.25)],
)  # fmt: skip
def test_frames_chosen_keep_their_time(tmp_path, selection, count, want, rate):
    out = str(tmp_path / "out.y4m")
    convert(numbered(tmp_path), out, How(evenly=count), selection=selection)
    frames, info = planes(out)
    assert [int(frame[0][0, 0]) for frame in frames] == want and float(info.rate) == pytest.approx(rate)


def test_too_few_frames(cli, tmp_path):
    path = numbered(tmp_path, 3)
    for words, says in ((("--frames-evenly", 4), "4 frames are asked for, and there are 3"), (("-ss", 9), "nothing to")):
        code, _, err = cli("convert", "-q", path, tmp_path / "out.mkv", *words)
        assert code == 4 and says in err and not (tmp_path / "out.mkv").exists()


def test_a_pipe_does_not_say_its_length(tmp_path):
    command = [sys.executable, "-m", "vqmeter", "convert", "-s", "16x16", "-pix_fmt", "gray", "-", "o.y4m"]

    def run(*more):
        with open(numbered(tmp_path), "rb") as stdin:
            return subprocess.run([*command, *more], stdin=stdin, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    failed, done = run("--frames-evenly", "4"), run()
    assert failed.returncode == 4 and "write it to a file first" in failed.stderr
    assert done.returncode == 0 and len(planes(tmp_path / "o.y4m")[0]) == 20


# --- tags ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "out"),
    [("bt709_full_range.mp4", "a.mp4"), ("bt709_full_range.mp4", "a.mkv"), ("sample_with_colr_mdcv_and_clli.mp4", "a.mp4"),
     ("sample_with_colr_mdcv_and_clli.mp4", "a.mkv")],
)  # fmt: skip
def test_colour_tags_are_carried_over(testdata, tmp_path, source, out):
    source = str(testdata / "media" / "oddities" / source)
    convert(source, str(tmp_path / out), How(), selection=Selection(frames=1))
    was, now = info_of(source), info_of(tmp_path / out)
    facts = ("range", "matrix", "primaries", "transfer", "width", "height")
    assert {name: getattr(now, name) for name in facts} == {name: getattr(was, name) for name in facts}
    assert float(now.rate) == pytest.approx(float(was.rate), rel=1e-3)  # Matroska counts in milliseconds
    assert None not in (was.range, was.matrix, was.primaries, was.transfer)


def test_what_a_form_cannot_say_is_said(cli, noise, tmp_path):
    path, _ = noise("yuv420p")
    raw = ("-s", "64x48", "--matrix", "bt709", "--range", "full")
    err = cli("convert", path, tmp_path / "a.y4m", *raw)[2]
    assert "a.y4m: does not carry over matrix bt709" in err and planes(tmp_path / "a.y4m")[1].range == "full"
    assert "a.avi: does not carry over range full, matrix bt709" in cli("convert", path, tmp_path / "a.avi", *raw)[2]
    assert "-s 64x48 -pix_fmt yuv420p -r 25" in cli("convert", path, tmp_path / "b.yuv", *raw)[2]
    assert "does not say" not in cli("convert", path, tmp_path / "b_64x48_yuv420p.yuv", *raw)[2]
    assert "libx264 at CRF 17, which looks lossless and is not" in cli("convert", path, tmp_path / "a.mp4", *raw)[2]
    assert "CRF" not in cli("convert", path, tmp_path / "b.mp4", *raw, "--crf", 30)[2]
    assert (tmp_path / "b.mp4").stat().st_size < (tmp_path / "a.mp4").stat().st_size
    assert cli("convert", "-q", path, tmp_path / "c.mp4", *raw)[1:] == ("", "")


# --- nothing unasked -------------------------------------------------------------------------------------------------


def test_outputs_are_not_overwritten_unasked(cli, noise, tmp_path):
    path, _ = noise("gray")
    out, raw = tmp_path / "a.y4m", ("-s", "64x48", "-pix_fmt", "gray")
    out.write_text("mine")
    code, _, err = cli("convert", path, out, *raw)
    assert code == 4 and "a.y4m: is there already; -y overwrites it" in err and out.read_text() == "mine"
    assert cli("convert", "-q", path, out, *raw, "-y")[0] == 0 and len(planes(out)[0]) == 3
    assert cli("convert", "-q", path, tmp_path / "f", *raw)[0] == 2
    assert cli("convert", "-q", path, f"{tmp_path}/f/", *raw)[0] == 0
    assert cli("convert", "-q", path, f"{tmp_path}/f/", *raw)[0] == 4
    code, _, err = cli("convert", path, f"{tmp_path}/f/", *raw, "-y", "--frames", 2)
    assert code == 0 and "1 pictures from before are still there, as" in err


def test_the_input_is_never_written(cli, tmp_path):
    path = numbered(tmp_path, 3)
    os.symlink(path, tmp_path / "link.yuv")
    before = Path(path).read_bytes()
    for out in (path, tmp_path / "link.yuv"):
        code, _, err = cli("convert", path, out, "-y")
        assert code == 2 and "is the input" in err
    cli("convert", "-q", path, f"{tmp_path}/p/")
    for source in ("p", "p/%05d.png", "p/00002.png"):
        assert cli("convert", tmp_path / source, f"{tmp_path}/p/", "-y")[0] == 2
    assert Path(path).read_bytes() == before and len(os.listdir(tmp_path / "p")) == 3


def test_a_failed_conversion_leaves_nothing(cli, noise, tmp_path):
    path, reading = noise("gray")
    convert(path, str(tmp_path / "cut.y4m"), How(), reading)
    os.truncate(tmp_path / "cut.y4m", (tmp_path / "cut.y4m").stat().st_size - 100)
    before = sorted(os.listdir(tmp_path))
    for out in ("a.yuv", "a.mkv", "f/", "g_%03d.png"):
        code, _, err = cli("convert", tmp_path / "cut.y4m", f"{tmp_path}/{out}")
        assert code == 4 and "cut short" in err
    assert sorted(os.listdir(tmp_path)) == before


def test_odd_sizes(cli, noise, tmp_path):
    path, reading = noise("yuv420p", (35, 21))
    code, _, err = cli("convert", path, tmp_path / "a.mp4", "-s", "35x21")
    assert code == 4 and "libx264 takes even sizes only in yuv420p, not 35x21" in err and "--out-pix-fmt yuv444p" in err
    assert cli("convert", "-q", path, tmp_path / "a.mp4", "-s", "35x21", "--out-pix-fmt", "yuv444p")[0] == 0
    assert planes(tmp_path / "a.mp4")[1].pix_fmt.name == "yuv444p"
    convert(path, str(tmp_path / "a.mkv"), How(), reading)
    assert same(planes(tmp_path / "a.mkv")[0], planes(path, size=(35, 21))[0])


@pytest.mark.parametrize(
    ("fmt", "out", "words", "says"),
    [("gray", "a", (), "what form should this be"), ("gray", "-", (), "what form"),
     ("gray", "a.yuv", ("--codec", "ffv1"), "not coded"),
     ("gray", "a.mp4", ("--codec", "ffv1"), "takes libx264"),
     ("yuv444p", "a.avi", ("--codec", "rawvideo"), "no name for raw yuv444p"),
     ("gbrp", "a.mp4", (), "libx264 takes no gbrp; --out-pix-fmt yuv444p"), ("gbrp", "a.y4m", (), "Y4M holds"),
     ("gray", "a.avi", ("--crf", "9"), "leave out --crf"), ("gray", "a.mp4", ("--crf", "9", "--lossless"), "leave out --crf"),
     ("yuv420p", "a.mp4", ("--codec", "libx265"), "Give --crf or --lossless"),
     ("yuv420p", "a.mp4", ("--codec", "libsvtav1"), "Give --crf"),
     ("yuv420p", "a.mp4", ("--codec", "libsvtav1", "--lossless"), "no lossless mode"),
     ("yuv420p", "a.mp4", ("--out-pix-fmt", "nv12"), "say yuv420p"),
     ("yuv420p", "a.mp4", ("--out-pix-fmt", "yuv"), "unknown pixel format"),
     ("gray", "a.png", ("--crf", "9"), "leave out --codec")],
)  # fmt: skip
def test_wrong_words(cli, noise, tmp_path, fmt, out, words, says):
    path, _ = noise(fmt)
    code, _, err = cli("convert", "-q", path, out if out == "-" else tmp_path / out, "-s", "64x48", "-pix_fmt", fmt, *words)
    assert code == 2 and says in err, err
    assert os.listdir(tmp_path) == [f"{fmt}.yuv"]


def test_bad_places(cli, noise, tmp_path):
    path, _ = noise("gray")
    raw = ("-s", "64x48", "-pix_fmt", "gray")
    (tmp_path / "empty").mkdir()
    for source, out, says in (
        (path, "no/a.mkv", "no folder"), (path, "no/b/c/", "no folder"),
        (tmp_path / "empty", "a.mkv", "no pictures called 00001.png"),
        (path, "one.png", "holds one picture"), (tmp_path / "none.mp4", "a.mkv", "no such file"),
    ):  # fmt: skip
        code, _, err = cli("convert", source, f"{tmp_path}/{out}", *raw)
        assert code == 4 and says in err, err
    assert cli("convert", "-q", path, tmp_path / "one.png", *raw, "--frames", 1)[0] == 0


def test_the_command_offers_every_codec():
    from vqmeter.cli.convert import command
    from vqmeter.convert import CODECS

    (option,) = (option for option in command.params if option.name == "codec")
    assert tuple(option.type.choices) == CODECS
