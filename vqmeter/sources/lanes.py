"""Which frames of an input are asked for, and one input on its way through a run."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from vqmeter.errors import VqmeterError
from vqmeter.frames import Frame, VideoInfo
from vqmeter.sources import Source
from vqmeter.sources.streams import Ahead

_QUEUE_BYTES = 48 << 20


@dataclass(frozen=True)
class Selection:
    """Which frames: from `start` seconds, for `duration` seconds, at most `frames`, every `every`-th.

    `shortest` lets the shorter of two inputs end the comparison. The distorted is `offset` frames late (early, where
    negative). `pair` is "index", or "pts": the frames nearest in time belong together, within half a frame.
    """

    start: float = 0.0
    duration: float | None = None
    frames: int | None = None
    every: int = 1
    shortest: bool = False
    offset: int = 0
    pair: str = "index"

    def pick(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames chosen from a stream that already begins at `start`."""
        taken, most = 0, self.most
        for frame in frames:
            if most is not None and taken >= most:
                return
            if self.duration is not None and (frame.time or 0.0) - self.start >= self.duration - 1e-9:
                return
            if frame.index % self.every == 0:
                taken += 1
                yield frame
                if taken == most:
                    return

    @property
    def most(self) -> int | None:
        """How many frames of the reference are needed at most: its first have no partner where the distorted is early."""
        return None if self.frames is None else self.frames + -(min(self.offset, 0) // self.every)

    def count(self, info: VideoInfo, frames: int | None) -> int | None:
        """How many of `frames` frames are chosen; None where that is not known."""
        if frames is None:
            return None
        rate = info.rate or 25
        left = max(0, frames - round(self.start * rate))
        if self.duration is not None:
            left = min(left, max(0, -int(-(self.duration * rate) // 1)))
        left = -(-left // self.every)
        return left if self.frames is None else min(left, self.frames)

    def last_needed(self) -> int | None:
        """How many frames of the file must be whole, where `frames` says it."""
        return None if self.frames is None or self.start else (self.frames - 1) * self.every + 1


@dataclass
class Lane:
    """One input on its way through a run: its frames, and how it ended."""

    source: Source
    selection: Selection
    frames: Iterator[Frame]  # all of them from the start of the selection on
    ahead: Ahead[Frame] | None = None
    error: VqmeterError | None = None
    ended: bool = False
    limited: bool = False  # ended where the selection does, not where the video does
    drained: bool = False
    given: int = 0
    time: float = 0.0  # of the last frame taken
    unmatched: list[dict[str, Any]] = field(default_factory=list)
    _coming: deque[Frame] = field(default_factory=deque)  # taken, and not yet given

    @classmethod
    def start(cls, source: Source, selection: Selection) -> Lane:
        """Begin to read; decoding runs ahead on its own thread, raw files are read by the workers."""
        frames = source.frames(selection.start)
        if source.count is not None:
            return cls(source, selection, frames)
        if selection.frames is not None and selection.pair == "index":
            last = (selection.frames - 1) * selection.every + 1 + abs(selection.offset)
            frames = islice(frames, min(last, sys.maxsize))
        info = source.info
        size = info.pix_fmt.frame_bytes(info.width, info.height)
        ahead = Ahead(frames, max(2, min(16, _QUEUE_BYTES // max(1, size))))
        return cls(source, selection, ahead, ahead)

    def __post_init__(self) -> None:
        self._picked = self.selection.pick(iter(self._take, None))

    def next(self) -> Frame | None:
        """The next frame that the selection picks, or None when the input has ended or failed."""
        frame = next(self._picked, None)
        if frame is None:
            self.limited, self.ended = not self.drained, True
        else:
            self.given += 1
        return frame

    def beside(self, ref: Frame, reach: float) -> Frame | None:
        """The frame that belongs beside `ref`, None where there is none; asked in the order of the reference.

        By time, it is at most `reach` seconds away.
        """
        if self.selection.frames is not None and self.given >= self.selection.frames:
            self.stop()
        by_time = self.selection.pair == "pts"
        found = None
        if not self.ended:
            found = self._nearest(ref.time or 0.0, reach) if by_time else self.at(ref.index + self.selection.offset)
            self.ended = self.drained and found is None and not self._coming
        if found is not None:
            self.given += 1
        elif by_time and not self.limited and self.error is None:
            self._unmatch("reference", ref)
        return found

    def at(self, index: int) -> Frame | None:
        """The frame of that index; those before it are passed over."""
        while (frame := self._look()) is not None and frame.index <= index:
            self._coming.popleft()
            if frame.index == index:
                return frame
        return None

    def _nearest(self, time: float, reach: float) -> Frame | None:
        while (frame := self._look()) is not None:
            late, following = (frame.time or 0.0) - time, self._look(1)
            if late < -reach or (following is not None and abs((following.time or 0.0) - time) < abs(late)):
                self.pass_over()
            else:
                return self._coming.popleft() if late <= reach else None
        return None

    def pass_over(self) -> Frame | None:
        """Leave the next frame without a partner."""
        if (frame := self._look()) is not None:
            self._coming.popleft()
            if self.selection.every == 1:
                self._unmatch("distorted", frame)
        return frame

    def _unmatch(self, file: str, frame: Frame) -> None:
        self.unmatched.append({"file": file, "n": frame.index, "t": frame.time})

    def _look(self, beyond: int = 0) -> Frame | None:
        """The frame that comes next, or one beyond it."""
        while len(self._coming) <= beyond and (frame := self._take()) is not None:
            self._coming.append(frame)
        return self._coming[beyond] if len(self._coming) > beyond else None

    def _take(self) -> Frame | None:
        if self.drained or self.ended:
            return None
        try:
            frame = next(self.frames)
            self.time = frame.time or 0.0
            return frame
        except StopIteration:
            self.drained = True
        except VqmeterError as error:
            self.drained, self.error = True, error
        return None

    def stop(self) -> None:
        """Want no more frames."""
        self.limited = self.ended = True

    def close(self) -> None:
        """Stop to decode; whoever opened the source closes it after this."""
        if self.ahead is not None:
            self.ahead.close()
