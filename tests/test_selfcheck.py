"""selfcheck: what it finds right here, and what it says where something is wrong or not there."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import vqmeter.selfcheck as selfcheck
from vqmeter.metric import NAMES
from vqmeter.selfcheck import clips
from vqmeter.weights import manifest


@pytest.fixture
def few(monkeypatch):
    """Two metrics only: what else is measured is the first test's matter."""
    monkeypatch.setattr(selfcheck, "everything", lambda: [("fr", "psnr"), ("nr", "niqe")])
    selfcheck._has_weights.cache_clear()


@pytest.fixture
def home(monkeypatch, tmp_path):
    """No weights of the user's own."""
    monkeypatch.delenv(manifest.VARIABLE, raising=False)
    monkeypatch.setattr(manifest, "data_folder", lambda: tmp_path / "none")


@pytest.mark.usefixtures("home")
def test_nothing_is_wrong_here(cli):
    code, out, err = cli("selfcheck", "-f", "json")
    found = json.loads(out)
    assert (code, err, found["code"]) == (0, "", 0)
    names = {check["name"] for check in found["checks"] if check["part"] == "score" and check["value"] is not None}
    told = {check["name"] for check in found["checks"] if check["status"] == "missing"}
    for name in (name for table in NAMES.values() for name in table):
        assert any(score.startswith(name) for score in names | told), name
    assert found["versions"]["numpy"] == np.__version__
    assert {check["status"] for check in found["checks"]} <= {"ok", "missing", "other"}


def test_the_known_psnr_is_that_of_the_definition():
    """Oracle: the formula, over the frames as they are made."""
    pairs = list(zip(clips.frames(False), clips.frames(True), strict=True))
    for plane, key in enumerate(("psnr_y", "psnr_cb", "psnr_cr")):
        errors = [np.mean((r[plane].astype(float) - d[plane]) ** 2) for r, d in pairs]
        expected = np.mean(10 * np.log10(255**2 / np.array(errors)))
        assert selfcheck.golden()[key]["score"] == pytest.approx(expected, abs=1e-6)


def test_known_scores_are_those_of_the_weights_in_the_box():
    """After weights were trained anew: make golden."""
    digests = {entry["weights"] for entry in selfcheck.golden().values() if "weights" in entry}
    assert digests == {entry.sha256 for entry in manifest.entries() if entry.bundled}


@pytest.mark.usefixtures("few")
def test_a_score_that_is_off_is_exit_1(cli, monkeypatch):
    known = selfcheck.golden()
    known["psnr_y"] = {"score": known["psnr_y"]["score"] + 2e-4}
    monkeypatch.setattr(selfcheck, "golden", lambda: known)
    code, out, err = cli("selfcheck")
    assert code == 1 and "wrong: score psnr_y" in err and "wrong    score    psnr_y          37.40792" in out


@pytest.mark.usefixtures("few", "home")
def test_weights_that_are_not_there_are_said_and_no_fault(cli, empty_box):
    code, out, err = cli("selfcheck")
    assert (code, err) == (0, "") and "missing  score    niqe" in out


@pytest.mark.usefixtures("few", "home")
def test_altered_weights_are_exit_6(cli, monkeypatch, tmp_path):
    box = tmp_path / "box"
    box.mkdir()
    for name in ("manifest.json", "niqe.safetensors"):
        shutil.copy(manifest.bundled() / name, box)
    data = bytearray((box / "niqe.safetensors").read_bytes())
    data[-1] ^= 1
    (box / "niqe.safetensors").write_bytes(data)
    monkeypatch.setattr(manifest, "bundled", lambda: box)
    code, out, err = cli("selfcheck")
    assert code == 6 and "weights niqe" in err and "not the file of 'niqe'" in out and len(err.splitlines()) == 1


@pytest.mark.usefixtures("few", "home")
def test_a_clip_that_cannot_be_decoded_is_exit_4(cli, monkeypatch, tmp_path):
    data = bytearray(Path(clips.CODED).read_bytes())
    (tmp_path / "clip.mp4").write_bytes(data[: len(data) // 2])
    monkeypatch.setattr(selfcheck, "CODED", tmp_path / "clip.mp4")
    code, _, err = cli("selfcheck")
    assert code == 4 and "decoder h264" in err
