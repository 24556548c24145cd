"""The recipe that makes material to train on: labels against `measure`, what is kept of a run that broke off, the division."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from skimage import data

from vqmeter import measure
from vqmeter.errors import UsageError
from vqmeter.metrics.fr.vmaf import find_ffmpeg
from vqmeter.sources import open_video

RECIPES = Path(__file__).resolve().parent.parent / "weights" / "recipes"


@pytest.fixture(scope="module")
def material() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(RECIPES)
        yield importlib.import_module("material")


@pytest.fixture(scope="module")
def pristine(material: ModuleType) -> ModuleType:
    return importlib.import_module("pristine")


@pytest.fixture(scope="module")
def variants(material: ModuleType) -> ModuleType:
    return importlib.import_module("variants")


@pytest.fixture(scope="module")
def made(material: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Media of one picture, and the folder where two of its variants are made. VP9's container counts in milliseconds."""
    try:
        find_ffmpeg()
    except UsageError:
        pytest.skip("no ffmpeg with libvmaf: pip install 'vqmeter[vmaf]'")
    media, out = tmp_path_factory.mktemp("media"), tmp_path_factory.mktemp("out")
    (media / "images" / "some").mkdir(parents=True)
    Image.fromarray(data.astronaut()).save(media / "images" / "some" / "astronaut.png")
    [(source, part, variants)] = material.plan(media, out, "held-out")
    material.make(source, part, [one for one in variants if one.name in ("pristine", "vp9_4")], out)
    return media, out


def lumas(path: Path) -> list[np.ndarray]:
    video = open_video(str(path))
    try:
        return [frame.planes[0].copy() for frame in video.frames()]
    finally:
        video.close()


def test_rows_and_labels_are_what_measure_says(material, made):
    _, out = made
    rows = {row["type"]: row for row in material.booked(out)}
    assert set(rows) == {"pristine", "vp9"}
    assert {row["part"] for row in rows.values()} == {"held-out"}
    assert float(rows["pristine"]["vmaf"]) > 97
    row = rows["vp9"]
    assert int(row["bytes"]) == (out / row["path"]).stat().st_size
    with np.load(out / "labels" / "astronaut" / "vp9_4.npz") as labels:
        report = measure(out / row["path"], reference=out / row["reference"], metrics="vmaf")
        assert labels["vmaf"] == pytest.approx(report.frames["vmaf"], abs=1e-3)
        assert float(row["vmaf"]) == pytest.approx(labels["vmaf"].mean(), abs=1e-3)
        assert labels["still"][0] == labels["vmaf"][0]  # nothing has moved yet
        assert (labels["still"] < labels["vmaf"])[1:].all()


def test_a_tile_is_labelled_as_a_video_of_its_own(made, tmp_path):
    _, out = made
    with np.load(out / "labels" / "astronaut" / "vp9_4.npz") as labels:
        assert labels["tile_vmaf"].shape == labels["tile_features"].shape[:3] == (20, *labels["boxes"].shape[:2])
        top, left, height, width = labels["boxes"][-1, -1]
        paths = []
        for name in ("pristine.mp4", "vp9_4.webm"):
            paths.append(tmp_path / f"{name}_{width}x{height}_gray.yuv")
            with open(paths[-1], "wb") as file:
                for luma in lumas(out / "clips" / "astronaut" / name):
                    assert luma.shape == (top + height, left + width)  # the last tile ends with the frame
                    file.write(luma[top:, left:].tobytes())
        report = measure(paths[1], reference=paths[0], metrics="vmaf")
        assert labels["tile_vmaf"][:, -1, -1] == pytest.approx(report.frames["vmaf"], abs=1e-3)


def test_what_is_booked_is_not_made_again(material, made):
    media, out = made
    table = out / "table.csv"
    whole = table.read_text()
    with open(table, "a") as file:
        file.write("clips/astronaut/x264_1.mp4,clips/as")  # a run that was killed here
    [(_, _, left)] = material.plan(media, out, "held-out")
    assert table.read_text() == whole
    assert {one.name for one in material.ladders()} - {one.name for one in left} == {"pristine", "vp9_4"}
    assert material.plan(media, out, "train") == []


def test_ladders_fall_in_quality_and_training_gets_every_type(variants):
    steps = [one for one in variants.ladders() if one.codec]
    for codec in variants.CODECS:
        ladder = [(one.fixed, one.crf) for one in steps if one.codec == codec]
        assert len(set(ladder)) == 6
        assert ladder == sorted(ladder)  # first by CRF, then at one quantiser for all frames
    drawn = variants.drawn("some")
    assert drawn == variants.drawn("some") != variants.drawn("other")
    assert {one.type for one in drawn} == {*variants.CODECS, *variants.LADDERS, "pristine", "mixed"}


def test_a_content_is_in_one_part_alone(pristine):
    sources = [pristine.Source(f"p{n}", f"p{n}", "picture", Path()) for n in range(70)]
    sources += [pristine.Source(f"kodim{n:02}", f"kodim{n:02}", "picture", Path()) for n in range(1, 12)]
    sources += [pristine.Source(f"c{n}", f"c{n // 2 if n < 6 else n}", "clip", Path()) for n in range(20)]
    parts = pristine.divide(sources)
    assert parts == pristine.divide(sources[::-1])
    every = [group for groups in parts.values() for group in groups]
    assert sorted(every) == sorted({one.group for one in sources})
    assert (len(parts["held-out"]), len(parts["val"])) == (44, 16)
    assert {"kodim01", "kodim08"} <= set(parts["held-out"])
    assert sum(group.startswith("kodim") for group in parts["held-out"]) == 4
    assert {"c0", "c1", "c2"} <= set(parts["train"])  # of two files each


def test_sharpness_of_a_ramp_and_of_noise(pristine):
    ramp = np.tile(np.arange(128, dtype=np.uint8), (64, 1))
    assert pristine.sharpness(ramp)[0] == pytest.approx(0.25)
    noise = np.random.default_rng(0).integers(0, 256, (256, 256)).astype(np.uint8)
    assert pristine.sharpness(noise) == (pytest.approx(1, abs=0.1), 0)
    assert pristine.sharpness(np.full((64, 64), 90, np.uint8))[1] == 1
