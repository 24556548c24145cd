"""`vqmeter compat vmaf` against libvmaf's own files, written by the libvmaf filter of an ffmpeg."""

import json
import math
import os
import re
import shutil
import subprocess
import sys

import pytest

from vqmeter.compat.libvmaf import Feature, Model
from vqmeter.compat.logs import FORMS, Log, read_xml, render

WIDTH, HEIGHT, FRAMES = 480, 270, 4
FRAME = WIDTH * HEIGHT * 3 // 2
FPS = re.compile(r"fps\W+[\d.]+")


def write_y4m(path, body, frames, fmt="420jpeg", width=WIDTH, height=HEIGHT):
    size = len(body) // frames
    pictures = [b"FRAME\n" + body[n * size : (n + 1) * size] for n in range(frames)]
    path.write_bytes(f"YUV4MPEG2 W{width} H{height} F25:1 C{fmt}\n".encode() + b"".join(pictures))


@pytest.fixture(scope="module")
def clips(testdata, tmp_path_factory):
    """Four frames of a real pair as ref.y4m, dist.y4m, ref.yuv and dist.yuv; two of 10 bits as ref10.y4m, dist10.y4m."""
    folder, golden = tmp_path_factory.mktemp("clips"), testdata / "golden" / "clips"
    for ours, theirs in (("ref", "ref"), ("dist", "x264crf34")):
        body = (golden / f"parkjoy_480x270_8b_{theirs}.yuv").read_bytes()[: FRAMES * FRAME]
        (folder / f"{ours}.yuv").write_bytes(body)
        write_y4m(folder / f"{ours}.y4m", body, FRAMES)
    for ours, theirs in (("ref10", "ref"), ("dist10", "x265crf36")):
        write_y4m(folder / f"{ours}.y4m", (golden / f"parkjoy_480x270_10b_{theirs}.yuv").read_bytes()[: 4 * FRAME], 2, "420p10")
    return folder


@pytest.fixture(scope="module")
def libvmaf(clips, ffmpeg):
    """libvmaf's own log of two of the clips."""

    def run(options, form, ref="ref.y4m", dist="dist.y4m"):
        log = clips / "theirs.log"
        log.unlink(missing_ok=True)
        graph = f"libvmaf={options}:log_fmt={form}:log_path={log.name}"
        command = [ffmpeg, "-loglevel", "error", "-nostdin", "-i", dist, "-i", ref, "-lavfi", graph, "-f", "null", "-"]
        subprocess.run(command, cwd=clips, check=True, timeout=60)
        return log

    return run


@pytest.fixture
def vmaf(cli, clips, monkeypatch):
    """Runs the command on ref.y4m and dist.y4m, in their folder."""
    monkeypatch.chdir(clips)
    return lambda *args, ref="ref.y4m", dist="dist.y4m": cli("compat", "vmaf", "-r", ref, "-d", dist, *args)


# --- libvmaf is the judge --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_libvmafs_to_the_byte(vmaf, clips, libvmaf, form):
    features = ("psnr=enable_apsnr=true", "float_ssim=enable_db=true:clip_db=true", "float_moment")
    code, out, err = vmaf("-q", f"--{form}", "-o", "ours.log", *(word for f in features for word in ("--feature", f)))
    assert (code, out, err) == (0, "", "")
    asked = r"feature='name=psnr\:enable_apsnr=true|name=float_ssim\:enable_db=true\:clip_db=true|name=float_moment'"
    theirs = libvmaf(asked, form).read_text()
    assert "vmaf" in theirs.lower() and FPS.sub("", (clips / "ours.log").read_text()) == FPS.sub("", theirs)


@pytest.mark.parametrize("depth", ["", "10"])
def test_our_own_psnr_is_libvmafs(vmaf, clips, libvmaf, depth):
    names = {"ref": f"ref{depth}.y4m", "dist": f"dist{depth}.y4m"}
    assert vmaf("-n", "--feature", "float_psnr", "--feature", "psnr", "-o", "ours.xml", **names)[0] == 0
    ours, theirs = read_xml(clips / "ours.xml"), read_xml(libvmaf("model=:feature=name=float_psnr|name=psnr", "xml", **names))
    assert ours.version.startswith("vqmeter") and (ours.width, ours.height) == (theirs.width, theirs.height)
    assert [n for n, _ in ours.frames] == [n for n, _ in theirs.frames] and list(ours.pooled) == list(theirs.pooled)
    for (_, mine), (_, other) in zip(ours.frames, theirs.frames, strict=True):
        assert mine == pytest.approx(other, abs=1.1e-6) and list(mine) == list(other)
    for name, pools in theirs.pooled.items():
        assert ours.pooled[name] == pytest.approx(pools, abs=1.1e-6) and list(ours.pooled[name]) == list(pools)


