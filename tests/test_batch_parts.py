"""Parts of a batch: what lists say, what a file of results survives, when jobs are tried again and when it stops."""

import json
import os
import signal
import sys
import time
from concurrent.futures import Future

import pytest

from vqmeter.batch import Job, Journal, Limits, Tasks, read_jobs, run
from vqmeter.batch.executor import ExecutorLostError
from vqmeter.batch.pool import LocalPool, Worker, shares
from vqmeter.batch.remote import shown
from vqmeter.batch.running import Interrupts
from vqmeter.batch.worker import failed
from vqmeter.cli.batch import _convert as convert
from vqmeter.errors import DeviceError, InputError, MissingInputError, OutputError, UsageError

DEFAULTS = {"metrics": [], "models": [], "threads": 0, "size": None}


def jobs_of(source, reference=None, **more):
    return read_jobs(str(source), reference, DEFAULTS | more, convert)


def test_a_list_gives_every_job_its_options(tmp_path):
    (tmp_path / "jobs.csv").write_text(
        "distorted,reference,metric,size,start,shortest,threads\n"
        'sub/a.yuv,r.y4m,"psnr,ssim:as=s",64x48,00:01:02.5,yes,\n'
        "/b.mp4,,,,,,3\n"
    )  # fmt: skip
    (tmp_path / "jobs.ndjson").write_text(
        json.dumps({"clip": "sub/a.yuv", "reference": "r.y4m", "metrics": ["psnr,ssim:as=s"], "size": "64x48", "-ss": 62.5,
                    "shortest": True}) + '\n\n{"clip": "/b.mp4", "threads": 3, "size": null}\n{"clip": "/b.mp4"}\n'
    )  # fmt: skip
    first, second = jobs_of(tmp_path / "jobs.csv", rate="30")
    assert first.distorted == str(tmp_path / "sub" / "a.yuv") and first.reference == str(tmp_path / "r.y4m")
    assert first.options == {"metrics": ["psnr,ssim:as=s"], "models": [], "size": "64x48", "start": 62.5, "shortest": True,
                             "threads": 0, "rate": "30"}  # fmt: skip
    assert (second.distorted, second.reference) == ("/b.mp4", None)
    assert second.options["models"] == ["vsfa"] and second.options["threads"] == 3
    again = jobs_of(tmp_path / "jobs.ndjson", rate="30")  # /b.mp4 is there twice, and threads make it no other job
    assert [job.id for job in again] == [first.id, second.id] and len({first.id, second.id}) == 2


