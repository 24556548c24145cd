"""Every metric in the table keeps the contract: same scores however they are asked for, within its scale, documented."""

import pickle

import numpy as np
import pytest

from vqmeter import measure
from vqmeter.errors import UsageError
from vqmeter.metric import NAMES, find
from vqmeter.metrics.fr.vmaf import find_ffmpeg


def _missing() -> str:
    """Why VMAF cannot run here; nothing where it can."""
    try:
        find_ffmpeg()
    except UsageError as error:
        return str(error)
    return ""


NO_VMAF = _missing()
HERE = [name for name in sorted(NAMES["fr"]) if not (NO_VMAF and name.startswith("vmaf"))]
FR = [name if name in HERE else pytest.param(name, marks=pytest.mark.skip(NO_VMAF)) for name in sorted(NAMES["fr"])]


@pytest.fixture(scope="module")
def clips(tmp_path_factory, moving_luma):
    """A pair of 192x168 8-bit clips of 6 frames: moving texture, and the same with grain."""
    folder = tmp_path_factory.mktemp("contract")
    luma = moving_luma(6, 192, 168, 255)
    rng = np.random.default_rng(5)
    for name, amount in (("ref", 0.0), ("dist", 6.0)):
        with open(folder / f"{name}_192x168.yuv", "wb") as file:
            for picture in luma:
                grain = np.rint(rng.normal(0, amount, picture.shape)) if amount else 0
                plane = np.clip(picture + grain, 0, 255).astype(np.uint8)
                file.write(plane.tobytes() + np.ascontiguousarray(plane[:84, 96:]).tobytes() + bytes([128]) * (84 * 96))
    return str(folder / "ref_192x168.yuv"), str(folder / "dist_192x168.yuv")


def run(clips, metrics, **options):
    result = measure(clips[1], reference=clips[0], metrics=metrics, **options).only
    assert result.error is None
    return result


@pytest.mark.parametrize("name", FR)
def test_same_scores_for_any_threads_and_batch(clips, name):
    one = run(clips, name, threads=1, batch=1)
    other = run(clips, name, threads=2, batch=4)
    for score, values in one.frames.items():
        scale = one.metrics.get(score)
        span = 1.0 if scale is None or scale["high"] is None else scale["high"] - scale["low"]
        np.testing.assert_allclose(values, other.frames[score], rtol=0, atol=1e-4 * span)


@pytest.mark.parametrize("name", FR)
def test_same_scores_alone_or_with_others(clips, name):
    alone = run(clips, name)
    company = run(clips, [name, *(f"{other}:as=x_{other}" for other in HERE if other != name)])
    for score, values in alone.frames.items():
        np.testing.assert_allclose(values, company.frames[score], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FR)
def test_scores_stay_within_their_scale_and_identical_is_best(clips, name):
    metric = find("fr", name).metric
    result, same = run(clips, name), measure(clips[0], reference=clips[0], metrics=name).only
    assert set(result.series) <= set(metric.scales())
    for score, facts in result.metrics.items():
        values = result.series[score].array
        assert np.isfinite(values).all() or facts["unit"] == "dB"
        assert facts["low"] is None or values.min() >= facts["low"]
        assert facts["high"] is None or values.max() <= facts["high"] + 1e-6
        if metric.identical_is_best:
            best, mean = same.statistic(f"{score}.min"), result.statistic(f"{score}.mean")
            assert best >= mean if facts["better"] == "higher" else best <= mean
            assert facts["high"] is None or best == pytest.approx(facts["high"], abs=1e-5)


@pytest.mark.parametrize("name", FR)
def test_a_single_frame_is_enough(clips, name):
    assert run(clips, name, frames=1).validity["frames_compared"] == 1


@pytest.mark.cuda
@pytest.mark.parametrize("name", FR)
def test_cuda_equals_cpu(clips, name):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU here")
    cpu, cuda = run(clips, name, device="cpu"), run(clips, name, device="cuda")
    for score, values in cpu.series.items():
        np.testing.assert_allclose(values.array, cuda.series[score].array, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("family", "name"), [(f, n) for f, table in NAMES.items() for n in table])
def test_metrics_are_picklable_and_documented(family, name):
    metric = find(family, name).metric
    assert pickle.loads(pickle.dumps(metric)) == metric
    assert metric.about.title and metric.about.definition and metric.about.source
    assert type(metric).__doc__ and all(scale.definition for scale in metric.scales().values())
    assert all(scale.better in ("higher", "lower") for scale in metric.scales().values())
