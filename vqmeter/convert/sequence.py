"""Numbered pictures: `frames/%05d.png`, a folder of them, or one. 8-bit RGB, grey where the video is grey; from 1 on."""

from __future__ import annotations

import glob
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vqmeter.errors import InputError, MissingInputError, OutputError
from vqmeter.frames import Frame
from vqmeter.sources import is_sequence, name_of

PATTERN = "%05d.png"


@dataclass(frozen=True)
class Sequence:
    """Where pictures go: a folder and the pattern of their names in it; without a number in it there is one picture."""

    folder: str
    pattern: str

    @classmethod
    def of(cls, path: str) -> Sequence | None:
        """What `path` names; None where it names no pictures."""
        if path.endswith(("/", os.sep)) or os.path.isdir(path):
            return cls(path.rstrip("/" + os.sep) or path, PATTERN)
        return cls(*os.path.split(path)) if path.lower().endswith(".png") else None

    def files(self) -> list[str]:
        """The files there that fit."""
        return [os.path.join(self.folder, name) for name in self._names()]

    def _names(self) -> list[str]:
        if not is_sequence(self.pattern):
            return [self.pattern] if os.path.exists(os.path.join(self.folder, self.pattern)) else []
        before, spec, after = re.split(r"(%0?\d*d)", self.pattern, maxsplit=1)
        shape = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
        names = (os.path.basename(path) for path in glob.glob(os.path.join(glob.escape(self.folder), "*")))
        return sorted(name for name in names if (m := shape.fullmatch(name)) and spec % int(m[1]) == m[1])

    def write(self, frames: Iterable[Frame]) -> list[str]:
        """Write a picture for each frame, all of them or none; the files that were there before and still are.

        Raises
            InputError: more than one frame for one picture.
            OutputError: the folder cannot be written.
        """
        numbered, before = is_sequence(self.pattern), self.files()
        place = self.folder or "."
        aside = None
        try:
            aside = tempfile.mkdtemp("", ".vqmeter-", place if os.path.isdir(place) else os.path.dirname(place) or ".")
            names: list[str] = []
            for frame in frames:
                if names and not numbered:
                    raise InputError(f"{name_of(frame.info.path)}: {self.pattern} holds one picture and there are more frames; "
                                     "name it with %05d, or give --frames 1")  # fmt: skip
                names.append(re.sub(r"%0?\d*d", lambda m: m[0] % (len(names) + 1), self.pattern, count=1))
                picture_of(frame).save(os.path.join(aside, names[-1]), "PNG")
            os.makedirs(place, exist_ok=True)
            for name in names:
                os.replace(os.path.join(aside, name), os.path.join(place, name))
        except OSError as error:
            raise OutputError(f"{os.path.join(self.folder, self.pattern)}: {(error.strerror or str(error)).lower()}") from None
        finally:
            if aside is not None:
                shutil.rmtree(aside, ignore_errors=True)
        return [path for path in before if os.path.basename(path) not in set(names)]


def picture_of(frame: Frame) -> Any:
    """A frame as a Pillow picture."""
    from PIL import Image

    from vqmeter.worst import to_rgb

    rgb = to_rgb(frame)
    return Image.fromarray(rgb[..., 0] if frame.info.pix_fmt.family == "gray" else rgb)


def input_pattern(path: str) -> str:
    """`path`, or the pattern of the pictures in the folder `path`.

    Raises
        MissingInputError: a folder without pictures called as `convert` calls them.
    """
    if not os.path.isdir(path):
        return path
    pictures = Sequence(path, PATTERN)
    if not pictures.files():
        raise MissingInputError(f"{path}: no pictures called {PATTERN % 1} and so on in this folder; name their pattern, "
                                f"as {os.path.join(path, 'frame_%04d.png')}")  # fmt: skip
    return os.path.join(path, PATTERN)
