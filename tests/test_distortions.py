"""Distortions: the same everywhere, worse from level to level, and what theory says of them; files and command."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from vqmeter import measure
from vqmeter.distortions import PRESETS, TYPES, distort_picture, find, generator, ladder, preset
from vqmeter.distortions.codecs import FFV1, write
from vqmeter.distortions.pictures import jpeg, otsu
from vqmeter.distortions.video import from_rgb
from vqmeter.errors import UsageError
from vqmeter.frames import Frame, PixelFormat, VideoInfo
from vqmeter.sources import open_video
from vqmeter.worst import to_rgb

PICTURE_TYPES = [one for one in TYPES.values() if one.kind == "picture"]
VIDEO_TYPES = [one for one in TYPES.values() if one.kind != "picture"]
#: Their colours change with the level (BW), or two things at once do (MLIVE): see the tests of these.
NOT_RANKED = {"BW", "GB-JPEG", "GB-GN"}


def load(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def psnr(ref: np.ndarray, dist: np.ndarray) -> float:
    error = np.mean((ref.astype(float) - dist) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


@pytest.fixture(scope="module")
def pictures() -> dict[str, np.ndarray]:
    return {"astronaut": data.astronaut()[60:316, 80:336], "chelsea": data.chelsea()[20:276, 60:316],
            "coffee": data.coffee()[40:296, 150:406]}  # fmt: skip


# --- pictures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", PICTURE_TYPES, ids=lambda one: one.name)
def test_severity_rises_with_the_level(one, pictures):
    for name, picture in pictures.items():
        before = picture.copy()
        copies = [distort_picture(picture, one.name, n, reference=name) for n in range(1, len(one.levels) + 1)]
        assert np.array_equal(picture, before)
        scores = [psnr(picture, copy) for copy in copies]
        assert max(scores) < 45
        assert all(copy.shape == picture.shape and copy.dtype == np.uint8 for copy in copies)
        if one.name not in NOT_RANKED:
            assert all(b < a for a, b in pairwise(scores)), (name, scores)


@pytest.mark.parametrize("name", ["GB-JPEG", "GB-GN"])
def test_two_at_once_are_ranked_along_the_second(name, pictures):
    scores = [psnr(pictures["chelsea"], distort_picture(pictures["chelsea"], name, n)) for n in range(1, 10)]
    for n in (0, 3, 6):
        assert scores[n] > scores[n + 1] > scores[n + 2]


def test_blocks_are_ranked_where_their_colour_stays(pictures):
    for picture in pictures.values():
        scores = [psnr(picture, distort_picture(picture, "BW", n)) for n in range(1, 6)]
        assert scores[2] > scores[3] > scores[4]


@pytest.mark.parametrize("one", PICTURE_TYPES, ids=lambda one: one.name)
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (33, 101)], ids=str)
def test_any_size(one, shape):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for level in (1, len(one.levels)):
        copy = distort_picture(picture, one.name, level)
        assert copy.shape == picture.shape and copy.dtype == np.uint8


@pytest.mark.parametrize("one", PICTURE_TYPES, ids=lambda one: one.name)
def test_grey_and_flat_pictures(one):
    grey = np.repeat(data.camera()[200:296, 200:301, None], 3, axis=2)
    copy = distort_picture(grey, one.name, 2)
    assert copy.shape == grey.shape
    assert one.name == "CS" or not np.array_equal(copy, grey)
    assert distort_picture(np.full((40, 40, 3), 77, np.uint8), one.name, 1).shape == (40, 40, 3)


def test_the_same_in_another_process_and_other_with_another_seed(pictures):
    code = (
        "import sys, zlib; from skimage import data; from vqmeter.distortions import TYPES, distort_picture\n"
        "p, types = data.chelsea()[:96, :97], [t for t in TYPES.values() if t.kind == 'picture']\n"
        "print({t.name: zlib.crc32(distort_picture(p, t.name, 2, 5, 'x').tobytes()) for t in types})"
    )
    done = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100).stdout
            for _ in range(2)]  # fmt: skip
    assert done[0] == done[1]
    import zlib

    picture = data.chelsea()[:96, :97]
    here = {one.name: zlib.crc32(distort_picture(picture, one.name, 2, 5, "x").tobytes()) for one in PICTURE_TYPES}
    assert str(here) == done[0].strip()
    for other in ({"seed": 6, "reference": "x"}, {"seed": 5, "reference": "y"}):
        assert not np.array_equal(distort_picture(picture, "GN", 2, **other), distort_picture(picture, "GN", 2, 5, "x"))


def test_random_numbers_do_not_hang_on_the_level(pictures):
    mild, strong = (distort_picture(np.full((64, 64, 3), 128, np.uint8), "GN", n) for n in (1, 2))
    correlation = np.corrcoef(mild.ravel().astype(float), strong.ravel())[0, 1]
    assert correlation > 0.99
    assert generator(1, "a", "GN").random() != generator(1, "a", "IN").random()


# --- theory ----------------------------------------------------------------------------------------------------------

GREY = np.full((256, 256, 3), 128, np.uint8)


@pytest.mark.parametrize(("level", "variance"), [(1, 0.001), (2, 0.005), (3, 0.01)])
def test_gaussian_noise_has_its_variance(level, variance):
    for name in ("GN", "HFN", "HFN-REPO"):
        assert np.var(distort_picture(GREY, name, level) / 255) == pytest.approx(variance, rel=0.02)


def test_high_frequency_noise_has_no_low_frequencies():
    spectra = {name: np.abs(np.fft.fft2(distort_picture(GREY, name, 2)[..., 0] - 128.0)) ** 2 for name in ("GN", "HFN")}
    low = (slice(0, 3), slice(0, 3))
    assert spectra["HFN"][low].mean() < 0.02 * spectra["GN"][low].mean()
    assert spectra["HFN"][100:140, 100:140].mean() == pytest.approx(spectra["GN"][100:140, 100:140].mean(), rel=0.1)


def test_noise_in_ycbcr_is_as_bt601_spreads_it():
    m = np.array([[255 / 219, 0, 1.596], [255 / 219, -0.392, -0.813], [255 / 219, 2.017, 0]])  # BT.601 in limited range
    noise = (distort_picture(np.full((256, 256, 3), 128, np.uint8), "GNC", 1) - 128.0) / 255
    inside = np.abs(noise).max() <= 0.51
    assert inside
    for channel in range(3):  # what saturates is cut off
        sigma = np.sqrt(0.0140 * np.sum(m[channel] ** 2))
        z = np.random.default_rng(0).normal(0, sigma, 10**6).clip(-128 / 255, 127 / 255)
        assert np.var(noise[..., channel]) == pytest.approx(np.var(z), rel=0.02)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_impulses_have_their_density(level):
    copy = distort_picture(GREY, "IN", level)
    density = TYPES["IN"].value(level)
    assert np.mean(copy != 128) == pytest.approx(density, rel=0.1)
    assert np.mean(copy == 0) == pytest.approx(np.mean(copy == 255), rel=0.2)
    assert set(np.unique(copy)) == {0, 128, 255}


def test_multiplicative_noise_grows_with_brightness():
    dark, bright = (distort_picture(np.full((128, 128, 3), v, np.uint8), "MGN", 1) for v in (40, 160))
    assert np.std(bright / 160.0) == pytest.approx(0.05, rel=0.05)
    assert np.std(dark / 40.0) == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize(("name", "values"), [("MSH", (15, 30, 45, 60)), ("MSL", (-15, -30, -45, -60))])
def test_mean_shift_shifts_the_mean(name, values):
    picture = np.random.default_rng(0).integers(60, 196, (50, 50, 3), np.uint8)
    for level, value in enumerate(values, 1):
        assert np.mean(distort_picture(picture, name, level).astype(float) - picture) == value
    assert distort_picture(np.full((2, 2, 3), 250, np.uint8), "MSH", 4).max() == 255


def test_contrast_is_scaled_about_black(pictures):
    picture = pictures["coffee"]
    assert np.abs(distort_picture(picture, "CCL", 4) - 0.4 * picture.astype(float)).max() <= 0.5
    assert np.array_equal(distort_picture(picture, "CCH", 1), np.rint(picture * np.float32(1.2)).clip(0, 255).astype(np.uint8))


def test_saturation_leaves_luma_alone_and_none_is_grey():
    picture = np.random.default_rng(1).integers(90, 160, (40, 40, 3), np.uint8)
    luma = picture @ np.array([0.299, 0.587, 0.114])
    for level in (1, 2, 3):
        assert np.abs(distort_picture(picture, "CS", level) @ np.array([0.299, 0.587, 0.114]) - luma).max() < 1
    assert np.ptp(distort_picture(picture, "CS", 2).astype(int), axis=2).max() <= 1


def test_quantised_to_as_many_values(pictures):
    for level, thresholds in enumerate((9, 7, 5, 3), 1):
        values = np.unique(distort_picture(pictures["coffee"], "QN", level))
        assert len(values) == thresholds + 1 and values[0] == 0 and values[-1] == 255


def test_otsu_is_the_optimum():
    from skimage.filters import threshold_multiotsu

    picture = data.coins()[:64, :64]
    histogram = np.bincount(picture.ravel(), minlength=256)

    def within(cuts: list[int]) -> float:
        parts = np.split(picture.ravel()[np.argsort(picture.ravel())], np.cumsum(histogram)[cuts])
        return float(sum(((part - part.mean()) ** 2).sum() for part in parts if part.size))

    for count in (1, 2, 3):
        assert within(otsu(histogram, count)) == pytest.approx(within(list(threshold_multiotsu(picture, count + 1))), rel=1e-9)
    assert otsu(np.bincount([3, 3, 200], minlength=256), 1)[0] in range(3, 200)


def test_blur_has_its_width():
    point = np.zeros((61, 61, 3), np.uint8)
    point[30, 30] = 255
    copy = distort_picture(np.tile(point, 1), "GB", 1).astype(float)[..., 0]
    x = np.arange(61) - 30
    weights = np.exp(-(x**2) / 2 / (7 / 6) ** 2) * (abs(x) <= 3)
    weights /= weights.sum()
    assert np.abs(copy - 255 * np.outer(weights, weights)).max() <= 0.51
    flat = distort_picture(np.full((20, 20, 3), 99, np.uint8), "GB-LIVE", 5)
    assert np.all(flat == 99)


def test_jpeg_is_pillows(pictures, tmp_path):
    for level, quality in enumerate((43, 12, 7, 4), 1):
        Image.fromarray(pictures["chelsea"]).save(tmp_path / "x.jpg", quality=quality, subsampling=2)
        assert np.array_equal(distort_picture(pictures["chelsea"], "JPEG", level), load(tmp_path / "x.jpg"))
    assert np.array_equal(
        distort_picture(pictures["chelsea"], "JPEG-LIVE", 5), jpeg(pictures["chelsea"], 1, generator(0, "", ""))
    )


def test_jpeg2000_keeps_to_its_rate(pictures, tmp_path):
    for ratio in TYPES["JP2K-LIVE"].levels[:4]:
        Image.fromarray(pictures["coffee"]).save(
            tmp_path / "x.j2k", quality_mode="rates", quality_layers=[ratio], irreversible=True
        )
        bits = os.path.getsize(tmp_path / "x.j2k") * 8 / 256**2
        assert bits <= 24 / ratio * 1.1


def test_a_palette_has_at_most_its_colours(pictures):
    for level, colours in enumerate(TYPES["CQD"].levels, 1):
        copy = distort_picture(pictures["coffee"], "CQD", level)
        assert len(np.unique(copy.reshape(-1, 3), axis=0)) <= colours
        assert np.abs(copy.mean(axis=(0, 1)) - pictures["coffee"].mean(axis=(0, 1))).max() < 8  # dither keeps the mean


def test_patches_and_blocks_come_from_the_picture():
    ramp = np.zeros((200, 200, 3), np.uint8)
    ramp[:] = np.arange(200, dtype=np.uint8)[None, :, None]
    changed = distort_picture(ramp, "NEPN", 1).astype(int) - ramp
    assert set(np.unique(changed)) == {-5, 0}
    copy = distort_picture(ramp, "BW", 4)
    assert set(np.unique(copy[copy != ramp])) == {100}  # the mean, 99.5, to even
    assert np.all(distort_picture(ramp, "BW", 1)[..., 0][distort_picture(ramp, "BW", 1)[..., 1] != ramp[..., 1]] == 0)


def test_colours_go_apart_by_so_many_pixels():
    line = np.zeros((9, 60, 3), np.uint8)
    line[:, 20] = 255
    copy, repo = (distort_picture(line, name, 2) for name in ("CA", "CA-REPO"))
    assert [int(copy[4, :, c].argmax()) for c in range(3)] == [26, 20, 23]
    assert [int(repo[4, :, c].argmax()) for c in range(3)] == [25, 22, 20]


def test_a_denoiser_makes_a_noisy_picture_smoother(pictures):
    picture = pictures["coffee"]
    noisy = distort_picture(picture, "GN", 3)
    clean = distort_picture(picture, "ID", 3)
    assert psnr(picture, clean) > psnr(picture, noisy) + 3


# --- names -----------------------------------------------------------------------------------------------------------


def test_names_and_presets():
    assert find("gn").name == "GN" and find("X264").name == "x264"
    with pytest.raises(UsageError, match=r"no distortion 'jpg'; did you mean JPEG"):
        find("jpg")
    with pytest.raises(UsageError, match="no preset 'tidd'; there are tid"):
        preset("tidd")
    with pytest.raises(UsageError, match="GN has levels 1 to 4, not 5"):
        distort_picture(GREY, "GN", 5)
    with pytest.raises(UsageError, match="judder is for video"):
        distort_picture(GREY, "judder", 1)
    with pytest.raises(UsageError, match="uint8"):
        distort_picture(GREY.astype(float), "GN", 1)
    assert {name for names, _ in PRESETS.values() for name in names} | {"HFN-REPO", "CA-REPO"} == set(TYPES)
    assert len(preset("tid")) == 19 and all(len(one.levels) == 4 for one in preset("tid"))
    assert [len(one.levels) for one in preset("mlive")] == [9, 9]
    assert ladder("x264", (20, 26)).levels == (20, 26)
    for bad in (("gn", (1, 2)), ("x264", (30, 20)), ("av1", ())):
        with pytest.raises(UsageError):
            ladder(*bad)


# --- video -----------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT, FRAMES = 128, 96, 30


def moving(n: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Frame `n` of a slow pan over a photograph: (height, width, 3) uint8."""
    picture = data.astronaut()
    return picture[40 + 2 * n : 40 + 2 * n + height, 100 + 3 * n : 100 + 3 * n + width]


