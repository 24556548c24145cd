"""Pictures as frames, and the score of one pair through a metric's own meter."""

from collections.abc import Callable

import numpy as np
import pytest

from vqmeter.frames import Frame, PixelFormat, VideoInfo
from vqmeter.metric import Clip, Context, Metric, Sample, Stream


def _as_frame(planes, fmt="gray", **info) -> Frame:
    planes = tuple(np.ascontiguousarray(plane) for plane in ([planes] if isinstance(planes, np.ndarray) else planes))
    height, width = planes[0].shape
    return Frame(VideoInfo("picture", width, height, PixelFormat.parse(fmt), **info), 0, lambda: planes)


@pytest.fixture(scope="session")
def as_frame() -> Callable[..., Frame]:
    """A frame of one plane (grey) or several, in pixel format `fmt`."""
    return _as_frame


@pytest.fixture(scope="session")
def open_meter():
    """The meter of a metric for a pair of frames."""

    def opened(metric: Metric, ref: Frame, dist: Frame, **context):
        return metric.open(Stream(dist.info, ref.info, dist.info.pix_fmt, 1, None), Context(**context))

    return opened


@pytest.fixture(scope="session")
def score_of(open_meter):
    """The only score of a pair of frames."""

    def scored(metric: Metric, ref: Frame, dist: Frame, **context) -> float:
        meter = open_meter(metric, ref, dist, **context)
        item = meter.prepare(Sample(0, dist, ref))
        (score,) = meter.score([Clip((0,), (item,))])
        assert [score.name] == list(meter.scores) and score.span == range(1)
        return score.value

    return scored


@pytest.fixture(scope="session")
def piq_pairs(testdata):
    """The pictures of piq's tests: `gray` goldhill and its JPEG, `colour` TID2013's I01 and i01_01_5."""
    from PIL import Image

    def read(name: str) -> Frame:
        with Image.open(testdata / "golden/expected/piq" / name) as image:
            if name.endswith("gif"):
                return _as_frame(np.array(image.convert("L")))
            return _as_frame(list(np.array(image.convert("RGB")).transpose(2, 0, 1)), "rgb24")

    return {"gray": (read("goldhill.gif"), read("goldhill_jpeg.gif")), "colour": (read("I01.BMP"), read("i01_01_5.bmp"))}


@pytest.fixture(scope="session")
def textured(as_frame):
    """A textured frame of any size and format, the same with grain, both made from `seed`."""

    def make(width: int, height: int, fmt: str = "gray", grain: float = 8.0, seed: int = 0) -> tuple[Frame, Frame]:
        pixel, rng = PixelFormat.parse(fmt), np.random.default_rng(seed)
        pair = [], []
        for n in range(len(pixel.components)):
            w, h = pixel.chroma_size(width, height) if n and pixel.family == "yuv" else (width, height)
            y, x = np.mgrid[0:h, 0:w]
            waves = sum(np.sin(a * x + b * y + c) for a, b, c in rng.uniform(0.02, 0.6, (5, 3)))
            for planes, amount in zip(pair, (0.0, grain), strict=True):
                picture = (waves / 12 + 0.5) * 255 + rng.normal(0, 1, (h, w)) * amount
                planes.append(np.rint(np.clip(picture, 0, 255) * (pixel.peak / 255)).astype(pixel.dtype))
        return as_frame(pair[0], fmt), as_frame(pair[1], fmt)

    return make


@pytest.fixture(scope="session")
def cuda():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU here")
    return "cuda:0"


@pytest.fixture(scope="module")
def one_thread():
    """For plain renditions of small networks: torch's threads would only wait for one another."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
