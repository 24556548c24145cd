"""`--until-decided`: stops early, and never with another verdict than the full run's."""

import json
from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqmeter import measure
from vqmeter.limits import Limit, decided
from vqmeter.metric import Scale
from vqmeter.report import STATISTICS, Result, Series

DECIBELS, UNIT, OPEN = Scale("dB", 0, None, decibels=True, squared_error=True), Scale("", 0, 1), Scale("", None, None)
KEYS = [f"s.{stat}" for stat in STATISTICS] + ["s"]


def result_of(scale, values):
    return Result({}, series={"s": Series(scale, 60.0 if scale.decibels else None, array("q", range(len(values))),
                                          array("d", values))})  # fmt: skip


@st.composite
def cases(draw):
    scale = draw(st.sampled_from([DECIBELS, UNIT, OPEN]))
    top = 1 if scale is UNIT else 70
    number = st.one_of(st.floats(0, top), st.sampled_from([0.0, top / 2, float(top)]))
    if scale is DECIBELS:
        number = st.one_of(number, st.just(float("inf")))
    values = draw(st.lists(number, min_size=1, max_size=40))
    bound = draw(st.one_of(st.floats(0, top), st.sampled_from(values)))
    return scale, values, Limit(draw(st.sampled_from(KEYS)), bound, draw(st.booleans()))


@settings(max_examples=400, deadline=None, database=None, derandomize=True)
@given(cases())
def test_what_is_decided_is_the_full_verdict(case):
    scale, values, limit = case
    stat = limit.key.partition(".")[2]
    if stat == "mse_pooled" and not scale.squared_error:
        assert not decided([limit], result_of(scale, values), len(values) + 1)
        return
    with np.errstate(invalid="ignore"):
        full = limit.crossed_by(result_of(scale, values).statistic(limit.key, limit.infinite))
        for n in range(1, len(values)):
            part = result_of(scale, values[:n])
            if decided([limit], part, len(values)):
                assert limit.crossed_by(part.statistic(limit.key, limit.infinite)) == full


@pytest.mark.parametrize(("limit", "values", "frames", "certain"), [
    (Limit("s.min", 0.5), [0.4], 100, True), (Limit("s.min", 0.5), [0.6] * 99, 100, False),
    (Limit("s.mean", 0.5), [1.0] * 50, 100, True), (Limit("s.mean", 0.5), [1.0] * 49, 100, False),
    (Limit("s.mean", 0.9), [0.0] * 11, 100, True), (Limit("s.mean", 0.9), [0.0] * 10, 100, False),
    (Limit("s.max", 0.5, over=True), [0.6], 100, True), (Limit("s.median", 0.5), [0.1] * 52, 101, True),
    (Limit("s.std", 0.5), [0.5] * 99, 100, False), (Limit("other", 0.5), [0.1], 100, False),
])  # fmt: skip
def test_when_it_is_decided(limit, values, frames, certain):
    assert decided([limit], result_of(UNIT, values), frames) == certain


def test_all_limits_must_be_decided():
    crossed, open_still = Limit("s.min", 0.5), Limit("s.mean", 0.5)
    part = result_of(UNIT, [0.4, 0.9])
    assert decided([crossed], part, 10) and not decided([crossed, open_still], part, 10)


def test_it_stops_early_with_the_same_exit_code(raw_pair, cli):
    ref, dist = raw_pair(frames=200, noise=9)
    for option, limit, code in (("--fail-under", "psnr_y.min=50", 3), ("--fail-under", "psnr_y.mean=3", 0),
                                ("--fail-over", "psnr_y.max=10", 3), ("--fail-under", "psnr_y.std=0.5", 3)):  # fmt: skip
        full = cli("fr", ref, dist, option, limit, "-f", "json")
        short = cli("fr", ref, dist, option, limit, "-f", "json", "--until-decided")
        assert full[0] == short[0] == code
        [whole], [part] = (json.loads(out)["results"] for _, out, _ in (full, short))
        if "std" in limit:
            assert "decided_after" not in part["validity"] and part["pooled"] == whole["pooled"]
            continue
        after = part["validity"]["decided_after"]
        assert after == part["validity"]["frames_compared"] == len(part["frames"]) < 200
        assert part["truncated"] is False and part["error"] is None and part["frames"] == whole["frames"][:after]
        assert "decided_after" not in whole["validity"] and whole["validity"]["frames_compared"] == 200


def test_one_file_is_decided_and_the_other_goes_on(raw_pair, tmp_path):
    ref, bad = raw_pair(frames=120, noise=30)
    (tmp_path / "b").mkdir()
    _, good = raw_pair(frames=120, noise=1, folder=tmp_path / "b")
    results = measure([bad, good], reference=ref, metrics="psnr", limits=[Limit("psnr_y.min", 30)], threads=1).results
    assert "decided_after" in results[0].validity and results[0].error is None
    assert "decided_after" not in results[1].validity and results[1].validity["frames_compared"] == 120


def test_unequal_lengths_still_fail(raw_pair):
    """The exit code is the full run's, which finds the ends apart."""
    ref, dist = raw_pair(frames=60, dist_frames=50, noise=20)
    limits = [Limit("psnr_y.min", 50)]
    assert measure(dist, reference=ref, limits=limits).only.error is not None
    common = measure(dist, reference=ref, limits=limits, shortest=True).only
    assert common.error is None and common.validity["frames_compared"] <= 50


def test_scores_of_a_whole_video_run_through(raw_pair):
    ref, dist = raw_pair(frames=60, noise=20)
    result = measure(dist, reference=ref, metrics="psnr,xpsnr", limits=[Limit("psnr_y.min", 50)]).only
    assert "decided_after" not in result.validity and result.validity["frames_compared"] == 60


def test_it_wants_a_limit(raw_pair, cli):
    code, _, err = cli("fr", *raw_pair(), "--until-decided")
    assert code == 2 and "--fail-under or --fail-over" in err