def clip(path: Path, pix_fmt: str = "yuv420p", width: int = WIDTH, height: int = HEIGHT, frames: int = FRAMES) -> Path:
    info = VideoInfo("made", width, height, PixelFormat.parse(pix_fmt), Fraction(25))
    write((from_rgb(moving(n, width, height), info) for n in range(frames)), info, str(path), FFV1)
    return path


@pytest.fixture(scope="module")
def ladders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[dict[str, str]]]:
    """A clip, and every video type at every level of it: (clip, folder, rows of the table)."""
    folder = tmp_path_factory.mktemp("ladders")
    source = clip(folder / "pan.mkv")
    code = subprocess.run([sys.executable, "-m", "vqmeter", "distort", str(source), str(folder / "out"), "--preset", "video",
                           "--preset", "codecs", "--types", "gb,qn"], timeout=200, check=False).returncode  # fmt: skip
    assert code == 0
    with open(folder / "out" / "distortions.csv", newline="") as file:
        return source, folder / "out", list(csv.DictReader(file))


def test_every_video_type_is_made_and_ranked(ladders):
    source, folder, rows = ladders
    assert len(rows) == sum(len(one.levels) for one in VIDEO_TYPES) + 8
    report = measure([str(folder / row["path"]) for row in rows], reference=str(source), metrics=["psnr", "ssim"])
    scores: dict[str, list[tuple[float, float]]] = {}
    for row, result in zip(rows, report.results, strict=True):
        assert result.error is None and result.validity["frames_compared"] == FRAMES, row
        assert bool(result.validity["warnings"]) == (row["type"] in ("judder", "framedrop")), row  # these are out of step
        scores.setdefault(row["type"], []).append((result.statistic("psnr_y.mse_pooled"), result.statistic("ssim_y")))
    for name, pairs in scores.items():
        for (psnr_a, ssim_a), (psnr_b, ssim_b) in pairwise(pairs):
            assert psnr_b < psnr_a and ssim_b < ssim_a, (name, pairs)


