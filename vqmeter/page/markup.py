"""HTML out of names and numbers: whatever is not markup made here is escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]|[\ud800-\udfff]")


class Html(str):
    """Text that is markup already."""


def plain(value: object) -> str:
    """`value` as text that HTML and UTF-8 can hold; characters they cannot are U+FFFD."""
    return _CONTROL.sub("\ufffd", str(value))


def escape(value: object) -> Html:
    return value if isinstance(value, Html) else Html(html.escape(plain(value)))


def tag(name: str, *children: object, **attributes: object) -> Html:
    """An element. `class_` and `data_clip` are `class` and `data-clip`; an attribute that is True stands alone."""
    words = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(key)
        elif value is not None and value is not False:
            words.append(f'{key}="{html.escape(plain(value))}"')
    inner = "".join(escape(child) for child in children)
    return Html(f"<{' '.join(words)}>" if name in ("img", "input", "br") else f"<{' '.join(words)}>{inner}</{name}>")


def join(parts: Iterable[object], between: str = "") -> Html:
    return Html(between.join(escape(part) for part in parts))


def table(caption: object, head: Sequence[object], rows: Iterable[Sequence[object]], *, quiet: bool = False) -> Html:
    """A table that scrolls sideways where it is too wide; the first cell of a row is its heading.

    Cells that begin like numbers stand at the right. A `quiet` caption is for screen readers alone.
    """
    top = tag("tr", *(tag("th", title, scope="col", class_="first" if not n else None) for n, title in enumerate(head)))
    body = [tag("tr", tag("th", row[0], scope="row"), *(_cell(cell) for cell in row[1:])) for row in rows]
    title = tag("caption", tag("span", caption), class_="unseen" if quiet else None)
    return tag("div", tag("table", title, tag("thead", top), tag("tbody", *body)), class_="wide")


def _cell(cell: object) -> Html:
    words = re.sub(r"<[^>]*>", "", cell) if isinstance(cell, Html) else str(cell)
    return tag("td", cell, class_="number" if re.match(r"[-+]?(\d|inf)", words) else "text")
