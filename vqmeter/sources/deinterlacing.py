"""Frames of one moment each out of interlaced ones, by FFmpeg's bwdif: `--deinterlace`.

A frame keeps the lines of its first field; the others are interpolated in space and time, so there are as many frames
as before. Source: the filter `bwdif=mode=send_frame` (after BBC R&D's w3fdif and yadif).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial

from vqmeter.frames import Frame
from vqmeter.sources import Source
from vqmeter.sources.pair import common_format

_BOTTOM_FIRST = ("bb", "tb")  # coded order first, displayed order second: what is shown first counts


def deinterlace(source: Source) -> Source:
    """`source` without its combs; itself where it says that it is progressive."""
    return source if source.info.field_order == "progressive" else Deinterlaced(source)


class Deinterlaced:
    """A source whose frames go through bwdif, in order. Where it does not say which field comes first, the top one does."""

    def __init__(self, source: Source) -> None:
        self._source = source
        was = source.info
        fmt = common_format(was.pix_fmt, was.pix_fmt.bit_depth)
        self._parity = "bff" if was.field_order in _BOTTOM_FIRST else "tff"
        note = f"deinterlaced (bwdif, {self._parity})"
        self.info = replace(was, pix_fmt=fmt, field_order="progressive", notes=(*was.notes, note))
        self.count = source.count

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        import av

        from vqmeter.sources.pictures import planes_of, to_picture

        fmt, graph = self.info.pix_fmt, av.filter.Graph()
        layout = av.VideoFormat(fmt.name)
        entry = graph.add_buffer(width=self.info.width, height=self.info.height, format=layout, time_base=Fraction(1, 25))
        graph.link_nodes(entry, graph.add("bwdif", f"mode=send_frame:parity={self._parity}:deint=all"), graph.add("buffersink"))
        graph.configure()
        waiting: deque[Frame] = deque()

        def ready() -> Iterator[Frame]:
            while waiting:
                try:
                    picture = graph.vpull()
                except (av.error.BlockingIOError, av.error.EOFError):
                    return
                yield replace(waiting.popleft(), info=self.info, load=partial(planes_of, picture, fmt), _memo={})

        for number, frame in enumerate(self._source.frames(start)):
            picture = to_picture(frame.planes, fmt)
            frame.release()
            picture.pts = number
            graph.vpush(picture)
            waiting.append(frame)
            yield from ready()
        graph.vpush(None)
        yield from ready()

    def length(self) -> int | None:
        return self._source.length()

    def close(self) -> None:
        self._source.close()
