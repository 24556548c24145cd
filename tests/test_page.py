"""Pages and plots of results: the numbers are the results', nothing untrusted becomes markup, bad files are named."""

import base64
import csv
import hashlib
import importlib.util
import io
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.resources import files
from xml.etree import ElementTree

import numpy as np
import pytest

from vqmeter.page import Look, render_page
from vqmeter.page.distribution import distribution
from vqmeter.page.entries import entries_of, script_json
from vqmeter.page.reading import read_reports

NASTY = "<script>alert('1')</script>\"><img src=x onerror=alert(2)>&amp;.mp4"


def scale(unit="", better="higher", low=0.0, high=1.0):
    return {"unit": unit, "low": low, "high": high, "better": better, "definition": "d", "weights_sha256": None,
            "device": "cpu", "options": {}}  # fmt: skip


def result(path="dist.mp4", psnr=(30.0, 40.0, None), **changes):
    """One result with a score in dB frame by frame; None is a frame that is identical."""
    frames = [{"n": n, "pts": n, "t": n / 25, "type": "IPB"[n % 3], "bytes": 100 * n + 7, "psnr_y": value}
              for n, value in enumerate(psnr)]  # fmt: skip
    capped = [60.0 if value is None else value for value in psnr]
    mean = sum(capped) / len(capped)
    return {
        "inputs": {"reference": {"path": "ref.mp4"}, "distorted": {"path": path, "bitrate": 372_000}},
        "settings": {"subsample": 1}, "metrics": {"psnr_y": scale("dB", high=None)},
        "validity": {"frames_compared": len(frames), "unmatched": [], "identical_frames": psnr.count(None), "offset": 0,
                     "compare_format": "yuv420p", "warnings": []},
        "frames": frames, "clips": [], "pooled": {"psnr_y": {"score": mean, "mean": mean, "min": min(capped), "p5": 31.0}},
        "truncated": False, "error": None, "timing": {},
    } | changes  # fmt: skip


def document(*results, **changes):
    return {"schema": "vqmeter/1", "vqmeter": "0.1.0", "command": "fr", "argv": ["vqmeter", "fr"],
            "environment": {"cpu": "x", "gpu": None, "threads": 1, "torch": None, "av": "18"},
            "results": list(results)} | changes  # fmt: skip


def page_of(tmp_path, *documents, look=None):
    reports = []
    for n, one in enumerate(documents):
        (tmp_path / f"{n}.json").write_text(json.dumps(one))
        reports += read_reports(str(tmp_path / f"{n}.json"))
    return render_page(reports, look or Look(frames=0))


class Parsed(HTMLParser):
    """What a browser would make of a page: its elements with attributes, and the text within each element by name."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self._open = [], {}, []
        self.feed(page)

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        self.texts.setdefault(name, []).append("")
        if name not in ("meta", "link", "img", "input", "br"):
            self._open.append((name, len(self.texts[name]) - 1))

    def handle_endtag(self, name):
        assert self._open and self._open[-1][0] == name, f"</{name}> closes {self._open[-1:]}"
        self._open.pop()

    def handle_data(self, text):
        for name, place in self._open:
            self.texts[name][place] += text

    def all(self, name):
        return [attributes for found, attributes in self.elements if found == name]

    @property
    def data(self):
        return json.loads(next(text for text, of in zip(self.texts["script"], self.all("script"), strict=True) if "type" in of))

    def table(self, name):
        """The text of the table of a score's statistics."""
        return next(text for text in self.texts["table"] if re.match(rf"{re.escape(name)}(, | in )", text))


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def measured(raw_pair, cli, tmp_path):
    """One measurement in all its forms, of real files."""
    ref, dist = raw_pair(frames=6)
    names = ["r.json", "r.ndjson", "r.csv", "r.pooled.csv", "r.html"]
    assert cli("fr", ref, dist, *(word for name in names for word in ("-o", tmp_path / name)), "-q")[0] == 0
    return tmp_path


