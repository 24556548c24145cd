"""The documentation is true: generated parts are in step, everything is mentioned, and what can be run is run.

README.md: the blocks marked `sh` and `python`; those marked `bash` (installing, make) are not run here.
CONTRIBUTING.md: the metric and the test of "How to add a metric". Manual pages: every example is parsed.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from vqmeter import __version__, errors
from vqmeter.cli import COMMANDS
from vqmeter.metric import NAMES
from vqmeter.report import STATISTICS
from vqmeter.writers import ENDINGS, FORMATS

ROOT = Path(__file__).resolve().parent.parent
CODES = sorted({getattr(errors, name).exit_code for name in dir(errors) if name.endswith("Error")} | {0})


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = load(ROOT / "man" / "make.py")


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(name: str, language: str) -> list[str]:
    """The fenced code blocks of a Markdown file in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", read(name), re.DOTALL | re.MULTILINE)


def page_of(command: str) -> Path:
    return ROOT / "man" / "man1" / (f"vqmeter-{command}.1" if command else "vqmeter.1")


def examples(page: str) -> Iterator[list[str]]:
    """The words after `vqmeter` of every command line in the examples of a manual page."""
    for example in re.findall(r"^\.EX\n(.*?)^\.EE$", page, re.DOTALL | re.MULTILINE):
        for line in example.replace("\\-", "-").splitlines():
            for call in re.findall(r"(?:^|[|(] *)vqmeter ([^|)>]*)", line):
                yield shlex.split(call)


# --- generated parts -------------------------------------------------------------------------------------------------


def test_generated_files_are_in_step() -> None:
    stale = [str(path.relative_to(ROOT)) for path, text in make.pages().items()
             if not path.exists() or path.read_text("utf-8") != text]  # fmt: skip
    assert not stale, f"run python man/make.py; out of date: {', '.join(stale)}"


def test_the_check_names_what_is_out_of_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    (tmp_path / "man").mkdir()
    shutil.copytree(ROOT / "man" / "templates", tmp_path / "man" / "templates")
    (tmp_path / "README.md").write_text("<!-- metrics -->\n<!-- /metrics -->\n")
    monkeypatch.setattr(make, "ROOT", tmp_path)
    monkeypatch.setattr(make, "TEMPLATES", tmp_path / "man" / "templates")
    assert make.main(["--check"]) == 1
    assert "man/man1/vqmeter-fr.1 is out of date" in capsys.readouterr().err
    assert make.main([]) == 0
    assert make.main(["--check"]) == 0
    assert "`psnr_y`" in (tmp_path / "README.md").read_text()


def test_pages_have_no_stray_files() -> None:
    on_disk = {path for section in ("man1", "man7") for path in (ROOT / "man" / section).iterdir()}
    assert on_disk == {path for path in make.pages() if path.parent.name in ("man1", "man7")}


# --- nothing is left out ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_and_option_is_in_its_page(command: str) -> None:
    path = page_of(command)
    assert path.exists(), f"write man/templates/{path.name}.in, then run python man/make.py"
    page = path.read_text("utf-8")
    found = make.command_of(path.name)
    for option in (option for one in (found, *make.subcommands(found)) for option in make.options_of(one)):
        assert option.help, f"{option.opts} has no help text"
        for name in (*option.opts, *option.secondary_opts):
            assert f"\\fB{make.roff(name)}\\fR" in page, f"{path.name} does not tell of {name}"


def test_the_main_page_tells_of_everything_shared() -> None:
    page = page_of("").read_text("utf-8").replace("\\-", "-")
    for name in COMMANDS:
        assert f".BR vqmeter-{name} (1)" in page
    for word in (*STATISTICS, *ENDINGS, *set(FORMATS) - {"table"}):
        assert re.search(rf"(?<!\w){re.escape(word)}(?!\w)", page), f"vqmeter.1 does not tell of {word}"
    status = page.partition('"EXIT STATUS"')[2].partition(".SH ")[0]
    for code in (*CODES, 130, 141, 143):
        assert re.search(rf"^\.BR? .*\b{code}\b", status, re.MULTILINE), f"vqmeter.1 does not tell of exit code {code}"


def test_every_metric_is_in_section_7_in_the_words_of_models() -> None:
    page = (ROOT / "man" / "man7" / "vqmeter-metrics.7").read_text("utf-8")
    cards = list(make.cards())
    assert {card["name"] for card in cards} == {name for table in NAMES.values() for name in table}
    for card in cards:
        assert f'.SS "{make.roff(card["name"])}: ' in page
        for score in card["scores"]:
            assert f".B {make.roff(score)}\n" in page
        for key in ("definition", "differs", "source"):
            assert make.roff(card[key]) in page


def test_the_readme_tells_of_everything() -> None:
    readme = read("README.md")
    for name in COMMANDS:
        assert f"vqmeter {name}" in readme
    for code in (*CODES, 130, 141, 143):
        assert re.search(rf"^\| [\d, ]*\b{code}\b[\d, ]* \|", readme, re.MULTILINE), f"no exit code {code}"
    for part in ("metrics", "bench"):
        assert readme.count(f"<!-- {part} -->") == readme.count(f"<!-- /{part} -->") == 1


def test_the_changelog_has_this_version() -> None:
    assert f"## [{__version__}]" in read("CHANGELOG.md")


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_lead_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", read(document)):
        assert target.startswith("https://") or (ROOT / target).exists(), f"{document} points to {target}"


