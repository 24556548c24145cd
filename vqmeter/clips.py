"""Between the stream of prepared frames and a meter: which frames its plan wants, and its clips as they complete."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any

from vqmeter.metric import Clip, Meter, QualityMap, Score

_MISSING = object()


class Assembler:
    """Holds back prepared frames until the clips a meter planned are whole, and no longer.

    `wants` is asked for every frame in order, ahead of `push`, which brings what `prepare` made of it.
    """

    def __init__(self, meter: Meter, batch: int | None = None) -> None:
        self.meter = meter
        self._batch = meter.batch if meter.batch == 1 or batch is None else batch
        self._plan = iter(meter.plan())
        self._upcoming = next(self._plan, None)
        self._open: deque[tuple[int, ...]] = deque()
        self._uses: Counter[int] = Counter()
        self._held: dict[int, Any] = {}
        self._last: Any = _MISSING
        self._ready: list[Clip] = []
        self.repeated = 0  # frames the plan wanted beyond the end

    def wants(self, index: int) -> bool:
        """Whether frame `index` belongs to any clip."""
        while self._upcoming is not None and self._upcoming[0] <= index:
            self._take_up(self._upcoming)
        return index in self._uses

    def _take_up(self, clip: tuple[int, ...]) -> None:
        self._open.append(clip)
        self._uses.update(clip)
        self._upcoming = next(self._plan, None)

    def push(self, index: int, item: Any) -> Iterable[Score | QualityMap]:
        """Take in a prepared frame; the scores of clips it completed, once there are enough for a batch."""
        self._held[index] = self._last = item
        while self._open and max(self._open[0]) <= index:
            self._complete(self._open.popleft(), index)
        return self._flush() if len(self._ready) >= self._batch else ()

    def _complete(self, clip: tuple[int, ...], last: int) -> None:
        self._ready.append(Clip(clip, tuple(self._held[min(i, last)] for i in clip)))
        for i in clip:
            self._uses[i] -= 1
            if not self._uses[i]:
                del self._uses[i]
                self._held.pop(i, None)

    def _flush(self) -> Sequence[Score | QualityMap]:
        ready, self._ready = self._ready, []
        return list(self.meter.score(ready)) if ready else []

    def finish(self, frames: int, exhaust: bool) -> Iterable[Score | QualityMap]:
        """What is left after `frames` frames. Clips that reach past the end repeat the last frame.

        `exhaust` delivers every clip planned (metrics that were told a length); else clips that never began are dropped.
        """
        while exhaust and self._upcoming is not None:
            self._take_up(self._upcoming)
        if self._last is not _MISSING:
            for clip in self._open:
                self.repeated += sum(i >= frames for i in clip)
                self._held = {**dict.fromkeys(clip, self._last), **self._held}
                self._ready.append(Clip(clip, tuple(self._held[i] for i in clip)))
        scores = list(self._flush())
        self._open.clear()
        self._held.clear()
        return [*scores, *self.meter.finish()] if self._last is not _MISSING else scores
