"""The scaling rows as SVG, beside the JSON they are drawn from: lines with their names at their ends, for light and dark.

Ours is drawn through, a peer dashed in the colour of the row it stands in; a thin bar is least to greatest of the rounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from rows import Row
from timing import Spread

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 190, 40, 52
_LABEL = 15  # least distance of two names at the ends of lines
_STYLE = """
 text { font: 12px system-ui, sans-serif; fill: #24292f } .title { font-size: 14px; font-weight: 600 }
 .grid { stroke: #d0d7de; stroke-width: 1 } path, .bar { fill: none; stroke-width: 2 } .bar { stroke-width: 1 }
 .theirs { stroke-dasharray: 5 4 }
 .c0 { stroke: #0969da } .c1 { stroke: #bc4c00 } .c2 { stroke: #1a7f37 } .c3 { stroke: #8250df }
 @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .grid { stroke: #3d444d }
 .c0 { stroke: #58a6ff } .c1 { stroke: #f0883e } .c2 { stroke: #3fb950 } .c3 { stroke: #bc8cff } }
"""


@dataclass(frozen=True)
class Axis:
    """From data to pixels: linear from zero, or logarithmic."""

    title: str
    log: bool
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (at - low) / (high - low)

    def ticks(self) -> list[float]:
        """Round numbers: 1, 2, 5 of each decade, or about five equal steps."""
        if self.log:
            steps = [m * 10.0**d for d in range(-4, 7) for m in (1, 2, 5)]
        else:
            rough = (self.high - self.low) / 5
            decade = 10 ** math.floor(math.log10(rough))
            step = next(m * decade for m in (1, 2, 5, 10) if m * decade >= rough)
            steps = [n * step for n in range(11)]
        return [step for step in steps if self.low <= step <= self.high * 1.0001]


@dataclass(frozen=True)
class Line:
    """A name and its points."""

    name: str
    ours: bool
    colour: int
    points: Sequence[tuple[float, Spread]]


#: Plot -> its title, the titles of its axes, and whether these are logarithmic.
_PLOTS = {
    "length": ("Whole process against length, raw 1080p", "frames", "seconds", False),
    "size": ("Cost of a frame against size, raw 8 bit", "megapixels", "ms a frame", True),
    "metrics": ("Cost of a frame against the number of metrics, H.264 1080p", "metrics", "ms a frame", False),
    "threads": ("Frames a second against threads, raw 1080p", "threads and cores", "frames/s", True),
}


def write(kept: Path, rows: Sequence[Row]) -> list[Path]:
    """An SVG for each plot that rows have points of, named after the JSON at `kept`."""
    paths = []
    for plot in _PLOTS:
        lines = list(_lines(plot, rows))
        if lines:
            path = kept.with_name(f"{kept.stem}-{plot}.svg")
            path.write_text(draw(plot, lines))
            paths.append(path)
    return paths


def _lines(plot: str, rows: Sequence[Row]) -> Iterator[Line]:
    series: dict[str, list[Row]] = {}
    for row in rows:
        if row.point and row.point.plot == plot:
            series.setdefault(row.point.series, []).append(row)
    for colour, (name, found) in enumerate(series.items()):
        for label, side in ((name, "ours"), (found[0].peer, "theirs")):
            points = sorted((row.point.x, spread) for row in found if row.point and (spread := getattr(row, side)))
            if points:
                yield Line(label, side == "ours", colour, points)


def draw(plot: str, lines: Sequence[Line]) -> str:
    """The whole document."""
    title, across, up, log = _PLOTS[plot]
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, spread in line.points for y in (spread.low, spread.high)]
    least, floor = (min(xs), min(ys) / 1.2) if log else (0, 0)
    x = Axis(across, log, least, max(*xs, least * 1.01), _LEFT, _WIDTH - _RIGHT)
    y = Axis(up, log, floor, max(ys) * 1.1, _HEIGHT - _BOTTOM, _TOP)
    shown = "\n".join([*_frame(title, x, y, sorted(set(xs))), *_drawn(lines, x, y)])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">\n'
        f"<style>{_STYLE}</style>\n{shown}\n</svg>\n"
    )


def _frame(title: str, x: Axis, y: Axis, places: Sequence[float]) -> Iterator[str]:
    """Title, grid and axes; across only where something was measured."""
    yield f'<text class="title" x="{_LEFT}" y="22">{escape(title)}</text>'
    for tick in y.ticks():
        yield f'<line class="grid" x1="{x.start}" x2="{x.end}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{_number(tick)}</text>'
    for place in places:
        yield f'<text x="{x(place):.1f}" y="{y.start + 18:.0f}" text-anchor="middle">{_number(place)}</text>'
    yield f'<text x="{x.end}" y="{_HEIGHT - 12}" text-anchor="end">{escape(x.title)}</text>'
    yield f'<text x="8" y="{_TOP - 4}">{escape(y.title)}</text>'


def _drawn(lines: Sequence[Line], x: Axis, y: Axis) -> Iterator[str]:
    for line in lines:
        style = f"c{line.colour % 4}"
        places = [(x(at), y(spread.median)) for at, spread in line.points]
        yield f'<path class="{style}{"" if line.ours else " theirs"}" d="M{" L".join(f"{a:.1f},{b:.1f}" for a, b in places)}"/>'
        for at, spread in line.points:
            ends = f'y1="{y(spread.low):.1f}" y2="{y(spread.high):.1f}"'
            yield f'<line class="bar {style}" x1="{x(at):.1f}" x2="{x(at):.1f}" {ends}/>'
    free: float = _TOP
    for line in sorted(lines, key=lambda line: y(line.points[-1][1].median)):
        free = max(free, y(line.points[-1][1].median)) + _LABEL
        yield f'<text x="{x.end + 10}" y="{free - _LABEL + 4:.1f}">{escape(line.name)}</text>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"