def test_golden_vmaf_of_raw_files(cli, testdata, tmp_path, ffmpeg):
    """libvmaf at commit f85a8536, model vmaf_v0.6.1, 10 bits: 1e-4 a frame and pooled."""
    case = json.loads((testdata / "golden" / "fr_peers.json").read_text())[1]
    files = [testdata / "golden" / case[role] for role in ("reference", "distorted")]
    words = ["-r", files[0], "-d", files[1], "-w480", "--heig", "270", "--pixel_format=420", "-b", "10", "--threads", "2"]
    assert cli("compat", "vmaf", *words, "--feature", "psnr", "--json", "-o", tmp_path / "log.json")[0] == 0
    log, golden = json.loads((tmp_path / "log.json").read_text()), case["libvmaf_f85a8536"]
    for frame, expected in zip(log["frames"], golden["frames"], strict=True):
        for name in ("vmaf", "psnr_y", "psnr_cb", "psnr_cr"):
            assert frame["metrics"][name] == pytest.approx(expected[name], abs=1e-4)
    assert log["pooled_metrics"]["vmaf"] == pytest.approx(golden["pooled"]["vmaf"], abs=1e-4)


def test_chroma_of_odd_sizes_is_libvmafs(cli, testdata, tmp_path, ffmpeg):
    """ffmpeg 9.0.2's libvmaf filter on yuv422p 353x201, first frame; it has 176 columns of chroma, a file has 177."""
    folder = testdata / "golden" / "clips"
    words = ["-r", folder / "odd_353x201_422_ref.yuv", "-d", folder / "odd_353x201_422_dist.yuv", "-w", 353, "-h", 201]
    log = tmp_path / "log.csv"
    code, _, _ = cli("compat", "vmaf", *words, "-p", 422, "-b", 8, "-n", "--feature", "psnr", "--csv", "-o", log)
    assert code == 0 and log.read_text().splitlines()[1] == "0,26.632920,34.734124,39.542877,"


def test_models_by_name_and_what_no_prediction_leaves(vmaf, clips, libvmaf):
    """Two models with names and a transform; with -n their features alone."""
    neg = "version=vmaf_v0.6.1neg:name=b:enable_transform"
    code, _, err = vmaf("-m", "version=vmaf_v0.6.1:name=a", "--model", neg, "-o", "ours.xml")
    asked = r"model='version=vmaf_v0.6.1\:name=a|version=vmaf_v0.6.1neg\:name=b\:enable_transform=true'"
    ours, theirs = read_xml(clips / "ours.xml"), read_xml(libvmaf(asked, "xml"))
    assert (code, err) == (0, "") and ours.frames == theirs.frames and ours.pooled == theirs.pooled
    assert vmaf("-m", "version=vmaf_v0.6.1:name=a", "-m", neg, "-n", "-o", "ours.xml")[0] == 0
    left = read_xml(clips / "ours.xml")
    for (_, mine), (_, other) in zip(left.frames, theirs.frames, strict=True):
        assert mine == {name: value for name, value in other.items() if name not in "ab"}
    assert set(theirs.pooled) - set(left.pooled) == {"a", "b"}


def test_subsampled_as_libvmaf_does(vmaf, clips, libvmaf):
    assert vmaf("--subsample", 2, "--feature", "motion", "-n", "-o", "ours.xml")[0] == 0
    ours, theirs = read_xml(clips / "ours.xml"), read_xml(libvmaf("model=:feature=name=motion:n_subsample=2", "xml"))
    assert [n for n, _ in ours.frames] == [0, 2] and ours.frames == theirs.frames and ours.pooled == theirs.pooled


# --- which frames ----------------------------------------------------------------------------------------------------


def psnr(vmaf, clips, *args, **names):
    code, _, err = vmaf("-n", "--feature", "psnr", "--csv", "-o", "ours.csv", *args, **names)
    return code, err, [line.rstrip(",").split(",") for line in (clips / "ours.csv").read_text().splitlines()]