def test_folders_and_patterns(tmp_path):
    for name in ("a.mp4", "b.y4m", "notes.txt"):
        (tmp_path / name).write_text("x")
    found = jobs_of(tmp_path, str(tmp_path / "b.y4m"))
    assert [(job.distorted, job.reference) for job in found] == [(str(tmp_path / "a.mp4"), str(tmp_path / "b.y4m"))]
    found = jobs_of(tmp_path / "*.[my]*4*", "refs/{stem}.y4m", metrics=["psnr"])
    assert [job.reference for job in found] == [os.path.abspath(f"refs/{stem}.y4m") for stem in "ab"]
    assert found[0].options["metrics"] == ["psnr"]
    with pytest.raises(MissingInputError, match=r"a list \(\.csv, \.ndjson\), a folder, or a pattern"):
        jobs_of(tmp_path / "*.mkv")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"clip": "a.mp4", "frame": 3}', "line 2: a job has no option 'frame'.*frames"),
        ('{"clip": "a.mp4", "frames": "x"}', "line 2: frames: 'x' is not a valid int"),
        ('{"clip": "a.mp4", "model": "vfsa"}', "line 2: unknown metric 'vfsa'.*vsfa"),
        ('{"clip": "a.mp4", "metric": "psnr"}', "line 2: metrics compare with a reference"),
        ('{"clip": "a.mp4", "distorted": "b.mp4"}', "line 2: a job has one distorted or clip"),
        ('{"clip": "-"}', "line 2: .*give a file"), ('["a.mp4"]', "line 2: a job is an object"), ("a.mp4", "2: is not JSON"),
        ('{"clip": "a.mp4", "output": "b"}', "no option 'output'"), ('{"clip": "a.mp4", "shortest": 2}', "shortest is true or"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_said_with_its_line(tmp_path, line, says):
    (tmp_path / "jobs.ndjson").write_text('{"clip": "c.mp4"}\n' + line + "\n")
    with pytest.raises(UsageError, match=says):
        jobs_of(tmp_path / "jobs.ndjson")


def test_passwords_and_signatures_are_not_told():
    assert shown("https://me:secret@host/a.mp4?X-Amz-Signature=secret") == "https://***@host/a.mp4?***"
    assert shown("s3://bucket/a.mp4") == "s3://bucket/a.mp4" and shown("/is/this?.mp4") == "/is/this?.mp4"


def test_workers_and_threads_share_the_cores():
    assert shares(0, 0, cores=16, gpus=0, jobs=99) == (16, 1)
    assert shares(0, 0, cores=16, gpus=2, jobs=99) == (2, 8)
    assert shares(0, 4, cores=16, gpus=0, jobs=99) == (4, 4)
    assert shares(3, 0, cores=2, gpus=0, jobs=99) == (3, 1)
    assert shares(0, 0, cores=16, gpus=0, jobs=4) == (4, 4)


# --- the file of results ---------------------------------------------------------------------------------------------


@pytest.fixture
def jobs(tmp_path):
    found = []
    for n in range(4):
        path = tmp_path / f"{n}.mp4"
        path.write_bytes(bytes([n]) * (10 - n))
        found.append(Job(str(path), None, {"metrics": [], "models": ["niqe"], "weights": None}))
    return found


def document(job, error=None):
    """A line as a worker gives it."""
    from vqmeter.batch import keys

    line = json.loads(failed(Tasks().make(job, 1), error or InputError("bad")).document)
    if error is None:
        line["results"][0]["error"] = None
        line["results"][0]["settings"]["batch"]["files"] = {"distorted": keys.facts(job.distorted)}
    return json.dumps(line)


def test_resume_keeps_what_holds_and_drops_what_does_not(tmp_path, jobs):
    path = str(tmp_path / "out.ndjson")
    journal = Journal.create(path)
    lines = [*map(document, jobs[:3]), document(jobs[3], InputError("no"))]
    for line in lines:
        journal.append(line)
    journal.close()
    with open(path, "a") as file:
        file.write('{"schema"')
    with open(jobs[1].distorted, "a") as file:
        file.write("more")
    wanted = {job.id: job for job in jobs if job is not jobs[2]}
    journal = Journal.resume(path, wanted)
    assert journal.done == {jobs[0].id}
    with open(path) as file:
        assert file.read().splitlines() == [lines[0], lines[2]]  # the last is of another list
    with pytest.raises(OutputError, match="another batch is writing it"):
        Journal.resume(path, wanted)
    journal.append(document(jobs[3]))
    journal.close()
    again = Journal.resume(path, wanted)
    assert again.done == {jobs[0].id, jobs[3].id}
    again.close()


def test_other_weights_or_another_version_are_measured_anew(tmp_path, jobs):
    path = str(tmp_path / "out.ndjson")
    line = json.loads(document(jobs[0]))
    line["results"][0]["settings"]["batch"]["made_by"] = "other"
    (tmp_path / "out.ndjson").write_text(json.dumps(line) + "\n")
    journal = Journal.resume(path, {jobs[0].id: jobs[0]})
    assert not journal.done and os.path.getsize(path) == 0
    journal.close()


def test_a_file_of_something_else_is_left_alone(tmp_path, jobs):
    path = tmp_path / "out.ndjson"
    path.write_text('{"my": "data"}\n')
    with pytest.raises(OutputError, match="line 1 is no result of vqmeter"):
        Journal.resume(str(path), {})
    assert path.read_text() == '{"my": "data"}\n'
    with pytest.raises(OutputError, match="--resume"):
        Journal.create(str(path))
    with pytest.raises(OutputError, match="no plain file"):
        Journal.resume("/dev/full", {})


def test_a_line_that_does_not_fit_is_taken_back(tmp_path, jobs, monkeypatch):
    journal = Journal.create(str(tmp_path / "out.ndjson"))
    journal.append("{}")
    real = os.pwrite

    def full(handle, data, at):
        if len(data) < 50:
            raise OSError(28, "No space left on device")
        return real(handle, data[:50], at)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OutputError, match="no space left on device"):
        journal.append("x" * 80)
    assert (tmp_path / "out.ndjson").read_text() == "{}\n"
    journal.close()


# --- the loop --------------------------------------------------------------------------------------------------------