def test_the_table_tells_how_files_were_made(ladders):
    source, folder, rows = ladders
    row = next(row for row in rows if row["type"] == "x264" and row["level"] == "2")
    assert row["path"] == "pan_x264_2.mp4" and row["seed"] == "0"
    assert row["parameters"] == "crf=31 encoder=libx264 preset=medium"
    assert (folder / row["reference"]).resolve() == source
    assert all((folder / row["path"]).stat().st_mode & 0o777 == source.stat().st_mode & 0o777 for row in rows)
    assert not [name for name in os.listdir(folder) if name.startswith(".")]


def samples(path: Path) -> list[np.ndarray]:
    source = open_video(str(path))
    try:
        return [np.concatenate([plane.ravel() for plane in frame.planes]) for frame in source.frames()]
    finally:
        source.close()


def test_time_is_bent_as_the_table_says(ladders):
    source, folder, _ = ladders
    frames = samples(source)
    shown = [next(i for i, frame in enumerate(frames) if np.array_equal(frame, seen))
             for seen in samples(folder / "pan_judder_2.mkv")]  # fmt: skip
    assert shown[:7] == [0, 1, 1, 3, 4, 4, 6]
    dropped = samples(folder / "pan_framedrop_4.mkv")
    assert np.array_equal(dropped[0], frames[0])
    lost = [not np.array_equal(a, b) for a, b in zip(frames, dropped, strict=True)]
    assert sum(lost[1:11]) == sum(lost[11:21]) == 6 and not lost[0]
    combed = samples(folder / "pan_interlacing_1.mkv")
    now, before = (frames[n][: WIDTH * HEIGHT].reshape(HEIGHT, WIDTH) for n in (5, 4))
    luma = combed[5][: WIDTH * HEIGHT].reshape(HEIGHT, WIDTH)
    assert np.array_equal(luma[::2], now[::2]) and np.array_equal(luma[1::2], before[1::2])


