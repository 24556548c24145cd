"""The edge: exit codes, one-line messages, what is kept, what is imported."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import jsonschema
import pytest

from vqmeter.cli import COMMANDS


def vqmeter(*args, **more):
    return subprocess.run([sys.executable, "-m", "vqmeter", *map(str, args)], capture_output=True, text=True, **more)


def one_line(err):
    lines = [line for line in err.splitlines() if not line.startswith("vqmeter: ") or "from the file name" not in line]
    assert len(lines) == 1 and lines[0].startswith("vqmeter: ") and "Traceback" not in err, err
    return lines[0]


def test_fr_prints_a_table_on_stdout_and_nothing_else(cli, raw_pair):
    ref, dist = raw_pair()
    code, out, err = cli("fr", ref, dist)
    assert code == 0 and "psnr_y" in out and "ssim_y" in out
    assert all("from the file name: size 64x48" in line for line in err.splitlines())


def test_every_form(cli, raw_pair, tmp_path):
    ref, dist = raw_pair()
    files = [str(tmp_path / f"a{e}") for e in (".json", ".csv", ".pooled.csv", ".ndjson", ".libvmaf.json")]
    code, out, err = cli("fr", "-q", ref, dist, *(x for f in files for x in ("-o", f)))
    assert (code, out, err) == (0, "", "") and sorted(os.listdir(tmp_path))[:5] == sorted(os.path.basename(f) for f in files)
    document = json.loads((tmp_path / "a.json").read_text())
    jsonschema.validate(document, json.loads(cli("schema")[1]))
    assert document["results"][0]["inputs"]["distorted"]["bitrate"] == 64 * 48 * 12 * 25
    for form in ("json", "ndjson", "libvmaf"):
        assert json.loads(cli("fr", "-q", ref, dist, "-f", form)[1])
    rows = list(csv.DictReader(io.StringIO(cli("fr", "-q", ref, dist, "-f", "csv")[1])))
    assert len(rows) == 5 and float(rows[4]["psnr_y"]) == document["results"][0]["frames"][4]["psnr_y"]
    assert json.loads(cli("fr", "-q", ref, dist, "-o", "-")[1])["schema"] == "vqmeter/1"


def test_score_prints_the_number_alone(cli, raw_pair):
    ref, dist = raw_pair()
    code, out, _ = cli("fr", "-q", ref, dist, ref, "--score", "psnr_y.p5")
    assert code == 0 and re.fullmatch(r"\d+\.\d+\ninf\n", out)


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (["--fail-under", "psnr_y=5"], 0), (["--fail-under", "psnr_y.p5=55"], 3), (["--fail-over", "psnr_y=5"], 3),
        (["--fail-over", "ssim_y.max=1.1"], 0), (["--fail-under", "psnr_y=5", "--fail-under", "ssim_y=1"], 3),
    ],
)  # fmt: skip
def test_limits(cli, raw_pair, tmp_path, limits, code):
    ref, dist = raw_pair()
    got, _, err = cli("fr", "-q", ref, dist, "-o", tmp_path / "a.json", *limits)
    assert got == code and (tmp_path / "a.json").exists()
    if code:
        assert re.search(r"dist_64x48.yuv: \w+(\.p5)? is [\d.]+, (under|over) [\d.]+", one_line(err))


def test_identical_frames_are_infinitely_good(cli, raw_pair):
    ref, _ = raw_pair()
    assert cli("fr", "-q", ref, ref, "--fail-under", "psnr_y=500", "--fail-under", "psnr.mse_pooled=500")[0] == 0
    assert cli("fr", "-q", ref, ref, "--fail-over", "psnr_y=500")[0] == 3


def test_bad_input_is_one_line_and_exit_4(cli, raw_pair, tmp_path):
    ref, dist = raw_pair()
    big, _ = raw_pair(width=80)
    odd = tmp_path / "odd_64x48.yuv"
    odd.write_bytes(bytes(1000 + 64 * 48 * 3 // 2))
    (tmp_path / "text.mp4").write_text("words " * 100)
    (tmp_path / "empty.mkv").write_bytes(b"")
    (tmp_path / "head.y4m").write_bytes(b"YUV4MPEG2 W64 H48 F25:1\n")
    cases = {
        tmp_path / "none.yuv": "no such file", tmp_path / "text.mp4": "not a video", tmp_path / "empty.mkv": "empty",
        odd: "left over", big: "80x48", tmp_path / "head.y4m": "no whole frame", tmp_path: "folder",
    }  # fmt: skip
    for bad, says in cases.items():
        code, _, err = cli("fr", "-q", ref, bad)
        assert code == 4 and says in one_line(err), err
        assert cli("fr", "-q", bad, dist)[0] == 4


def test_what_was_scored_before_the_end_is_kept(cli, raw_pair, tmp_path):
    ref, dist = raw_pair(frames=6)
    header = b"YUV4MPEG2 W64 H48 F25:1\n"
    frames = open(dist, "rb")
    with frames:
        body = frames.read()
    size = len(body) // 6
    cut = tmp_path / "cut.y4m"
    cut.write_bytes(header + b"".join(b"FRAME\n" + body[n * size : (n + 1) * size] for n in range(6))[:-100])
    code, _, err = cli("fr", "-q", ref, cut, "-o", tmp_path / "a.json")
    result = json.loads((tmp_path / "a.json").read_text())["results"][0]
    assert code == 4 and "cut short" in one_line(err) and "5 frames were scored" in err
    assert result["truncated"] and result["error"]["code"] == 4 and len(result["frames"]) == 5
    assert result["pooled"]["psnr_y"]["score"] > 0


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["-ss5"], "-ss 5"), (["-pixfmt", "gray"], "-pix_fmt"), (["--thread", "2"], "--threads"), (["-m", "ssmi"], "ssim"),
        (["-m", "ssim:taps=1"], "no option"), (["-s", "64by48"], "WIDTHxHEIGHT"), (["-r", "x"], "frames a second"),
        (["--score", "psnr_z"], "psnr_y"), (["--fail-under", "psnr_y.p3=1"], "p5"), (["--fail-under", "psnr_y"], "KEY"),
        (["-o", "a.txt"], ".json"), (["-pix_fmt", "yuv421p"], "pixel format"), (["-threads", "2"], "--threads"),
        (["--input-format", "nonsense"], "input-format"), (["-t", "soon"], "time"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_exit_2_and_a_hint(cli, raw_pair, args, says):
    code, out, err = cli("fr", "-q", *raw_pair(), *args)
    assert code == 2 and out == "" and says in one_line(err), err


def test_missing_arguments_and_commands(cli):
    assert cli("fr")[0] == 2 and cli("fr", "a.yuv")[0] == 2
    code, _, err = cli("prob")
    assert code == 2 and "did you mean probe" in err


def test_outputs_that_cannot_be_written_are_found_before_scoring(cli, raw_pair, tmp_path):
    code, _, err = cli("fr", "-q", *raw_pair(), "-o", tmp_path / "none" / "a.json")
    assert code == 4 and "no folder" in one_line(err)


def test_cuda_without_a_gpu_is_exit_5(cli, raw_pair):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    code, _, err = cli("fr", "-q", *raw_pair(), "--device", "cuda")
    assert code == 5 and "GPU" in one_line(err)


def test_a_bug_is_exit_1_and_asks_for_debug(cli, raw_pair, monkeypatch):
    import vqmeter.runs

    monkeypatch.setattr(vqmeter.runs, "identical", lambda *_: 1 / 0)
    code, _, err = cli("fr", "-q", *raw_pair())
    assert code == 1 and "--debug" in one_line(err)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_of_every_command(cli, command):
    for flag in ("-h", "--help"):
        code, out, err = cli(*([command] if command else []), flag)
        assert code == 0 and "Usage: vqmeter" in out and err == ""


def imported(*args):
    code = "import sys, atexit\natexit.register(lambda: print('\\n'.join(sys.modules), file=sys.stderr))\n" \
           "sys.argv[0] = 'vqmeter'\nfrom vqmeter.cli import main\nmain()"  # fmt: skip
    run = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return set(run.stderr.splitlines())


def test_help_imports_neither_numpy_nor_numba_nor_torch():
    assert not {"torch", "numba", "numpy", "av", "rich", "scipy"} & imported("--help")


def test_fr_on_raw_files_imports_no_torch_no_scipy_and_once_compiled_no_numba(raw_pair):
    imported("fr", "-q", *raw_pair())
    assert not {"torch", "numba", "scipy", "skimage", "tqdm", "av"} & imported("fr", "-q", *raw_pair())


def test_the_first_run_says_once_that_it_compiles_and_the_next_does_not(raw_pair, tmp_path):
    env = {**os.environ, "VQMETER_KERNELS": str(tmp_path / "cache")}
    command = ["fr", *raw_pair(), "-s", "64x48", "-m", "psnr", "--score", "psnr"]
    first, second = vqmeter(*command, env=env), vqmeter(*command, env=env)
    assert first.returncode == second.returncode == 0 and first.stdout == second.stdout
    assert first.stderr.count("compiling kernels") == 1 == len(first.stderr.splitlines()) and second.stderr == ""


def test_probe(cli, raw_pair):
    ref, _ = raw_pair()
    code, out, _ = cli("probe", ref, "-f", "json")
    (info,) = json.loads(out)
    assert code == 0 and (info["width"], info["height"], info["frames"], info["pix_fmt"]) == (64, 48, 5, "yuv420p")
    code, out, err = cli("probe", ref, "none.mp4")
    assert code == 4 and "64" in out and "no such file" in one_line(err)


def test_models(cli):
    code, out, _ = cli("models")
    assert code == 0 and re.search(r"^psnr\b", out, re.M) and re.search(r"^ssim\b", out, re.M)
    assert "Gaussian 11x11" in cli("models", "ssim")[1]
    assert json.loads(cli("models", "ssim", "-f", "json")[1])["scores"]["ssim_y"]["better"] == "higher"
    code, _, err = cli("models", "ssimm")
    assert code == 2 and "did you mean ssim" in one_line(err)


def test_the_reader_of_a_pipe_may_leave(raw_pair):
    ref, dist = raw_pair(frames=200)
    command = [sys.executable, "-m", "vqmeter", "fr", "-q", ref, dist, "-f", "csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.wait(60) == 141 and process.stderr.read() == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals(tmp_path, number, code):
    fifo = tmp_path / "a_64x48.yuv"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "vqmeter", "fr", "-q", str(fifo), str(fifo)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process, open(fifo, "wb") as pipe:
        pipe.write(bytes(20))  # vqmeter has come as far as opening its input
        pipe.flush()
        time.sleep(0.3)
        process.send_signal(number)
        assert process.wait(30) == code and b"Traceback" not in process.stderr.read()


def test_y4m_by_pipe_against_a_file(raw_pair):
    ref, dist = raw_pair()
    with open(dist, "rb") as file:
        body = file.read()
    size = len(body) // 5
    y4m = b"YUV4MPEG2 W64 H48 F25:1\n" + b"".join(b"FRAME\n" + body[n * size : n * size + size] for n in range(5))
    command = [sys.executable, "-m", "vqmeter", "fr", "-q", ref, "-", "--score", "psnr_y"]
    piped = subprocess.run(command, input=y4m, capture_output=True, check=True).stdout
    assert piped.decode() == vqmeter("fr", "-q", ref, dist, "--score", "psnr_y").stdout
