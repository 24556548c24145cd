"""IPM: SSIM, FSIM or SR-SIM brought to a scale of opinion by a cubic, the baseline of the DIPQA thesis.

    s = a q^3 + b q^2 + c q + d        q: SSIM (full resolution), FSIM or SR-SIM of luma, below 0 as 0; s held within 0..100

The thesis fits the four numbers by least squares to the scores of its own, unpublished patches, so its fits are not
known. The defaults here are fitted to approximate scores by `weights/recipes/ipm.py`, under the condition that they fall
nowhere in 0..1. An identical picture has a + b + c + d, not 100. With other numbers, or with a weight file of `vqmeter train`
(tensor `cubic`: a, b, c, d, to 0..1), the score is called `ipm_*_own`; the file's label then makes 0..100 of it.

Source: the DIPQA thesis (deep image-patch quality assessment), chapter 4, "IPM" baselines.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from vqmeter.errors import WeightsError
from vqmeter.metric import About, Clip, Context, Meter, QualityMap, Sample, Scale, Score, Stream
from vqmeter.metrics.fr.fsim import Fsim
from vqmeter.metrics.fr.srsim import Srsim
from vqmeter.metrics.fr.ssim import Ssim

if TYPE_CHECKING:
    from vqmeter.weights import Weights

_FIT = (
    "The default numbers are ours, fitted by weights/recipes/ipm.py, and approximate: 125 pairs, TID2013's references "
    "I01, I03, I04, I06 and I08 cut from Kodak's pictures again, under five of its distortions (Gaussian noise, impulse "
    "noise, Gaussian blur, JPEG, JPEG 2000) made again at its five levels' 33, 30, 27, 24 and 21 dB (113 of them to 0.2 dB, "
    "JPEG at worst 1.6 dB off), each with the mean opinion TID2013 gives that reference, distortion and level, x 100/9; least "
    "squares on those same pairs, none held out, under the condition that the cubic falls nowhere in 0..1"
)
_SOURCE = "Cubic mapping of a metric's value: the DIPQA thesis, chapter 4; labels: TID2013, doi:10.1016/j.image.2014.10.009"


def _about(inner: str, definition: str, quality: str) -> About:
    return About(
        title=f"IPM, {inner} on a scale of opinion",
        definition=f"s = a q^3 + b q^2 + c q + d, q = {definition}, below 0 as 0; s held within 0..100. {_FIT} "
        f"({quality}). Identical pictures have a + b + c + d, not 100. With other a, b, c, d the score is named "
        f"ipm_{inner.lower().replace('-', '')}_own. A video's score is the mean over frames. weights=FILE takes the four from "
        "a weight file of 'vqmeter train', and 0..100 from its label; the video's score is then that of the mean raw value.",
        source=_SOURCE,
        differs="The thesis fits plain least squares to its own, unpublished patches; its numbers are not known.",
        validated="not validated beyond its own fit",
    )


@dataclass(frozen=True)
class IpmSsim:
    """SSIM of luma through a cubic."""

    a: float = -3.9690
    b: float = 48.5696
    c: float = 0.0500
    d: float = 17.9192
    weights: str | None = None

    about: ClassVar[About] = _about("SSIM", "ssim_y (Wang 2004, full resolution)", "on them PLCC 0.68, SROCC 0.67, RMSE 10.6")
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = False
    prefers_cuda: ClassVar[bool] = False

    def scales(self) -> Mapping[str, Scale]:
        return _scales(self, "ipm_ssim")

    def open(self, stream: Stream, context: Context) -> IpmMeter:
        inner = Ssim().open(dataclasses.replace(stream, planes="y"), dataclasses.replace(context, maps=False))
        return IpmMeter(self, "ipm_ssim", inner)


@dataclass(frozen=True)
class IpmFsim:
    """FSIM of luma through a cubic."""

    a: float = 474.6436
    b: float = -836.6283
    c: float = 491.6097
    d: float = -71.2257
    weights: str | None = None

    about: ClassVar[About] = _about("FSIM", "fsim", "on them PLCC 0.72, SROCC 0.69, RMSE 10.0")
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = False
    prefers_cuda: ClassVar[bool] = True

    def scales(self) -> Mapping[str, Scale]:
        return _scales(self, "ipm_fsim")

    def open(self, stream: Stream, context: Context) -> IpmMeter:
        return IpmMeter(self, "ipm_fsim", Fsim().open(stream, context))


@dataclass(frozen=True)
class IpmSrsim:
    """SR-SIM of luma through a cubic."""

    a: float = 1918.4968
    b: float = -4251.8686
    c: float = 3141.1089
    d: float = -750.5114
    weights: str | None = None

    about: ClassVar[About] = _about("SR-SIM", "srsim (10 taps)", "on them PLCC 0.73, SROCC 0.72, RMSE 9.8")
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = False
    prefers_cuda: ClassVar[bool] = True

    def scales(self) -> Mapping[str, Scale]:
        return _scales(self, "ipm_srsim")

    def open(self, stream: Stream, context: Context) -> IpmMeter:
        return IpmMeter(self, "ipm_srsim", Srsim().open(stream, context))


Ipm = IpmSsim | IpmFsim | IpmSrsim


def _scales(metric: Ipm, name: str) -> dict[str, Scale]:
    own = any(getattr(metric, field.name) != field.default for field in dataclasses.fields(metric))
    inner = name.removeprefix("ipm_")
    definition = f"cubic of {inner}, fitted to approximate TID2013 opinions" if not own else f"cubic of {inner}, numbers given"
    return {f"{name}_own" if own else name: Scale("", 0.0, 100.0, definition=definition)}


class IpmMeter:
    """Passes the scores of another meter through the cubic."""

    def __init__(self, metric: Ipm, model: str, inner: Meter) -> None:
        self.scores = metric.scales()
        self._name = next(iter(self.scores))
        self._cubic = (metric.a, metric.b, metric.c, metric.d)
        self._weights: Weights | None = None
        if metric.weights is not None:
            self._cubic, self._weights = _trained(model, metric.weights)
        self._inner = inner
        self._raw: list[float] = []
        self.batch = inner.batch

    def plan(self) -> Iterator[tuple[int, ...]]:
        return iter(self._inner.plan())

    def prepare(self, sample: Sample) -> Any:
        return self._inner.prepare(sample)

    def score(self, batch: Sequence[Clip]) -> Iterator[Score | QualityMap]:
        for inner in self._inner.score(batch):
            if isinstance(inner, Score):
                raw = polynomial(inner.value, *self._cubic)
                self._raw.append(raw)
                yield Score(self._name, self._scaled(raw), inner.span)

    def _scaled(self, raw: float) -> float:
        return min(100.0, max(0.0, raw)) if self._weights is None else self._weights.score(raw)

    def finish(self) -> Iterator[Score | QualityMap]:
        if self._weights is not None and self._weights.label is not None and self._raw:
            raw = math.fsum(self._raw) / len(self._raw)
            yield Score(self._name, self._scaled(raw), None, {"raw": raw, "mos": self._weights.label.value(raw)})


def _trained(model: str, choice: str) -> tuple[tuple[float, float, float, float], Weights]:
    """The four numbers of a weight file."""
    from vqmeter.weights import load

    state, weights = load(model, choice)
    if "cubic" not in state or state["cubic"].shape != (4,):
        raise WeightsError(f"{weights.path}: weights of {model} without the tensor 'cubic' of four numbers")
    weights.score(0.0)  # refuses weights without a scale before the work
    a, b, c, d = state["cubic"].tolist()
    return (a, b, c, d), weights


def polynomial(q: float, a: float, b: float, c: float, d: float) -> float:
    """a q^3 + b q^2 + c q + d, q below 0 as 0."""
    q = max(q, 0.0)
    return ((a * q + b) * q + c) * q + d


def cubic(q: float, a: float, b: float, c: float, d: float) -> float:
    """`polynomial`, held within 0..100."""
    return min(100.0, max(0.0, polynomial(q, a, b, c, d)))