def test_noise_and_flicker_keep_to_their_values(ladders):
    source, folder, _ = ladders
    frames, noisy = (samples(path) for path in (source, folder / "pan_noise_1.mkv"))
    assert np.std(noisy[3].astype(float) - frames[3]) == pytest.approx(4, rel=0.05)
    assert not np.array_equal(noisy[3].astype(int) - frames[3], noisy[4].astype(int) - frames[4])
    bright = samples(folder / "pan_flicker_3.mkv")
    size = WIDTH * HEIGHT
    gains = [np.polyfit(a[:size] - 16.0, b[:size] - 16.0, 1)[0] for a, b in zip(frames, bright, strict=True)]
    assert 0.79 < min(gains) < 0.95 and 1.05 < max(gains) < 1.21
    assert all(np.array_equal(a[size:], b[size:]) for a, b in zip(frames, bright, strict=True))


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv422p", "yuv444p", "gray", "yuv411p", "gbrp10le"])
def test_any_format_and_odd_sizes(pix_fmt, tmp_path, cli):
    if pix_fmt == "gbrp10le":
        info = VideoInfo("made", 65, 49, PixelFormat.parse(pix_fmt), Fraction(25))
        planes = [from_rgb(moving(n, 65, 49), VideoInfo("", 65, 49, PixelFormat.parse("gbrp"))) for n in range(3)]
        write((tuple(p.astype(np.uint16) * 4 for p in one) for one in planes), info, str(tmp_path / "a.mkv"), FFV1)
    else:
        clip(tmp_path / "a.mkv", pix_fmt, 65, 49, 3)
    types = "damage,noise,blur,aliasing,flicker,interlacing,gb,vp9,mpeg2"
    code, _, err = cli("distort", tmp_path / "a.mkv", tmp_path / "out", "--types", types, "--levels", 2)
    assert (code, err) == (0, "")
    for name in types.split(","):
        (path,) = (tmp_path / "out").glob(f"a_{find(name).name}_2.*")
        source = open_video(str(path))
        assert (source.info.width, source.info.height, source.length()) == (65, 49, 3)
        if find(name).kind != "codec":
            assert source.info.pix_fmt.name == pix_fmt
        source.close()
    code, _, err = cli("distort", tmp_path / "a.mkv", tmp_path / "out", "--types", "x264", "--levels", 1)
    takes = pix_fmt in ("yuv444p", "gray", "gbrp10le")
    assert code == (0 if takes else 4)
    assert takes or "libx264 takes even sizes only in 4:2:0" in err


