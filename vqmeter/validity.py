"""Whether a measurement means what it seems to: what is seen of the first frames of a pair, and what there is to say.

Everything here looks at frames that are measured anyway: their signatures (`sources.align`), their times, and some rows
of a few of them. Each warning names what to do about it. None changes a score.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vqmeter.frames import Frame, VideoInfo
from vqmeter.metric import Chosen
from vqmeter.sources.align import TO_FULL, TO_LIMITED, Offset, detail, find_offset, out_of_step, range_step, signature
from vqmeter.sources.pair import Selection

#: How many frames are looked at, and every which of them for detail.
GLANCES, _DETAILED = 60, 8
#: From here on an offset is told of, and taken by `--sync auto`.
TOLD, TAKEN = 0.5, 0.3
#: What takes the distorted back to the reference's range, by what `range_step` says.
_BACK = {None: (1.0, 0.0), "squeezed": TO_FULL, "stretched": TO_LIMITED}
_HDR = {"smpte2084": "PQ", "arib-std-b67": "HLG"}
_LOSSLESS = {"rawvideo", "ffv1", "huffyuv", "ffvhuff", "utvideo", "magicyuv", "png", "apng", "v210", "bmp", "tiff", "qtrle"}
_MORE_BITS, _MORE_DETAIL = 4.0, 1.35  # a fine copy of a coarse reference has some more of both


@dataclass(frozen=True)
class Glance:
    """What is seen of one pair: both signatures, and how detailed they are where that was looked at."""

    ref: NDArray[np.float32]
    dist: NDArray[np.float32]
    details: tuple[float, float] | None


def glance(index: int, ref: Frame | None, dist: Frame) -> Glance | None:
    """What to remember of pair `index`; None of later ones."""
    if ref is None or index >= GLANCES:
        return None
    details = None if index % _DETAILED else (ref.derive(("detail",), detail), detail(dist))
    return Glance(ref.derive(("signature",), signature), signature(dist), details)


@dataclass
class Clock:
    """The times of one input's frames, in seconds: the shortest and the longest step between two of them."""

    shortest: float = np.inf
    longest: float = 0.0
    last: float | None = None

    def tick(self, time: float | None) -> None:
        if time is not None and self.last is not None:
            self.shortest, self.longest = min(self.shortest, time - self.last), max(self.longest, time - self.last)
        self.last = time

    @property
    def varies(self) -> bool:
        return self.longest > 1.5 * self.shortest > 0


@dataclass
class Watch:
    """Gathers what is seen of a pair; `warnings` tells what it means."""

    ref: VideoInfo
    dist: VideoInfo
    selection: Selection
    glances: list[Glance] = field(default_factory=list)
    clocks: tuple[Clock, Clock] = field(default_factory=lambda: (Clock(), Clock()))
    lag: float | None = None  # of the first pair's times
    apart: float = 0.0  # how far later ones part from it

    def see(self, seen: Glance | None, ref: float | None, dist: float | None) -> None:
        """Take in a pair: what was seen of it, and the times of its frames."""
        if seen is not None:
            self.glances.append(seen)
        if ref is not None and dist is not None:
            self.lag = dist - ref if self.lag is None else self.lag
            self.apart = max(self.apart, abs(dist - ref - self.lag))
        for clock, time in zip(self.clocks, (ref, dist), strict=True):
            clock.tick(time)

    def warnings(self) -> Iterator[str]:
        """What a careful reader should know, each with what to do about it."""
        of_times = list(self._times())
        yield from of_times
        if not self.glances:
            return
        ref, dist = (np.stack([getattr(g, side) for g in self.glances]) for side in ("ref", "dist"))
        by_number = self.selection.pair == "index" and self.selection.every == 1 and not of_times
        found = find_offset(ref, dist) if by_number else Offset()
        shift = found.frames if found.gain >= TOLD else 0
        beside = slice(max(0, -shift), min(len(ref), len(dist) - shift))
        step = range_step(ref[beside], dist[max(0, shift) : max(0, shift) + beside.stop - beside.start])
        if by_number:
            gain, bias = _BACK[step]
            yield from self._steps(found, out_of_step(ref, (gain * dist + bias).astype(np.float32), shift))
        yield from self._range(step)
        yield from self._swapped()

    def _times(self) -> Iterator[str]:
        frame = 1 / float(max(self.ref.rate or 25, self.dist.rate or 25))
        stated = self.ref.rate_stated and self.dist.rate_stated
        if self.selection.pair != "index" or not stated or self.apart <= frame / 2:
            return
        for name, clock in zip(("reference", "distorted"), self.clocks, strict=True):
            if clock.varies:
                yield (f"the {name} has a variable frame rate ({1000 * clock.shortest:.0f} to {1000 * clock.longest:.0f} ms "
                       "a frame); frames are paired by number, --pair pts pairs them by time")  # fmt: skip

    def _steps(self, found: Offset, steps: Sequence[tuple[int, int]]) -> Iterator[str]:
        if found.frames and found.gain >= TOLD:
            yield f"frames look offset by {self.selection.offset + found.frames:+d}: --sync auto aligns them"
        elif steps:
            first, lag = steps[0]
            more = "" if len(steps) == 1 else f", and {len(steps) - 1} more of the first {len(self.glances)} are out of step"
            yield (f"frame {first} of the distorted looks like frame {first - lag} of the reference{more}: doubled or dropped "
                   "frames? --pair pts pairs them by time")  # fmt: skip

    def _range(self, step: str | None) -> Iterator[str]:
        if step is not None and (None in (self.ref.range, self.dist.range) or self.ref.range == self.dist.range):
            full = "reference" if step == "squeezed" else "distorted"
            yield (f"luma is {step} between 0..255 and 16..235: the {full} looks like full range read as limited; "
                   "convert it first, as ffmpeg -vf scale=in_range=full:out_range=limited does")  # fmt: skip

    def _swapped(self) -> Iterator[str]:
        rates, details = (self.ref.bitrate, self.dist.bitrate), [g.details for g in self.glances if g.details is not None]
        if self.ref.codec in _LOSSLESS or rates[0] is None or rates[1] is None or rates[1] < _MORE_BITS * rates[0]:
            return
        ref, dist = np.mean(details, axis=0)
        if dist > _MORE_DETAIL * ref:
            yield (f"the reference looks more compressed than the distorted ({rates[0] / 1e6:.3g} against {rates[1] / 1e6:.3g} "
                   "Mbit/s, less detail); swapped? The reference comes first")  # fmt: skip


def of_input(role: str, info: VideoInfo, chosen: Sequence[Chosen]) -> Iterator[str]:
    """What is to be said of the reference or the distorted as it is described, by itself."""
    if info.field_order not in (None, "progressive"):
        yield f"the {role} is interlaced ({info.field_order}): its frames hold two moments each; --deinterlace makes them one"
    learned = [c.key for c in chosen if c.name.startswith("vmaf") or hasattr(c.metric, "weights")]
    if info.transfer in _HDR and learned:
        yield (f"the {role} is hdr ({_HDR[info.transfer]}), and {', '.join(learned)} learned from SDR pictures: "
               "bring it to SDR first, as ffmpeg -vf zscale=transfer=linear,tonemap,zscale=transfer=bt709 does")  # fmt: skip