def test_the_page_holds_the_numbers_of_the_result(measured, cli):
    code, out, err = cli("report", measured / "r.json", "-o", measured / "page.html")
    assert (code, out, err) == (0, "", "")
    page, found = Parsed((measured / "page.html").read_text()), json.loads((measured / "r.json").read_text())["results"][0]
    (clip,) = page.data["clips"]
    assert clip["count"] == 6 and clip["n"] == [0, 1] and clip["bytes"] == [frame["bytes"] for frame in found["frames"]]
    assert clip["t"] == [0, 0.04] and found["frames"][5]["t"] == pytest.approx(0.2)
    assert list(clip["scores"]) == list(found["metrics"]) == ["psnr_y", "psnr_cb", "psnr_cr", "psnr", "ssim_y"]
    for name, values in clip["scores"].items():
        assert values == pytest.approx([frame[name] for frame in found["frames"]], abs=5.1e-5 if "psnr" in name else 5.1e-7)
        for statistic, value in found["pooled"][name].items():
            shown = f"{value:.6f}" if abs(value) <= 1 else f"{value:.4f}"
            assert shown in page.table(name), (name, statistic)


def test_fr_writes_the_page_that_report_makes(measured, cli):
    cli("report", measured / "r.json", "-o", measured / "page.html")
    written, made = (Parsed((measured / name).read_text()) for name in ("r.html", "page.html"))
    assert written.data == made.data and written.texts["table"] == made.texts["table"]
    assert len(written.all("img")) == len(made.all("img")) == 3 * 3 + 1


@pytest.mark.parametrize("name", ["r.ndjson", "r.csv"])
def test_other_forms_hold_the_same_scores(measured, cli, name):
    cli("report", measured / "r.json", "-o", measured / "page.html")
    assert cli("report", measured / name, "-o", measured / "other.html", "--no-pictures")[0] == 0
    ours, other = (Parsed((measured / page).read_text()).data for page in ("page.html", "other.html"))
    assert ours["metrics"] == other["metrics"]
    for key in ("label", "n", "t", "scores", "pooled"):
        assert ours["clips"][0][key] == other["clips"][0][key]


def test_a_table_of_pooled_scores_gives_statistics_without_curves(measured, cli):
    assert cli("report", measured / "r.pooled.csv", "-o", measured / "other.html")[0] == 0
    page = Parsed((measured / "other.html").read_text())
    with open(measured / "r.pooled.csv") as file:
        for row in csv.DictReader(file):
            assert f"{float(row['p5']):.{6 if float(row['p5']) <= 1 else 4}f}" in page.table(row["name"])
    assert "canvas" not in page.texts and not any(of.get("id") == "panels" for of in page.all("div"))


def test_results_come_from_stdin_too(measured, cli, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((measured / "r.json").read_bytes())))
    code, out, err = cli("report", "-", "-o", "-", "--no-pictures")
    assert code == 0 and err == "" and Parsed(out).data["clips"][0]["count"] == 6


def test_identical_frames_are_infinite_and_others_without_a_score_are_nothing(tmp_path):
    one = result(psnr=(30.0, None, 50.0))
    del one["frames"][2]["psnr_y"]
    page = Parsed(page_of(tmp_path, document(one)))
    assert page.data["clips"][0]["scores"]["psnr_y"] == [30.0, "inf", None]
    (tmp_path / "a.csv").write_text("file,n,t,psnr_y,ssim_y\na.mp4,0,0.0,30.0,\na.mp4,4,0.2,inf,0.5\n")
    clip = Parsed(render_page(read_reports(str(tmp_path / "a.csv")), Look())).data["clips"][0]
    assert clip["scores"] == {"psnr_y": [30.0, "inf"], "ssim_y": [None, 0.5]} and clip["n"] == [0, 4]
    assert clip["pooled"] == {"psnr_y": "inf", "ssim_y": 0.5}


