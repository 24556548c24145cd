"""Scaling as libswscale does it, heat maps, and the worst frames as pictures."""

import os
import subprocess

import av
import numpy as np
import pytest
from PIL import Image

from vqmeter import measure
from vqmeter.errors import MismatchError, UsageError
from vqmeter.frames import Frame, PixelFormat, VideoInfo
from vqmeter.heatmaps import colours
from vqmeter.sources.pictures import planes_of, to_picture
from vqmeter.sources.scaling import Scale
from vqmeter.worst import to_rgb


@pytest.mark.parametrize("fmt", ["gray", "yuv420p", "yuv422p10le", "yuv444p16le", "gbrp", "gbrp12le"])
def test_pictures_go_to_ffmpeg_and_back(fmt):
    pixel, rng = PixelFormat.parse(fmt), np.random.default_rng(0)
    chroma = pixel.chroma_size(21, 13)[::-1] if pixel.family == "yuv" else (13, 21)
    shapes = [(13, 21)] + [chroma] * (len(pixel.components) - 1)
    planes = tuple(rng.integers(0, pixel.peak + 1, shape).astype(pixel.dtype) for shape in shapes)
    back = planes_of(to_picture(planes, pixel), pixel)
    for a, b in zip(planes, back, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("algorithm", ["bicubic", "lanczos", "bilinear"])
def test_scaling_is_libswscales(raw_pair, tmp_path, algorithm):
    """Oracle: the ffmpeg program's scale filter with the same flag."""
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed").get_ffmpeg_exe()
    _, dist = raw_pair(width=64, height=48, frames=3)
    out = tmp_path / "scaled_96x80.yuv"
    subprocess.run([ffmpeg, "-v", "error", "-f", "rawvideo", "-s", "64x48", "-i", dist, "-vf", f"scale=96:80:flags={algorithm}",
                    "-f", "rawvideo", str(out)], check=True)  # fmt: skip
    result = measure(dist, reference=out, size="64x48", ref_size="96x80", metrics="psnr", scale=f"ref:{algorithm}").only
    assert result.error is None and result.statistic("psnr.min") >= 60
    assert f"scaled from 64x48 to 96x80 ({algorithm})" in result.inputs["distorted"]["notes"]


def test_a_fixed_size_scales_both(raw_pair):
    ref, dist = raw_pair()
    small = measure(dist, reference=ref, metrics="ssim", scale="32x24").only
    assert (small.inputs["reference"]["width"], small.inputs["distorted"]["height"]) == (32, 24)
    assert small.pooled["ssim_y"]["mean"] > measure(dist, reference=ref, metrics="ssim").pooled["ssim_y"]["mean"]


def test_unequal_sizes_name_the_option(raw_pair, tmp_path):
    ref, _ = raw_pair()
    (tmp_path / "big").mkdir()
    _, big = raw_pair(width=80, folder=tmp_path / "big")
    error = measure(big, reference=ref).only.error
    assert isinstance(error, MismatchError) and "--scale ref" in str(error)
    assert measure(big, reference=ref, scale="ref").only.error is None


@pytest.mark.parametrize("text", ["half", "ref:sinc", "0x4", "64x48:"])
def test_bad_scales(text):
    if text == "64x48:":
        assert Scale.parse(text) == Scale((64, 48), "bicubic")
        return
    with pytest.raises(UsageError):
        Scale.parse(text)


def test_map_colours_rise_in_lightness_and_meet_the_ends():
    shades = colours(np.linspace(-0.5, 1.5, 41, dtype=np.float32)[None], 0, 1)[0].astype(int)
    light = shades @ [299, 587, 114]
    assert (np.diff(light) >= 0).all() and (shades[:11] == shades[0]).all() and (shades[30:] == shades[-1]).all()


def test_maps_are_written_a_frame_each(raw_pair, tmp_path, cli):
    ref, dist = raw_pair(frames=3)
    code, _, err = cli("fr", "-q", ref, dist, "-m", "ssim", "--map", tmp_path / "maps", "--score", "ssim_y")
    names = sorted(os.listdir(tmp_path / "maps"))
    assert code == 0, err
    assert names == [f"dist_64x48.yuv_ssim_y_{n:06d}.png" for n in range(3)]
    with Image.open(tmp_path / "maps" / names[0]) as picture:
        assert picture.size[0] > 64 and picture.size[1] >= 48
    assert cli("fr", "-q", ref, dist, "-m", "psnr", "--map", tmp_path / "none")[0] == 2


def test_worst_frames_are_the_worst_ones(raw_pair, tmp_path, cli):
    """Frame 3 of 6 is made worst, frame 5 second."""
    ref, dist = raw_pair(frames=6, noise=0)
    data = np.fromfile(dist, np.uint8).reshape(6, -1)
    data[3, : 64 * 48] = 255 - data[3, : 64 * 48]
    data[5, : 64 * 48] //= 2
    data.tofile(dist)
    options = ("--worst", 2, "--worst-by", "ssim_y", "--worst-dir", tmp_path / "w", "--score", "psnr")
    code, _, err = cli("fr", "-q", ref, dist, *options)
    assert code == 0, err
    names = sorted(os.listdir(tmp_path / "w"))
    assert names == ["dist_64x48.yuv_worst01_frame000003.png", "dist_64x48.yuv_worst02_frame000005.png"]
    with Image.open(tmp_path / "w" / names[0]) as picture:
        assert picture.size == (128, 48)
        left, right = np.asarray(picture)[:, :64].astype(int), np.asarray(picture)[:, 64:].astype(int)
    assert abs(left.mean() - right.mean()) > 5 or abs(left - right).mean() > 20
    assert cli("fr", "-q", ref, dist, "--worst", 2, "--worst-by", "psn")[0] == 2


def test_files_of_one_name_do_not_overwrite_each_others_pictures(raw_pair, tmp_path, cli):
    ref, dist = raw_pair(frames=2)
    (tmp_path / "b").mkdir()
    _, other = raw_pair(frames=2, noise=9, folder=tmp_path / "b")
    options = ("-m", "ssim", "--map", tmp_path / "m", "--worst", 1, "--worst-dir", tmp_path / "w", "--score", "ssim_y")
    assert cli("fr", "-q", ref, dist, other, *options)[0] == 0
    assert len(os.listdir(tmp_path / "m")) == 4 and len(os.listdir(tmp_path / "w")) == 2


def test_stdin_cannot_be_read_twice(raw_pair, cli):
    code, _, err = cli("fr", "-q", raw_pair()[0], "-", "--worst", 1)
    assert code == 2 and "stdin" in err


def test_rgb_of_known_colours():
    """BT.601 limited: black, white, and the red whose samples Rec. 601 gives as (81, 90, 240)."""
    for samples, rgb in (((16, 128, 128), (0, 0, 0)), ((235, 128, 128), (255, 255, 255)), ((81, 90, 240), (255, 0, 0))):
        info = VideoInfo("x", 4, 4, PixelFormat.parse("yuv444p"), range="limited", matrix="bt601")
        planes = tuple(np.full((4, 4), s, np.uint8) for s in samples)
        np.testing.assert_allclose(to_rgb(Frame(info, 0, lambda p=planes: p))[0, 0], rgb, atol=1)


def test_rgb_agrees_with_libswscale():
    rng = np.random.default_rng(1)
    picture = av.VideoFrame(32, 32, "yuv444p")
    planes = tuple(rng.integers(60, 180, (32, 32)).astype(np.uint8) for _ in range(3))
    picture = to_picture(planes, PixelFormat.parse("yuv444p"))
    theirs = picture.reformat(format="rgb24", src_colorspace="ITU709", dst_colorspace="ITU709").to_ndarray()
    info = VideoInfo("x", 32, 32, PixelFormat.parse("yuv444p"), range="limited", matrix="bt709")
    np.testing.assert_allclose(to_rgb(Frame(info, 0, lambda: planes)).astype(int), theirs.astype(int), atol=2)
