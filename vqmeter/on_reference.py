"""A no-reference model on the reference of a pair, in the same pass: `NAME_ref`, and with it `NAME_diff`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from vqmeter.errors import UsageError
from vqmeter.metric import About, Chosen, Clip, Context, Meter, Metric, QualityMap, Sample, Scale, Score, Stream
from vqmeter.report import Result

SUFFIX = "_ref"


@dataclass(frozen=True)
class OnReference:
    """`metric`, shown the reference where it expects the distorted."""

    metric: Metric

    @property
    def about(self) -> About:
        return self.metric.about

    @property
    def needs_length(self) -> bool:
        return self.metric.needs_length

    @property
    def identical_is_best(self) -> bool:
        return False

    @property
    def prefers_cuda(self) -> bool:
        return self.metric.prefers_cuda

    @property
    def weights(self) -> str | None:
        """As the metric's; it has the attribute where the metric has it."""
        return cast(Any, self.metric).weights  # type: ignore[no-any-return]

    def scales(self) -> Mapping[str, Scale]:
        return {name + SUFFIX: scale for name, scale in self.metric.scales().items()}

    def open(self, stream: Stream, context: Context) -> Meter:
        if stream.ref is None:
            raise UsageError("--model-ref wants a reference")
        return ReferenceMeter(self.metric.open(replace(stream, dist=stream.ref, ref=None), context))


class ReferenceMeter:
    """Forwards to a meter, with the reference as the frame to score."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.scores: Mapping[str, Scale] = {name + SUFFIX: scale for name, scale in meter.scores.items()}
        self.batch = meter.batch
        self.weights = getattr(meter, "weights", None)

    def plan(self) -> Iterable[tuple[int, ...]]:
        return self._meter.plan()

    def prepare(self, sample: Sample) -> Any:
        return self._meter.prepare(Sample(sample.index, sample.pair[0]))

    def score(self, batch: Sequence[Clip]) -> Iterable[Score | QualityMap]:
        return (_renamed(score) for score in self._meter.score(batch))

    def finish(self) -> Iterable[Score | QualityMap]:
        return (_renamed(score) for score in self._meter.finish())


def _renamed(score: Score | QualityMap) -> Score | QualityMap:
    return replace(score, name=score.name + SUFFIX)


def with_references(models: Sequence[Chosen]) -> list[Chosen]:
    """Each model, and itself on the reference."""
    return [one for model in models for one in (
        model, replace(model, metric=cast(Metric, OnReference(model.metric))))]  # fmt: skip


def add_differences(result: Result) -> None:
    """`NAME_diff`, the distorted's answer less the reference's, for every model that scored both."""
    pooled = result.pooled
    for name, values in pooled.items():
        on_ref = pooled.get(name + SUFFIX)
        if on_ref is not None:
            result.whole[f"{name}_diff"] = {"score": values["score"] - on_ref["score"]}
