"""What is thrown at vqmeter, and what it may answer: a result, or an error of its own tree that is no bug.

A target is a function that Hypothesis fills. A byte-mutated file is told by its name and a seed, so that a finding can
be made again from two words.
"""

from __future__ import annotations

import copy
import io
import json
import os
import random
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import strategies as st

from vqmeter import measure
from vqmeter.cli import main
from vqmeter.errors import VqmeterError
from vqmeter.metric import NAMES, choose
from vqmeter.selfcheck.clips import CODED, make
from vqmeter.writers import FORMATS, writer

#: Small enough for thousands of runs; larger pictures in a mutant's header are refused.
LARGEST_FILE, LARGEST_PICTURE = 100_000, 1 << 21
CODES = {0, 2, 3, 4, 5, 6}
_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 1_000_000_000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@dataclass
class Corpus:
    """Files to mutate, and a folder to write in; `last` is where the present case is kept, should the process die of it."""

    folder: Path
    media: Path | None = None
    files: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ref, self.dist = make(str(self.folder))
        raw = self.folder / "raw_16x16.yuv"
        raw.write_bytes(bytes(range(256)) * 6)
        self.raw = str(raw)
        measure(raw, reference=raw, size="16x16", pix_fmt="gray10le", metrics="psnr,ssim")  # compiles, which takes its time
        found = sorted(self.media.iterdir()) if self.media else []
        self.files = [path for path in found if path.stat().st_size <= LARGEST_FILE] or [CODED]
        report = measure(CODED, reference=self.ref, metrics="psnr,ssim", models="niqe", frames=3)
        self.document = json.loads("".join(writer("json")(report)))
        self.tables = ["".join(writer(form)(report)) for form in ("csv", "pooled_csv")]

    @contextmanager
    def file(self, name: str, data: bytes) -> Iterator[str]:
        path = self.folder / name
        path.write_bytes(data)
        try:
            yield str(path)
        finally:
            path.unlink(missing_ok=True)