def test_a_score_of_stretches_holds_for_their_frames(tmp_path):
    one = result(psnr=(30.0,) * 6, clips=[{"first": 0, "last": 2, "c3d": 50.0}, {"first": 2, "last": 4, "c3d": 70.0}])
    one["metrics"]["c3d"] = scale(high=100.0)
    assert Parsed(page_of(tmp_path, document(one))).data["clips"][0]["scores"]["c3d"] == [50, 50, 70, 70, 70, None]


def test_uneven_frames_and_times_are_kept_and_times_that_turn_back_are_not(tmp_path):
    uneven, backwards = result(), result("b.mp4")
    for frame, n, t in zip(uneven["frames"], (0, 1, 9), (0.0, 0.5, 0.7), strict=True):
        frame |= {"n": n, "t": t}
    backwards["frames"][2]["t"] = 0.01
    clips = Parsed(page_of(tmp_path, document(uneven, backwards))).data["clips"]
    assert (clips[0]["n"], clips[0]["t"], clips[1]["t"]) == ([0, 1, 9], [0.0, 0.5, 0.7], None)


def test_clips_of_one_name_are_told_apart(tmp_path):
    documents = [document(result("x/a.mp4"), result("y/a.mp4"), result("b.mp4")), document(result("b.mp4"))]
    clips = Parsed(page_of(tmp_path, *documents)).data["clips"]
    assert [clip["label"] for clip in clips] == ["x/a.mp4", "y/a.mp4", "b.mp4", "b.mp4 (2)"]


def test_the_best_of_each_score_is_marked_by_its_direction(tmp_path):
    results = [result("good.mp4", psnr=(50.0, 50.0, 50.0)), result("bad.mp4", psnr=(30.0, 30.0, 30.0))]
    for one, value in zip(results, (3.0, 9.0), strict=True):
        one["metrics"]["niqe"], one["pooled"]["niqe"] = scale(better="lower", high=None), {"score": value}
    assert Parsed(page_of(tmp_path, document(*results))).texts["strong"][:2] == ["50.0000 (best)", "3.0000 (best)"]


def test_scores_can_be_chosen(measured, cli):
    assert cli("report", measured / "r.json", "-o", measured / "p.html", "--score", "ssim_y", "--frames", "1")[0] == 0
    page = Parsed((measured / "p.html").read_text())
    assert list(page.data["clips"][0]["scores"]) == ["ssim_y"] and not any("psnr" in text for text in page.texts["caption"])
    code, out, err = cli("report", measured / "r.json", "-o", measured / "q.html", "--score", "ssim")
    assert (code, out) == (2, "") and "no score 'ssim'" in err and "ssim_y" in err and not (measured / "q.html").exists()


def test_shares_of_a_histogram_by_hand(tmp_path):
    page_of(tmp_path, document(result(psnr=(30.0, 30.0, 54.0, None))))
    entries = entries_of(read_reports(str(tmp_path / "0.json")))
    table = Parsed(distribution(entries, "psnr_y", "dB")).texts["tr"]
    assert table[1].startswith("30.0000 to 31.0000") and table[1].endswith("50.0050.00")
    assert table[2].endswith("0.0050.00") and table[24].endswith("25.0075.00"), "the identical frame is beyond"
    assert len(table) == 25


def test_ten_thousand_frames_make_a_small_page(tmp_path):
    rng = np.random.default_rng(0)
    one = result(psnr=tuple(map(float, rng.normal(40, 3, 10_000))))
    for name in ("ssim_y", "vmaf", "fsim"):
        one["metrics"][name] = scale()
        for frame, value in zip(one["frames"], rng.uniform(0, 1, 10_000), strict=True):
            frame[name] = float(value)
    page = page_of(tmp_path, document(one))
    assert len(page) < 600_000 and Parsed(page).data["clips"][0]["count"] == 10_000


# --- nothing untrusted becomes markup --------------------------------------------------------------------------------


