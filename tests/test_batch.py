"""Batches end to end: the same scores however they are run, failures alone, nothing lost or told twice."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import jsonschema
import pytest

from vqmeter import measure
from vqmeter.batch.worker import perform

SCHEMA = json.loads((Path(__file__).parent.parent / "vqmeter" / "schema.json").read_text("utf-8"))
BATCH = [sys.executable, "-m", "vqmeter", "batch"]


def rows(path):
    """The results of a batch by the name of their distorted file; each whole, valid, and there once."""
    found = {}
    for line in Path(path).read_text("utf-8").splitlines():
        document = json.loads(line)
        jsonschema.validate(document, SCHEMA)
        [result] = document["results"]
        name = os.path.basename(result["inputs"]["distorted"]["path"])
        assert name not in found
        found[name] = result
    return found


def scores(results):
    return {name: (result["pooled"], result["frames"]) for name, result in results.items() if result["error"] is None}


def write_list(path, *jobs):
    titles = list(dict.fromkeys(key for job in jobs for key in job))
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, titles)
        table.writeheader()
        table.writerows(jobs)
    return path


@pytest.fixture
def library(tmp_path, raw_pair):
    """A folder with a reference and six distorted versions, and the list of their jobs."""
    _, dist = raw_pair(frames=4)
    for n in range(6):
        data = bytearray(Path(dist).read_bytes())
        data[n::50] = bytes(len(data[n::50]))
        (tmp_path / f"d{n}_64x48.yuv").write_bytes(data)
    jobs = [{"distorted": f"d{n}_64x48.yuv", "reference": "ref_64x48.yuv", "frames": 1 + n % 3} for n in range(6)]
    return write_list(tmp_path / "jobs.csv", *jobs)


class Here:
    """Performs tasks in this process, one at a time, for tests of what does not hang on workers."""

    def room(self):
        return 1

    def submit(self, task):
        future = Future()
        future.set_result(perform(task))
        return future

    def close(self, now):
        pass


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr("vqmeter.cli.batch._executor", lambda *_: (Here(), 1))


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory):
    """One batch over good and bad jobs, run once: (exit code, stderr, results)."""
    folder = tmp_path_factory.mktemp("poison")
    grey = bytes([90]) * (64 * 48 * 3 // 2) * 2
    (folder / "ref_64x48.yuv").write_bytes(grey)
    (folder / "good_64x48.yuv").write_bytes(bytes([93]) + grey[1:])
    (folder / "noise.mp4").write_bytes(bytes(range(256)) * 40)
    (folder / "huge.y4m").write_bytes(b"YUV4MPEG2 W99999 H99999 F25:1\nFRAME\n" + bytes(1000))
    os.mkfifo(folder / "pipe.y4m")
    write_list(
        folder / "jobs.csv",
        {"distorted": "good_64x48.yuv", "reference": "ref_64x48.yuv", "metric": "psnr"},
        {"distorted": "gone_64x48.yuv", "reference": "ref_64x48.yuv", "metric": "psnr"},
        {"distorted": "noise.mp4", "reference": "ref_64x48.yuv", "metric": "psnr"},
        {"distorted": "huge.y4m", "reference": "ref_64x48.yuv", "metric": "psnr"},
        {"distorted": "pipe.y4m", "reference": "ref_64x48.yuv", "metric": "psnr"},
    )
    out = folder / "out.ndjson"
    done = subprocess.run([*BATCH, folder / "jobs.csv", "-o", out, "--workers", "2"],
                          capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    return done.returncode, done.stderr, rows(out)


def test_bad_jobs_fail_alone_with_their_reason(poisoned):
    code, err, found = poisoned
    says = {"gone_64x48.yuv": "no such file", "noise.mp4": "not a video", "huge.y4m": "--max-pixels", "pipe.y4m": "pipe"}
    assert code == 4 and "Traceback" not in err
    for name, words in says.items():
        assert found[name]["error"]["code"] == 4 and words in found[name]["error"]["message"], found[name]["error"]
        assert any(name in line and words in line for line in err.splitlines())
    assert found["good_64x48.yuv"]["error"] is None and found["good_64x48.yuv"]["pooled"]["psnr_y"]["score"] > 40
    assert len(found) == len(says) + 1 and " 4 " in err.splitlines()[-1]


def test_scores_are_those_of_measure_however_many_workers(cli, library, tmp_path):
    one = tmp_path / "1.ndjson"
    assert cli("batch", "-q", library, "-o", one, "--workers", 2)[0] == 0
    found = rows(one)
    assert len(found) == 6
    for n, result in enumerate(found[f"d{n}_64x48.yuv"] for n in range(6)):
        alone = measure(tmp_path / f"d{n}_64x48.yuv", reference=tmp_path / "ref_64x48.yuv", frames=1 + n % 3)
        assert result["pooled"] == alone.to_json()["results"][0]["pooled"]
    code, _, err = cli("batch", library, "-o", one)
    assert code == 4 and "--resume" in err
    code, _, err = cli("batch", library, "-o", one, "--resume")
    assert code == 0 and err.splitlines()[-1].split()[:3] == ["6", "6", "0"]


def test_a_killed_batch_goes_on_and_says_nothing_twice(cli, here, library, tmp_path):
    out = tmp_path / "out.ndjson"
    batch = subprocess.Popen([*BATCH, "-q", library, "-o", out, "--workers", "1"])
    until(lambda: out.exists() and out.stat().st_size)
    batch.kill()
    batch.wait()
    with open(out, "a", encoding="utf-8") as file:
        file.write('{"schema": "vqmeter/1", "resul')  # the writer's last words
    assert cli("batch", "-q", library, "-o", out, "--resume")[0] == 0
    assert scores(rows(out)) == measured(cli, library, tmp_path)


@pytest.mark.usefixtures("library")
def test_ctrl_c_lets_running_jobs_end(tmp_path):
    out, names = tmp_path / "out.ndjson", [f"many{n}_64x48.yuv" for n in range(200)]  # more than end before the signal comes
    for name in names:
        shutil.copy(tmp_path / "d0_64x48.yuv", tmp_path / name)
    many = write_list(tmp_path / "many.csv", *({"distorted": name, "reference": "ref_64x48.yuv"} for name in names))
    batch = subprocess.Popen([*BATCH, many, "-o", out, "--workers", "1"], stderr=subprocess.PIPE, text=True)
    until(lambda: out.exists() and out.stat().st_size)
    batch.send_signal(signal.SIGINT)
    err = batch.communicate(timeout=60)[1]
    assert batch.returncode == 130 and "stopping" in err and "--resume" in err
    assert 0 < len(rows(out)) < len(names)


def test_what_changed_is_measured_anew(cli, here, library, tmp_path):
    out = tmp_path / "out.ndjson"
    assert cli("batch", "-q", library, "-o", out)[0] == 0
    before = rows(out)
    os.utime(tmp_path / "d0_64x48.yuv", (1, 1))  # another time, the same content
    shutil.copy(tmp_path / "ref_64x48.yuv", tmp_path / "d1_64x48.yuv")
    code, _, err = cli("batch", library, "-o", out, "--resume")
    after = rows(out)
    assert code == 0 and err.splitlines()[-1].split()[:3] == ["6", "5", "1"]
    assert after.pop("d1_64x48.yuv")["validity"]["identical_frames"] == 2 and before.pop("d1_64x48.yuv")
    assert after == before


def test_a_full_disk_is_one_line_and_leaves_whole_lines(cli, here, library, tmp_path):
    out = tmp_path / "out.ndjson"
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)); from vqmeter.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", limited, "batch", "-q", library, "-o", out, "--workers", "1"],
                          capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
    assert done.returncode == 4 and f"{out}: file too large" in done.stderr and "Traceback" not in done.stderr
    assert 0 < len(rows(out)) < 6 and out.read_bytes().endswith(b"\n")
    assert cli("batch", "-q", library, "-o", out, "--resume")[0] == 0
    assert scores(rows(out)) == measured(cli, library, tmp_path)


def test_parquet_has_a_row_for_each_job(cli, here, library, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "out.parquet"
    assert cli("batch", "-q", library, "-o", out)[0] == 0
    found = rows(tmp_path / "out.ndjson")
    table = {os.path.basename(row["distorted"]): row for row in pq.read_table(out).to_pylist()}
    assert table.keys() == found.keys()
    for name, result in found.items():
        row, pooled = table[name], result["pooled"]
        assert (row["psnr_y.score"], row["ssim_y.p5"]) == (pooled["psnr_y"]["score"], pooled["ssim_y"]["p5"])
        assert row["frames"] == len(result["frames"]) and row["error"] is None


def test_addresses_are_fetched_only_when_allowed(cli, here, library, tmp_path):
    pytest.importorskip("fsspec")
    jobs, out = tmp_path / "far.ndjson", tmp_path / "out.ndjson"
    far = [f"file://{tmp_path}/d{n}_64x48.yuv" for n in range(2)]
    with open(tmp_path / "d1_64x48.yuv", "ab") as file:
        file.write(bytes(10 * 64 * 48 * 3 // 2))
    jobs.write_text("".join(json.dumps({"clip": path, "reference": "ref_64x48.yuv"}) + "\n" for path in far))
    (tmp_path / "words.mp4").write_text("words " * 100)
    with open(jobs, "a") as file:
        file.write(json.dumps({"clip": f"file://{tmp_path}/words.mp4", "reference": "ref_64x48.yuv"}))
    code, _, err = cli("batch", jobs, "-o", out)
    assert code == 2 and "--remote" in err and not out.exists()
    code, _, err = cli("batch", "-q", jobs, "-o", out, "--remote", "--max-fetch", "20K")
    found = rows(out)
    assert code == 4 and "--max-fetch" in found["d1_64x48.yuv"]["error"]["message"]
    assert found["words.mp4"]["error"]["message"].startswith(f"file://{tmp_path}/words.mp4: not a video")
    assert found["d0_64x48.yuv"]["inputs"]["distorted"]["path"] == far[0]
    alone = measure(tmp_path / "d0_64x48.yuv", reference=tmp_path / "ref_64x48.yuv")
    assert found["d0_64x48.yuv"]["pooled"] == alone.to_json()["results"][0]["pooled"]
    assert cli("batch", "-q", jobs, "-o", out, "--remote", "--max-fetch", "20K", "--resume")[0] == 4
    assert rows(out)["d0_64x48.yuv"] == found["d0_64x48.yuv"]


@pytest.fixture
def scheduler(tmp_path):
    """A Dask scheduler and a worker, started as the manual says: (address, the scheduler's process)."""
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'vqmeter[dask]'")
    file = tmp_path / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    dask = [sys.executable, "-m", "dask"]
    first = subprocess.Popen([*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
                              "--scheduler-file", file], **quiet)  # fmt: skip
    until(lambda: file.exists() and file.stat().st_size)
    address = json.loads(file.read_text())["address"]
    second = subprocess.Popen([*dask, "worker", address, "--nworkers", "1", "--nthreads", "2", "--no-dashboard"], **quiet)
    yield address, first
    for process in (second, first):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_dask_cluster_gives_the_same_and_its_loss_loses_nothing(cli, library, tmp_path, scheduler, monkeypatch):
    address, process = scheduler
    there, lost = tmp_path / "there.ndjson", tmp_path / "lost.ndjson"
    code, _, err = cli("batch", "-q", library, "-o", there, "--scheduler", address)
    assert code == 0 and err == ""
    batch = subprocess.Popen([*BATCH, "-q", library, "-o", lost, "--scheduler", address], stderr=subprocess.PIPE, text=True)
    until(lambda: lost.exists())
    process.kill()
    err = batch.communicate(timeout=60)[1]
    assert batch.returncode in (0, 5)
    if batch.returncode:
        assert "scheduler" in err and "--resume" in err and len(err.splitlines()) == 2, err
    monkeypatch.setattr("vqmeter.cli.batch._executor", lambda *_: (Here(), 1))
    assert cli("batch", "-q", library, "-o", lost, "--resume")[0] == 0
    assert scores(rows(lost)) == scores(rows(there)) == measured(cli, library, tmp_path)


def measured(cli, library, tmp_path):
    """The scores of an undisturbed batch."""
    out = tmp_path / "undisturbed.ndjson"
    assert cli("batch", "-q", library, "-o", out)[0] == 0
    return scores(rows(out))


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
