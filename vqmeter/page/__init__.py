"""Results as one HTML page: curves, statistics, distributions, worst frames, and how it was measured.

The page needs no network and may not use it: style, script, pictures and numbers stand within it, and its policy (CSP)
allows nothing else. Whatever comes from a result is escaped text, or JSON in a script element that does not run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template

from vqmeter.errors import UsageError, VqmeterError
from vqmeter.metric import nearest
from vqmeter.page import sections
from vqmeter.page.distribution import distribution
from vqmeter.page.entries import Entry, entries_of, payload, scale_of, score_names, script_json
from vqmeter.page.markup import Html, escape, join, tag
from vqmeter.page.pictures import worst_shots
from vqmeter.report import Report

Say = Callable[[str], None]


@dataclass(frozen=True)
class Look:
    """What a page shows: its title, scores by name (all by default), pictures of how many worst frames by which score."""

    title: str = "Video quality report"
    scores: tuple[str, ...] = ()
    frames: int = 3
    worst_by: str | None = None


def render(report: Report) -> Iterator[str]:
    """A report as `-o NAME.html` writes it."""
    yield render_page([report])


def render_page(reports: Sequence[Report], look: Look | None = None, say: Say | None = None) -> str:
    """The page of all results of `reports`; `say` is told why there are no pictures of a clip.

    Raises
        UsageError: a score that no result has.
    """
    look = look or Look()
    entries = entries_of(reports)
    names = chosen_scores(entries, look)
    shots = _shots(entries, names, look, say)
    data = payload(entries, names)
    drawn = any(clip["scores"] for clip in data["clips"])
    parts = {
        "summary": ("Summary", sections.summary(entries, names)),
        "curves": ("Score over time", _asset("curves.html") if drawn else Html("")),
        "pooled": ("Statistics", sections.pooled(entries, names)),
        "spread": ("Distribution", join(distribution(entries, name, scale_of(entries, name).unit) for name in names)),
        "worst": ("Worst frames", sections.worst(entries, names, shots)),
        "validity": ("Validity", sections.validity(entries)),
        "method": ("How it was measured", sections.method(entries, names)),
    }
    shown = {key: part for key, part in parts.items() if part[1]}
    style, script = _asset("page.css"), _asset("chart.js") + _asset("page.js")
    return Template(_asset("page.html")).substitute(
        title=escape(look.title), lead=escape(sections.lead(entries)), style=style, script=script, data=script_json(data),
        style_hash=_hash(style), script_hash=_hash(script),
        links=join(tag("a", title, href=f"#{key}") for key, (title, _) in shown.items()),
        main=join(tag("section", tag("h2", title, id=f"{key}-title"), content, id=key, aria_labelledby=f"{key}-title")
                  for key, (title, content) in shown.items()),
    )  # fmt: skip


def chosen_scores(entries: Sequence[Entry], look: Look) -> list[str]:
    """The scores to show.

    Raises
        UsageError: one that is asked for is in no result.
    """
    names = score_names(entries)
    for name in (*look.scores, *([look.worst_by] if look.worst_by else [])):
        if name not in names:
            raise UsageError(f"no score '{name}' in these results{nearest(name, names)}")
    return score_names(entries, look.scores)


def _shots(entries: Sequence[Entry], names: Sequence[str], look: Look, say: Say | None) -> sections.Shots:
    """Pictures by clip, the score that chose them, and one note for all clips that lack them for one reason."""
    found = sections.Shots()
    reasons: dict[str, list[str]] = {}
    for entry in entries if look.frames else []:
        series = entry.result.series
        key = look.worst_by or next((name for name in names if name in series and series[name].values), "")
        if not key:
            continue
        try:
            found.shots[entry.number], found.keys[entry.number] = worst_shots(entry.result, key, look.frames), key
        except VqmeterError as error:
            reasons.setdefault(str(error), []).append(entry.label)
    for reason, labels in reasons.items():
        found.notes.append(f"no pictures of the worst frames of {', '.join(labels)}: {reason}")
        if say is not None:
            say(found.notes[-1])
    return found


def _asset(name: str) -> Html:
    return Html(files("vqmeter.page").joinpath(name).read_text("utf-8"))


def _hash(text: str) -> str:
    """What a content security policy calls this text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}"