def test_frames_left_out(vmaf, clips):
    _, _, whole = psnr(vmaf, clips)
    assert whole[0] == ["Frame", "psnr_y", "psnr_cb", "psnr_cr"] and len(whole) == FRAMES + 1
    code, err, rows = psnr(vmaf, clips, "--frame_skip_ref", 1, "--frame_skip_dist", "0x1", "--frame_cnt", 2)
    assert (code, err) == (0, "") and rows[1:] == [["0", *whole[2][1:]], ["1", *whole[3][1:]]]
    assert psnr(vmaf, clips, "--subsample", 3)[2] == [whole[0], whole[1], whole[4]]
    assert psnr(vmaf, clips, "--feature", "psnr:enable_chroma=false", "-s", 3)[2] == [whole[0], whole[1], whole[4]]


def test_the_shorter_one_ends_it_and_that_is_said(vmaf, clips):
    code, err, rows = psnr(vmaf, clips, "--frame_skip_ref", 1)
    assert code == 0 and err == 'vqmeter: "ref.y4m" ended before "dist.y4m"\n' and len(rows) == FRAMES
    code, _, err = vmaf("-n", "--feature", "psnr", "--frame_skip_dist", FRAMES)
    assert code == 4 and err == "vqmeter: dist.y4m: no frame is left to compare after those skipped\n"


def test_what_came_before_a_cut_is_logged(vmaf, clips):
    whole = psnr(vmaf, clips)[2]
    (clips / "cut.y4m").write_bytes((clips / "dist.y4m").read_bytes()[:-100])
    code, err, rows = psnr(vmaf, clips, dist="cut.y4m")
    assert code == 4 and "cut short" in err and "3 frames were logged" in err and rows == whole[:4]


def test_identical_frames_have_libvmafs_ceiling(vmaf, clips):
    rows = psnr(vmaf, clips, dist="ref.y4m")[2]
    assert rows[1] == ["0", "60.000000", "60.000000", "60.000000"]


# --- what it says ----------------------------------------------------------------------------------------------------


def test_a_script_runs_unchanged(clips, ffmpeg):
    """The words of libvmaf's own README, and a log on stdout."""
    script = """
        vmaf() { "$PYTHON" -m vqmeter compat vmaf "$@"; }
        set -euo pipefail
        vmaf --reference ref.yuv --distorted dist.yuv --width 480 --height 270 --pixel_format 420 --bitdepth 8 \
            --model version=vmaf_v0.6.1 2> score.txt
        echo before > both.txt
        vmaf -r ref.y4m -d dist.y4m -nq --feature psnr --csv -o /dev/stdout >> both.txt
        cut -d, -f 2 both.txt
    """
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    run = subprocess.run([bash, "-c", script], cwd=clips, env={**os.environ, "PYTHON": sys.executable}, capture_output=True,
                         text=True, check=True, timeout=60)  # fmt: skip
    assert re.fullmatch(r"vmaf_v0\.6\.1: \d\d\.\d{6}\n", (clips / "score.txt").read_text())
    assert re.fullmatch(r"before\npsnr_y\n(\d\d\.\d{6}\n){4}", run.stdout)


def test_the_score_is_said_where_no_log_is_written(vmaf, clips, libvmaf):
    code, out, err = vmaf("-q")
    mean = read_xml(libvmaf("model=version=vmaf_v0.6.1", "xml")).pooled["vmaf"]["mean"]
    assert (code, out, err) == (0, "", f"vmaf_v0.6.1: {mean:.6f}\n")
    assert vmaf("-o", "ours.xml")[1:] == ("", "")


def test_a_known_models_missing_file(vmaf, ffmpeg):
    code, _, err = vmaf("-m", "path=/usr/share/model/vmaf_4k_v0.6.1.json")
    note, score = err.splitlines()
    assert code == 0 and note.endswith("no such file; libvmaf's built-in vmaf_4k_v0.6.1 is taken")
    assert score.startswith("/usr/share/model/vmaf_4k_v0.6.1.json: ")


def test_version_is_on_stderr(cli):
    code, out, err = cli("compat", "vmaf", "-v")
    assert (code, out) == (0, "") and re.fullmatch(r"vqmeter \d\S+\n", err)