def mutate(data: bytes, seed: int) -> bytes:
    """`data` cut, flipped, overwritten, repeated or with pieces left out, one to eight times."""
    rng, out = random.Random(seed), bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(min(len(out), rng.choice((64, 1024, 1 << 20))) or 1)
        length = min(len(out) - at, rng.choice((1, 4, 16, 256, 4096)))
        kind = rng.randrange(7)
        if kind == 0:
            out[at : at + 1] = bytes([(out[at] if at < len(out) else 0) ^ 1 << rng.randrange(8)])
        elif kind == 1:
            out[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            out[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(_NUMBERS))
        elif kind == 3:
            del out[at : at + length]
        elif kind == 4:
            out[at:at] = out[at : at + length]
        elif kind == 5:
            out[at : at + length] = bytes(length)
        else:
            del out[max(1, at) :]
    return bytes(out)


def allowed(call: Callable[[], Any]) -> str:
    """What came of `call`; anything but a result or a foreseen error is raised."""
    try:
        said = call()
    except VqmeterError as error:
        assert error.exit_code in CODES, f"a bug: {error}"
        return f"exit {error.exit_code}"
    return said if isinstance(said, str) else "exit 0"


def measured(path: str, **options: Any) -> str:
    """The worst that came of measuring a file; its report can be written in every form."""
    report = measure(path, frames=2, max_pixels=LARGEST_PICTURE, **options)
    for result in report.results:
        if result.error is not None:
            assert result.error.exit_code in CODES, f"a bug: {result.error}"
    for form in (*FORMATS, "pooled_csv"):
        text = "".join(writer(form)(report))
        if form == "json":
            json.loads(text, parse_constant=lambda word: 1 / 0)
    return f"exit {report.exit_code}"


def command(*words: str) -> str:
    """What the command line answers, with at most one line of error."""
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["vqmeter", *words]
    code = 0
    with redirect_stdout(out), redirect_stderr(err), patch("sys.stdin", io.TextIOWrapper(io.BytesIO())):
        try:
            main(list(words))
        except SystemExit as left:
            code = int(left.code or 0)
    assert code in CODES, f"exit {code}: {err.getvalue()[-2000:]}"
    assert all(line.startswith("vqmeter: ") for line in err.getvalue().splitlines()), err.getvalue()
    assert code == 0 or err.getvalue().strip(), f"exit {code} without a word"
    return f"exit {code}"


# --- targets ---------------------------------------------------------------------------------------------------------


def container(corpus: Corpus, number: int, seed: int, pair: bool) -> str:
    """A real file with damaged bytes, alone and against itself."""
    original = corpus.files[number % len(corpus.files)]
    with corpus.file("case" + original.suffix, mutate(original.read_bytes(), seed)) as path:
        return allowed(lambda: measured(path, reference=path, metrics="psnr") if pair else measured(path, models="niqe"))


def y4m(corpus: Corpus, size: tuple[int, int], more: list[str], marker: bytes, cut: int) -> str:
    """A Y4M header with any words behind its size, and frames that may be cut short or lack their marker."""
    (w, h), body = size, bytes(range(7)) * 999
    tags = " ".join([f"W{w}", f"H{h}", *more])
    frame = marker + body[: w * h + 2 * (-(-w // 2) * -(-h // 2))]
    data = b"YUV4MPEG2 " + tags.encode("latin-1", "replace") + b"\n" + frame * 3
    with corpus.file("case.y4m", data[: len(data) - cut]) as path:
        return allowed(lambda: measured(path, reference=path, metrics="psnr,ssim"))


def raw(corpus: Corpus, name: str, size: int, options: dict[str, Any]) -> str:
    """Headless bytes under any name and any geometry."""
    name = "".join(c for c in name if c not in "/\0")[:80]
    with corpus.file(f"{name}.yuv", bytes(i & 255 for i in range(size))) as path:
        return allowed(lambda: measured(path, reference=path, metrics="psnr", **options))


def specification(corpus: Corpus, text: str) -> str:
    """A metric's specification."""
    return min(allowed(lambda family=family: choose(family, [text])) for family in NAMES)


def words(corpus: Corpus, coded: bool, arguments: list[str]) -> str:
    """Options of fr, any of them with any value."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory(dir=corpus.folder) as folder:
        os.chdir(folder)
        try:
            clip = str(CODED) if coded else corpus.raw
            return command("--no-config", "fr", clip, clip, "--frames", "2", *arguments)
        finally:
            os.chdir(here)


def config(corpus: Corpus, text: str) -> str:
    """A file of defaults."""
    with corpus.file("case.toml", text.encode("utf-8", "replace")) as path:
        return command("--config", path, "fr", corpus.raw, corpus.raw, "-s", "16x16", "-q")


def weights(corpus: Corpus, seed: int, header: dict[str, Any] | None) -> str:
    """A weight file with damaged bytes, or one whose header says something else."""
    from vqmeter.weights.manifest import bundled

    data = (bundled() / "niqe.safetensors").read_bytes()
    if header is None:
        data = mutate(data, seed)
    else:
        text = json.dumps(header).encode()
        data = struct.pack("<Q", len(text)) + text + data[8 + struct.unpack("<Q", data[:8])[0] :]
    with corpus.file("case.safetensors", data) as path:
        return allowed(lambda: measured(corpus.dist, models=f"niqe:weights={path}"))


def torch_file(corpus: Corpus, seed: int) -> str:
    """A torch file with damaged bytes."""
    import torch

    from vqmeter.weights.files import read

    buffer = io.BytesIO()
    torch.save({"state_dict": {"mu": torch.zeros(36), "cov": torch.eye(36)}, "vqmeter": '{"model": "niqe"}'}, buffer)
    with corpus.file("case.pt", mutate(buffer.getvalue(), seed)) as path:
        return allowed(lambda: read(Path(path)))


def results(corpus: Corpus, edits: list[tuple[int, Any]], seed: int | None) -> str:
    """A report whose parts were replaced, or whose bytes were damaged, in every command that reads one."""
    document = copy.deepcopy(corpus.document)
    for number, value in edits:
        places = list(_places(document))
        holder, key = places[number % len(places)]
        holder[key] = value
    data = json.dumps(document).encode()
    with corpus.file("case.json", data if seed is None else mutate(data, seed)) as path:
        return _read_everywhere(corpus, path)


def tables(corpus: Corpus, which: int, seed: int, text: str | None) -> str:
    """A table of scores with damaged bytes, or any text as a table."""
    data = mutate(corpus.tables[which].encode(), seed) if text is None else text.encode("utf-8", "replace")
    with corpus.file("case.csv", data) as path:
        return _read_everywhere(corpus, path)


def _read_everywhere(corpus: Corpus, path: str) -> str:
    from vqmeter.bdrate import How, Reading, deltas, read_curves
    from vqmeter.evaluation.scores import read_scores
    from vqmeter.page import render
    from vqmeter.page.reading import read_reports

    def page() -> None:
        for report in read_reports(path):
            text = "".join(render(report))
            assert "<img src=x" not in text, "unescaped"

    def curves() -> None:
        for curve in (found := read_curves([path, f"b={path}"], Reading()))[1:]:
            deltas([found[0], curve], found[0], How())

    return ", ".join(allowed(call) for call in (page, curves, lambda: read_scores(path)))


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document where something stands."""
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield node, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


# --- strategies ------------------------------------------------------------------------------------------------------

seeds = st.integers(0, (1 << 32) - 1)
odd_text = st.one_of(
    st.text(max_size=12), st.sampled_from(["", "-", "nan", "1e999", "-1", "0", "x" * 300, "é", "%d", "<img src=x>"])
)
numbers = st.one_of(st.integers(-2, 70), st.sampled_from([1 << 31, 1 << 63, 10**40]))
tag = st.one_of(
    st.builds("{}{}".format, st.sampled_from("WHFIACX"), numbers),
    st.builds("{}{}:{}".format, st.sampled_from("FA"), numbers, numbers),
    st.sampled_from(["C420", "C422p10", "C444alpha", "Cmono16", "C411", "C420p17", "Ip", "It", "XCOLORRANGE=FULL"]),
    odd_text.map(lambda text: text.replace("\n", " ")),
)
sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
markers = st.sampled_from([b"FRAME\n", b"FRAME\n", b"FRAME Ip\n", b"FRAM\n"])
formats = st.sampled_from(["yuv420p", "yuv422p10le", "yuv444p16be", "gray", "gray12le", "nv12", "p010le", "rgb24", "gbrp",
                           "yuyv422", "yuva420p", "pal8", "yuv421p"])  # fmt: skip
geometry = st.fixed_dictionaries({}, optional={
    "size": st.one_of(st.builds("{}x{}".format, numbers, numbers), odd_text), "pix_fmt": st.one_of(formats, odd_text),
    "rate": st.one_of(st.integers(-1, 100).map(str), odd_text), "start": st.floats(-1, 10), "subsample": st.integers(1, 5),
    "duration": st.one_of(st.none(), st.floats(0, 10)), "scale": st.sampled_from(["none", "ref", "8x8", "1x1:lanczos"]),
})  # fmt: skip
raw_names = st.one_of(
    odd_text,
    st.builds("a_{}x{}_{}".format, st.integers(0, 20), st.integers(1, 20), st.one_of(formats, numbers, odd_text)),
)
metric_names = st.sampled_from([*NAMES["fr"], *NAMES["nr"], "pnsr", ""])
option_names = st.sampled_from(
    ["weights", "as", "down", "patches", "rate", "size", "crops", "clips", "fps", "backbone", "x", ""]
)
spec = st.recursive(
    st.one_of(metric_names, odd_text),
    lambda inner: st.one_of(
        st.builds("{}:{}={}".format, inner, option_names, st.one_of(odd_text, numbers)), st.builds("{},{}".format, inner, inner)
    ),
    max_leaves=4,
)
_OPTIONS = ["-s", "-pix_fmt", "-r", "-ss", "-t", "--frames", "--subsample", "-m", "--range", "--matrix", "--scale", "--planes",
            "--score", "--fail-under", "--psnr-cap", "--threads", "--seed", "-f", "--max-pixels", "-o", "--input-format",
            "--crop", "--sync", "--pair", "-ss5", "-q", "--"]  # fmt: skip
values = st.one_of(
    odd_text, numbers.map(str), spec, st.sampled_from(["16x16", "yuv420p", "gray", "8:8:0:0", "auto", "full", "ref"])
)
argument_lists = st.lists(st.one_of(st.sampled_from(_OPTIONS), values), max_size=6)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(), odd_text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(odd_text, inner, max_size=3)),
    max_leaves=6,
)
tensor = st.fixed_dictionaries({}, optional={
    "dtype": st.sampled_from(["F32", "I8", "F16", "BF16", "F99"]), "shape": st.lists(st.one_of(numbers, odd_text), max_size=3),
    "data_offsets": st.lists(numbers, max_size=3),
})  # fmt: skip
tensor_headers = st.dictionaries(
    st.sampled_from(["mu", "cov", "cov.scale", "x", ""]), st.one_of(tensor, json_values), max_size=4
).flatmap(
    lambda tensors: st.one_of(
        st.none(), st.dictionaries(odd_text, odd_text), json_values.map(lambda v: {"vqmeter": json.dumps(v)})
    ).map(lambda said: tensors if said is None else {**tensors, "__metadata__": said})
)
toml_lines = st.one_of(
    odd_text, st.sampled_from(["[fr]", "[nr]", "[x]", "[[fr]]"]),
    st.builds("{} = {}".format, st.sampled_from(["metric", "frames", "threads", "fail-under", "size", "x"]),
              st.one_of(json_values.map(lambda v: json.dumps(v)), odd_text)),
)  # fmt: skip

#: Name -> the target, and what fills its arguments after the corpus.
TARGETS: dict[str, tuple[Callable[..., str], tuple[st.SearchStrategy[Any], ...]]] = {
    "container": (container, (st.integers(0, 1000), seeds, st.booleans())),
    "y4m": (y4m, (sizes, st.lists(tag, max_size=3), markers, st.sampled_from([0, 0, 3, 99]))),
    "raw": (raw, (raw_names, st.one_of(st.integers(0, 5000), st.sampled_from([1536, 3072, 4320])), geometry)),
    "specification": (specification, (spec,)),
    "words": (words, (st.booleans(), argument_lists)),
    "config": (config, (st.lists(toml_lines, max_size=5).map("\n".join),)),
    "weights": (weights, (seeds, st.one_of(st.none(), tensor_headers))),
    "torch_file": (torch_file, (seeds,)),
    "results": (results, (st.lists(st.tuples(st.integers(0, 10**6), json_values), max_size=3), st.one_of(st.none(), seeds))),
    "tables": (tables, (st.integers(0, 1), seeds, st.one_of(st.none(), st.text(max_size=200)))),
}


def quiet() -> None:
    """What numpy would warn of on stderr is a finding."""
    import warnings

    warnings.simplefilter("error", RuntimeWarning)
    np.seterr(all="warn", under="ignore")
