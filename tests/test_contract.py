"""Every metric in the table keeps the contract: same scores however they are asked for, within its scale, documented."""

import functools
import pickle
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from vqmeter import measure
from vqmeter.distortions.codecs import X264, write
from vqmeter.errors import UsageError
from vqmeter.frames import PixelFormat, VideoInfo
from vqmeter.metric import NAMES, find
from vqmeter.metrics.fr.vmaf import find_ffmpeg

pytestmark = pytest.mark.usefixtures("seeded_weights")


def _missing() -> str:
    """Why VMAF cannot run here; nothing where it can."""
    try:
        find_ffmpeg()
    except UsageError as error:
        return str(error)
    return ""


NO_VMAF = _missing()
ALL = [(family, name) for family in NAMES for name in sorted(NAMES[family])]
HERE = [(family, name) for family, name in ALL if not (NO_VMAF and name.startswith("vmaf"))]
EACH = pytest.mark.parametrize(
    "one", [pytest.param(one, id=one[1], marks=[] if one in HERE else pytest.mark.skip(NO_VMAF)) for one in ALL]
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory, moving_luma):
    """A pair of 192x168 8-bit clips of 6 frames: moving texture, and the same with grain; coded, but without loss."""
    folder = tmp_path_factory.mktemp("contract")
    luma = moving_luma(6, 192, 168, 255)
    rng = np.random.default_rng(5)
    chroma = np.full((84, 96), 128, np.uint8)
    for name, amount in (("ref", 0.0), ("dist", 6.0)):
        grain = np.rint(rng.normal(0, amount, luma.shape))
        planes = np.clip(luma + grain, 0, 255).astype(np.uint8)
        info = VideoInfo(name, 192, 168, PixelFormat.parse("yuv420p"), Fraction(25))
        frames = ((plane, np.ascontiguousarray(plane[:84, 96:]), chroma) for plane in planes)
        write(frames, info, str(folder / f"{name}.mp4"), replace(X264, options={**X264.options, "qp": "0"}))
    return str(folder / "ref.mp4"), str(folder / "dist.mp4")


def run(pair, *several, **options):
    """One pass over a pair with (family, spec)s."""
    asked = {kind: [spec for family, spec in several if family == kind] for kind in NAMES}
    reference = {"reference": pair[0]} if asked["fr"] else {}
    result = measure(pair[1], metrics=asked["fr"], models=asked["nr"], **reference, **options).only
    assert result.error is None
    return result


def answers(result):
    """Everything a result says under each score's name, as one array, and the width of its scale."""
    found = {}
    for name, facts in result.metrics.items():
        clip_scores = [clip[name] for clip in result.clips if name in clip]
        whole = [result.whole[name]["score"]] if name in result.whole else []
        wide = 1.0 if facts["high"] is None or facts["low"] is None else facts["high"] - facts["low"]
        found[name] = np.array([*result.series[name].array, *clip_scores, *whole]), wide
    return found


def assert_same(one, other, part):
    """Equal to `part` of each score's scale."""
    others = answers(other)
    for name, (values, wide) in answers(one).items():
        assert len(values)
        np.testing.assert_allclose(values, others[name][0], rtol=0, atol=part * wide, err_msg=name)


@pytest.fixture(scope="module")
def alone(clips):
    """The answers of one metric by itself, measured once."""
    return functools.cache(lambda one: run(clips, one))


@pytest.fixture(scope="module")
def company(clips):
    """All metrics in one pass."""
    return run(clips, *HERE)


@EACH
def test_same_scores_alone_or_with_others(alone, company, one):
    assert_same(alone(one), company, 1e-4)


@EACH
def test_same_scores_for_any_threads_and_batch(clips, alone, one):
    assert_same(alone(one), run(clips, one, threads=1, batch=1), 1e-4)
    assert_same(alone(one), run(clips, one, threads=3, batch=4), 1e-4)


@EACH
def test_scores_stay_within_their_scale_and_identical_is_best(clips, alone, one):
    metric = find(*one).metric
    result, same = alone(one), run((clips[0], clips[0]), one)
    assert set(result.series) <= set(metric.scales())
    for score, (values, _) in answers(result).items():
        facts = result.metrics[score]
        assert np.isfinite(values).all() or facts["unit"] == "dB"
        assert facts["low"] is None or values.min() >= facts["low"]
        assert facts["high"] is None or values.max() <= facts["high"] + 1e-6
        if metric.identical_is_best:
            best, mean = same.statistic(f"{score}.min"), result.statistic(f"{score}.mean")
            assert best >= mean if facts["better"] == "higher" else best <= mean
            assert facts["high"] is None or best == pytest.approx(facts["high"], abs=1e-5)


@EACH
def test_a_single_frame_is_enough(clips, one):
    result = run(clips, one, frames=1)
    assert result.validity["frames_compared"] == 1 and all(len(values) for values, _ in answers(result).values())


@pytest.mark.cuda
@EACH
def test_cuda_equals_cpu(clips, one):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU here")
    assert_same(run(clips, one, device="cpu"), run(clips, one, device="cuda"), 1e-4)


@pytest.mark.parametrize(("family", "name"), [(f, n) for f, table in NAMES.items() for n in table])
def test_metrics_are_picklable_and_documented(family, name):
    metric = find(family, name).metric
    assert pickle.loads(pickle.dumps(metric)) == metric
    assert metric.about.title and metric.about.definition and metric.about.source
    assert type(metric).__doc__ and all(scale.definition for scale in metric.scales().values())
    assert all(scale.better in ("higher", "lower") for scale in metric.scales().values())