def nasty_document():
    one = result(NASTY, error={"code": 4, "message": NASTY}, settings={NASTY: [NASTY]})
    one["inputs"]["reference"] = {"path": NASTY, "codec": NASTY, "notes": [NASTY]}
    one["metrics"][NASTY] = scale(NASTY) | {"definition": NASTY, "weights_sha256": NASTY, "device": NASTY}
    one["pooled"][NASTY] = {"score": 1.0, "raw_scale": NASTY}
    one["validity"] |= {"warnings": [NASTY], "compare_format": NASTY}
    for frame in one["frames"]:
        frame |= {NASTY: 0.5, "type": "<"}
    return document(one, argv=[NASTY], environment={NASTY: NASTY})


def test_names_and_words_of_a_result_are_text(tmp_path):
    plain, nasty = (
        Parsed(page_of(tmp_path, one, look=Look(title=NASTY, frames=0))) for one in (document(result()), nasty_document())
    )
    assert len(nasty.all("script")) == 2 and "img" not in nasty.texts
    known = {name for name, _ in plain.elements} | {"code", "strong", "ul", "li"}
    assert {name for name, _ in nasty.elements} <= known
    assert not [key for _, attributes in nasty.elements for key in attributes if key.startswith("on")]
    for name in ("title", "h1", "li", "code", "caption", "th", "td", "small"):
        assert any(NASTY in text for text in nasty.texts[name]), name
    label = NASTY.rpartition("/")[2]
    assert label in nasty.texts["bdi"] and nasty.data["clips"][0]["label"] == label
    assert NASTY in nasty.data["clips"][0]["scores"]


def test_the_numbers_cannot_end_their_script_element():
    text = script_json({"</script><!--": ["]]>", "&", "\u2028", "\ud800"]})
    assert not set("<>&") & set(text) and text.isascii()
    assert json.loads(text) == {"</script><!--": ["]]>", "&", "\u2028", "\ud800"]}


def test_characters_that_no_page_can_hold_are_replaced(tmp_path, cli):
    (tmp_path / "r.json").write_text(json.dumps(document(result("a\udcff\x00\u202e.mp4"))))
    assert cli("report", tmp_path / "r.json", "-o", tmp_path / "p.html", "-q")[0] == 0
    page = Parsed((tmp_path / "p.html").read_text("utf-8"))
    assert "a\ufffd\ufffd\u202e.mp4" in page.texts["bdi"], "within <bdi>, where it turns nothing else round"


