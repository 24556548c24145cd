"""Pooling by hand, identical frames, limits, the schema, and every written form."""

import csv
import io
import json
import math
import os
import stat

import jsonschema
import numpy as np
import pytest

from vqmeter import writers
from vqmeter.errors import DecodeError, InputError, LimitError, OutputError, UsageError, VqmeterError, WeightsError
from vqmeter.metric import Scale, Score
from vqmeter.report import Report, Result, Series, gravest, pool

DB = Scale("dB", 0, None, decibels=True, squared_error=True)


def make(values, name="psnr_y", scale=DB, cap=60.0):
    result = Result({"distorted": {"path": "a.mp4", "width": 4, "height": 4}}, validity={"frames_compared": 3, "warnings": []})
    result.series[name] = Series(scale, cap)
    result.metrics[name] = {"unit": "dB", "low": 0, "high": None, "better": "higher", "definition": "",
                            "weights_sha256": None, "device": "cpu", "options": {}}  # fmt: skip
    for n, value in enumerate(values):
        for key, fact in zip(result.columns, (n, n * 2, n / 25, "P", 100), strict=True):
            result.columns[key].append(fact)
        result.add(Score(name, value, range(n, n + 1)), name)
    environment = {"cpu": "x", "gpu": None, "threads": 1, "torch": None, "av": None}
    return Report("fr", ["vqmeter"], environment, [result])


def text(report, form):
    return "".join(writers.writer(form)(report))


def test_statistics_by_hand():
    got = pool(np.array([30.0, 40.0, 50.0]), squared_error=True)
    assert got["score"] == got["mean"] == got["median"] == 40
    assert got["harmonic_mean"] == pytest.approx(3 / (1 / 31 + 1 / 41 + 1 / 51) - 1, abs=1e-12)
    assert (got["min"], got["max"]) == (30, 50) and got["std"] == pytest.approx(math.sqrt(200 / 3))
    assert got["p5"] == pytest.approx(31) and got["p90"] == pytest.approx(48)
    assert got["mse_pooled"] == pytest.approx(-10 * math.log10((1e-3 + 1e-4 + 1e-5) / 3))
    assert "mse_pooled" not in pool(np.array([1.0]))


def test_percentiles_are_linear_and_reach_infinity():
    values = np.random.default_rng(0).normal(40, 5, 37)
    got = pool(values)
    for name, percent in (("p1", 1), ("p5", 5), ("p10", 10), ("median", 50), ("p90", 90)):
        assert got[name] == pytest.approx(np.percentile(values, percent), abs=1e-12)
    high = pool(np.array([10.0, math.inf, math.inf]))
    assert high["median"] == math.inf and high["min"] == 10 and not math.isnan(high["p5"])


def test_harmonic_mean_is_undefined_at_minus_one():
    assert math.isnan(pool(np.array([-1.0, 0.5]))["harmonic_mean"])


@pytest.mark.filterwarnings("error")
def test_values_beyond_all_measure_are_pooled_without_a_word():
    got = pool(np.array([-1e300, 1e300]), squared_error=True)
    assert got["max"] == 1e300 and got["std"] == math.inf and got["mse_pooled"] == -math.inf


def test_identical_frames_are_null_and_count_at_the_ceiling():
    report = make([40.0, math.inf, 50.0])
    document = json.loads(text(report, "json"))
    assert [f["psnr_y"] for f in document["results"][0]["frames"]] == [40.0, None, 50.0]
    assert document["results"][0]["pooled"]["psnr_y"]["mean"] == 50.0
    assert report.pooled["psnr_y"]["max"] == 60.0
    assert np.isinf(report.frames["psnr_y"][1])


@pytest.mark.parametrize(
    ("values", "key", "expected"),
    [
        ([40.0, math.inf], "psnr_y", 50.0), ([40.0, math.inf], "psnr_y.max", math.inf), ([40.0, math.inf], "psnr_y.min", 40.0),
        ([math.inf, math.inf], "psnr_y.mean", math.inf), ([math.inf], "psnr_y.mse_pooled", math.inf),
        ([40.0, math.inf], "psnr_y.mse_pooled", 40 + 10 * math.log10(2)), ([40.0], "psnr_y.p5", 40.0),
    ],
)  # fmt: skip
def test_one_statistic(values, key, expected):
    assert make(values).only.statistic(key) == pytest.approx(expected)