# --- manual pages are well formed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "man").glob("man[17]/*")), ids=lambda path: path.name)
def test_pages_are_well_formed(path: Path) -> None:
    if shutil.which("groff"):
        command = ["groff", "-man", "-ww", "-Tutf8", "-z", str(path)]
    elif shutil.which("mandoc"):
        command = ["mandoc", "-T", "lint", "-W", "warning", str(path)]
    else:
        pytest.skip("neither groff nor mandoc is installed, pages are not rendered")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert max(map(len, path.read_text("utf-8").splitlines())) < 2000
    assert "@" not in path.read_text("utf-8")


@pytest.mark.parametrize("path", sorted((ROOT / "man").glob("man1/*")), ids=lambda path: path.name)
def test_examples_of_the_pages_are_commands(path: Path) -> None:
    group = make.command_of("vqmeter.1")
    calls = list(examples(path.read_text("utf-8")))
    assert calls
    for name, *words in calls:
        command = group.get_command(click.Context(group), name)
        assert command is not None, name
        with contextlib.suppress(click.exceptions.Exit):  # --list and its like print and leave
            command.make_context(name, words, parent=click.Context(group, **group.context_settings))


# --- the README runs -------------------------------------------------------------------------------------------------


def picture(n: int, width: int, height: int) -> list[np.ndarray]:
    """The planes of frame `n` of a moving pattern, 4:2:0."""
    y, x = np.mgrid[:height, :width]
    luma = 128 + 60 * np.sin((x + 3 * n) / 5) * np.cos(y / 7) + 30 * ((x // 8 + y // 8) % 2)
    chroma = 128 + 40 * np.sin((x[::2, ::2] + y[::2, ::2] - n) / 20)
    return [plane.clip(0, 255).astype(np.uint8) for plane in (luma, chroma, 255 - chroma)]


def encode(path: Path, crf: int, frames: int, width: int, height: int) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"crf": str(crf), "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for n in range(frames):
            packed = np.concatenate([plane.ravel() for plane in picture(n, width, height)])
            frame = av.VideoFrame.from_ndarray(packed.reshape(-1, width), format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files the README names."""
    folder = tmp_path_factory.mktemp("readme")
    width, height, frames = 96, 64, 6
    raw = np.random.default_rng(0).integers(16, 235, 2 * 1920 * 1080 * 3 // 2, np.uint8)
    (folder / "ref.yuv").write_bytes(raw.tobytes())
    (folder / "dist.yuv").write_bytes((raw ^ 1).tobytes())
    with open(folder / "ref.y4m", "wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\n".encode())
        for n in range(frames):
            file.write(b"FRAME\n" + b"".join(plane.tobytes() for plane in picture(n, width, height)))
    for crf in (22, 28, 34):
        encode(folder / f"crf{crf}.mp4", crf, frames, width, height)
    return folder


@pytest.fixture(scope="module")
def path_variable(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH on which this installation's `vqmeter` comes first, and imageio-ffmpeg's `ffmpeg` where there is one."""
    folder = tmp_path_factory.mktemp("bin")
    try:
        import imageio_ffmpeg

        (folder / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        pass
    return os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ.get("PATH", "")])


@pytest.mark.parametrize("block", blocks("README.md", "sh"), ids=lambda block: block.splitlines()[0])
def test_readme_examples_run_as_printed(block: str, clips: Path, path_variable: str) -> None:
    if not shutil.which("vqmeter", path=path_variable):
        pytest.skip("the vqmeter command is not installed beside this Python")
    if re.search(r"\bffmpeg -", block) and not shutil.which("ffmpeg", path=path_variable):
        pytest.skip("no ffmpeg here, and imageio-ffmpeg is not installed")
    outputs = [clips / name for name in re.findall(r"(?:-o|>) (\S+)", block)]
    for output in outputs:
        output.unlink(missing_ok=True)
    done = subprocess.run(["sh", "-eu", "-c", block], cwd=clips, env={**os.environ, "PATH": path_variable},
                          capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "a bug in vqmeter" not in done.stderr
    assert all(output.stat().st_size for output in outputs)
    assert done.stdout or outputs
    if "for file" in block:
        assert re.fullmatch(r"(crf\d\d\.mp4 \d+\.\d+\n){3}", done.stdout)
    if "good enough" in block:
        assert "good enough\n" in done.stdout


def test_readme_python_runs(clips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks("README.md", "python")
    assert len(block.splitlines()) <= 10
    monkeypatch.chdir(clips)
    exec(compile(block, "README.md", "exec"), {})
    assert re.match(r"crf22\.mp4 \d+\.\d+ 0\.\d+ \d\ncrf34\.mp4 ", capsys.readouterr().out)


# --- the worked example of CONTRIBUTING ------------------------------------------------------------------------------


def test_contributing_metric_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, test = blocks("CONTRIBUTING.md", "python")
    (line,) = [block for block in blocks("CONTRIBUTING.md", "text") if block.startswith('"mae"')]
    ((name, where),) = ast.literal_eval("{" + line + "}").items()
    module = types.ModuleType(where.partition(":")[0])
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source, "CONTRIBUTING.md", "exec"), module.__dict__)
    monkeypatch.setitem(NAMES["fr"], name, where)
    space: dict[str, Any] = {}
    exec(compile(test, "CONTRIBUTING.md", "exec"), space)
    (function,) = [value for key, value in space.items() if key.startswith("test_")]
    function(tmp_path)
    card = next(card for card in make.cards() if card["name"] == name)
    assert '.SS "mae: Mean absolute error"' in make.metric_entry(card)