def test_the_page_may_load_nothing_and_run_only_itself(tmp_path):
    page = Parsed(page_of(tmp_path, nasty_document()))
    policy = next(of["content"] for of in page.all("meta") if of.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    digest = {
        name: base64.b64encode(hashlib.sha256(page.texts[name][-1].encode()).digest()).decode() for name in ("style", "script")
    }
    assert rules == {"default-src": "'none'", "img-src": "data:", "style-src": f"'sha256-{digest['style']}'",
                     "script-src": f"'sha256-{digest['script']}'", "base-uri": "'none'", "form-action": "'none'"}  # fmt: skip
    places = [of[key] for _, of in page.elements for key in ("src", "href", "action", "data", "poster") if key in of]
    assert places and all(place.startswith(("#", "data:")) for place in places)
    assert not any("style" in of for _, of in page.elements), "the policy would refuse them"
    script = page.texts["script"][-1]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|fetch\(|import\(|XMLHttp", script
    )


# --- everybody can read it -------------------------------------------------------------------------------------------


def test_the_page_is_well_formed_and_named(measured):
    page = Parsed((measured / "r.html").read_text())
    ids = [of["id"] for _, of in page.elements if "id" in of]
    assert len(ids) == len(set(ids))
    assert {of["href"][1:] for of in page.all("a")} <= set(ids) and len(page.all("a")) > 6
    assert all(of["aria-labelledby"] in ids for of in page.all("section")) and page.all("html") == [{"lang": "en"}]
    assert all(text for name in ("caption", "summary", "legend", "h1", "h2", "h3", "button") for text in page.texts[name]
               if name not in ("h3",)), "every table, control and part has words"  # fmt: skip
    assert len(page.all("caption")) == len(page.all("table")) and all(of.get("alt") for of in page.all("img"))
    assert all(of.get("role") == "img" and of.get("aria-label") for of in page.all("svg"))
    assert all(of.get("scope") in ("col", "row") for of in page.all("th"))
    for landmark in ("header", "nav", "main", "footer"):
        assert len(page.all(landmark)) == 1
    assert any(of.get("role") == "status" for of in page.all("p"))


def luminance(colour):
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """WCAG 2: (L1 + 0.05) / (L2 + 0.05)."""
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_words_and_curves_stand_out_in_light_and_dark():
    style = files("vqmeter.page").joinpath("page.css").read_text()
    light, dark, preferred = (dict(re.findall(r"--([\w-]+): (#\w{6})", block))
                              for block in re.findall(r"\{([^{}]*--page:[^{}]*)\}", style))  # fmt: skip
    assert dark == preferred and light.keys() == dark.keys()
    for colours in (light, dark):
        for ground in ("page", "card", "note", "hover"):
            for ink in ("ink", "soft", "accent", "bad"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        for n in range(8):
            assert contrast(colours[f"c{n}"], colours["card"]) >= 4.5
        for kind in ("type-i", "type-p", "type-b"):
            assert contrast(colours[kind], colours["card"]) >= 2.9


# --- pictures --------------------------------------------------------------------------------------------------------


def grey(path, levels, width=64, height=48):
    """A raw clip whose frame n is grey of luma `levels[n]`."""
    with open(path, "wb") as file:
        for level in levels:
            file.write(bytes([level]) * (width * height) + bytes([128]) * (width * height // 2))
    return path


def images(page):
    from PIL import Image

    prefix = "data:image/jpeg;base64,"
    sources = [of["src"] for of in page.all("img")]
    assert all(source.startswith(prefix) for source in sources)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(source.removeprefix(prefix))))) for source in sources]


def shade(luma):
    """The grey that limited-range luma is shown as."""
    return 255 * (luma - 16) / 219


def test_pictures_show_the_worst_frames(tmp_path, cli):
    levels = [40 + 10 * n for n in range(12)]
    ref = grey(tmp_path / "ref_64x48.yuv", levels)
    dist = grey(tmp_path / "dist_64x48.yuv", [level + {6: 20, 8: 30}.get(n, 1) for n, level in enumerate(levels)])
    chosen = ("-ss", "0.08", "--subsample", "2", "-r", "25")  # frames 2, 4, 6, 8, 10 of the file: rows 0 to 4
    assert cli("fr", "-q", ref, dist, *chosen, "-m", "psnr", "-o", tmp_path / "r.json")[0] == 0
    code, out, err = cli("report", tmp_path / "r.json", "-o", tmp_path / "p.html", "--frames", "2")
    assert (code, out, err) == (0, "", "")
    page = Parsed((tmp_path / "p.html").read_text())
    got = [picture.mean() for picture in images(page)]
    want = [shade(levels[8]), shade(levels[8] + 30), None, shade(levels[6]), shade(levels[6] + 20), None, None]
    for value, wanted in zip(got, want, strict=True):
        assert wanted is None or value == pytest.approx(wanted, abs=1.5)
    assert got[5] > got[2] + 1, "the map of the worse frame is darker"
    assert [of["alt"] for of in page.all("img")][:3] == ["Frame 6, reference", "Frame 6, distorted", "Frame 6, SSIM map"]


def test_large_pictures_are_made_smaller_and_scaled_files_are_scaled_again(tmp_path, cli):
    ref = grey(tmp_path / "ref_720x48.yuv", [60, 60], 720)
    dist = tmp_path / "dist.y4m"
    dist.write_bytes(
        b"YUV4MPEG2 W360 H24 F25:1 C420jpeg\n" + 2 * (b"FRAME\n" + bytes([90]) * (360 * 24) + bytes([128]) * (360 * 12))
    )
    assert cli("fr", "-q", ref, dist, "--scale", "ref", "-m", "psnr", "-o", tmp_path / "r.json")[0] == 0
    assert cli("report", tmp_path / "r.json", "-o", tmp_path / "p.html", "--frames", "1")[2] == ""
    found = images(Parsed((tmp_path / "p.html").read_text()))
    assert [picture.shape for picture in found[:3]] == [(43, 640, 3)] * 3
    assert found[1].mean() == pytest.approx(shade(90), abs=1.5)


def test_pictures_are_of_the_frames_that_stood_side_by_side(tmp_path, cli):
    def clip(name, levels):
        frames = b"".join(b"FRAME\n" + bytes([n]) * (64 * 48) + bytes([128]) * (64 * 24) for n in levels)
        (tmp_path / name).write_bytes(b"YUV4MPEG2 W64 H48 F25:1 C420jpeg\n" + frames)
        return tmp_path / name

    levels = [40 + 10 * n for n in range(12)]
    ref, dist = clip("ref.y4m", levels), clip("dist.y4m", [200, 200, *(n + (30 if n == 90 else 1) for n in levels)])
    assert cli("fr", "-q", ref, dist, "--sync", "2", "--crop", "32:32:0:0", "-m", "psnr", "-o", tmp_path / "r.json")[0] == 0
    assert cli("report", tmp_path / "r.json", "-o", tmp_path / "p.html", "--frames", "1")[2] == ""
    one, other = images(Parsed((tmp_path / "p.html").read_text()))[:2]
    assert one.shape == other.shape == (32, 32, 3)
    assert (one.mean(), other.mean()) == (pytest.approx(shade(90), abs=1.5), pytest.approx(shade(120), abs=1.5))


@pytest.mark.parametrize("change, reason", [
    (lambda ref, dist: ref.unlink(), "ref_64x48.yuv is not there"),
    (lambda ref, dist: grey(dist, [50] * 3), "dist_64x48.yuv is not the file that was measured"),
])  # fmt: skip
def test_files_that_are_gone_or_changed_are_one_note(tmp_path, cli, change, reason):
    ref, dist = (grey(tmp_path / f"{name}_64x48.yuv", levels) for name, levels in (("ref", [40] * 9), ("dist", range(50, 59))))
    assert cli("fr", "-q", ref, dist, dist, "-m", "psnr", "-o", tmp_path / "r.json")[0] == 0
    change(ref, dist)
    code, out, err = cli("report", tmp_path / "r.json", "-o", tmp_path / "p.html")
    assert code == 0 and out == "" and err.count("\n") == 1 and "no pictures of the worst frames" in err
    assert reason in err
    page = Parsed((tmp_path / "p.html").read_text())
    assert "img" not in page.texts and sum(of.get("class") == "note" for of in page.all("p")) == 2  # and <noscript>


def test_without_pictures_nothing_is_read_again(measured, cli, monkeypatch):
    monkeypatch.setattr("vqmeter.page.pictures.open_video", None)
    for words in (["--no-pictures"], ["--frames", "0"]):
        assert cli("report", measured / "r.json", "-o", measured / "p.html", *words) == (0, "", "")


@pytest.mark.parametrize("info", [
    {"path": "-", "width": 64, "height": 48},
    {"path": "/dev/zero", "width": 64, "height": 48, "container": "rawvideo", "pix_fmt": "gray"},
    {"path": "list.m3u8", "width": 64, "height": 48, "container": "hls"},
    {"path": "secret.txt", "width": 64, "height": 48, "container": "rawvideo", "pix_fmt": "gray"},
    {"path": "raw.yuv", "width": 64.5, "height": 48, "container": "rawvideo", "pix_fmt": "gray"},
    {"path": "raw.yuv", "width": 64, "height": 48, "container": "rawvideo", "pix_fmt": "none"},
])  # fmt: skip
def test_pipes_devices_and_playlists_are_not_opened(tmp_path, cli, monkeypatch, info):
    monkeypatch.chdir(tmp_path)
    grey("raw.yuv", [50])
    (tmp_path / "secret.txt").write_bytes(bytes(64 * 48))
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nraw.yuv\n#EXT-X-ENDLIST\n")
    (tmp_path / "r.json").write_text(json.dumps(document(result(inputs={"distorted": info}))))
    code, _, err = cli("report", "r.json")
    assert code == 0 and "no pictures" in err and "img" not in Parsed((tmp_path / "report.html").read_text()).texts


# --- files that are no results ---------------------------------------------------------------------------------------


def frames(*rows):
    return json.dumps(document(result(frames=list(rows))))


ROW = {"n": 0, "pts": 0, "t": 0.0, "type": "I", "bytes": 1, "psnr_y": 1.0}


@pytest.mark.parametrize("text, reason", [
    ("", "not that of a table"),
    ("a,b\n1,2\n", "not that of a table"),
    ("{", "not JSON"),
    ('{"version": "x", "frames": []}', "its schema is null"),
    ('{"schema": "vqmeter-eval/1"}', 'its schema is "vqmeter-eval/1"'),
    ('{"schema": "vqmeter/1"}', "results is not a list"),
    (json.dumps(document(7)), "results[0] is not an object"),
    (json.dumps(document(result() | {"inputs": {}})), "inputs.distorted is missing"),
    (json.dumps(document(result() | {"inputs": {"distorted": {"path": 5}}})), "distorted.path is not text"),
    (json.dumps(document(result() | {"inputs": {"distorted": {"path": "a", "width": []}}})), "width is not a number"),
    (json.dumps(document(result() | {"metrics": {"x": {"better": "up"}}})), "metrics.x.better"),
    (json.dumps(document(result() | {"pooled": {"psnr_y": {"score": "1"}}})), "psnr_y.score is not a number"),
    (json.dumps(document(result() | {"clips": [{"first": 1, "last": 3, "c3d": 1}]})), "clips[0] is not within"),
    (frames(5), "frames[0] is not an object"),
    (frames(ROW, ROW), "frames[1].n is 0"),
    (frames(ROW | {"n": True}), "frames[0].n is not a whole number"),
    (frames(ROW | {"n": 1 << 60}), "frames[0].n is not a whole number"),
    (frames(ROW | {"psnr_y": "<b>"}), "frames[0].psnr_y is not a number"),
    (frames(ROW | {"psnr_y": 10**400}), "frames[0].psnr_y is not a number"),
    (frames(ROW).replace('_y": 1.0}', '_y": NaN}'), "frames[0].psnr_y is not a number"),
    (json.dumps(document(result())) + "\n{", "line 2 is not JSON"),
    ('{"a":' * 100_000, "nested too deeply"),
    ("file,n,t,psnr_y\na.mp4,0,0.0\n", "line 2 has 3 cells"),
    ("file,n,t,psnr_y\na.mp4,0,0.0,high\n", "line 2: 'high' is not a number"),
    ("file,n,t,psnr_y\na.mp4,-1,0.0,1\n", "line 2: '-1' is not the number of a frame"),
    ("file,name,score\na.mp4,psnr_y,?\n", "line 2: '?' is not a number"),
])  # fmt: skip
def test_a_file_that_is_no_result_is_told_of_in_a_line(tmp_path, cli, text, reason):
    (tmp_path / "bad").write_text(text)
    (tmp_path / "p.html").write_text("as it was")
    code, out, err = cli("report", tmp_path / "bad", "-o", tmp_path / "p.html")
    assert (code, out, err.count("\n")) == (4, "", 1) and reason in err and str(tmp_path / "bad") in err
    assert (tmp_path / "p.html").read_text() == "as it was" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("words, code, reason", [
    (["gone.json"], 4, "gone.json: no such file"),
    (["."], 4, "."),
    (["r.json", "-o", "x.pdf"], 2, "x.pdf: a report ends in .html, .png, .svg"),
    (["r.json", "-o", "no/x.html"], 4, "no folder no"),
    (["-", "-"], 2, "stdin can be read once"),
    ([], 2, "RESULT"),
    (["r.json", "--worst-by", "vmaf"], 2, "no score 'vmaf'"),
])  # fmt: skip
def test_what_cannot_be_done_is_told_of_in_a_line(tmp_path, cli, monkeypatch, words, code, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.json").write_text(json.dumps(document(result())))
    got, out, err = cli("report", *words)
    assert (got, out, err.count("\n")) == (code, "", 1) and reason in err
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_a_failed_clip_stands_on_the_page_with_its_error(tmp_path):
    failed = result("bad.mp4", frames=[], pooled={}, metrics={}, error={"code": 4, "message": "bad.mp4: damaged"})
    page = Parsed(page_of(tmp_path, document(result(), failed)))
    assert page.data["clips"][1]["count"] == 0 and "failed: bad.mp4: damaged" in page.texts["li"]


def test_a_page_of_nothing_but_failures_is_still_one(tmp_path):
    failed = result("bad.mp4", frames=[], pooled={}, metrics={}, error={"code": 4, "message": "damaged"})
    assert Parsed(page_of(tmp_path, document(failed))).texts["h2"] == ["Summary", "Validity", "How it was measured"]


# --- plots -----------------------------------------------------------------------------------------------------------


def test_plots_hold_a_panel_a_score_and_a_curve_a_clip(tmp_path, cli):
    pytest.importorskip("matplotlib", reason="matplotlib (the extra 'plots') is not installed, nothing is drawn")
    (tmp_path / "r.json").write_text(json.dumps(document(result("_$x^$<b>.mp4"), result("名.mp4", psnr=(33.0, None, 35.0)))))
    for name in ("a.svg", "b.svg", "c.png"):
        assert cli("report", tmp_path / "r.json", "-o", tmp_path / name) == (0, "", "")
    drawn = (tmp_path / "a.svg").read_bytes()
    assert drawn == (tmp_path / "b.svg").read_bytes(), "the same bytes each time"
    root = ElementTree.fromstring(drawn)
    groups = [of.get("id", "") for of in root.iter("{http://www.w3.org/2000/svg}g")]
    assert sum(bool(re.fullmatch(r"axes_\d+", name)) for name in groups) == 2, "psnr_y, and the bytes of frames"
    assert drawn.count(b"stroke: #1f77b4") == drawn.count(b"stroke: #ff7f0e") == 3, "two panels and the legend"
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG") and not list(tmp_path.glob(".vqmeter-*"))


def test_plots_without_matplotlib_or_curves_say_so(tmp_path, cli, monkeypatch):
    (tmp_path / "r.json").write_text(json.dumps(document(result(frames=[], clips=[]))))
    if importlib.util.find_spec("matplotlib"):
        code, _, err = cli("report", tmp_path / "r.json", "-o", tmp_path / "x.png")
        assert code == 4 and "no result holds scores of single frames" in err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = cli("report", tmp_path / "r.json", "-o", tmp_path / "x.png")
    assert code == 2 and "pip install 'vqmeter[plots]'" in err and not (tmp_path / "x.png").exists()


def test_nothing_of_it_is_imported_before_it_is_asked_for():
    code = "import sys, vqmeter.writers, vqmeter.cli.report; print('vqmeter.page' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_mean_of_nothing_is_no_number(tmp_path):
    one = result(pooled={"psnr_y": {"score": None, "mean": 35.0}, "niqe": {"score": None}})
    clip = Parsed(page_of(tmp_path, document(one))).data["clips"][0]
    assert clip["pooled"] == {"psnr_y": "inf"} and not math.isnan(clip["count"])
