"""The page in a browser: it draws, reads out the right numbers, zooms by every hand, complains of nothing, asks nobody."""

import importlib
import json
import math
from pathlib import Path

import pytest

from vqmeter.page import Look, render_page
from vqmeter.page.reading import read_reports

FRAMES = 300
ROWS = "return [...document.querySelectorAll('{} tbody tr')].map(r => [...r.cells].map(c => c.textContent))"


def value(clip, n):
    """The score of frame `n`: a wave, identical at the start, with one deep drop."""
    if n < 3:
        return None
    return 20.0 if n == 217 and clip == 1 else 40.0 - 4 * clip + 2 * math.sin(n / 9)


def results():
    for clip in range(2):
        frames = [{"n": n, "pts": n, "t": round(n / 25, 6), "type": "IPB"[n % 3], "bytes": 1000 + n, "psnr_y": value(clip, n),
                   "ssim_y": 0.9 + n / 10_000} for n in range(FRAMES)]  # fmt: skip
        facts = {"low": 0.0, "high": None, "better": "higher", "definition": ""}
        yield {"inputs": {"distorted": {"path": f"<b>{clip}</b>.mp4"}}, "frames": frames, "clips": [],
               "metrics": {"psnr_y": {"unit": "dB", **facts}, "ssim_y": {"unit": "", **facts, "high": 1.0}},
               "pooled": {"psnr_y": {"score": 38.5 - 4 * clip}, "ssim_y": {"score": 0.915}}}  # fmt: skip


@pytest.fixture(scope="module")
def browser_module():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        found = importlib.import_module("browser")
    if found.missing():
        pytest.skip(found.missing())
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    (folder / "r.json").write_text(json.dumps({"schema": "vqmeter/1", "command": "fr", "results": list(results())}))
    (folder / "page.html").write_text(render_page(read_reports(str(folder / "r.json")), Look(frames=0)), "utf-8")
    return folder / "page.html"


@pytest.fixture(scope="module")
def wide(browser_module, page):
    with browser_module.Browser(1280, 1400) as browser:
        yield browser


@pytest.fixture
def browser(wide, page):
    wide.open(page)
    wide.wait("return document.querySelectorAll('#panels canvas').length")
    wide.run("document.getElementById('curves').scrollIntoView({behavior: 'instant'})")
    yield wide
    assert wide.complaints() == []
    assert wide.requests() == [page.as_uri()]


def text(browser, selector):
    return browser.run("return document.querySelector(arguments[0]).textContent", selector)


