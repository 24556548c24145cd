"""One line of the table: what vqmeter reaches, what a peer reaches, and how that stands to the target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from timing import Spread


@dataclass(frozen=True)
class Target:
    """A bound on the ratio, or on the value where no peer stands beside it; `later` is the one after it."""

    sign: str  # ">=" or "<="
    bound: float
    later: float | None = None
    on: str = "ratio"

    def marks(self, value: float) -> Iterator[tuple[str, bool]]:
        """Each bound and whether `value` keeps it."""
        for bound in (self.bound, self.later):
            if bound is not None:
                kept = value >= bound if self.sign == ">=" else value <= bound
                yield f"{self.sign} {bound:g}{'x' if self.on == 'ratio' else ''}", kept


@dataclass(frozen=True)
class Bound:
    """What no program of the kind could pass on this machine, and how near vqmeter comes to it.

    `by` is "memory", "decoding" or "flops"; `value` what was measured of it, in GB/s, frames/s or GFLOP/s; `share` of 1.
    """

    by: str
    value: float
    share: float

    def __str__(self) -> str:
        return f"{self.share * 100:.0f} % of {_BOUNDS[self.by]}"


_BOUNDS = {"memory": "memory bandwidth", "decoding": "bare decoding", "flops": "torch's matrix product"}


@dataclass(frozen=True)
class Point:
    """Where a row stands in a plot: ours on the line `series`, theirs on that of the row's peer, at `x`."""

    plot: str
    series: str
    x: float


@dataclass
class Row:
    """`key` names a row from one run of the bench to the next; `known` marks a peer's figure measured elsewhere, `aside`
    a row too many for README's first table."""

    group: str
    key: str
    work: str
    ours: Spread | None
    peer: str = ""
    theirs: Spread | None = None
    target: Target | None = None
    unit: str = "frames/s"
    note: str = ""
    known: bool = False
    aside: bool = False
    bound: Bound | None = None
    point: Point | None = None

    @property
    def ratio(self) -> float | None:
        """How many times the peer's figure."""
        return self.ours.median / self.theirs.median if self.ours and self.theirs else None

    @property
    def judged(self) -> float | None:
        """What the target is held against."""
        if self.target is None or self.ours is None:
            return None
        return self.ours.median if self.target.on == "value" else self.ratio

    def marks(self) -> list[tuple[str, bool]]:
        return [] if self.judged is None or self.target is None else list(self.target.marks(self.judged))

    def to_json(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if v not in (None, "", False)} | {"ratio": self.ratio}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Row:
        fields = {k: v for k, v in data.items() if k in cls.__dataclass_fields__}
        for name in ("ours", "theirs"):
            fields[name] = Spread(**fields[name]) if fields.get(name) else None
        for name, kind in (("target", Target), ("bound", Bound), ("point", Point)):
            fields[name] = kind(**fields[name]) if fields.get(name) else None
        return cls(**fields)


def known(value: float) -> Spread:
    """A figure from elsewhere, without a spread."""
    return Spread(value, value, value)
