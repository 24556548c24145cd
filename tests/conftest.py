"""Fixtures that more than one test file uses: test data beside the project, small clips, and the command line."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
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
