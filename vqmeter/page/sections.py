"""The parts of a page that are tables and pictures: what came out, how far it can be trusted, and how it was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from vqmeter import __version__
from vqmeter.page.entries import Entry, bitrate_of, bits_text, scale_of, value_text
from vqmeter.page.markup import Html, join, table, tag
from vqmeter.page.pictures import Picture, Shot, bar
from vqmeter.report import STATISTICS
from vqmeter.sources import name_of
from vqmeter.writers.tables import shown

_TITLES = {"harmonic_mean": "harmonic mean", "mse_pooled": "of mean MSE"}
_FILE = ("path", "container", "codec", "width", "height", "pix_fmt", "bit_depth", "range", "matrix", "primaries", "transfer",
         "frames", "rate", "duration", "bitrate", "size", "rotation", "field_order", "sample_aspect_ratio",
         "notes")  # fmt: skip


def name_tag(entry: Entry) -> Html:
    """The name of a clip, with its colour."""
    return tag("span", tag("span", class_=f"swatch c{entry.number % 8}"), tag("bdi", entry.label), class_="clip")


def lead(entries: Sequence[Entry]) -> str:
    """What was measured, in a sentence."""
    paths = (entry.result.inputs["reference"]["path"] for entry in entries if "reference" in entry.result.inputs)
    refs = {PurePath(name_of(path)).name for path in paths}
    count = f"{len(entries)} clip{'s' * (len(entries) != 1)}"
    against = f" against {next(iter(refs))}" if len(refs) == 1 else f" against {len(refs)} references" if refs else ""
    frames = {len(e.result.columns["n"]) for e in entries} - {0}
    each = f", {next(iter(frames))} frames{' each' * (len(entries) > 1)}" if len(frames) == 1 else ""
    sizes = {(i.get("width"), i.get("height")) for e in entries for i in (e.result.inputs["distorted"],)} - {(None, None)}
    size = "{}x{}".format(*next(iter(sizes))) if len(sizes) == 1 else ""
    return f"{count}{against}{each}{f' of {size}' if size else ''}"


def summary(entries: Sequence[Entry], names: Sequence[str]) -> Html:
    """One row a clip: size, bitrate and every score, the best of each marked."""
    best = {name: _best(entries, name) for name in names}
    head: list[object] = ["clip", "bitrate", *(_titled(entries, name) for name in names)]
    rows = []
    for entry in entries:
        pooled = entry.result.pooled
        cells = [_marked(pooled.get(name, {}).get("score"), best[name]) for name in names]
        failed = tag("p", str(entry.result.error), class_="bad") if entry.result.error is not None else ""
        rows.append([join([name_tag(entry), failed]), bits_text(bitrate_of(entry.result)), *cells])
    return table("Scores of whole clips", head, rows, quiet=True)


def _titled(entries: Sequence[Entry], name: str) -> Html:
    scale = scale_of(entries, name)
    return join([name, tag("small", f"{scale.unit} {'↑' if scale.better == 'higher' else '↓'}".strip(), aria_hidden="true"),
                 tag("span", f", {scale.better} is better", class_="unseen")], " ")  # fmt: skip


def _best(entries: Sequence[Entry], name: str) -> float | None:
    scores = [entry.result.pooled.get(name, {}).get("score", math.nan) for entry in entries]
    known: list[float] = [score for score in scores if not math.isnan(score)]
    if len(set(known)) < 2:
        return None
    return max(known) if scale_of(entries, name).better == "higher" else min(known)


def _marked(score: float | None, best: float | None) -> object:
    if score is None or math.isnan(score):
        return ""
    return tag("strong", shown(score), tag("span", " (best)", class_="unseen")) if score == best else shown(score)


def pooled(entries: Sequence[Entry], names: Sequence[str]) -> Html:
    """A table a score: a row a clip, a column a statistic."""
    parts = []
    for name in names:
        rows = [(entry, entry.result.pooled[name]) for entry in entries if name in entry.result.pooled]
        extra = [key for key in ("raw", "mos") if any(key in values for _, values in rows)]
        keys = [key for key in (*STATISTICS, *extra) if any(_known(values.get(key)) for _, values in rows)]
        if not keys:
            continue
        scale = scale_of(entries, name)
        unit = f" in {scale.unit}" if scale.unit else ""
        caption = join([tag("strong", name), f"{unit}, {scale.better} is better. ", scale.definition])
        cells = [[name_tag(entry), *(_statistic(values.get(key)) for key in keys)] for entry, values in rows]
        parts.append(table(caption, ["clip", *(_TITLES.get(key, key) for key in keys)], cells))
    return join(parts)


def _known(value: object) -> bool:
    return isinstance(value, (int, float)) and not math.isnan(value)


def _statistic(value: object) -> str:
    return shown(float(value)) if isinstance(value, (int, float)) else ""


@dataclass
class Shots:
    """Pictures by the number of a clip, the score that chose them, and why others have none."""

    shots: dict[int, Sequence[Shot]] = field(default_factory=dict)
    keys: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def worst(entries: Sequence[Entry], names: Sequence[str], found: Shots) -> Html:
    """The pictures of every clip, and why there are none of others."""
    parts: list[Html] = [tag("p", note, class_="note") for note in found.notes]
    for entry in entries:
        shots = found.shots.get(entry.number, [])
        if shots:
            parts.append(tag("h3", name_tag(entry)))
            parts += [_shot(entry, shot, rank, found.keys[entry.number], names) for rank, shot in enumerate(shots, 1)]
    if any(len(shot.pictures) > 2 for some in found.shots.values() for shot in some):
        parts.append(tag("p", "SSIM map: ", tag("span", "0"), _image(bar(0.0, 1.0), "from dark to light"), tag("span", "1"),
                         " dark is where the distorted picture differs most", class_="key"))  # fmt: skip
    return join(parts)


def _shot(entry: Entry, shot: Shot, rank: int, key: str, names: Sequence[str]) -> Html:
    row = entry.result.columns
    number, time, kind = (row[column][shot.index] for column in ("n", "t", "type"))
    facts = [f"frame {number}", f"{time:.3f} s" if time is not None else "", f"{kind} frame" if kind else ""]
    for name in dict.fromkeys([key, *names]):
        series = entry.result.series.get(name)
        if series is not None and shot.index in series.frames:
            facts.append(f"{name} {shown(series.values[series.frames.index(shot.index)])}")
    said = f"{rank}. " + ", ".join(fact for fact in facts if fact)
    pictures = [tag("figure", _image(picture, f"Frame {number}, {picture.title}"), tag("figcaption", picture.title))
                for picture in shot.pictures]  # fmt: skip
    go = tag("button", "show in the curve", type="button", class_="go", data_frame=number, data_clip=entry.number, hidden=True)
    return tag("div", tag("p", said, " ", go), tag("div", *pictures, class_="pictures"), class_="shot")


def _image(picture: Picture, alt: str) -> Html:
    return tag("img", src=picture.uri, width=picture.width, height=picture.height, alt=alt)


def validity(entries: Sequence[Entry]) -> Html:
    """Frames compared and matched, and every warning and error."""
    head = ["clip", "frames compared", "identical", "unmatched", "offset", "compared as", "warnings and errors"]
    rows = []
    for entry in entries:
        result, facts = entry.result, entry.result.validity
        said = [tag("li", warning) for warning in facts.get("warnings", [])]
        if result.error is not None:
            said.append(tag("li", f"{'cut short: ' if result.truncated else 'failed: '}{result.error}", class_="bad"))
        unmatched = facts.get("unmatched")
        cells = [value_text(facts.get(key)) for key in ("frames_compared", "identical_frames")]
        cells += [str(len(unmatched)) if isinstance(unmatched, list) else "", value_text(facts.get("offset"))]
        rows.append([name_tag(entry), *cells, value_text(facts.get("compare_format")), tag("ul", *said) if said else "none"])
    return table("How far the scores can be trusted", head, rows, quiet=True)


def method(entries: Sequence[Entry], names: Sequence[str]) -> Html:
    """Definitions and weights, inputs, settings, and where it was measured."""
    return join([_metrics(entries, names), _inputs(entries), _settings(entries), _versions(entries)])


def _metrics(entries: Sequence[Entry], names: Sequence[str]) -> Html:
    rows = []
    for name in names:
        facts = next((entry.result.metrics[name] for entry in entries if name in entry.result.metrics), {})
        low, high = (value_text(facts.get(key)) or "any" for key in ("low", "high"))
        ends = f"{low} to {high} {facts['unit']}".strip() if facts else ""
        sha = tag("code", facts["weights_sha256"]) if facts.get("weights_sha256") else ""
        rows.append([name, ends, *(value_text(facts.get(key)) for key in ("better", "device", "options")), sha,
                     value_text(facts.get("definition"))])  # fmt: skip
    return _folded("Scores and weights", ["score", "range", "better", "device", "options", "SHA-256 of its weights",
                                          "definition"], rows)  # fmt: skip


def _inputs(entries: Sequence[Entry]) -> Html:
    files: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for entry in entries:
        for role, info in entry.result.inputs.items():
            files.setdefault(f"{role} {info['path']}", (role, info))
    keys = [key for key in _FILE if any(info.get(key) not in (None, "", []) for _, info in files.values())]
    rows = [[key.replace("_", " "), *(value_text(info.get(key)) for _, info in files.values())] for key in keys]
    return _folded("Inputs", ["property", *(role for role, _ in files.values())], rows)


def _settings(entries: Sequence[Entry]) -> Html:
    columns = _distinct((entry.label, entry.result.settings) for entry in entries if entry.result.settings)
    return _folded("Settings", *_columns(columns)) if columns else Html("")


def _versions(entries: Sequence[Entry]) -> Html:
    facts = []
    for entry in entries:
        report = entry.report
        about = {} if "vqmeter" in report.environment or report.command == "csv" else {"vqmeter": __version__}
        about |= {key: value for key, value in report.environment.items() if value is not None}
        about |= {"command": " ".join(report.argv)} if report.argv else {}
        facts.append((entry.label, about))
    columns = _distinct((label, about) for label, about in facts if about)
    return _folded("Versions and machine", *_columns(columns)) if columns else Html("")


def _distinct(found: Iterable[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Equal facts once, under the names of all they hold for."""
    out: list[tuple[list[str], Mapping[str, Any]]] = []
    for label, facts in found:
        same = next((labels for labels, known in out if known == facts), None)
        if same is None:
            out.append(([label], facts))
        else:
            same.append(label)
    return [("all clips" if len(out) == 1 else ", ".join(labels), facts) for labels, facts in out]


def _columns(found: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[list[object], list[list[object]]]:
    keys = dict.fromkeys(key for _, facts in found for key in facts)
    rows: list[list[object]] = [[key.replace("_", " "), *(value_text(facts.get(key)) for _, facts in found)] for key in keys]
    return ["property", *(label for label, _ in found)], rows


def _folded(title: str, head: Sequence[object], rows: Sequence[Sequence[object]]) -> Html:
    return tag("details", tag("summary", title), table(title, head, rows, quiet=True))
