"""`--cache DIR`: the same numbers to the last bit, no decoder on a hit, and never a wrong one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from vqmeter import measure
from vqmeter.errors import OutputError


def of(result):
    """What a hit must give again."""
    document = result.to_json()
    return json.dumps([document[part] for part in ("frames", "clips", "pooled", "metrics", "truncated", "error")])


def is_hit(report, n=0):
    return report.results[n].validity.get("cached", False)


@pytest.fixture
def keep(raw_pair, tmp_path):
    """A pair, its folder, and a function that measures it with that folder."""
    ref, dist = raw_pair(frames=12)

    def run(dist=dist, ref=ref, **options):
        return measure(dist, reference=ref, cache=tmp_path / "kept", **options)

    return ref, dist, run


def test_a_hit_gives_the_same_and_opens_nothing(keep, monkeypatch):
    _, _, run = keep
    first = run()
    monkeypatch.setattr("vqmeter.inputs.open_video", lambda *_: pytest.fail("a decoder was opened"))
    again = run()
    assert not is_hit(first) and is_hit(again) and of(first.only) == of(again.only)
    assert first.only.inputs == again.only.inputs and first.only.settings == again.only.settings
    assert again.only.statistic("psnr_y.p5") == first.only.statistic("psnr_y.p5")


def test_identical_frames_stay_infinite(keep):
    ref, _, run = keep
    first, again = run(ref), run(ref)
    assert is_hit(again) and of(first.only) == of(again.only) and again.only.statistic("psnr_y.min") == float("inf")


def test_a_hit_knows_the_names_of_now(keep, tmp_path):
    ref, dist, run = keep
    run()
    moved = tmp_path / "moved_64x48.yuv"
    shutil.copy(dist, moved)
    again = run(str(moved))
    assert is_hit(again) and again.only.name == str(moved) and again.only.inputs["reference"]["path"] == ref


@pytest.mark.parametrize("options", [
    {"metrics": "psnr"}, {"frames": 5}, {"start": 0.1}, {"seed": 1}, {"psnr_cap": 50.0}, {"crop": "32:32:0:0"}, {"sync": 1},
    {"metrics": "ssim:as=mine"}, {"range": "full"}, {"rate": 50}, {"size": "32x48"},
])  # fmt: skip
def test_other_settings_are_measured(keep, options):
    _, _, run = keep
    run()
    assert not is_hit(run(**options)) and is_hit(run(**options)) and is_hit(run())


@pytest.mark.parametrize("options", [{"threads": 1}, {"batch": 3}])
def test_what_changes_no_score_hits(keep, options):
    _, _, run = keep
    run()
    assert is_hit(run(**options))


def test_a_name_that_means_another_layout_is_measured(keep, tmp_path):
    ref, dist, run = keep
    run()
    wide = [tmp_path / f"{name}_96x32.yuv" for name in "rd"]
    for path, source in zip(wide, (ref, dist), strict=True):
        shutil.copy(source, path)
    assert not is_hit(run(str(wide[1]), str(wide[0])))


def test_changed_bytes_are_measured(keep):
    _, dist, run = keep
    first = run()
    data = bytearray(Path(dist).read_bytes())
    data[0] ^= 255
    Path(dist).write_bytes(data)
    os.utime(dist, ns=(1, 1))
    second = run()
    assert not is_hit(second) and of(first.only) != of(second.only)


def test_another_version_is_measured(keep, monkeypatch):
    _, _, run = keep
    run()
    monkeypatch.setattr("vqmeter.cache.__version__", "0.0.0")
    assert not is_hit(run())


def test_some_hit_and_the_order_stays(keep, tmp_path):
    ref, dist, run = keep
    run(dist)
    both = run([ref, dist, str(tmp_path / "none.yuv"), ref])
    assert [is_hit(both, n) for n in range(4)] == [False, True, False, False]
    assert [r.error is None for r in both.results] == [True, True, False, True]
    assert [r.name for r in both.results] == [ref, dist, str(tmp_path / "none.yuv"), ref]
    assert [r.label for r in both.results][::3] == ["ref_64x48.yuv", "2_ref_64x48.yuv"]
    again = run([ref, dist, str(tmp_path / "none.yuv"), ref])
    assert [is_hit(again, n) for n in range(4)] == [True, True, False, True]


def test_failures_are_not_kept(raw_pair, tmp_path):
    ref, dist = raw_pair(frames=6, dist_frames=4)
    for _ in range(2):
        assert measure(dist, reference=ref, cache=tmp_path / "kept").only.error is not None
    assert not list((tmp_path / "kept" / "scores").iterdir())


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"inputs": 3}', b"\xff\xfe"])
def test_broken_entries_are_made_anew(keep, tmp_path, damage):
    _, _, run = keep
    first = run()
    for path in (tmp_path / "kept").rglob("*.json"):
        path.write_bytes(damage)
    second = run()
    assert not is_hit(second) and of(first.only) == of(second.only) and is_hit(run())


def test_stdin_is_not_kept(keep, tmp_path):
    ref, dist, _ = keep
    code = (f"from vqmeter import measure; r = measure('-', reference={ref!r}, size='64x48', metrics='psnr', "
            f"cache={str(tmp_path / 'kept')!r}).only; print(r.error, r.validity.get('cached'))")  # fmt: skip
    with open(dist, "rb") as pipe:
        out = subprocess.run([sys.executable, "-c", code], stdin=pipe, capture_output=True, text=True, check=True).stdout
    assert out.split() == ["None", "None"] and not list((tmp_path / "kept" / "scores").iterdir())


def test_a_folder_that_cannot_be(keep, tmp_path):
    ref, dist, _ = keep
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="no folder to keep results in"):
        measure(dist, reference=ref, cache=tmp_path / "file" / "kept")


def test_the_command_line_keeps_and_says_so(keep, tmp_path, cli):
    ref, dist, _ = keep
    words = ("fr", ref, dist, "-q", "-f", "json", "--cache", tmp_path / "cli")
    first, again = (json.loads(cli(*words)[1]) for _ in range(2))
    assert again["results"][0]["validity"].pop("cached") is True
    for document in (first, again):
        document["results"][0].pop("timing")
    assert first["results"] == again["results"]
    jsonschema.validate(json.loads(cli(*words)[1]), json.loads(cli("schema")[1]))


def test_eight_processes_share_a_folder(keep, tmp_path):
    """All write the same entries at once; every one of them reads and gives the same."""
    ref, dist, run = keep
    code = (f"import sys; from vqmeter import measure; r = measure({dist!r}, reference={ref!r}, metrics='psnr', threads=1, "
            f"cache={str(tmp_path / 'kept')!r}).only; print(repr(r.pooled['psnr']['mean']), r.error)")  # fmt: skip
    workers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(8)]
    said = {worker.communicate()[0] for worker in workers}
    assert len(said) == 1 and "None" in said.pop() and all(worker.returncode == 0 for worker in workers)
    assert is_hit(run(metrics="psnr"))
    assert len(list((tmp_path / "kept" / "scores").iterdir())) == 1 and len(list((tmp_path / "kept" / "files").iterdir())) == 2