@pytest.mark.parametrize("size", [(1, 1), (2, 1080), (159, 159), (175, 143), (1920, 3), (4096, 2161)], ids=str)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "gray10le"])
def test_what_is_kept_without_loss_has_any_size(size, pix_fmt, tmp_path):
    info = VideoInfo("made", *size, PixelFormat.parse(pix_fmt), Fraction(25))
    rng = np.random.default_rng(0)
    sizes = [size, *[info.pix_fmt.chroma_size(*size)] * 2][: len(info.pix_fmt.components)]
    planes = tuple(rng.integers(0, 256, (h, w)).astype(info.pix_fmt.dtype) for w, h in sizes)
    write(iter([planes]), info, str(tmp_path / "a.mkv"), FFV1)
    (kept,) = samples(tmp_path / "a.mkv")
    assert np.array_equal(kept, np.concatenate([plane.ravel() for plane in planes]))


def test_rgb_goes_to_planes_and_back():
    across, down = np.meshgrid(np.linspace(20, 230, 51), np.linspace(30, 200, 41))
    smooth = np.stack([across, down, np.full_like(across, 90)], 2).astype(np.uint8)
    for name in ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gbrp", "yuvj420p"):
        info = VideoInfo("x", 51, 41, PixelFormat.parse(name))
        planes = from_rgb(smooth, info)
        assert planes[-1].shape[::-1] == (info.pix_fmt.chroma_size(51, 41) if "yuv" in name else (51, 41))
        back = to_rgb(Frame(info, 0, lambda planes=planes: planes))
        assert np.abs(back.astype(int) - smooth).mean() < 1


