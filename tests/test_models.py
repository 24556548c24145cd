"""Every learned model on real clips: the same scores from mp4, Y4M and a pipe, alone and together, and no clip it fails on.

Weights are seeded, so the numbers mean nothing; what is held is everything around them. By default two clips and a few
frames; `VQMETER_TEST_CLIPS=8 VQMETER_TEST_FRAMES=48` (or `all`) for the long form.
"""

import json
import os
import subprocess
import sys

import av
import numpy as np
import pytest

from vqmeter import measure
from vqmeter.metric import NAMES
from vqmeter.sources import open_video

pytestmark = pytest.mark.usefixtures("seeded_weights")
COUNT = os.environ.get("VQMETER_TEST_CLIPS", "2")
FRAMES = int(os.environ.get("VQMETER_TEST_FRAMES", "20"))
NR = sorted(set(NAMES["nr"]) - {"hybrid"})  # which wants a bitstream, and Y4M has none
FR = [name for name in ("dipqa", "diqam", "c3d_fr") if name in NAMES["fr"]]
WIDTH, HEIGHT = 320, 180


def cut(path, folder):
    """The first frames of a clip at 320x180, lossless in mp4, and what that decodes to as Y4M."""
    small = folder / f"{path.stem}.mp4"
    with av.open(str(path)) as container, av.open(str(small), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for n, frame in enumerate(container.decode(video=0)):
            if n == FRAMES:
                break
            picture = frame.reformat(WIDTH, HEIGHT, "yuv420p")
            picture.pts = n
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    source = open_video(str(small))
    with open(folder / f"{path.stem}.y4m", "wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F25:1 C420mpeg2\n".encode())
        for frame in source.frames():
            file.write(b"FRAME\n" + b"".join(np.ascontiguousarray(plane).tobytes() for plane in frame.planes))
    source.close()
    return str(small), str(folder / f"{path.stem}.y4m")


@pytest.fixture(scope="module")
def clips(testdata, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    paths = sorted(p for p in (testdata / "media/clips").iterdir() if p.suffix in (".mp4", ".mkv", ".avi", ".264"))
    chosen = paths if COUNT == "all" else paths[:: max(1, len(paths) // int(COUNT))][: int(COUNT)]
    return [cut(path, folder) for path in chosen]


def raws(result):
    """The raw answer of every model of a result."""
    assert result.error is None, result.error
    found = {name: values["raw"] for name, values in result.whole.items() if "raw" in values}
    assert found and all(np.isfinite(value) for value in found.values())
    return found


def wide(result, name):
    """A ten-thousandth of a model's scale, in raw units: seeded labels run from -4 to 4, the C3D's to 4000."""
    return 1e-4 * (8000 if name.startswith("c3d") else 8)


def assert_same(one, other):
    mine, theirs = raws(one), raws(other)
    for name, value in mine.items():
        assert value == pytest.approx(theirs[name], abs=wide(one, name)), name


@pytest.fixture(scope="module")
def together(clips):
    """All no-reference models over every clip in one pass."""
    return [measure(mp4, models=NR).only for mp4, _ in clips]


def test_every_model_scores_every_clip(together):
    for result in together:
        assert set(raws(result)) == set(NR)
        assert all(0 <= result.pooled[name]["score"] <= 100 for name in NR)


@pytest.mark.parametrize("name", NR)
def test_batch_threads_company_and_container_do_not_matter(clips, together, name):
    for (mp4, y4m), result in zip(clips, together, strict=True):
        assert_same(measure(mp4, models=name, batch=1, threads=1).only, result)
        assert_same(measure(y4m, models=name, batch=16, threads=2).only, result)


def test_a_pipe_gives_the_same(clips, together):
    _, y4m = clips[0]
    code = ("import json, sys; from vqmeter import measure\n"
            "print(json.dumps({k: v['raw'] for k, v in measure('-', models=sys.argv[1], frames=int(sys.argv[2]))"
            ".only.whole.items()}))")  # fmt: skip
    frames = str(len(together[0].columns["n"]))
    with open(y4m, "rb") as pipe:
        run = subprocess.run([sys.executable, "-c", code, ",".join(NR), frames], stdin=pipe, capture_output=True, check=True)
    piped = json.loads(run.stdout)
    for name, value in raws(together[0]).items():
        assert piped[name] == pytest.approx(value, abs=wide(together[0], name))


@pytest.mark.parametrize("name", FR)
def test_models_of_pairs(clips, tmp_path, name):
    (_, ref), *_ = clips
    source, dist = open_video(ref), tmp_path / "dist.y4m"
    with open(dist, "wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F25:1 C420mpeg2\n".encode())
        for frame in source.frames():
            file.write(b"FRAME\n" + b"".join((plane // 32 * 32).tobytes() for plane in frame.planes))
    source.close()
    one = measure(dist, reference=ref, metrics=name).only
    assert_same(measure(dist, reference=ref, metrics=[name, "ssim"], batch=1, threads=1).only, one)
    same = measure(ref, reference=ref, metrics=name).only
    assert raws(one)[name] != raws(same)[name]


def test_differences_to_the_reference(clips):
    mp4, y4m = clips[0]
    result = measure(mp4, reference=y4m, metrics="psnr", models="vsfa,rankiqa:crops=4", model_ref=True, frames=4).only
    for name in ("vsfa", "rankiqa"):
        difference = result.pooled[f"{name}_diff"]["score"]
        assert difference == result.pooled[name]["score"] - result.pooled[f"{name}_ref"]["score"]
        assert abs(difference) < 0.1  # the same samples, decoded twice


@pytest.mark.parametrize("size", [(64, 64), (33, 57), (90, 160), (353, 201)])
def test_small_odd_and_upright(size, tmp_path):
    path = tmp_path / f"clip_{size[0]}x{size[1]}.yuv"
    rng = np.random.default_rng(0)
    chroma = -(-size[0] // 2) * -(-size[1] // 2)
    rng.integers(0, 256, 3 * (size[0] * size[1] + 2 * chroma), dtype=np.uint8).tofile(path)
    assert set(raws(measure(path, models=NR).only)) == set(NR)


def test_pictures(testdata):
    picture = sorted((testdata / "media/images/kodak").glob("*.png"))[0]
    assert set(raws(measure(picture, models=NR).only)) == set(NR)