class Scripted:
    """Ends tasks as a script says, error by file and attempt; an `ExecutorLostError` is raised, the others are failures."""

    def __init__(self, script):
        self.script, self.asked, self.closed = script, [], None

    def room(self):
        return 1

    def submit(self, task):
        self.asked.append((os.path.basename(task["distorted"]), task["attempt"]))
        error = self.script.get(self.asked[-1])
        future = Future()
        if isinstance(error, ExecutorLostError):
            future.set_exception(error)
        else:
            future.set_result(failed(task, error) if error else succeeded(task))
        return future

    def close(self, now):
        self.closed = now


def succeeded(task):
    from dataclasses import replace

    return replace(failed(task, InputError("")), code=0, message="")


@pytest.fixture
def drive(tmp_path, jobs):
    def go(script=None, **limits):
        executor, journal = Scripted(script or {}), Journal.create(str(tmp_path / "out.ndjson"))
        tally = run(jobs, executor, journal, Limits(pause=0.01, **limits), Tasks())
        journal.close()
        return executor, tally, len((tmp_path / "out.ndjson").read_text().splitlines())

    return go


def test_large_files_first_and_every_job_once(drive):
    executor, tally, lines = drive()
    assert executor.asked == [(f"{n}.mp4", 1) for n in range(4)] and (tally.done, tally.left, lines) == (4, 0, 4)
    assert executor.closed is False


def test_what_may_pass_is_tried_again_and_what_may_not_is_not(drive):
    died = DeviceError("died")
    script = {("0.mp4", 1): InputError("bad"), ("1.mp4", 1): died, ("1.mp4", 2): died, ("2.mp4", 1): died, ("2.mp4", 2): died,
              ("2.mp4", 3): died}  # fmt: skip
    executor, tally, lines = drive(script, retries=2)
    assert sorted(executor.asked) == [("0.mp4", 1), *[(f"{n}.mp4", k) for n in (1, 2) for k in (1, 2, 3)], ("3.mp4", 1)]
    assert (tally.done, sorted(code for _, code, _ in tally.failed), lines) == (2, [4, 5], 4)


def test_it_stops_after_so_many_failures(drive):
    executor, tally, lines = drive({(f"{n}.mp4", 1): InputError("bad") for n in range(4)}, failures=2)
    assert (len(executor.asked), len(tally.failed), tally.left, lines) == (2, 2, 2, 2)


def test_a_lost_executor_is_the_end(drive):
    executor, tally, lines = drive({("1.mp4", 1): ExecutorLostError("gone")})
    assert isinstance(tally.stopped, ExecutorLostError) and (tally.done, tally.left, lines) == (1, 3, 1)
    assert executor.closed is True


def test_the_second_ctrl_c_is_one():
    said = []
    with Interrupts(said.append) as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.wanted and len(said) == 1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# --- workers ---------------------------------------------------------------------------------------------------------


def test_a_killed_worker_and_a_late_one_fail_their_job_alone(tmp_path, raw_pair):
    ref, dist = raw_pair()
    options = {"metrics": ["psnr"], "models": []}
    path = tmp_path / "long_7680x4320.yuv"
    with open(path, "wb") as file:  # holes, which take long to read and no room
        file.truncate(7680 * 4320 * 3 // 2 * 2000)
    good, long = (Tasks().make(Job(str(one), ref, options), 1) for one in (dist, path))
    pool = LocalPool(1, 1)
    try:
        [worker] = pool._workers
        future = pool.submit(long)
        while worker._process is None:
            time.sleep(0.01)
        time.sleep(0.2)
        os.kill(worker._process.pid, signal.SIGKILL)
        outcome = future.result(60)
        assert outcome.code == 5 and outcome.transient and "SIGKILL" in outcome.message
        outcome = pool.submit(good).result(60)
        assert outcome.code == 0 and outcome.frames == 5
        warm = worker._process.pid
        outcome = worker.run(long, 0.3)
        assert outcome.code == 4 and not outcome.transient and f"{path}: not done in 0.3 s" in outcome.message
        assert not running(warm)
    finally:
        pool.close(now=True)
    assert not os.path.exists(worker._scratch)


def test_a_worker_goes_when_its_master_does(tmp_path):
    read, write = os.pipe()
    child = os.fork()
    if not child:  # a master that dies without a word
        try:
            worker = Worker(1)
            worker._ready()
            os.write(write, f"{worker._process.pid} {worker._scratch}".encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    pid, scratch = os.read(read, 999).decode().split()
    os.close(read)
    end = time.monotonic() + 30
    while (running(int(pid)) or os.path.exists(scratch)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not running(int(pid)) and not os.path.exists(scratch)


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are told of and ended by POSIX signals")
