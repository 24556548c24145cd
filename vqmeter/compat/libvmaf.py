"""libvmaf asked for models and features, through an ffmpeg that has it.

One ffmpeg takes a single stream on its stdin in which the frames of the reference and the distorted video alternate,
parts it in its filter graph, and leaves libvmaf's XML log in a folder of its own that goes when the log is read.
What libvmaf does not know it refuses itself, so that every version answers for what it has.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vqmeter.compat.logs import Log, read_xml
from vqmeter.errors import InputError, MissingInputError, UsageError, VqmeterError
from vqmeter.frames import Frame, VideoInfo
from vqmeter.metric import nearest
from vqmeter.metrics.fr.vmaf import find_ffmpeg

#: Built-in models, and features it extracts; for hints, and for paths of models that are built in. It may have more.
MODELS = (
    "vmaf_v0.6.1", "vmaf_v0.6.1neg", "vmaf_4k_v0.6.1", "vmaf_4k_v0.6.1neg",
    "vmaf_float_v0.6.1", "vmaf_float_v0.6.1neg", "vmaf_float_4k_v0.6.1",
)  # fmt: skip
FEATURES = (
    "adm", "cambi", "ciede", "float_adm", "float_ansnr", "float_moment", "float_motion", "float_ms_ssim", "float_psnr",
    "float_ssim", "float_vif", "motion", "psnr", "psnr_hvs", "vif",
)  # fmt: skip
_WORD = re.compile(r"[\w.+-]+", re.ASCII)  # what no filter graph reads as anything but itself


@dataclass(frozen=True)
class Feature:
    """A feature extractor and its options."""

    name: str
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Feature:
        """`NAME[=KEY=VALUE[:KEY=VALUE]...]`, as libvmaf has it; a colon after the name does too.

        Raises
            UsageError: not of that form, or an option that writes files.
        """
        name, rest = re.fullmatch(r"([^=:]*)[=:]?(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        options = _options(f"feature {name or text}", rest) if rest else []
        if not _WORD.fullmatch(name):
            raise UsageError(f"feature '{text}' is not NAME[=KEY=VALUE[:KEY=VALUE]...]")
        if any(key.endswith("path") for key, _ in options):
            raise UsageError(f"feature {name}: heat maps are not written here; leave out '{rest}'")
        return cls(name, tuple(options))

    def __str__(self) -> str:
        return _graph([("name", self.name), *self.options])


@dataclass(frozen=True)
class Model:
    """A model, built in (`version`) or in a file (`path`); `name` is what the log calls its score."""

    version: str = ""
    path: str = ""
    name: str = "vmaf"
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Model:
        """`version=NAME` or `path=FILE`, then `:name=WORD`, `:enable_transform`, `:disable_clip`, `:FEATURE.OPTION=VALUE`.

        Raises
            UsageError: not of that form.
        """
        place = ""
        if text.startswith("path="):  # a Windows path has a colon of its own
            place, rest = re.fullmatch(r"path=((?:[A-Za-z]:[\\/])?[^:]*):?(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
            text = rest
        given = dict(_options("model", text, flags=("enable_transform", "disable_clip"))) if text else {}
        version, name = given.pop("version", ""), given.pop("name", "vmaf")
        place = place or given.pop("path", "")
        if bool(version) == bool(place):
            raise UsageError("a model is version=NAME or path=FILE, as --model version=vmaf_v0.6.1")
        return cls(version, place, name, tuple(given.items()))

    @property
    def label(self) -> str:
        """What the line with the pooled score begins with."""
        return self.version or self.path

    def found(self) -> Model:
        """This model with its file in place; where there is none and libvmaf has a model of that name, the built-in one.

        Raises
            UsageError: a model of libvmaf before version 2.
            MissingInputError: no such file.
        """
        stem, ending = os.path.splitext(os.path.basename(self.path))
        if not self.path or os.path.isfile(self.path):
            if ending == ".pkl":
                raise UsageError(f"model {self.path}: libvmaf takes models as .json since its version 2; give that one")
            return self
        if stem in MODELS:
            return Model(stem, "", self.name, self.options)
        raise MissingInputError(f"{self.path}: no such model file; built-in models go by version=, as version={MODELS[0]}")


def _options(what: str, text: str, flags: Sequence[str] = ()) -> list[tuple[str, str]]:
    """`KEY=VALUE[:KEY=VALUE]...`; the keys in `flags` may stand alone."""
    pairs = []
    for part in text.split(":"):
        key, found, value = part.partition("=")
        if not found and key in flags:
            value = "true"
        plain = key == "path" or _WORD.fullmatch(value)  # a path never comes into the graph
        if not _WORD.fullmatch(key) or not value or not plain:
            raise UsageError(f"{what}: '{part}' is not KEY=VALUE of letters, digits and . _ + -")
        pairs.append((key, value))
    return pairs


def _graph(pairs: Sequence[tuple[str, str]]) -> str:
    return r"\:".join(f"{key}={value}" for key, value in pairs)


@dataclass(frozen=True)
class Question:
    """What libvmaf is asked: models and features, threads, and every how many frames."""

    models: tuple[Model, ...]
    features: tuple[Feature, ...]
    threads: int = 0
    subsample: int = 1

    def command(self, ffmpeg: str, info: VideoInfo) -> list[str]:
        """An ffmpeg that answers: frames of `info`'s size and format on stdin, model files and the log in its folder."""
        models = [[("version", m.version) if m.version else ("path", f"model{n}.json"), ("name", m.name), *m.options]
                  for n, m in enumerate(self.models)]  # fmt: skip
        graph = (
            "[0:v]split[a][b];[a]select='not(mod(n,2))',setpts=N[ref];[b]select='mod(n,2)',setpts=N[dist];[dist][ref]libvmaf="
            f"model='{'|'.join(map(_graph, models))}':feature='{'|'.join(map(str, self.features))}':"
            f"n_threads={self.threads}:n_subsample={self.subsample}:log_fmt=xml:log_path=log.xml"
        )
        return [
            ffmpeg, "-hide_banner", "-nostdin", "-nostats", "-loglevel", "error",
            "-f", "rawvideo", "-pix_fmt", info.pix_fmt.name, "-video_size", f"{info.width}x{info.height}", "-i", "pipe:0",
            "-filter_complex", graph, "-f", "null", "-",
        ]  # fmt: skip

    def ask(self, info: VideoInfo, pairs: Iterable[tuple[Frame, Frame]]) -> Log:
        """What libvmaf says of frames of `info`'s size and format.

        Raises
            UsageError: no ffmpeg with libvmaf, or it lacks a model or a feature.
            InputError: it failed.
        """
        ffmpeg = find_ffmpeg()
        with tempfile.TemporaryDirectory(prefix="vqmeter-") as folder:
            for n, model in enumerate(self.models):
                if model.path:
                    shutil.copyfile(model.path, os.path.join(folder, f"model{n}.json"))
            code = _feed(self.command(ffmpeg, info), folder, info.pix_fmt.memory_dtype, pairs)
            log = os.path.join(folder, "log.xml")
            if code == 0 and os.path.exists(log):
                return read_xml(log)
            with open(os.path.join(folder, "errors.txt"), encoding="utf-8", errors="replace") as file:
                raise self._failure(file.read(1 << 16), code)

    def _failure(self, told: str, code: int) -> VqmeterError:
        """Why ffmpeg did not do its work, from what it said last."""
        if m := re.search(r"problem during vmaf_use_feature: (\S+)", told):
            return UsageError(f"this libvmaf has no feature '{m[1]}'{nearest(m[1], FEATURES)}")
        if m := re.search(r"could not load libvmaf model with version: (\S+)", told):
            return UsageError(f"this libvmaf has no built-in model '{m[1]}', or not as a single one{nearest(m[1], MODELS)}")
        if m := re.search(r"could not load libvmaf model with path: model(\d+)\.json", told):
            return UsageError(f"{self.models[int(m[1])].path}: libvmaf cannot read this model")
        line = next((re.sub(r"^\[[^]]*\] *", "", line) for line in told.splitlines() if line.strip()), "it left no log")
        return InputError(f"libvmaf: ffmpeg ended with exit code {code}: {line}")


def _feed(command: list[str], folder: str, memory_dtype: np.dtype[Any], pairs: Iterable[tuple[Frame, Frame]]) -> int:
    """Run `command` in `folder` with alternate frames on its stdin and its complaints in errors.txt; its exit code."""
    with open(os.path.join(folder, "errors.txt"), "wb") as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, cwd=folder)
    assert process.stdin is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            for pair in pairs:
                for frame in pair:
                    for plane in frame.planes:
                        process.stdin.write(np.ascontiguousarray(plane, memory_dtype).data)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        return process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
