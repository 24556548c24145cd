"""Where results go: links, pipes, devices, full disks, names of any bytes, streams that the shell has closed."""

import json
import os
import stat
import subprocess
import sys
import threading

import pytest

from vqmeter import writers
from vqmeter.errors import OutputError

COMMAND = [sys.executable, "-m", "vqmeter", "--no-config", "fr", "-q"]


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "far").mkdir()
    real, link = tmp_path / "far" / "a.json", tmp_path / "a.json"
    real.write_text("old")
    link.symlink_to(real)
    writers.check_writable(str(link))
    writers.write_whole(link, "new")
    assert link.is_symlink() and real.read_text() == "new" and os.listdir(tmp_path / "far") == ["a.json"]


def test_a_link_that_leads_nowhere_yet(tmp_path):
    link = tmp_path / "a.json"
    link.symlink_to(tmp_path / "new.json")
    writers.write_whole(link, "text")
    assert link.is_symlink() and (tmp_path / "new.json").read_text() == "text"
    link.unlink()
    link.symlink_to(tmp_path / "none" / "new.json")
    with pytest.raises(OutputError, match="no folder"):
        writers.check_writable(str(link))


def test_a_named_pipe_gets_the_report_as_json_and_stays(cli, raw_pair, tmp_path):
    fifo, got = tmp_path / "pipe", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: got.append(fifo.read_text()))
    reader.start()
    code, _, err = cli("fr", "-q", *raw_pair(), "-o", fifo)
    reader.join(30)
    assert (code, err) == (0, "") and json.loads(got[0])["schema"] == "vqmeter/1"
    assert stat.S_ISFIFO(os.stat(fifo).st_mode) and sorted(os.listdir(tmp_path))[-1] == "ref_64x48.yuv"


def test_a_device_is_written_through():
    master, slave = os.openpty()
    name = os.ttyname(slave)
    writers.check_writable(name)
    writers.write_whole(name, "text")
    assert os.read(master, 100) == b"text" and stat.S_ISCHR(os.stat(name).st_mode)
    os.close(master), os.close(slave)


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="no /dev/fd on this system")
def test_an_open_descriptor_is_written_where_it_stands(tmp_path):
    with open(tmp_path / "log", "w+b") as file:
        file.write(b"before\n")
        file.flush()
        writers.write_whole(f"/dev/fd/{file.fileno()}", "text\n")
        file.write(b"")
        os.write(file.fileno(), b"after\n")
    assert (tmp_path / "log").read_text() == "before\ntext\nafter\n"
    with pytest.raises(OutputError, match="may not be written"):
        writers.check_writable("/dev/fd/987")


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="no /dev/fd on this system")
def test_the_reader_of_a_named_output_may_leave():
    read, write = os.pipe()
    os.close(read)
    with pytest.raises(BrokenPipeError):
        writers.write_whole(f"/dev/fd/{write}", "text")
    os.close(write)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_full_disk_is_exit_4(raw_pair):
    with open("/dev/full", "wb") as full:
        for options, where in ((["-f", "json"], full), (["-o", f"/dev/fd/{full.fileno()}"], subprocess.DEVNULL)):
            run = subprocess.run([*COMMAND, *raw_pair(), *options], stdout=where, stderr=subprocess.PIPE, text=True,
                                 pass_fds=[full.fileno()])  # fmt: skip
            assert run.returncode == 4 and "no space left" in run.stderr and len(run.stderr.splitlines()) == 1


def test_names_of_any_bytes(raw_pair, tmp_path):
    ref, dist = raw_pair(frames=2)
    name = os.fsencode(tmp_path / "d_64x48") + b"\xff\xfe.yuv"
    os.rename(dist, name)
    table = tmp_path / "a.csv"
    for encoding in ("utf-8", "ascii"):
        run = subprocess.run([*COMMAND, ref, name, "-s", "64x48", "-f", "csv", "-o", str(table)], capture_output=True,
                             env={**os.environ, "PYTHONIOENCODING": encoding})  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert name in table.read_bytes()
        assert b"d_64x48" in run.stdout and (encoding == "ascii" or b"\xff\xfe" in run.stdout)


@pytest.mark.parametrize(("closed", "words", "code"), [(">&- 2>&-", "-o out.json", 0), (">&-", "", 0), ("<&-", "", 4)])
def test_streams_that_the_shell_has_closed(raw_pair, tmp_path, closed, words, code):
    """A file must not get the number of a closed stream: what libraries print would end up in it."""
    ref, dist = raw_pair(frames=2)
    dist = "-" if closed == "<&-" else dist
    line = " ".join([*COMMAND, ref, dist, "-s 64x48", words, closed])
    run = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == code and "Traceback" not in run.stderr, run.stderr
    if words:
        assert json.loads((tmp_path / "out.json").read_text())["results"][0]["error"] is None


def test_killed_while_writing_leaves_the_old_file(tmp_path):
    """Killed between writing and renaming, the worst moment."""
    target = tmp_path / "a.json"
    target.write_text("old")
    code = (
        "import os, signal, sys; from vqmeter import writers\n"
        "with writers.whole(sys.argv[1]) as name, open(name, 'w') as file:\n"
        "    file.write('half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(target)]).returncode == -9
    assert target.read_text() == "old"


@pytest.mark.skipif(sys.platform != "linux", reason="only there may a file's name be of any bytes")
@pytest.mark.parametrize("form", ["json", "ndjson", "csv"])
def test_a_report_of_a_name_of_any_bytes_is_read_again(cli, tmp_path, form):
    name, made, page = tmp_path / os.fsdecode(b"a\xff_16x16.yuv"), tmp_path / f"r.{form}", tmp_path / "page.html"
    name.write_bytes(bytes(16 * 16 * 3 // 2))
    assert cli("fr", "-q", name, name, "-m", "psnr", "-o", made)[0] == 0
    assert cli("report", made, "--frames", 0, "-o", page)[0] == 0
    assert b"_16x16.yuv" in page.read_bytes()
