"""Evaluation against SciPy and planted truth, splits and intervals, joining, and `vqmeter eval` from end to end."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from vqmeter.errors import InputError, UsageError, WeightsError
from vqmeter.evaluation import (
    agreement,
    bootstrap,
    fit_logistic,
    krocc,
    pearson,
    split,
    srocc,
    steiger,
    summary,
    wilcoxon,
    williams,
)  # fmt: skip
from vqmeter.evaluation.joining import join
from vqmeter.evaluation.scores import ScoreTable, read_scores
from vqmeter.report import Report, Result
from vqmeter.training.datasets import Dataset, Item, open_dataset


def planted(n: int, order: int, seed: int = 0, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Scores, labels on a known curve, and its parameters."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(20, 50, n)
    if order == 4:
        b = (4.6, 1.3, 34.0, 3.5)
        y = b[1] + (b[0] - b[1]) / (1 + np.exp(-(x - b[2]) / abs(b[3])))
    else:
        b = (3.0, 0.4, 36.0, 0.02, 2.0)
        y = b[0] * (0.5 - 1 / (1 + np.exp(b[1] * (x - b[2])))) + b[3] * x + b[4]
    return x, y + rng.normal(0, noise, n) if noise else y, b


# --- figures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [0, 5, 2])
def test_ranks_are_those_of_scipy(levels):
    rng = np.random.default_rng(levels)
    x, y = rng.normal(size=(2, 200))
    y = 0.6 * x + y
    if levels:
        x, y = np.digitize(x, np.linspace(-1, 1, levels - 1)).astype(float), np.round(y)
    assert srocc(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert krocc(x, y) == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    found = agreement(x, y)
    assert found.rmse == pytest.approx(math.sqrt(((x - y) ** 2).mean()))


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("order", [4, 5])
def test_planted_curves_are_recovered(order, direction):
    x, y, b = planted(150, order)
    fit = fit_logistic(direction * x, y, order)
    assert fit.error is None and fit.evaluations <= 10_000 and fit.monotone
    assert np.abs(fit(direction * x) - y).max() < 1e-4
    if direction == 1:
        assert np.abs(fit(x) - y).max() < 1e-4
        assert (fit.parameters if order == 4 else np.abs(fit.parameters)) == pytest.approx(b, rel=1e-2)


@pytest.mark.parametrize("order", [4, 5])
def test_noisy_curves_come_near_and_lift_plcc(order):
    x, y, b = planted(400, order, noise=0.2)
    found = agreement(x, y, (order,))
    figures = found.values()
    assert figures[f"plcc_logistic{order}"] > found.plcc
    assert figures[f"rmse_logistic{order}"] == pytest.approx(0.2, abs=0.02)
    if order == 4:
        assert found.fits[0].parameters == pytest.approx(b, rel=0.1)


def test_a_fit_that_fails_is_said():
    rng = np.random.default_rng(0)
    same = fit_logistic(np.ones(50), rng.normal(size=50), 4)
    few = fit_logistic(np.arange(4.0), np.arange(4.0), 5)
    infinite = fit_logistic(np.array([1, 2, np.inf, 3, 4, 5.0]), np.arange(6.0), 4)
    assert (same.error, few.error) == ("all scores are equal", "4 points are too few for 5 parameters")
    assert infinite.error == "1 scores are infinite" and not infinite.parameters
    found = agreement(np.array([1, 2, np.inf, 3, 4, 5.0]), np.arange(6.0), (4,))
    assert math.isnan(found.plcc) and math.isnan(found.values()["plcc_logistic4"]) and found.srocc > 0.5
    assert found.to_json()["fits"]["logistic4"]["error"] == "1 scores are infinite"


def test_a_fit_out_of_evaluations_is_said(monkeypatch):
    monkeypatch.setattr("vqmeter.evaluation.logistic.EVALUATIONS", 6)
    x, y, _ = planted(100, 4, noise=0.3)
    assert "no convergence" in fit_logistic(x, y, 4).error


# --- splits and intervals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "parts"), [("80/20", 2), ("60/20/20", 3), ("5-fold", 2)])
def test_splits_keep_contents_apart_and_are_seeded(how, parts):
    groups = [f"g{n % 23}" for n in range(230)]
    found = list(split(groups, how, 4, 7))
    again, other = list(split(groups, how, 4, 7)), list(split(groups, how, 4, 8))
    assert len(found) == (20 if "fold" in how else 4)
    for part in found:
        assert len(part) == parts and sorted(np.concatenate(part)) == list(range(230))
        sets = [{groups[i] for i in side} for side in part]
        assert all(not (a & b) for n, a in enumerate(sets) for b in sets[n + 1 :]) and all(sets)
    assert all(np.array_equal(a, b) for x, y in zip(found, again, strict=True) for a, b in zip(x, y, strict=True))
    assert any(not np.array_equal(x[0], y[0]) for x, y in zip(found, other, strict=True))
    if how == "80/20":
        assert {len(test) for _, test in found} == {50}
    if "fold" in how:
        assert sorted(np.concatenate([test for _, test in found[:5]])) == list(range(230))


def test_splits_that_cannot_be_are_refused():
    for how in ("80/30", "a/b", "1-fold", "100"):
        with pytest.raises(UsageError, match="--splits"):
            list(split(["a", "b", "c"], how))
    with pytest.raises(UsageError, match="2 contents"):
        list(split(["a", "b", "a"], "60/20/20"))
    assert [len(p) for p in next(iter(split(["a", "b", "c"], "60/20/20", 1)))] == [1, 1, 1]


def test_summary_is_median_mean_and_sd():
    rows = [{"srocc": v} for v in (0.5, 0.7, 0.9, math.nan)]
    assert summary(rows)["srocc"] == {
        "median": pytest.approx(0.7),
        "mean": pytest.approx(0.7),
        "sd": pytest.approx(0.2),
        "splits": 3,
    }


def test_bootstrap_intervals_cover():
    """About 57 of 60 intervals hold the true correlation; 51 are asked for."""
    hits, rng, truth = 0, np.random.default_rng(3), 0.6
    for trial in range(60):
        x, e = rng.normal(size=(2, 80))
        y = truth * x + math.sqrt(1 - truth**2) * e
        low, high = bootstrap(x, y, agreement(x, y), repeats=100, seed=trial)["plcc"]
        hits += low <= truth <= high
    assert 51 <= hits <= 60


def test_bootstrap_by_content_is_wider_where_contents_differ():
    rng = np.random.default_rng(0)
    groups = [f"g{n // 20}" for n in range(200)]
    x = rng.normal(size=200) + np.repeat(rng.normal(size=10), 20) * 3
    y = rng.normal(size=200) + np.repeat(rng.normal(size=10), 20) * 3
    whole = agreement(x, y, (4,))
    items, contents = (bootstrap(x, y, whole, groups=g, repeats=200, seed=1) for g in (None, groups))
    assert (items["by"], contents["by"]) == ("items", "contents")
    assert np.ptp(contents["srocc"]) > 1.5 * np.ptp(items["srocc"])
    assert bootstrap(x, y, whole, repeats=50, seed=1) == bootstrap(x, y, whole, repeats=50, seed=1)


# --- significance ----------------------------------------------------------------------------------------------------


def test_williams_is_that_of_the_books():
    """Steiger's case A with n = 103, r 0.4, 0.5 and 0.1 between: t = -0.89, as R's psych::r.test prints."""
    found = williams(0.4, 0.5, 0.1, 103)
    assert found["t"] == pytest.approx(-0.891, abs=1e-3) and found["df"] == 100
    assert found["p"] == pytest.approx(2 * stats.t.sf(0.891, 100), abs=1e-3)
    assert williams(0.5, 0.5, 0.2, 50)["p"] == 1.0 and math.isnan(williams(0.5, math.nan, 0.2, 50)["p"])


@pytest.mark.parametrize("test", [williams, steiger])
def test_five_per_cent_of_equal_models_differ(test):
    rng, count, n = np.random.default_rng(5), 0, 60
    for _ in range(1000):
        y, e = rng.normal(size=(2, n))
        a, b = (0.8 * y + 0.5 * e + 0.5 * rng.normal(size=n) for _ in range(2))
        count += test(pearson(a, y), pearson(b, y), pearson(a, b), n)["p"] < 0.05
    assert 25 <= count <= 80


def test_wilcoxon_is_that_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30))
    found = wilcoxon([*a, math.nan], [*(b - 0.5), 1.0])
    assert found["p"] == pytest.approx(stats.wilcoxon(a, b - 0.5).pvalue) and found["splits"] == 30
    assert wilcoxon([1, 2], [1, 2])["p"] == 1.0 and wilcoxon([], [])["p"] == 1.0


# --- joining ---------------------------------------------------------------------------------------------------------


def labels(*paths: str) -> Dataset:
    return Dataset("x", tuple(Item(path, float(n)) for n, path in enumerate(paths)))


@pytest.mark.parametrize(("files", "paths", "joined"), [
    (["a.mp4", "B.mp4"], ["v/A.mp4", "v/b.avi"], 2),
    (["123", "45"], ["KoNViD/123.mp4", "KoNViD/45.mp4"], 2),
    (["1600.AWGN.1.png", "1600.AWGN.2.png"], ["x/1600.AWGN.1.png", "x/1600.AWGN.2"], 2),
    (["/d/jp2k/img1.bmp", "/d/jpeg/img1.bmp"], ["jpeg/img1.bmp", "jp2k/img1.bmp"], 2),
    (["/d/jp2k/img1.bmp", "/d/jp2k/img2.bmp"], ["jpeg/img1.bmp", "jp2k/img1.bmp"], 1),
    (["C:\\v\\a.mp4"], ["v/a.mp4", "w/b.mp4"], 1),
])  # fmt: skip
def test_scores_meet_their_labels(files, paths, joined):
    table = ScoreTable("s", {file: float(n) for n, file in enumerate(files)})
    pairs = join(table, labels(*paths))
    assert len(pairs.items) == joined
    for item, score in zip(pairs.items, pairs.scores, strict=True):
        ours, theirs = item.path.lower().split("/"), files[int(score)].replace("\\", "/").lower().split("/")
        assert ours[-1].split(".")[:2][0] == theirs[-1].split(".")[0]
        assert len(ours) < 2 or len(theirs) < 2 or ours[-2] == theirs[-2]


def test_what_does_not_meet_is_named():
    table = ScoreTable(
        "s", {"a.mp4": 1.0, "x.mp4": 2.0, "v/c.mp4": 3.0, "w/c.mp4": 4.0, "d.mp4": math.nan}, failed={"d.mp4": "cut"}
    )
    pairs = join(table, labels("a.mp4", "b.mp4", "c.mp4", "d.mp4"))
    assert (pairs.no_score, pairs.no_label, pairs.ambiguous, pairs.failed) == (
        ["b.mp4"], ["x.mp4"], ["c.mp4"], ["d.mp4 (cut)"])  # fmt: skip


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    """SCORES and LABELS of 60 clips of 12 contents and three types, with a curve between them."""
    x, y, _ = planted(60, 4, noise=0.3)
    scores, mos = tmp_path / "scores.csv", tmp_path / "labels.csv"
    scores.write_text("file,good,bad\n" + "".join(f"v/{n}.mp4,{v},{-v}\n" for n, v in enumerate(x)))
    mos.write_text("file,mos,scene,type\n" + "".join(f"{n}.mp4,{v},s{n % 12},t{n % 3}\n" for n, v in enumerate(y)))
    return scores, mos


def test_eval_prints_a_table(cli, tables):
    code, out, err = cli("eval", *tables, "--score", "good", "--fit", "both", "--by", "type", "--splits", "80/20", "--group",
                         "scene", "--bootstrap", 50)  # fmt: skip
    assert code == 0 and not err
    assert "60 items, 12 contents" in out and "SROCC" in out and "PLCC log-5" in out
    for row in ("all ", "95 % from", "95 % to", "80/20 median", "80/20 sd", "t0 ", "[median]"):
        assert f"\n{row}" in out, row


def test_eval_writes_strict_json_equal_to_scipy(cli, tables, tmp_path):
    code, out, _ = cli("eval", *tables, "--score", "good", "-o", tmp_path / "e.json", "--bootstrap", 20, "--splits", "60/20/20")
    document = json.loads((tmp_path / "e.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert code == 0 and not out and document["schema"] == "vqmeter-eval/1"
    found = document["evaluations"][0]
    x, y = ([float(row[key]) for row in csv.DictReader(path.read_text().splitlines())]
            for path, key in zip(tables, ("good", "mos"), strict=True))  # fmt: skip
    assert found["all"]["srocc"] == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found["all"]["plcc"] == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found["intervals"]["srocc"][0] < found["all"]["srocc"] < found["intervals"]["srocc"][1]
    assert found["splits"]["figures"]["srocc"]["splits"] == 10
    assert cli("eval", *tables, "--score", "good", "-f", "json", "--bootstrap", 20, "--splits", "60/20/20")[1].count("srocc")


def test_directions_are_turned_only_when_told(cli, tables):
    def figure(*words):
        return json.loads(cli("eval", *tables, *words, "--bootstrap", 0, "-f", "json")[1])["evaluations"][0]

    good, bad, told = figure("--score", "good"), figure("--score", "bad"), figure("--score", "bad", "--scores-lower")
    assert bad["all"]["srocc"] == pytest.approx(-good["all"]["srocc"])
    assert told["flipped"] and told["all"]["srocc"] == pytest.approx(good["all"]["srocc"])
    assert told["all"]["plcc_logistic4"] == pytest.approx(good["all"]["plcc_logistic4"], abs=1e-4)
    both = figure("--score", "bad", "--scores-lower", "--labels-lower")
    assert both["all"]["srocc"] == pytest.approx(bad["all"]["srocc"])


def test_a_failed_fit_is_printed(cli, tables):
    lines = tables[0].read_text().splitlines()
    tables[0].write_text("\n".join([lines[0], *(line.split(",")[0] + ",7,7" for line in lines[1:])]) + "\n")
    code, out, _ = cli("eval", *tables, "--score", "good", "--bootstrap", 0)
    assert code == 0 and "logistic4: the fit failed: all scores are equal" in out and "nan" not in out.lower()


def test_rows_that_do_not_count_are_said(cli, tables):
    scores, mos = tables
    scores.write_text(scores.read_text().replace("v/3.mp4", "v/other.mp4"))
    code, out, err = cli("eval", scores, mos, "--score", "good", "--bootstrap", 0)
    assert code == 0 and "59 items" in out and "1 labels have no score" in err and "3.mp4" in err and "other.mp4" in err
    mos.write_text(mos.read_text().replace("7.mp4,", "7.mp4,na,", 1))
    scores.write_text(scores.read_text().replace("v/5.mp4,", "v/5.mp4,nan,", 1))
    code, out, err = cli("eval", scores, mos, "--score", "good", "--bootstrap", 0)
    assert code == 4 and "57 items" in out
    assert "1 labels are no numbers" in err and "1 scores are no numbers" in err


def test_two_models_are_compared(cli, tables, tmp_path):
    other = tmp_path / "other.csv"
    rng = np.random.default_rng(0)
    other.write_text("file,good\n" + "".join(f"{n}.mp4,{v}\n" for n, v in enumerate(rng.normal(size=60))))
    code, out, _ = cli("eval", *tables, "--score", "good", "--against", other, "--bootstrap", 100)
    assert code == 0 and "Williams t(57)" in out and "Steiger Z" in out and "Wilcoxon" in out
    found = json.loads(cli("eval", *tables, "--score", "good", "--against", other, "--bootstrap", 100, "-f", "json")[1])
    against = found["evaluations"][0]["against"]
    assert against["srocc"]["williams"]["p"] < 1e-6 and against["bootstrap"]["low"] > 0 and against["wilcoxon"]["p"] < 0.01


@pytest.mark.parametrize(("words", "says"), [
    (("--score", "gut"), "no column gut"), ((), "choose with --score"),
    (("--score", "good", "--by", "sort"), "no column 'sort'"), (("--dataset", "tid2013", "--label", "x"), "known"),
    (("--score", "good", "--model", "x"), "--dataset"), (("--score", "good", "--scores-out", "x.ndjson"), "nothing to measure"),
    (("--score", "good", "--plot", "x.bmp"), "ends in"), (("--score", "good", "--splits", "90/20"), "add up to 100"),
    (("--score", "good", "--score", "bad", "--plot", "x.png"), "matplotlib|one score"),
])  # fmt: skip
def test_wrong_words_are_refused(cli, tables, words, says):
    code, out, err = cli("eval", *tables, *words)
    assert code == 2 and not out and err.count("\n") == 1
    assert any(part in err for part in says.split("|")), err


def test_too_little_is_refused(cli, tables, tmp_path):
    few = tmp_path / "few.csv"
    few.write_text("file,score\n0.mp4,1\n1.mp4,2\n")
    code, out, err = cli("eval", few, tables[1], "--fit", "both")
    assert code == 4 and "too few to correlate" in err and "  0.mp4: score 1.0000, label " in out and "nan" not in out
    few.write_text("file,score\nx.mp4,1\ny.mp4,2\n")
    code, out, err = cli("eval", few, tables[1])
    assert code == 4 and not out and "no item has both" in err
    assert cli("eval", tmp_path / "none.csv", tables[1])[0] == 4
    assert cli("eval", tables[0])[0] == 2


def test_plot(cli, tables, tmp_path):
    for ending in ("png", "svg"):
        path = tmp_path / f"plot.{ending}"
        code, _, err = cli("eval", *tables, "--score", "good", "--plot", path, "--bootstrap", 0, "--fit", "both")
        if importlib.util.find_spec("matplotlib") is None:
            assert code == 2 and "pip install 'vqmeter[plots]'" in err and not path.exists()
        else:
            assert code == 0 and path.stat().st_size > 5000
    if path.exists():
        first = path.read_bytes()
        cli("eval", *tables, "--score", "good", "--plot", path, "--bootstrap", 0, "--fit", "both")
        assert path.read_bytes() == first


# --- a data set, scored here -----------------------------------------------------------------------------------------


@pytest.fixture
def miniature(raw_pair, tmp_path) -> Path:
    """A list of pairs: one reference and five noisy copies, the noisier the lower the label."""
    root = tmp_path / "set"
    lines = ["ref,dist,mos,type"]
    for n, noise in enumerate((1, 3, 6, 10, 20)):
        (root / str(n)).mkdir(parents=True)
        raw_pair(noise=float(noise), frames=2, folder=root / str(n))
        (root / f"d{n}_64x48.yuv").write_bytes((root / str(n) / "dist_64x48.yuv").read_bytes())
        lines.append(f"0/ref_64x48.yuv,d{n}_64x48.yuv,{5 - n},noise")
    (root / "pairs.csv").write_text("\n".join(lines) + "\n")
    return root / "pairs.csv"


def test_a_data_set_is_scored_and_goes_on_where_it_stopped(cli, miniature, tmp_path, monkeypatch):
    cache = tmp_path / "scores.ndjson"
    words = ("eval", "--dataset", "pairs", miniature, "-m", "psnr", "--score", "psnr_y", "--scores-out", cache,
             "--bootstrap", 0, "--fit", "none", "-f", "json")  # fmt: skip
    code, out, err = cli(*words)
    assert code == 0, err
    found = json.loads(out)["evaluations"][0]
    assert found["all"]["srocc"] == 1.0 and found["all"]["n"] == 5 and found["groups"] == 1
    lines = cache.read_text().splitlines()
    cache.write_text("\n".join(lines[:3]) + "\n" + lines[3][:40])
    monkeypatch.setattr("vqmeter.session.measure", counted := Counting())
    assert cli(*words)[0] == 0 and counted.files == 2
    assert cli(*words)[0] == 0 and counted.files == 2
    assert cli("eval", cache, miniature, "--score", "psnr_y.min", "--bootstrap", 0)[0] == 0
    code, out, _ = cli("eval", "--dataset", "pairs", cache, miniature, "--bootstrap", 0, "--fit", "none")
    assert code == 0 and "psnr_y against" in out and "psnr_cb against" in out


class Counting:
    """`measure`, counting the files it is given."""

    def __init__(self) -> None:
        from vqmeter.session import measure

        self.files, self.measure = 0, measure

    def __call__(self, distorted, **options):
        self.files += len(distorted)
        return self.measure(distorted, **options)


def test_an_incomplete_data_set_is_told_before_anything_is_scored(cli, miniature):
    (miniature.parent / "d2_64x48.yuv").unlink()
    words = ("eval", "--dataset", "pairs", miniature, "-m", "psnr", "--score", "psnr_y", "--bootstrap", 0)
    code, out, err = cli(*words)
    assert code == 4 and not out and "1 missing files: d2_64x48.yuv" in err and "--allow-missing" in err
    code, out, err = cli(*words, "--allow-missing")
    assert code == 4 and "4 items" in out and "1 scores are no numbers" in err and "no such file" in err


def test_what_is_no_fault_of_an_item_stops_the_run(cli, miniature, monkeypatch):
    def without_weights(distorted, **_):
        return Report(
            "nr", [], {}, [Result({"distorted": {"path": path}}, error=WeightsError("no weights")) for path in distorted]
        )

    monkeypatch.setattr("vqmeter.session.measure", without_weights)
    code, out, err = cli("eval", "--dataset", "pairs", miniature, "--model", "vsfa")
    assert (code, out, err) == (6, "", "vqmeter: no weights\n")


def test_media_may_be_elsewhere_and_originals_have_no_reference(cli, miniature, tmp_path):
    elsewhere = tmp_path / "pairs.csv"
    elsewhere.write_text(miniature.read_text() + ",0/ref_64x48.yuv,5,original\n")
    words = (
        "eval",
        "--dataset",
        "csv",
        elsewhere,
        "--media",
        miniature.parent,
        "-m",
        "psnr",
        "--score",
        "psnr_y",
        "--bootstrap",
        0,
    )
    code, out, err = cli(*words, "--by", "reference")
    assert code == 0 and "5 items" in out and "\n0/ref_64x48.yuv " in out and "1 labels have no score" in err
    (miniature.parent / "0/ref_64x48.yuv").unlink()
    code, _, err = cli(*words, "--allow-missing")
    assert code == 4 and "5 files failed" in err and "no such file" in err


def test_reports_and_pooled_tables_are_scores(cli, miniature, tmp_path):
    files = sorted(miniature.parent.glob("d*.yuv"))
    report, pooled = tmp_path / "r.json", tmp_path / "r.pooled.csv"
    assert cli("fr", miniature.parent / "0/ref_64x48.yuv", *files, "-o", report, "-o", pooled)[0] == 0
    for path in (report, pooled):
        assert {table.name for table in read_scores(str(path))} >= {"psnr_y", "ssim_y"}
        code, out, _ = cli("eval", path, miniature, "--score", "ssim_y.p5", "--bootstrap", 0, "--fit", "none")
        assert code == 0 and "1.0000" in out
    with pytest.raises(UsageError, match="no score 'ssim'"):
        read_scores(str(report), ["ssim"])
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(InputError, match="not a report"):
        read_scores(str(tmp_path / "bad.json"))


# --- public tables ---------------------------------------------------------------------------------------------------


@pytest.fixture
def public(testdata) -> Path:
    folder = testdata / "media/mos/scores"
    if not folder.is_dir():
        pytest.skip("no public score tables here")
    return folder


@pytest.mark.parametrize(("first", "second", "n"), [
    ("fastvqa_KoNViD_labels.txt", "videval_KONVID_1K_metadata.csv", 1200),
    ("fastvqa_LIVE_VQC_labels.txt", "videval_LIVE_VQC_metadata.csv", 576),
    ("fastvqa_LIVE_VQA_labels.txt", "videval_LIVE_VQA_metadata.csv", 148),
])  # fmt: skip
def test_public_tables_of_one_set_agree(public, first, second, n):
    (table,), dataset = read_scores(str(public / first)), open_dataset("csv", public / second)
    pairs = join(table, dataset)
    found = agreement(pairs.scores, pairs.labels, (4, 5))
    assert (found.n, found.srocc) == (n, pytest.approx(1.0, abs=1e-5)) and found.rmse < 0.01
    assert all(fit.error is None for fit in found.fits)


def test_features_of_videval_predict_konvid_as_published(public):
    """Ridge on VIDEVAL's 60 features: near the SROCC 0.78 its paper gives for an SVR on KoNViD-1k."""
    from scipy.io import loadmat

    features = np.nan_to_num(loadmat(public / "videval_KONVID_1K_feats.mat")["feats_mat"], posinf=0, neginf=0)
    dataset = open_dataset("csv", public / "videval_KONVID_1K_metadata.csv")
    y = np.array([item.score for item in dataset.items])
    scores = []
    for train, test in split([item.path for item in dataset.items], "80/20", 10, 0):
        x = (features - features[train].mean(0)) / (features[train].std(0) + 1e-9)
        weights = np.linalg.solve(x[train].T @ x[train] + 30 * np.eye(60), x[train].T @ (y[train] - y[train].mean()))
        scores.append(agreement(x[test] @ weights + y[train].mean(), y[test], (4,)).values())
    found = summary(scores)
    assert 0.72 < found["srocc"]["median"] < 0.80 and found["plcc_logistic4"]["splits"] == 10
    assert found["srocc"]["sd"] < 0.06 and 0.38 < found["rmse_logistic4"]["median"] < 0.46


def test_tid2013_by_type(public, cli, tmp_path):
    scores = tmp_path / "tid.txt"
    scores.write_text("".join((public / f"rankiqa_ft_tid2013_{part}.txt").read_text() for part in ("train", "test")))
    code, out, _ = cli("eval", scores, public.parent / "TID2013_mos.csv", "--by", "type", "--group", "ref", "--bootstrap", 20,
                       "--splits", "80/20", "-f", "json")  # fmt: skip
    found = json.loads(out)["evaluations"][0]
    assert code == 0 and found["all"]["n"] == 2880 and found["groups"] == 24 and found["all"]["srocc"] > 0.9999
    assert Counter(row["n"] for row in found["by"]["type"]["values"].values()) == {120: 24}
