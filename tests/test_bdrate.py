"""Bjontegaard deltas: published values, independent integration, exact cases, and every guard."""

import csv
import io
import json

import jsonschema
import numpy as np
import pytest
import scipy.interpolate

pytest.importorskip("bjontegaard", reason="the extra bdrate is not installed")

from vqmeter.bdrate import METHODS, Curve, How, Point, compare, ladder

#: VCEG's classic example: kbit/s and PSNR of two encoders.
ANCHOR = ([686.76, 309.58, 157.11, 85.95], [40.28, 37.18, 34.24, 31.42])
TEST = ([893.34, 407.8, 204.93, 112.75], [40.39, 37.21, 34.17, 31.24])
#: Two ladders of JCTVC-E137 and the BD-rate of their spreadsheet, in per cent, as libvmaf's calculator is tested with them.
E137 = [
    (([108048.8736, 61279.976, 33905.6656, 18883.6928], [43.6471, 40.3953, 37.247, 34.2911]),
     ([108061.2784, 61299.9936, 33928.7472, 18910.912], [43.6768, 40.4232, 37.2761, 34.3147]), -0.465215420752807),
    (([40433.8848, 7622.7456, 2394.488, 1017.6184], [37.5761, 35.3756, 33.8977, 32.0603]),
     ([40370.12, 7587.0024, 2390.0944, 1017.0984], [37.5982, 35.4025, 33.9194, 32.0822]), -1.8779823450567612),
]  # fmt: skip


def curve(name, rates, scores, key="psnr_y", **more):
    points = [Point(1000 * r, {key: s}, f"{name}{n}") for n, (r, s) in enumerate(zip(rates, scores, strict=True))]
    return Curve(name, points, **more)


def delta(anchor, test, how=None, **more):
    how = how or How()
    return compare(ladder(curve("a", *anchor), "psnr_y", how, **more), ladder(curve("t", *test), "psnr_y", how, **more), how)


# --- the numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("anchor", "test", "published"), E137)
def test_pchip_is_the_spreadsheet_of_the_common_test_conditions(anchor, test, published):
    assert delta(anchor, test).bd_rate == pytest.approx(published, abs=1e-9)


def integrated(x1, y1, x2, y2, method):
    """The mean of y2 - y1 over the common x, by a curve of our own and the trapezoid rule."""
    low, high = max(min(x1), min(x2)), min(max(x1), max(x2))
    along = np.linspace(low, high, 200_001)
    fits = {
        "cubic": lambda x, y: np.polynomial.Polynomial(np.linalg.solve(np.vander(x, 4, increasing=True), y)),
        "pchip": scipy.interpolate.PchipInterpolator,
        "akima": scipy.interpolate.Akima1DInterpolator,
    }
    first, second = (fits[method](np.array(x)[::-1], np.array(y)[::-1])(along) for x, y in ((x1, y1), (x2, y2)))
    return np.trapezoid(second - first, along) / (high - low)