@pytest.mark.parametrize(("words", "says"), [
    (["--aom_ctc", "v1.0"], "--aom_ctc is not taken"), (["--nflx_ctc", "v1.0"], "--nflx_ctc is not taken"),
    (["-w", "480"], "all of --width"), (["-p", "411"], "'411'"), (["-b", "9"], "'9'"), (["--threads", "-1"], "whole number"),
    (["-n"], "nothing to do"), (["-m", "vmaf_v0.6.1"], "KEY=VALUE"), (["-m", "name=a"], "version=NAME"),
    (["-m", "version=a:path=b.json"], "version=NAME"), (["-m", "version=a", "-m", "version=b"], "name of its own"),
    (["-m", "path=a.pkl"], "give that one"), (["--feature", ""], "NAME[=KEY"), (["--feature", "psnr=x"], "KEY=VALUE"),
    (["--feature", "cambi=heatmaps_path=maps"], "heat maps"), (["--feature", "psnr':log_path=x"], "NAME[=KEY"),
    (["-m", "version=x':log_path=x"], "KEY=VALUE"), (["--bogus"], "--bogus"), (["stray"], "stray"),
])  # fmt: skip
def test_what_is_refused_before_any_work(vmaf, clips, words, says):
    (clips / "a.pkl").write_bytes(b"")
    code, out, err = vmaf(*words)
    assert code == 2 and out == "" and err.count("\n") == 1 and says in err, err


@pytest.mark.parametrize(("words", "code", "says"), [
    (["--feature", "psnr_hsv"], 2, "no feature 'psnr_hsv' (did you mean psnr_hvs"),
    (["-m", "version=vmaf_v0.6.2"], 2, "no built-in model 'vmaf_v0.6.2'"),
    (["-m", "path=broken.json"], 2, "broken.json: libvmaf cannot read this model"),
    (["-m", "path=none.json"], 4, "none.json: no such model file"), (["-o", "no/where.xml"], 4, "no folder"),
])  # fmt: skip
def test_what_libvmaf_does_not_have(vmaf, clips, ffmpeg, words, code, says):
    (clips / "broken.json").write_text("{}")
    got, _, err = vmaf(*words)
    assert got == code and err.count("\n") == 1 and says in err, err


def test_what_does_not_fit(vmaf, clips):
    write_y4m(clips / "small.y4m", bytes(16 * 16 * 3 // 2), 1, width=16, height=16)
    write_y4m(clips / "grey.y4m", bytes(WIDTH * HEIGHT), 1, "mono")
    for dist, says in (("small.y4m", "16x16"), ("dist10.y4m", "yuv420p10le"), ("grey.y4m", "gray"), ("none.y4m", "no such")):
        code, _, err = vmaf(dist=dist)
        assert code == 4 and err.count("\n") == 1 and says in err
    for name, says in (("small.y4m", "32x32"), ("grey.y4m", "4:2:0")):
        code, _, err = vmaf(ref=name, dist=name)
        assert code == 4 and says in err


def test_without_libvmaf_psnr_is_still_there(vmaf, clips, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert len(psnr(vmaf, clips)[2]) == FRAMES + 1
    code, _, err = vmaf("--feature", "psnr")
    assert code == 2 and "pip install 'vqmeter[vmaf]'" in err


# --- words and logs --------------------------------------------------------------------------------------------------


def test_words_of_models_and_features():
    assert Feature.parse("psnr") == Feature.parse("psnr=") == Feature("psnr")
    assert Feature.parse("adm=a=1:b=2") == Feature.parse("adm:a=1:b=2") == Feature("adm", (("a", "1"), ("b", "2")))
    assert Model.parse("version=x:name=y:adm.adm_csf_mode=1.0") == Model("x", "", "y", (("adm.adm_csf_mode", "1.0"),))
    assert Model.parse("path=/a b/c.json:disable_clip") == Model("", "/a b/c.json", "vmaf", (("disable_clip", "true"),))
    assert Model.parse(r"path=C:\m\x.json:name=y") == Model("", r"C:\m\x.json", "y")
    assert Model.parse("name=y:path=x.json") == Model("", "x.json", "y")


def test_infinite_scores_are_null_in_json_and_inf_elsewhere(tmp_path):
    log = Log("x", 2, 2, math.nan, [(0, {"a": math.inf, "b": 1.0})], {"a": {"min": math.inf}, "b": {"min": 1.0}})
    document = json.loads("".join(render(log, "json")))
    assert document["fps"] is None and document["frames"][0]["metrics"] == {"a": None, "b": 1.0}
    assert document["pooled_metrics"] == {"a": {"min": None}, "b": {"min": 1.0}} and document["aggregate_metrics"] == {}
    assert "".join(render(log, "csv")) == "Frame,a,b,\n0,inf,1.000000,\n"
    assert "".join(render(log, "sub")) == "{0}{1}frame: 0|a: inf|b: 1.000000|\n"
    (tmp_path / "log.xml").write_text("".join(render(log, "xml")))
    again = read_xml(tmp_path / "log.xml")
    assert again.frames == log.frames and again.pooled == log.pooled and math.isnan(again.fps)
