"""Fixtures that more than one test file uses: test data beside the project, small clips, and the command line."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

REPO = Path(__file__).resolve().parent.parent


def testdata_folder() -> Path | None:
    """`$VQMETER_TESTDATA`, else `../shared`; None where neither is there."""
    folder = Path(os.environ.get("VQMETER_TESTDATA", REPO.parent / "shared"))
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def testdata() -> Path:
    folder = testdata_folder()
    if folder is None:
        pytest.skip("no test data: set VQMETER_TESTDATA to a folder with media/ and golden/")
    return folder


@pytest.fixture(scope="session")
def moving_luma() -> Callable[..., np.ndarray]:
    return _moving_luma


def _moving_luma(frames: int, width: int, height: int, peak: int, seed: int = 0) -> np.ndarray:
    """(frames, height, width) of smooth moving texture in 0..peak, int64."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = rng.uniform(0.02, 0.4, (6, 2))
    phases = rng.uniform(0, 6.28, 6)
    out = []
    for t in range(frames):
        picture = sum(np.sin(a * x + b * y + p + 0.2 * t) for (a, b), p in zip(waves, phases, strict=True))
        out.append((picture / 12 + 0.5) * peak)
    return np.clip(np.rint(out), 0, peak).astype(np.int64)


@pytest.fixture
def raw_pair(tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """Writes `ref_WxH.yuv` and `dist_WxH.yuv` (8 bit 4:2:0 unless told) and gives their paths."""

    def make(
        width: int = 64, height: int = 48, frames: int = 5, depth: int = 8, noise: float = 4.0, dist_frames: int | None = None,
        folder: Path | None = None,
    ) -> tuple[str, str]:  # fmt: skip
        peak = (1 << depth) - 1
        dtype = np.uint8 if depth == 8 else np.uint16
        suffix = "" if depth == 8 else f"_{depth}b"
        luma = _moving_luma(frames, width, height, peak)
        rng = np.random.default_rng(1)
        paths = []
        for name, amount, count in (("ref", 0.0, frames), ("dist", noise, dist_frames or frames)):
            path = (folder or tmp_path) / f"{name}_{width}x{height}{suffix}.yuv"
            with open(path, "wb") as file:
                for n in range(count):
                    grain = np.rint(rng.normal(0, amount * peak / 255, (height, width))) if amount else 0
                    picture = np.clip(luma[n % frames] + grain, 0, peak).astype(dtype)
                    chroma = picture[: -(-height // 2), : -(-width // 2)]
                    file.write(picture.tobytes() + np.ascontiguousarray(chroma).tobytes() * 2)
            paths.append(str(path))
        return paths[0], paths[1]

    return make


@pytest.fixture(scope="session")
def real_frames(testdata: Path) -> list[np.ndarray]:
    """75 frames of a real clip: (270, 320) uint8, yuv420p of 320x180."""
    import av

    path, frames = testdata / "media" / "clips" / "mmaction_test.mp4", []
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with av.open(str(path)) as container:
        for picture in container.decode(video=0):
            frames.append(picture.reformat(320, 180, "yuv420p").to_ndarray())
            if len(frames) == 75:
                break
    return frames


@pytest.fixture
def encode(tmp_path: Path) -> Callable[..., str]:
    """Encodes yuv420p frames as they are given to `real_frames`, and gives the path; `times` are in milliseconds."""
    import av

    def make(name: str, frames: list[np.ndarray], codec: str = "libx264", rate: str = "25", times: list[int] | None = None,
             fmt: str = "yuv420p", color_range: int = 0, **options: object) -> str:  # fmt: skip
        path = str(tmp_path / name)
        said = {"preset": "veryfast", "crf": "23", "threads": "1"} if codec == "libx264" else {}
        with av.open(path, "w") as out:
            stream = out.add_stream(codec, rate=Fraction(rate), options=said | {k: str(v) for k, v in options.items()})
            stream.height, stream.width = frames[0].shape[0] * 2 // 3, frames[0].shape[1]
            stream.pix_fmt, stream.codec_context.color_range = fmt, color_range
            if times is not None:
                stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
            for n, planes in enumerate(frames):
                picture = av.VideoFrame.from_ndarray(planes, "yuv420p").reformat(format=fmt)
                picture.pts = n if times is None else times[n]
                picture.time_base = 1 / Fraction(rate) if times is None else Fraction(1, 1000)
                out.mux(stream.encode(picture))
            out.mux(stream.encode(None))
        return path

    return make


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process: (exit code, stdout, stderr)."""
    from vqmeter.cli import main

    def run(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(a) for a in args])
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return run


@pytest.fixture(scope="module")
def seeded_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Weights filled by a seed for every learned model, where all of them look."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        seeded = importlib.import_module("seeded")
        patch.setenv("VQMETER_WEIGHTS", str(seeded.write_all(tmp_path_factory.mktemp("weights"))))
        yield


@pytest.fixture
def empty_box(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An installation without bundled weights, that knows the published sets."""
    import json

    from vqmeter.weights import manifest

    box = tmp_path / "box"
    box.mkdir()
    entries = json.loads((manifest.bundled() / "manifest.json").read_text("utf-8"))["weights"]
    (box / "manifest.json").write_text(json.dumps({"weights": [e for e in entries if not e.get("bundled")]}), "utf-8")
    monkeypatch.setattr(manifest, "bundled", lambda: box)
    return box


@pytest.fixture(scope="session")
def ffmpeg():
    """A program with libvmaf in it."""
    from vqmeter.errors import UsageError
    from vqmeter.metrics.fr.vmaf import find_ffmpeg

    try:
        return find_ffmpeg()
    except UsageError as missing:
        pytest.skip(str(missing))