@pytest.mark.parametrize("form", ["y4m", "yuv"])
def test_other_forms_of_video(form, tmp_path, cli):
    clip(tmp_path / "a.mkv", "yuv420p10le", 64, 48, 3)
    assert cli("distort", tmp_path / "a.mkv", tmp_path / form, "--types", "noise", "--levels", 1, "-f", form)[0] == 0
    assert cli("distort", tmp_path / "a.mkv", tmp_path / "mkv", "--types", "noise", "--levels", 1)[0] == 0
    (made,) = (tmp_path / form).glob(f"*.{form}")
    for a, b in zip(samples(made), samples(tmp_path / "mkv" / "a_noise_1.mkv"), strict=True):
        assert np.array_equal(a, b)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(data.coffee()[:65, :99]).save(folder / "cup.png")
    Image.fromarray(data.camera()[:64, :80]).save(folder / "grey.png")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_pictures_by_command(photographs, tmp_path, cli: Callable):
    code, out, err = cli("distort", photographs, tmp_path / "a", "--levels", "1,3", "--jobs", 1, "--seed", 4)
    assert (code, out, err) == (0, f"{tmp_path / 'a' / 'distortions.csv'}\n", "")
    made = contents(tmp_path / "a")
    assert len(made) == 2 * 19 * 2 + 1 and "cup_JPEG_3.png" in made
    assert load(tmp_path / "a" / "cup_GN_1.png").shape == (65, 99, 3)
    rows = list(csv.DictReader(made["distortions.csv"].decode().splitlines()))
    assert rows[0] == {"path": "cup_GN_1.png", "reference": "../in/cup.png", "type": "GN", "level": "1", "seed": "4",
                       "parameters": "variance=0.001"}  # fmt: skip
    want = distort_picture(load(photographs / "cup.png"), "GN", 3, 4, "cup")
    assert np.array_equal(load(tmp_path / "a" / "cup_GN_3.png"), want)
    assert cli("distort", photographs, tmp_path / "b", "--levels", "1,3", "--jobs", 3, "--seed", 4)[0] == 0
    assert contents(tmp_path / "b") == made