@pytest.mark.parametrize("method", METHODS)
def test_deltas_are_the_area_between_the_curves(method):
    found = delta(ANCHOR, TEST, How(method))
    rates = [np.log(r) for r, _ in (ANCHOR, TEST)]
    qualities = [q for _, q in (ANCHOR, TEST)]
    log = integrated(qualities[0], rates[0], qualities[1], rates[1], method)
    assert found.bd_rate == pytest.approx(100 * np.expm1(log), abs=1e-3)
    gain = integrated(rates[0], qualities[0], rates[1], qualities[1], method)
    assert found.bd_quality == pytest.approx(gain, abs=1e-5)
    assert found.quality_range == (31.42, 40.28) and found.rate_range == (112750, 686760)
    assert found.overlap_quality == pytest.approx((40.28 - 31.42) / (40.39 - 31.24))
    assert found.overlap_rate == pytest.approx(np.log(686.76 / 112.75) / np.log(893.34 / 85.95))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_a_ladder_at_a_multiple_of_the_bitrate(method, factor):
    found = delta(ANCHOR, ([factor * r for r in ANCHOR[0]], ANCHOR[1]), How(method))
    assert found.bd_rate == pytest.approx(100 * (factor - 1), abs=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_a_ladder_that_is_better_by_one_decibel(method):
    found = delta(ANCHOR, (ANCHOR[0], [q + 1 for q in ANCHOR[1]]), How(method))
    assert found.bd_quality == pytest.approx(1, abs=1e-9) and found.bd_rate < 0


def test_lower_is_better_is_the_same_upside_down():
    up = delta(ANCHOR, TEST)
    down = delta((ANCHOR[0], [-q for q in ANCHOR[1]]), (TEST[0], [-q for q in TEST[1]]), lower=True)
    assert (down.bd_rate, down.bd_quality, down.better) == (up.bd_rate, -up.bd_quality, "lower")
    assert down.quality_range == (-40.28, -31.42) and not down.warnings


def test_the_order_of_points_does_not_count():
    mixed = [3, 0, 2, 1]
    found = delta(([ANCHOR[0][n] for n in mixed], [ANCHOR[1][n] for n in mixed]), TEST)
    assert found.bd_rate == delta(ANCHOR, TEST).bd_rate


# --- guards ----------------------------------------------------------------------------------------------------------


def warnings_of(rates, scores, how=None, **more):
    return " | ".join(ladder(curve("a", rates, scores), "psnr_y", how or How(), **more).warnings)


def test_a_point_that_is_worse_for_more_bits_is_named():
    said = warnings_of([100, 200, 300, 400], [30, 33, 32, 35])
    assert "a: psnr_y is worse at a2 (300 kbit/s, 32) than at a1 (200 kbit/s, 33)" in said and said.count("worse") == 1
    found = delta(([100, 200, 300, 400], [30, 33, 32, 35]), ([100, 200, 300, 400], [30, 33, 34, 35]))
    assert found.bd_rate is not None and found.bd_quality > 0


def test_the_hull_leaves_out_what_a_mixture_beats():
    rates, scores = [100, 200, 300, 400, 500, 600], [30, 33, 33.1, 35, 35.5, 35.4]
    kept = ladder(curve("a", rates, scores), "psnr_y", How(hull=True))
    assert kept.rates.tolist() == [1e5, 2e5, 4e5, 5e5] and kept.qualities.tolist() == [30, 33, 35, 35.5]
    assert [note.split(" lies")[0] for note in kept.notes] == ["a: psnr_y of a2", "a: psnr_y of a5"] and not kept.warnings


def test_points_that_are_there_twice_or_not_finite_do_not_count():
    said = warnings_of([100, 100, 200, 300, 400, 500, 600], [30, 30, 33, 35, 36, 36, np.inf])
    assert "psnr_y of a1 does not count: the same bitrate and quality as a0" in said
    assert "psnr_y of a5 does not count: the same quality as a4" in said and "a6 has no finite psnr_y" in said
    kept = ladder(curve("a", [100, 100, 200, 300, 400], [30, 31, 33, 35, 36]), "psnr_y", How())
    assert kept.qualities.tolist() == [31, 33, 35, 36]


def test_curves_that_hardly_meet():
    found = delta(([100, 200, 300, 400], [30, 32, 34, 36]), ([90, 180, 270, 390], [35, 36, 38, 40]))
    assert found.overlap_quality == pytest.approx(0.1) and found.bd_rate < 0
    assert any("have 10 % of the span of psnr_y in common" in warning for warning in found.warnings)
    assert not delta(ANCHOR, TEST, How(min_overlap=0)).warnings


def test_curves_that_do_not_meet():
    found = delta(([100, 200, 300, 400], [30, 32, 34, 36]), ([90, 180, 270, 390], [36, 37, 38, 40]))
    assert found.bd_rate is None and found.bd_quality > 0
    assert found.errors == ["psnr_y: t (36 to 40) and a (30 to 36) have no quality in common, so no BD-rate"]
    far = delta(ANCHOR, ([1000 * r for r in ANCHOR[0]], ANCHOR[1]))
    assert far.bd_quality is None and "no bitrate in common" in far.errors[0] and "units the same" in far.warnings[-1]


def test_a_polynomial_that_turns_round_is_said():
    bent = ([100, 110, 2000, 2100], [30, 36, 36.2, 42])
    assert any("turns round between points" in line for line in delta(bent, bent, How("cubic")).warnings)
    assert not any("turns round" in line for line in delta(bent, bent).warnings)


def test_scores_that_only_fall():
    assert "if lower is better, say --lower psnr_y" in warnings_of([1, 2, 3, 4], [5, 4, 3, 2])
    assert not warnings_of([1, 2, 3, 4], [5, 4, 3, 2], lower=True)


@pytest.mark.parametrize(
    ("rates", "method", "says"),
    [([0, 200, 300, 400], "pchip", "a0 has a bitrate of 0, which has no logarithm"), ([100, 200, 300], "cubic", "takes 4"),
     ([100], "akima", "takes 2")],
)  # fmt: skip
def test_what_cannot_be_interpolated(rates, method, says):
    from vqmeter.errors import InputError

    with pytest.raises(InputError, match=says) as error:
        ladder(curve("a", rates, [30, 33, 34, 35][: len(rates)]), "psnr_y", How(method))
    assert error.value.exit_code == 4


def test_few_points_are_said():
    assert "3 points with psnr_y; 4 are the fewest" in warnings_of([100, 200, 300], [30, 33, 34], How("akima"))


# --- the command -----------------------------------------------------------------------------------------------------


def write_csv(path, anchor=ANCHOR, test=TEST, rate="bitrate_kbps", key="psnr_y", factor=1.0):
    rows = [("codec", rate, "qp", key)]
    for name, (rates, scores) in (("hm", anchor), ("vtm", test)):
        rows += [(name, factor * r, qp, s) for qp, (r, s) in enumerate(zip(rates, scores, strict=True))]
    path.write_text("\n".join(",".join(map(str, row)) for row in rows))
    return path


def report(path, rates, scores, **distorted):
    """A report of `vqmeter fr` with a result for each point."""
    scale = {"low": 0, "high": None, "definition": "", "weights_sha256": None, "device": "cpu", "options": {}}
    metrics = {"psnr_y": {"unit": "dB", "better": "higher"} | scale, "niqe": {"unit": "", "better": "lower"} | scale}
    results = []
    for n, (rate, score) in enumerate(zip(rates, scores, strict=True)):
        dist = {"path": f"{path.stem}_{n}.mp4", "codec": "h264", "bitrate": round(1000 * rate), "rate": 25.0} | distorted
        results.append({
            "inputs": {"reference": {"path": "ref.y4m"}, "distorted": dist}, "settings": {}, "metrics": metrics,
            "validity": {"frames_compared": 1, "warnings": []},
            "frames": [{"n": 0, "pts": 0, "t": 0.0, "type": "I", "bytes": None}], "clips": [],
            "pooled": {"psnr_y": {"score": score, "p5": score - 1}, "niqe": {"score": 60 - score}},
            "truncated": False, "error": None, "timing": {},
        })  # fmt: skip
    document = {"schema": "vqmeter/1", "vqmeter": "0", "command": "fr", "argv": [], "results": results,
                "environment": {"cpu": "", "gpu": None, "threads": 1, "torch": None, "av": None}}  # fmt: skip
    path.write_text(json.dumps(document))
    return document


@pytest.fixture
def reports(tmp_path):
    for name, ends in (("x264", ANCHOR), ("x265", TEST)):
        report(tmp_path / f"{name}.json", *ends)
    return tmp_path


def rows_of(out):
    return list(csv.DictReader(io.StringIO(out)))


def test_two_reports(cli, reports):
    from pathlib import Path

    import vqmeter

    schema = json.loads((Path(vqmeter.__file__).parent / "schema.json").read_text())
    jsonschema.validate(json.loads((reports / "x264.json").read_text()), schema)
    code, out, err = cli("bdrate", reports / "x264.json", reports / "x265.json")
    assert (code, err) == (0, "") and "x265 against x264 (pchip)" in out
    assert "+31.38 %" in out and "-1.1835 dB" in out and "niqe (lower is better)" in out and "+1.1835" in out
    document = json.loads(cli("bdrate", reports / "x264.json", reports / "x265.json", "--by", "psnr_y.p5", "-f", "json")[1])
    (only,) = document["deltas"]
    assert document["schema"] == "vqmeter-bdrate/1" and only["score"] == "psnr_y.p5" and only["unit"] == "dB"
    assert only["bd_rate"] == pytest.approx(delta(ANCHOR, TEST).bd_rate, abs=1e-3)
    assert document["curves"][0]["rates"] == [85950, 157110, 309580, 686760]


def test_a_table_divided_by_labels(cli, tmp_path):
    path = write_csv(tmp_path / "t.csv")
    code, out, err = cli("bdrate", path, "-f", "csv")
    (row,) = rows_of(out)
    assert (code, err, row["anchor"], row["test"]) == (0, "", "hm", "vtm")
    assert float(row["bd_rate_percent"]) == pytest.approx(delta(ANCHOR, TEST).bd_rate) and row["points_anchor"] == "4"
    (turned,) = rows_of(cli("bdrate", path, "--anchor", "vtm", "-f", "csv")[1])
    assert (1 + float(turned["bd_rate_percent"]) / 100) * (1 + float(row["bd_rate_percent"]) / 100) == pytest.approx(1)
    assert rows_of(cli("bdrate", path, "-f", "csv", "--method", "cubic", "--label", "codec")[1])[0]["method"] == "cubic"


@pytest.mark.parametrize(
    ("title", "factor", "options", "said"),
    [("bitrate", 1, (), "bitrate is taken as kbit/s"), ("rate", 1000, ("--unit", "bps"), ""),
     ("Bitrate (Mbit/s)", 1e-3, (), ""), ("bps", 1000, (), ""), ("w", 1, ("--bitrate", "w", "--unit", "kbps"), "")],
)  # fmt: skip
def test_units_of_bitrates(cli, tmp_path, title, factor, options, said):
    code, out, err = cli("bdrate", write_csv(tmp_path / "t.csv", rate=title, factor=factor), *options, "-f", "csv")
    assert code == 0 and said in err and bool(said) == bool(err)
    assert float(rows_of(out)[0]["rate_from"]) == pytest.approx(112750)


def test_files_of_one_name_or_pattern_are_one_curve(cli, tmp_path):
    for name, (rates, scores) in (("x264", ANCHOR), ("x265", TEST)):
        for n in range(4):
            report(tmp_path / f"{name}_{n}.json", rates[n : n + 1], scores[n : n + 1])
    code, out, _ = cli("bdrate", tmp_path / "x264_*.json", tmp_path / "x265_*.json", "-f", "csv", "--by", "psnr_y")
    (row,) = rows_of(out)
    assert (code, row["anchor"], row["test"]) == (0, "x264", "x265")
    words = [f"{name}={tmp_path / name}_{n}.json" for n in range(4) for name in ("x264", "x265")]
    assert rows_of(cli("bdrate", *words, "-f", "csv", "--by", "psnr_y")[1]) == [row]
    assert cli("bdrate", tmp_path / "x264_*.json", tmp_path / "x266_*.json")[0] == 4


def test_bitrates_that_a_container_does_not_state(cli, tmp_path):
    report(tmp_path / "a.json", *ANCHOR, bitrate=None, size=10_000, duration=2.0)
    bare = report(tmp_path / "b.json", *ANCHOR, bitrate=None, rate=25.0)
    for size, result in zip((4000, 3000, 2000, 1000), bare["results"], strict=True):
        result["frames"][0]["bytes"] = size
    (tmp_path / "b.json").write_text(json.dumps(bare))
    code, _, err = cli("bdrate", tmp_path / "b.json", tmp_path / "a.json", "--by", "psnr_y")
    assert code == 4 and "same bitrate as" in err and "a: 1 of 4 points count for psnr_y" in err
    document = json.loads(cli("bdrate", tmp_path / "b.json", tmp_path / "b.json", "--by", "psnr_y", "-f", "json")[1])
    assert document["curves"][0]["rates"] == [200e3, 400e3, 600e3, 800e3] and document["deltas"][0]["bd_rate"] == 0


def test_results_that_failed_do_not_count(cli, reports):
    document = json.loads((reports / "x264.json").read_text())
    document["results"][0]["error"] = {"code": 4, "message": "cut short"}
    (reports / "x264.json").write_text(json.dumps(document))
    code, out, err = cli("bdrate", reports / "x264.json", reports / "x265.json")
    assert code == 4 and "x264_0.mp4 was not measured to its end" in err and "3 and 4" in out


def test_ladders_of_two_contents_are_said(cli, reports):
    text = (reports / "x265.json").read_text()
    (reports / "x265.json").write_text(text.replace("ref.y4m", "other.y4m"))
    _, _, err = cli("bdrate", reports / "x264.json", reports / "x265.json")
    assert "different references, other.y4m, ref.y4m" in err
    assert cli("bdrate", "-q", reports / "x264.json", reports / "x265.json")[2] == ""


def test_outputs(cli, reports):
    from xml.etree import ElementTree

    names = [reports / f"o{ending}" for ending in (".json", ".csv", ".png", ".svg")]
    words = ("bdrate", reports / "x264.json", reports / "x265.json", *(w for n in names for w in ("-o", n)))
    code, out, err = cli(*words)
    assert (code, out, err) == (0, "", "") and all(name.stat().st_size for name in names)
    assert rows_of(names[1].read_text())[0]["bd_rate_percent"] == str(json.loads(names[0].read_text())["deltas"][0]["bd_rate"])
    assert names[2].read_bytes()[:4] == b"\x89PNG" and ElementTree.parse(names[3]).getroot().tag.endswith("svg")
    before = names[3].read_bytes()
    cli(*words)
    assert names[3].read_bytes() == before


def test_a_picture_takes_any_name(cli, reports):
    words = (f"$\\frac$={reports / 'x264.json'}", f"_x={reports / 'x265.json'}", "-o", reports / "o.svg")
    assert cli("bdrate", *words)[0] == 0 and (reports / "o.svg").stat().st_size


def test_a_missing_library_is_one_line(cli, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "bjontegaard", None)
    code, _, err = cli("bdrate", write_csv(tmp_path / "t.csv"))
    assert code == 2 and "pip install 'vqmeter[bdrate]'" in err and err.count("\n") == 1


def test_wrong_words(cli, reports):
    (reports / "none.csv").write_text("a,b\n1,2\n")
    (reports / "bare.csv").write_text("1,2\n3,4\n")
    (reports / "pooled.csv").write_text("file,name,score,mean,harmonic_mean\na,psnr_y,1,1,1\n")
    (reports / "only.csv").write_text("bitrate_kbps,ssim\n1,2\n3,4\n")
    (reports / "odd.json").write_text(
        '{"results": [{"inputs": {"distorted": {"path": "a", "bitrate": "much"}}, "pooled": {"b": 1}}]}'
    )
    report(reports / "raw.json", *ANCHOR, codec="rawvideo")
    report(reports / "unknown.json", *ANCHOR, bitrate=None)
    x264, x265 = reports / "x264.json", reports / "x265.json"
    for words, code, says in (
        ((x264, reports / "odd.json"), 4, "not a report"), ((x264,), 2, "one curve only"),
        ((x264, x265, "--anchor", "av1"), 2, "no curve 'av1'"),
        ((x264, x265, "--by", "psnr_z"), 2, "did you mean psnr_y"), ((x264, reports / "none.csv"), 2, "no column of bitrates"),
        ((x264, reports / "pooled.csv"), 2, "write the report as .json"), ((x264, reports / "bare.csv"), 4, "no titles"),
        ((x264, reports / "only.csv"), 4, "no score in common"), ((x264, reports / "raw.json"), 4, "raw video"),
        ((x264, reports / "unknown.json"), 4, "neither a bitrate"), ((x264, reports / "missing.json"), 4, "no such file"),
        ((x264, x265, "-o", "x.pdf"), 2, "what form"), ((x264, x265, "--lower", "niq"), 2, "did you mean niqe"),
        ((x264, x265, "--by", "psnr_y.p7"), 2, "psnr_y has no 'p7'"),
        ((x264, x265, "-o", reports / "no" / "x.csv"), 4, "no folder"),
    ):  # fmt: skip
        got, _, err = cli("bdrate", *words)
        assert got == code and says in err and "Traceback" not in err, (words, err)
