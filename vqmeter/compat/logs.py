"""The log that libvmaf writes, and its four forms: XML, JSON, CSV and MicroDVD subtitles.

Every number has six decimals, frames per second two. XML, CSV and subtitles say `inf` where a score is infinite, JSON
`null`. Source: the files that libvmaf itself writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from xml.etree import ElementTree

POOLS = ("min", "max", "mean", "harmonic_mean")


@dataclass
class Log:
    """Scores by libvmaf's names: of each frame under its number, pooled by `POOLS`, and of the whole video."""

    version: str
    width: int
    height: int
    fps: float
    frames: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    pooled: dict[str, dict[str, float]] = field(default_factory=dict)
    aggregate: dict[str, float] = field(default_factory=dict)

    def drop(self, name: str) -> None:
        """Forget the score `name`."""
        self.pooled.pop(name, None)
        for _, scores in self.frames:
            scores.pop(name, None)


def read_xml(path: str) -> Log:
    """The log in an XML file that libvmaf has written.

    Raises
        OSError: there is no such file.
    """
    root = ElementTree.parse(path).getroot()
    params, fyi, aggregate = (next(root.iter(tag)) for tag in ("params", "fyi", "aggregate_metrics"))
    log = Log(root.attrib["version"], int(params.attrib["qualityWidth"]), int(params.attrib["qualityHeight"]),
              float(fyi.attrib["fps"]))  # fmt: skip
    for frame in root.iterfind("frames/frame"):
        scores = dict(frame.items())
        number = int(scores.pop("frameNum"))
        log.frames.append((number, {name: float(value) for name, value in scores.items()}))
    for metric in root.iterfind("pooled_metrics/metric"):
        pools = dict(metric.items())
        name = pools.pop("name")
        log.pooled[name] = {pool: float(value) for pool, value in pools.items()}
    log.aggregate = {name: float(value) for name, value in aggregate.items()}
    return log


def render(log: Log, form: str) -> Iterator[str]:
    """`log` as text of one of `FORMS`, in pieces."""
    return FORMS[form](log)


def _xml(log: Log) -> Iterator[str]:
    yield f'<VMAF version="{log.version}">\n  <params qualityWidth="{log.width}" qualityHeight="{log.height}" />\n'
    yield f'  <fyi fps="{log.fps:.2f}" />\n  <frames>\n'
    for number, scores in log.frames:
        yield f'    <frame frameNum="{number}" {_attributes(scores)}/>\n'
    yield "  </frames>\n  <pooled_metrics>\n"
    for name, pools in log.pooled.items():
        yield f'    <metric name="{name}" {_attributes(pools)}/>\n'
    yield f"  </pooled_metrics>\n  <aggregate_metrics {_attributes(log.aggregate)}/>\n</VMAF>\n"


def _attributes(values: dict[str, float]) -> str:
    return "".join(f'{name}="{value:.6f}" ' for name, value in values.items())


def _json(log: Log) -> Iterator[str]:
    yield f'{{\n  "version": "{log.version}",\n  "fps": {_number(log.fps, 2)},\n  "frames": ['
    for n, (number, scores) in enumerate(log.frames):
        yield f'{"," if n else ""}\n    {{\n      "frameNum": {number},\n      "metrics": {{\n'
        yield f"{_members(scores, 8)}\n      }}\n    }}"
    yield '\n  ],\n  "pooled_metrics": {'
    for n, (name, pools) in enumerate(log.pooled.items()):
        yield f'{"," if n else ""}\n    "{name}": {{\n{_members(pools, 6)}\n    }}'
    aggregate = f"\n{_members(log.aggregate, 4)}" if log.aggregate else ""
    yield f'\n  }},\n  "aggregate_metrics": {{{aggregate}\n  }}\n}}\n'


def _members(values: dict[str, float], indent: int) -> str:
    return ",\n".join(f'{" " * indent}"{name}": {_number(value, 6)}' for name, value in values.items())


def _number(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}" if math.isfinite(value) else "null"


def _csv(log: Log) -> Iterator[str]:
    yield f"Frame,{''.join(f'{name},' for name in log.pooled)}\n"
    for number, scores in log.frames:
        yield f"{number},{''.join(f'{value:.6f},' for value in scores.values())}\n"


def _sub(log: Log) -> Iterator[str]:
    for number, scores in log.frames:
        told = "".join(f"{name}: {value:.6f}|" for name, value in scores.items())
        yield f"{{{number}}}{{{number + 1}}}frame: {number}|{told}\n"


FORMS: dict[str, Callable[[Log], Iterator[str]]] = {"xml": _xml, "json": _json, "csv": _csv, "sub": _sub}