def test_what_is_there_is_not_made_again(photographs, tmp_path, cli):
    words = ("distort", photographs / "cup.png", tmp_path / "a", "--types", "gn,ca")
    assert cli(*words)[0] == 0
    gone, kept = tmp_path / "a" / "cup_GN_2.png", tmp_path / "a" / "cup_CA_2.png"
    gone.unlink()
    before = kept.stat().st_mtime_ns
    assert cli(*words)[0] == 0
    assert gone.exists() and kept.stat().st_mtime_ns == before
    code, _, err = cli(*words, "--seed", 1)
    assert code == 2 and "cup_GN_1.png was made another way" in err and "--overwrite" in err
    assert cli(*words, "--seed", 1, "--overwrite")[0] == 0
    assert kept.stat().st_mtime_ns > before
    assert cli("distort", photographs / "grey.png", tmp_path / "a", "--types", "msh")[0] == 0
    rows = list(csv.DictReader((tmp_path / "a" / "distortions.csv").read_text().splitlines()))
    assert len(rows) == 12 and {row["seed"] for row in rows} == {"0", "1"}
    time.sleep(0.01)
    os.utime(photographs / "cup.png")
    assert cli(*words, "--seed", 1)[0] == 0
    assert gone.stat().st_mtime_ns > (photographs / "cup.png").stat().st_mtime_ns


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--types", "jpg"), "no distortion 'jpg'; did you mean JPEG"),
        (("--preset", "all"), "no preset 'all'"),
        (("--types", "gn", "--levels", "7"), "GN has levels 1 to 4, not 7"),
        (("--levels", "none"), "--levels takes numbers from 1"),
        (("--types", "judder"), "one picture, and judder need a video"),
        (("--ladder", "x26=3"), "no distortion 'x26'; did you mean x26"),
        (("--ladder", "x264=a,b"), "--ladder is CODEC=Q"),
        (("-f", "png", "-f", "bmp"), "one form for pictures"),
    ],
)
def test_wrong_words_are_told(words, message, photographs, tmp_path, cli):
    code, out, err = cli("distort", photographs / "cup.png", tmp_path / "a", *words)
    assert code == 2 and out == "" and message in err and err.count("\n") == 1


