"""The wheel, installed with no checkout near, does what the editable install does."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with nothing but the built wheel unpacked by pip."""
    pytest.importorskip("build", reason="the package 'build' is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPO)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    return target


def call(installed, *args):
    env = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-m", "vqmeter", *args], capture_output=True, text=True, env=env, cwd=installed)


def test_it_is_the_wheel_that_runs(installed):
    env = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    code = "import vqmeter; print(vqmeter.__file__)"
    where = subprocess.run([sys.executable, "-c", code], env=env, cwd=installed, capture_output=True, text=True, check=True)
    assert where.stdout.startswith(str(installed))


def test_it_scores_as_the_checkout_does(installed, raw_pair):
    pair = raw_pair()
    here = subprocess.run([sys.executable, "-m", "vqmeter", "fr", "-q", *pair, "-f", "csv"], capture_output=True, text=True)
    there = call(installed, "fr", "-q", *pair, "-f", "csv")
    assert there.returncode == here.returncode == 0 and there.stdout == here.stdout != ""


def test_schema_and_man_pages_are_in_it(installed):
    assert '"vqmeter/1"' in call(installed, "schema").stdout
    pages = sorted(p.relative_to(installed) for p in installed.glob("share/man/man*/*"))
    assert sorted(p.name for p in pages) == sorted(p.name for p in (REPO / "man").glob("man*/*"))
    assert not list(installed.glob("tests")) and (installed / "vqmeter/py.typed").exists()


def test_every_weight_file_in_the_box_is_in_it(installed):
    sets = json.loads((REPO / "weights/manifest.json").read_text())["weights"]
    wanted = {entry["file"]: entry["sha256"] for entry in sets if entry.get("bundled")}
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in installed.glob("vqmeter/_weights/*.safetensors")
    }
    assert found == wanted and len(wanted) >= 10