def test_a_better_frame_never_lowers_a_mean_and_never_fails_a_limit():
    worse, better = make([50.0, 58.0]).only, make([50.0, math.inf]).only
    assert better.statistic("psnr_y.mean") >= worse.statistic("psnr_y.mean")
    assert make([math.inf, 70.0], cap=60.0).only.statistic("psnr_y.mean", 80.0) == 75.0


def test_no_cap():
    report = make([40.0, math.inf], cap=None)
    assert report.pooled["psnr_y"]["mean"] == math.inf
    assert json.loads(text(report, "json"))["results"][0]["pooled"]["psnr_y"]["mean"] is None


def test_unknown_keys_are_named():
    result = make([40.0]).only
    for key, says in (("psnr", "no score 'psnr'"), ("psnr_y.p50", "no statistic 'p50'")):
        with pytest.raises(UsageError, match=says):
            result.statistic(key)


def test_whole_video_scores_stand_beside_their_frames():
    report = make([0.5, 0.7], "vsfa", Scale("", 0, 100), None)
    report.only.add(Score("vsfa", 61.2, None, {"raw": 0.689}), "vsfa")
    report.only.add(Score("c3d", 55.0, range(16)), "c3d")
    assert report.pooled["vsfa"]["score"] == 61.2 and report.pooled["vsfa"]["mean"] == pytest.approx(0.6)
    assert report.only.statistic("vsfa.raw") == 0.689 and report.only.statistic("vsfa") == 61.2
    assert report.only.clips == [{"first": 0, "last": 15, "c3d": 55.0}]


@pytest.mark.parametrize("values", [[40.0, math.inf, math.nan], [], [1.0]])
def test_json_obeys_the_schema_and_is_strict(values, cli):
    report = make(values)
    report.only.error = DecodeError("cut short") if not values else None
    document = json.loads(text(report, "json"), parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    code, schema, _ = cli("schema")
    assert code == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(schema))
    jsonschema.validate(document, json.loads(schema))
    assert document == report.to_json()
    lines = text(report, "ndjson").splitlines()
    assert [json.loads(line) for line in lines] == [document]


def test_csv_has_a_row_a_frame():
    rows = list(csv.reader(io.StringIO(text(make([40.123456789, math.inf]), "csv"))))
    assert rows == [["file", "n", "t", "psnr_y"], ["a.mp4", "0", "0.0", "40.123456789"], ["a.mp4", "1", "0.04", "inf"]]


def test_pooled_csv_has_a_row_a_score():
    rows = list(csv.DictReader(io.StringIO(text(make([30.0, 50.0]), "pooled_csv"))))
    assert [(r["file"], r["name"], float(r["mean"])) for r in rows] == [("a.mp4", "psnr_y", 40.0)]


def test_libvmaf_form():
    log = json.loads(text(make([30.0, math.inf]), "libvmaf"))
    assert list(log) == ["version", "fps", "frames", "pooled_metrics", "aggregate_metrics"]
    assert log["frames"][1] == {"frameNum": 1, "metrics": {"psnr_y": None}}
    assert set(log["pooled_metrics"]["psnr_y"]) == {"min", "max", "mean", "harmonic_mean"}


def test_table_is_for_people():
    shown = text(make([30.0, 50.0]), "table")
    assert "psnr_y" in shown and "40.0000" in shown and "a.mp4" in shown


def test_endings_choose_the_form():
    endings = {"a.json": "json", "b.libvmaf.json": "libvmaf", "c.csv": "csv", "d.pooled.csv": "pooled_csv",
               "e.NDJSON": "ndjson"}  # fmt: skip
    assert {path: writers.form_of(path) for path in endings} == endings
    with pytest.raises(UsageError, match=r"\.csv"):
        writers.form_of("scores.txt")


def test_files_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text("old")
    report = make([40.0])
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="no space left"):
        writers.write(report, str(path))
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.json"]
    monkeypatch.undo()
    writers.write(report, str(path))
    assert json.loads(path.read_text())["schema"] == "vqmeter/1" and os.listdir(tmp_path) == ["a.json"]
    assert stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600


def test_places_that_cannot_be_written_are_found_before(tmp_path):
    for path, says in ((tmp_path, "folder"), (tmp_path / "none" / "a.json", "no folder")):
        with pytest.raises(OutputError, match=says):
            writers.check_writable(str(path))


def test_the_gravest_code_wins():
    codes = [c.exit_code for c in (VqmeterError, UsageError, LimitError, InputError, WeightsError)]
    assert codes == [1, 2, 3, 4, 6]
    assert gravest([0, 3, 4]) == 4 and gravest([4, 6, 5]) == 6 and gravest([6, 1]) == 1 and gravest([]) == 0