def test_wrong_files_are_told(photographs, tmp_path, cli):
    assert "no such file" in cli("distort", tmp_path / "none.png", tmp_path / "a")[2]
    assert cli("distort", "-", tmp_path / "a")[0] == 2
    assert cli("distort", photographs, photographs)[0] == 2
    (tmp_path / "empty").mkdir()
    assert cli("distort", tmp_path / "empty", tmp_path / "a")[0] == 4
    (photographs / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    code, _, err = cli("distort", photographs, tmp_path / "a", "--types", "gn", "--levels", 1)
    assert code == 4 and err.count("\n") == 1 and "broken.png" in err
    assert (tmp_path / "a" / "cup_GN_1.png").exists()
    Image.fromarray(load(photographs / "cup.png")).save(photographs / "cup.bmp")
    (photographs / "broken.png").unlink()
    assert "would both be made into" in cli("distort", photographs, tmp_path / "b", "--types", "gn")[2]
    (tmp_path / "file").write_text("")
    assert cli("distort", photographs / "cup.png", tmp_path / "file", "--types", "gn")[0] == 4
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "distortions.csv").write_text("a,b\n1,2\n")
    assert "not a table of vqmeter distort" in cli("distort", photographs / "cup.png", tmp_path / "c", "--types", "gn")[2]


def test_a_mixed_folder_and_a_ladder(photographs, tmp_path, cli):
    clip(photographs / "pan.mkv", frames=4)
    code, _, err = cli("distort", photographs, tmp_path / "a", "--types", "msh", "--ladder", "x264=20,50", "--levels", 2)
    assert code == 0 and "cup.png: one picture, so without x264" in err
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        "cup_MSH_2.png", "grey_MSH_2.png", "pan_MSH_2.mkv", "pan_x264_2.mp4", "distortions.csv"}  # fmt: skip


def test_a_numbered_sequence_is_a_video(tmp_path, cli):
    for n in range(3):
        Image.fromarray(moving(n)).save(tmp_path / f"f_{n:02d}.png")
    assert cli("distort", tmp_path / "f_%02d.png", tmp_path / "a", "--types", "interlacing", "--levels", 1)[0] == 0
    assert len(samples(tmp_path / "a" / "f_interlacing_1.mkv")) == 3
    report = measure([str(tmp_path / "a" / "f_interlacing_1.mkv")], reference=str(tmp_path / "f_%02d.png"), metrics=["psnr"])
    assert report.results[0].error is None and 10 < report.results[0].statistic("psnr_g.mse_pooled") < 40


def test_list_shows_every_type_without_loading_numba(cli):
    code, out, _ = cli("distort", "--list")
    assert code == 0 and all(name in out for name in TYPES) and "--preset tid: GN" in out
    check = "import sys; from vqmeter.cli import command; command.main(['distort', '--list'], standalone_mode=False)\n"
    check += "assert not {'numba', 'torch', 'av', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, stdout=subprocess.DEVNULL, timeout=60)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_run_that_is_broken_off_leaves_whole_files_and_goes_on(tmp_path):
    source = clip(tmp_path / "pan.mkv", width=256, height=192)
    types = "noise,blur,judder"
    words = [sys.executable, "-m", "vqmeter", "distort", str(source), str(tmp_path / "a"), "--types", types, "--jobs", "1"]
    running = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while running.poll() is None and len(list(tmp_path.glob("a/pan_*"))) < 2:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130 and b"Traceback" not in err
    rows = (tmp_path / "a" / "distortions.csv").read_text().splitlines()[1:]
    files = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir() if path.suffix == ".mkv"}
    assert 2 <= len(rows) == len(files) < 12 and not list(tmp_path.glob("a/.vqmeter*"))
    assert subprocess.run(words, stdout=subprocess.DEVNULL, check=False, timeout=120).returncode == 0
    assert all((tmp_path / "a" / name).stat().st_mtime_ns == when for name, when in files.items())
    assert len(list(tmp_path.glob("a/*.mkv"))) == 12
