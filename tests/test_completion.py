"""Completion by the protocol that the shells speak: words and the number of the one at the cursor in the environment."""

import os
import shutil
import subprocess
import sys

import pytest

from vqmeter.metric import NAMES


@pytest.fixture
def complete(cli, monkeypatch):
    """What bash is told for a line whose last word is at the cursor: [(kind, word)]."""

    def ask(line, shell="bash"):
        monkeypatch.setenv("_VQMETER_COMPLETE", f"{shell}_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        code, out, err = cli()
        assert (code, err) == (0, "")
        return [tuple(row.split(",", 1)) for row in out.split("\n") if row] if shell == "bash" else out

    return ask


def words(rows):
    return [word for kind, word in rows if kind == "plain"]


@pytest.mark.parametrize(("line", "expected"), [
    ("vqmeter f", ["fr"]), ("vqmeter weights pu", ["pull"]), ("vqmeter compat ", ["vmaf"]), ("vqmeter --no-c", ["--no-config"]),
    ("vqmeter fr --sh", ["--shortest"]), ("vqmeter fr -pix", ["-pix_fmt"]), ("vqmeter fr a.yuv b.yuv --plan", ["--planes"]),
    ("vqmeter fr -f j", ["json"]), ("vqmeter fr --range ", ["auto", "limited", "full"]),
    ("vqmeter fr -m ps", ["psnr"]), ("vqmeter fr --metric=vs", ["vsi"]), ("vqmeter fr a b -m psnr,ms", ["psnr,ms_ssim"]),
    ("vqmeter fr -m ", list(NAMES["fr"])), ("vqmeter nr --model ", list(NAMES["nr"])), ("vqmeter fr --model vs", ["vsfa"]),
    ("vqmeter eval -m fs", ["fsim", "fsimc"]), ("vqmeter eval --model ran", ["rankiqa"]),
    ("vqmeter compat vmaf --frame_c", ["--frame_cnt"]), ("vqmeter xx", []),
])  # fmt: skip
def test_words(complete, line, expected):
    assert words(complete(line)) == expected


def test_the_options_that_begin_with_m(complete):
    assert {"--metric", "--model", "--model-ref", "--map", "--matrix"} <= set(words(complete("vqmeter fr --m")))


@pytest.mark.parametrize("line", [
    "vqmeter fr ref", "vqmeter fr a.yuv ", "vqmeter nr cl", "vqmeter fr -o re", "vqmeter fr -bogus ", "vqmeter nosuch fi",
    "vqmeter compat vmaf -r re",
])  # fmt: skip
def test_files_where_nothing_else_is_known(complete, line):
    """Also behind a word that is wrong, about which nothing is said before the line is run."""
    assert complete(line) == [("file", line.rpartition(" ")[2])]


def test_zsh_and_fish(cli, complete, monkeypatch):
    """zsh is told kind, word and help on a line each; fish gives the word at the cursor itself."""
    assert complete("vqmeter fr -m ms", "zsh").splitlines() == ["plain", "ms_ssim", "_"]
    monkeypatch.setenv("_VQMETER_COMPLETE", "fish_complete")
    monkeypatch.setenv("COMP_CWORD", "ms")
    assert cli()[1].split(",")[1].strip() == "ms_ssim"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(cli, monkeypatch, shell, tmp_path):
    monkeypatch.setenv("_VQMETER_COMPLETE", f"{shell}_source")
    code, out, _ = cli()
    assert code == 0 and "_VQMETER_COMPLETE" in out and "vqmeter" in out
    if shutil.which(shell):
        (tmp_path / "script").write_text(out)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True, timeout=20)


def test_a_broken_file_of_defaults_does_not_stand_in_the_way(complete, tmp_path, monkeypatch):
    (tmp_path / "vqmeter.toml").write_text("[fr")
    monkeypatch.chdir(tmp_path)
    assert words(complete("vqmeter fr -m ps")) == ["psnr"]


def test_completion_imports_nothing_heavy():
    code = "import atexit, sys\natexit.register(lambda: print('\\n'.join(sys.modules), file=sys.stderr))\n" \
           "sys.argv = ['vqmeter']\nfrom vqmeter.cli import main\nmain()"  # fmt: skip
    for line, light in (("vqmeter fr --m", {"numpy", "vqmeter.metric"}), ("vqmeter fr -m ps", set())):
        env = {**os.environ, "_VQMETER_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert run.stdout and not ({"torch", "numba", "av", "scipy", "rich"} | light) & set(run.stderr.splitlines())
