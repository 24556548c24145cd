"""The shell scripts of the manual run as they stand, on nine frames of a real clip."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "man" / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.sh"))
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def run(script, *words, folder, **more):
    """A script run in a folder, with this installation's vqmeter and python3 first on the PATH."""
    command = ["bash", str(EXAMPLES / script), *map(str, words)]
    environment = {**os.environ, "PATH": PATH, **more}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)


def needs():
    if not shutil.which("bash") or not shutil.which("vqmeter", path=PATH):
        pytest.skip("bash or the vqmeter command is not here")


@pytest.fixture(scope="module")
def ladder(testdata, tmp_path_factory):
    """A folder with clip.y4m, and what ladder_bdrate.sh made of it and printed."""
    from vqmeter.convert import How, convert

    needs()
    pytest.importorskip("bjontegaard", reason="the extra bdrate is not installed")
    if not shutil.which("ffmpeg"):
        pytest.importorskip("imageio_ffmpeg", reason="no ffmpeg on the PATH, and the extra vmaf is not installed")
    folder = tmp_path_factory.mktemp("ladder")
    convert(str(testdata / "media" / "clips" / "CiscoVT2people_320x192_12fps.yuv"), str(folder / "clip.y4m"), How())
    return folder, run("ladder_bdrate.sh", "clip.y4m", "out", folder=folder, METRICS="psnr")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_short_and_strict(path):
    text = path.read_text("utf-8")
    assert text.startswith("#!/usr/bin/env bash\n# ") and "\nset -euo pipefail\n" in text and os.access(path, os.X_OK)
    assert len(text.splitlines()) < 40 and max(map(len, text.splitlines())) <= 128
    assert f"#   {path.name} " in text, "the usage is in its head"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_say_how_they_are_called(path, tmp_path):
    needs()
    done = run(path.name, folder=tmp_path)
    assert done.returncode != 0 and f"usage: {path.name}" in done.stderr and not os.listdir(tmp_path)


def test_ladder_bdrate(ladder):
    folder, done = ladder
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("av1 against x264 (pchip)") and re.search(
        r"^psnr_y +[-+]\d+\.\d\d %", done.stdout, re.MULTILINE
    )
    for codec in ("x264", "av1"):
        results = json.loads((folder / "out" / f"{codec}.json").read_text())["results"]
        points = sorted((r["inputs"]["distorted"]["bitrate"], r["pooled"]["psnr_y"]["score"]) for r in results)
        assert len(points) == 4 and [q for _, q in points] == sorted(q for _, q in points)
    assert "<svg" in (folder / "out" / "curves.svg").read_text()[:1000]
    assert not list((folder / "out").glob("*.part.mp4"))


def test_crf_search(ladder):
    folder, _ = ladder
    done = run("crf_search.sh", "clip.y4m", 36, folder=folder)
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(r"crf (\d+) psnr_y\.p5 ([\d.]+) bytes (\d+)\n", done.stdout)
    assert float(found[2]) >= 36 and int(found[3]) == (folder / "best.mp4").stat().st_size
    assert f"/{int(found[1]) + 1}.mp4: psnr_y.p5 is 35." in done.stderr, "one CRF more is under the limit"
    none = run("crf_search.sh", "clip.y4m", 90, folder=folder)
    assert none.returncode == 3 and "even CRF 12 has psnr_y.p5" in none.stderr and none.stdout == ""


def test_ci_gate(ladder):
    folder, _ = ladder
    good, bad = "out/x264_20.mp4", "out/x264_38.mp4"
    done = run("ci_gate.sh", "clip.y4m", "psnr_y=20,psnr_y.p5=20", good, bad, folder=folder, METRICS="psnr")
    assert done.returncode == 0 and done.stdout.endswith("quality is kept\n"), done.stderr
    done = run("ci_gate.sh", "clip.y4m", "psnr_y=20,psnr_y.p5=35", good, bad, folder=folder, METRICS="psnr")
    assert done.returncode == 3 and "x264_38.mp4: psnr_y.p5 is" in done.stderr and "quality fell" in done.stderr
    assert len(json.loads((folder / "quality.json").read_text())["results"]) == 2
    assert run("ci_gate.sh", "clip.y4m", "psnr_y=20", "none.mp4", folder=folder).returncode == 4


def test_nr_library_scan(ladder, tmp_path):
    from vqmeter.weights.manifest import bundled

    if not (bundled() / "niqe.safetensors").exists():
        pytest.skip("niqe has no weights here")
    folder, _ = ladder
    library = tmp_path / "my clips"
    library.mkdir()
    for name, crf in (("sharp.mp4", 20), ('soft, "old".mp4', 38)):
        shutil.copy(folder / "out" / f"x264_{crf}.mp4", library / name)
    (library / "broken.mkv").write_text("no video")
    done = run("nr_library_scan.sh", library, "niqe", folder=tmp_path)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert done.returncode == 4 and "broken.mkv" in done.stderr
    assert [Path(row["file"]).name for row in rows] == ["broken.mkv", "sharp.mp4", 'soft, "old".mp4']
    assert rows[0]["niqe"] == "nan" and float(rows[1]["niqe"]) < float(rows[2]["niqe"])
    (tmp_path / "empty").mkdir()
    assert run("nr_library_scan.sh", "empty", folder=tmp_path).returncode == 4
    assert run("nr_library_scan.sh", library, "nique", folder=tmp_path).stdout == ""