def readout(browser):
    """The cells of the read-out, a list a clip."""
    return browser.run(
        "return [...document.querySelectorAll('#readout tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    )


def in_view(browser):
    """First and last frame in view."""
    words = text(browser, "#view").split()
    return int(words[-3]), int(words[-1])


def place(browser, part, panel=0):
    """Where in the window a panel's plot is, `part` of its way from left to right."""
    script = """const box = document.querySelectorAll('#panels canvas')[arguments[0]].getBoundingClientRect();
                return [box.left + 58, box.right - 10, box.top + box.height / 2]"""
    left, right, y = browser.run(script, panel)
    return round(left + (right - left) * part), round(y)


def ink(browser, canvas, colour):
    """The share of columns of a canvas in which some pixel has this colour."""
    return browser.run(
        """const canvas = document.querySelectorAll('#panels canvas')[arguments[0]];
           const probe = Object.assign(document.createElement('canvas'), { width: canvas.width, height: canvas.height })
             .getContext('2d', { willReadFrequently: true });
           probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(arguments[1]).trim();
           probe.fillRect(0, 0, 1, 1);
           const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
           probe.clearRect(0, 0, 1, 1);
           probe.drawImage(canvas, 0, 0);
           const { data, width } = probe.getImageData(0, 0, canvas.width, canvas.height);
           const columns = new Set();
           for (let i = 0; i < data.length; i += 4) {
             if (data[i] === r && data[i + 1] === g && data[i + 2] === b && data[i + 3] === 255) columns.add(i / 4 % width);
           }
           return columns.size / width""",
        canvas,
        colour,
    )


def drawn(browser, canvas, colour, least):
    for _ in range(50):
        if (share := ink(browser, canvas, colour)) >= least:
            break
    return share


def test_curves_and_bars_are_drawn_and_names_are_text(browser):
    assert browser.run("return document.querySelectorAll('#panels canvas').length") == 4
    assert drawn(browser, 0, "--c0", 0.5) > 0.5 and drawn(browser, 0, "--c1", 0.5) > 0.5
    assert drawn(browser, 2, "--type-i", 0.1) > 0.1 and drawn(browser, 3, "--type-b", 0.1) > 0.1
    assert [row[0] for row in readout(browser)] == ["<b>0</b>.mp4", "<b>1</b>.mp4"]
    assert browser.run("return document.querySelectorAll('b').length") == 0
    assert text(browser, "#where") == "Whole clips" and readout(browser)[1][1:3] == ["34.5000", "0.915000"]


def test_pointing_reads_the_numbers_of_the_frame_pointed_at(browser):
    for part in (0.25, 0.5, 0.0):
        browser.mouse(("move", *place(browser, part)))
        n = round(part * (FRAMES - 1))
        shown = int(text(browser, "#where").removeprefix("Frame ").partition(",")[0])
        assert abs(shown - n) <= 1 and f", {shown / 25:.3f} s" in text(browser, "#where")
        for clip, row in enumerate(readout(browser)):
            score = value(clip, shown)
            assert row[1] == ("identical" if score is None else f"{score:.4f}")
            assert row[2:] == [f"{0.9 + shown / 10_000:.6f}", "IPB"[shown % 3], str(1000 + shown)]
    said = browser.wait("return document.getElementById('said').textContent")
    assert said.startswith("Frame 0, 0.000 s. <b>0</b>.mp4: psnr_y identical, ssim_y 0.900000; <b>1</b>")


def test_the_keyboard_reads_and_zooms(browser):
    browser.run("document.getElementById('scrub').focus()")
    browser.keys("\ue014", "\ue014", "\ue014")  # right
    assert text(browser, "#where") == "Frame 3, 0.120 s"
    assert browser.run("return document.getElementById('scrub').getAttribute('aria-valuetext')") == "Frame 3, 0.120 s"
    browser.keys("\ue010")  # end
    assert text(browser, "#where").startswith(f"Frame {FRAMES - 1},")
    browser.keys("+", "+")
    low, high = in_view(browser)
    assert high == FRAMES - 1 and high - low == pytest.approx((FRAMES - 1) / 4, abs=1)
    browser.keys("\ue011")  # home: the view follows
    assert in_view(browser)[0] == 0 and text(browser, "#where").startswith("Frame 0,")
    browser.keys("-")
    assert in_view(browser) == (0, pytest.approx((FRAMES - 1) / 2, abs=1))
    browser.keys("0")
    assert in_view(browser) == (0, FRAMES - 1)


def test_dragging_and_buttons_zoom_and_find_the_worst_frame(browser):
    start, end = place(browser, 0.6), place(browser, 0.8)
    browser.mouse(("move", *start), ("down", 0, 0), ("move", *end), ("up", 0, 0))
    low, high = in_view(browser)
    assert (low, high) == (pytest.approx(0.6 * (FRAMES - 1), abs=1.5), pytest.approx(0.8 * (FRAMES - 1), abs=1.5))
    browser.run("document.querySelector('[data-do=worst]').click()")
    assert text(browser, "#where") == "Frame 217, 8.680 s" and readout(browser)[1][1] == "20.0000"
    browser.run("document.querySelector('[data-do=right]').click()")
    assert in_view(browser)[0] > low
    browser.run("document.querySelector('[data-do=all]').click()")
    assert in_view(browser) == (0, FRAMES - 1)


def test_clips_scores_and_the_axis_can_be_chosen(browser):
    browser.run("document.querySelectorAll('#readout input')[0].click()")
    assert browser.run("return document.querySelectorAll('#panels canvas').length") == 3
    assert drawn(browser, 0, "--c1", 0.5) > 0.5 and ink(browser, 0, "--c0") == 0
    assert browser.run("return getComputedStyle(document.querySelector('svg [data-clip=\"0\"]')).display") == "none"
    browser.run("document.querySelectorAll('#scores input')[1].click()")
    assert browser.run("return document.querySelectorAll('#panels canvas').length") == 2
    assert browser.run("return document.querySelector('[data-score=ssim_y]').hidden")
    browser.run("document.querySelector('[value=t]').click()")
    assert text(browser, "#view") == f"in view: seconds 0.00 to {(FRAMES - 1) / 25:.2f}"


def test_the_table_of_frames_says_what_the_curve_shows(browser):
    browser.run("document.querySelector('#numbers').open = true")
    browser.wait("return document.querySelector('#numbers tbody')")
    rows = browser.run(ROWS.format("#numbers"))
    assert len(rows) == FRAMES / 2 and text(browser, "#numbers caption").startswith("One frame in 2")
    for row in rows[::37]:
        n = int(row[0])
        assert row[1] == f"{n / 25:.3f}" and row[4:6] == ["IPB"[n % 3], str(1000 + n)]
        assert [row[2], row[6]] == ["identical" if n < 3 else f"{value(clip, n):.4f}" for clip in range(2)]


def test_colours_follow_the_system_and_the_button(browser):
    ground = "return getComputedStyle(document.body).backgroundColor"
    seen = []
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        seen.append(browser.run(ground))
        browser.run("document.getElementById('theme').click()")
        assert browser.run(ground) not in seen[-1:]
        browser.run("document.getElementById('theme').click()")
        assert browser.run(ground) == seen[-1]
        browser.run("delete document.documentElement.dataset.theme")
    assert seen[0] != seen[1]


def test_the_page_fits_a_phone(browser):
    browser.be_phone(390, 844)
    assert browser.run("return [innerWidth, document.documentElement.scrollWidth]") == [390, 390]
    heights = browser.run("return [...document.querySelectorAll('main button')].map(b => b.getBoundingClientRect().height)")
    assert len(heights) == 6 and min(heights) >= 32
    browser.be_phone(0, 0)
