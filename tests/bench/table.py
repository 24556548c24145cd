"""The table on the terminal, the JSON kept of a machine, what moved since, and the table of README."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rows import Row
from timing import Spread

SCHEMA = "vqmeter-bench/1"
MOVED = 0.15
_RATE = "frames/s"
_RESULTS = Path(__file__).resolve().parent / "results"


def show(rows: Sequence[Row], title: str) -> None:
    """Print one table; a target that is not met is marked short, never an error."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if Console().is_terminal else 180, highlight=False)
    table = Table(title=title, title_justify="left", pad_edge=False)
    table.add_column("frames/s, where nothing else is said", max_width=46)
    for name in ("vqmeter", "min..max"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("against", max_width=34)
    for name in ("peer", "min..max", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("how near its bound", max_width=24)
    table.add_column("target", no_wrap=True)
    group = None
    for row in rows:
        if row.group != group:
            table.add_section()
            table.add_row(f"[bold]{row.group}[/bold]")
            group = row.group
        table.add_row(*_cells(row))
    console.print(table)
    for row in rows:
        if row.note and (not row.aside or "DIFFER" in row.note):
            console.print(f"{row.work}, {row.peer or 'alone'}: {row.note}", markup=False)
    if any(row.known for row in rows):
        console.print("* known from elsewhere (2 cores of the same class), not measured here")


def _cells(row: Row) -> Iterator[str]:
    yield row.work
    yield from _figures(row.ours, row.unit)
    yield row.peer + (" *" if row.known else "")
    yield from _figures(row.theirs, row.unit)
    yield f"{row.ratio:.2f}x" if row.ratio else ""
    yield str(row.bound or "")
    yield ", ".join(f"{text} [green]ok[/green]" if kept else f"{text} [red]short[/red]" for text, kept in row.marks())


def _figures(spread: Spread | None, unit: str) -> tuple[str, str]:
    if spread is None:
        return "", ""
    low, high = number(spread.low, unit), number(spread.high, unit)
    suffix = "" if unit == _RATE else f" {unit}"
    return number(spread.median, unit) + suffix, "" if low == high else f"{low}..{high}"


def number(value: float, unit: str) -> str:
    if unit == "ms":
        return f"{value:.3g}"
    return f"{value:.3f}" if unit == "s" else f"{value:.1f}" if abs(value) < 20 else f"{value:,.0f}"


def path_for(cpu: str, cores: int) -> Path:
    """Where the results of this class of machine are kept."""
    slug = re.sub(r"[^a-z0-9]+", "-", cpu.lower()).strip("-")
    return _RESULTS / f"{slug}-{cores}-cores.json"


def load(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """The document kept at `path` and its rows; empty where there is none."""
    if not path.exists():
        return {}, []
    document = json.loads(path.read_text())
    return document, [Row.from_json(row) for row in document["rows"]]


def keep(path: Path, about: dict[str, Any], rows: Iterable[Row]) -> None:
    path.parent.mkdir(exist_ok=True)
    head = json.dumps({"schema": SCHEMA, **about}, indent=1)[:-2]
    lines = ",\n  ".join(json.dumps(row.to_json()) for row in _rounded(rows))
    path.write_text(f'{head},\n "rows": [\n  {lines}\n ]\n}}\n')


def _rounded(rows: Iterable[Row]) -> Iterator[Row]:
    for row in rows:
        data = row.to_json()
        for side in ("ours", "theirs", "bound"):
            if side in data:
                data[side] = {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in data[side].items()}
        yield Row.from_json(data)


def merge(old: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """`old` with its rows replaced by new ones of the same key, and the rest of `new` after them."""
    fresh = {row.key: row for row in new}
    return [fresh.pop(row.key, row) for row in old] + list(fresh.values())


def moved(old: Sequence[Row], new: Sequence[Row]) -> Iterator[str]:
    """A line for each row whose ratio (or value, where nothing stands beside it) moved by more than 15 %."""
    before = {row.key: row for row in old}
    for row in new:
        was, now = (_compared(r) if r else None for r in (before.get(row.key), row))
        if was and now and abs(now / was - 1) > MOVED:
            what = f"{row.work} against {row.peer}" if row.peer else row.work
            yield f"{what}: {was:.3g} -> {now:.3g} ({(now / was - 1) * 100:+.0f} %)"


def _compared(row: Row) -> float | None:
    if row.ratio is not None and not row.known:
        return row.ratio
    return row.ours.median if row.ours and row.unit != "%" else None


def readme(document: dict[str, Any], rows: Sequence[Row], plots: Iterable[str]) -> str:
    """The tables in Markdown, and the plots at these addresses."""
    machine, versions = document["machine"], document["versions"]
    lines = [
        f"1080p, 8-bit 4:2:0, {machine['cores']} cores of {machine['cpu']}, medians of {document['rounds']}, "
        f"{document['date']}; vqmeter {versions['vqmeter']}, ffmpeg {versions['ffmpeg']}.",
        "",
        "| work | vqmeter | against | peer | ratio | how near its bound |",
        "|---|---:|---|---:|---:|---|",
    ]
    for row in rows:
        if row.ours is None or row.theirs is None or row.unit != _RATE or row.aside:
            continue
        star = "\\*" if row.known else ""
        cells = (row.work, number(row.ours.median, row.unit), row.peer + star, number(row.theirs.median, row.unit))
        lines.append("| " + " | ".join(cells) + f" | {row.ratio:.2f} | {row.bound or ''} |")
    for row in rows:
        if row.ours and row.group in ("start-up", "memory"):
            lines.append(f"| {row.work} | {number(row.ours.median, row.unit)} {row.unit} | | | | |")
    if any(row.known for row in rows):
        lines += ["", "\\* known from elsewhere, on the same class of machine; the rest stood side by side in one run."]
    lines += _grid(rows, document.get("matrix_rounds", document["rounds"]))
    for address in plots:
        lines += ["", f"![{Path(address).stem}]({address})"]
    return "\n".join(["Frames a second, more is better.", "", *lines])


def _grid(rows: Sequence[Row], rounds: int) -> list[str]:
    """The matrix: a line for each clip, a column for each metric and number of threads."""
    cells: dict[str, dict[tuple[str, ...], str]] = {}
    for row in rows:
        match row.key.split():
            case ["matrix", size, depth, "bit", codec, threads, metric] if row.ours:
                said = f"{number(row.ours.median, row.unit)}" + (f" ({row.ratio:.2f}x)" if row.ratio else "")
                cells.setdefault(f"{size}, {depth} bit, {codec}", {})[metric, threads] = said
    if not cells:
        return []
    seen = list(dict.fromkeys(column for line in cells.values() for column in line))
    metrics = list(dict.fromkeys(metric for metric, _ in seen))
    columns = sorted(seen, key=lambda column: (metrics.index(column[0]), column[1]))
    lines = [
        "",
        f"Every size, depth and input against a raw reference, steady state, medians of {rounds}, on one core and on two with",
        "the threads that each program takes there, and how many times the speed of ffmpeg's filter that is: `psnr` against",
        "`psnr`, `ssim_ffmpeg` against `ssim`, whose arithmetic it has, and `ssim` against `ssim`, another definition.",
        "",
        "| distorted | " + " | ".join(f"{metric}, {threads}" for metric, threads in columns) + " |",
        "|---" + "|---:" * len(columns) + "|",
    ]
    return lines + [f"| {name} | " + " | ".join(line.get(c, "") for c in columns) + " |" for name, line in cells.items()]
