"""The one pass: same scores however it is cut, several distorted files, lengths, depths, memory, the Python API."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

import vqmeter
from vqmeter import measure
from vqmeter.clips import Assembler
from vqmeter.errors import MismatchError, UsageError
from vqmeter.metric import Score
from vqmeter.sources.geometry import parse_rate, parse_size


def scores(report, n=0):
    return {name: values.tolist() for name, values in report.results[n].frames.items() if name not in ("n", "t")}


def test_scores_do_not_depend_on_threads_or_company(raw_pair):
    ref, dist = raw_pair(frames=40)
    alone = scores(measure(dist, reference=ref, metrics="psnr", threads=1))
    together = scores(measure(dist, reference=ref, metrics="ssim,psnr", threads=3))
    assert alone == {name: together[name] for name in alone} and len(alone["psnr_y"]) == 40


def test_several_distorted_files_against_one_reference(raw_pair, tmp_path):
    ref, one = raw_pair(noise=3)
    (tmp_path / "b").mkdir()
    _, two = raw_pair(noise=9, folder=tmp_path / "b")
    both = measure([one, two, ref], reference=ref)
    assert scores(both, 0) == scores(measure(one, reference=ref))
    assert scores(both, 1) == scores(measure(two, reference=ref))
    assert both.results[2].validity["identical_frames"] == 5
    assert both.results[2].pooled["psnr"]["mean"] == 60.0 and both.results[2].pooled["ssim_y"]["min"] == 1.0


def test_one_failing_file_does_not_stop_the_others(raw_pair, tmp_path):
    ref, good = raw_pair(frames=6)
    (tmp_path / "short").mkdir()
    _, short = raw_pair(frames=6, dist_frames=4, folder=tmp_path / "short")
    report = measure([str(tmp_path / "none.yuv"), short, good], reference=ref)
    assert [r.error.exit_code if r.error else 0 for r in report.results] == [4, 4, 0]
    assert "no such file" in str(report.results[0].error)
    assert "4 frames" in str(report.results[1].error) and "--shortest" in str(report.results[1].error)
    assert len(report.results[2].frames["psnr_y"]) == 6 and report.exit_code == 4


def test_unequal_lengths(raw_pair):
    ref, dist = raw_pair(frames=6, dist_frames=4)
    assert isinstance(measure(dist, reference=ref).only.error, MismatchError)
    assert isinstance(measure(ref, reference=dist, size="64x48").only.error, MismatchError)
    both = measure(dist, reference=ref, shortest=True).only
    assert both.error is None and both.validity["frames_compared"] == 4
    assert measure(dist, reference=ref, frames=4).only.error is None


def test_a_pipe_that_ends_early_keeps_what_was_scored(raw_pair):
    ref, dist = raw_pair(frames=6, dist_frames=4)
    code = (
        f"from vqmeter import measure; r = measure('-', reference={ref!r}, size='64x48').only\n"
        "print(len(r.frames['psnr_y']), r.truncated, r.error)"
    )
    with open(dist, "rb") as pipe:
        out = subprocess.run([sys.executable, "-c", code], stdin=pipe, capture_output=True, text=True, check=True).stdout
    assert out.startswith("4 True stdin ends after 4 frames")


@pytest.mark.parametrize("options", [{"subsample": 3}, {"start": 0.2, "frames": 7}, {"duration": 0.4}])
def test_selections_are_rows_of_the_whole(raw_pair, options):
    ref, dist = raw_pair(frames=20)
    whole, part = measure(dist, reference=ref).only, measure(dist, reference=ref, **options).only
    times = whole.frames["t"].tolist()
    at = [times.index(t) for t in part.frames["t"]]
    assert part.error is None and 0 < len(at) < 20
    np.testing.assert_array_equal(whole.frames["ssim_y"][at], part.frames["ssim_y"])
    assert part.settings["subsample"] == options.get("subsample", 1)


def test_nothing_left_to_measure(raw_pair):
    ref, dist = raw_pair(frames=5)
    assert "nothing to measure" in str(measure(dist, reference=ref, start=9).only.error)


def test_unequal_depths_are_compared_at_the_greater_and_said(raw_pair):
    ref, _ = raw_pair(frames=3)
    _, deep = raw_pair(frames=3, depth=10, noise=0)
    result = measure(deep, reference=ref, ref_pix_fmt="yuv420p").only
    assert result.validity["compare_format"] == "yuv420p10le"
    assert "depth differs" in result.validity["warnings"][0]
    a = np.fromfile(ref, np.uint8)[: 64 * 48].astype(int) * 4
    b = np.fromfile(deep, "<u2")[: 64 * 48].astype(int)
    expected = 10 * math.log10(1023**2 / np.mean((a - b) ** 2))
    assert result.frames["psnr_y"][0] == pytest.approx(expected, abs=1e-9)


def test_planes_option(raw_pair):
    ref, dist = raw_pair()
    assert {"ssim_y", "ssim_cb", "ssim_cr"} <= set(measure(dist, reference=ref, metrics="ssim", planes="yuv").pooled)


def test_memory_does_not_grow_with_length(raw_pair, tmp_path):
    """Ten times the frames, under 5 % more memory; each in a process of its own."""
    ref, dist = raw_pair(width=640, height=360, frames=10)
    long = []
    for path in (ref, dist):
        target = tmp_path / f"long_{os.path.basename(path)}"
        target.write_bytes(open_bytes(path) * 10)
        long.append(str(target))
    code = ("import sys; from vqmeter import measure\n"
            "print(measure(sys.argv[2], reference=sys.argv[1]).only.timing['peak_rss_mib'])")  # fmt: skip
    peaks = []
    for pair in ((ref, dist), long):
        command = [sys.executable, "-c", code, *pair]
        peaks.append(min(float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(2)))
    assert peaks[1] < peaks[0] * 1.05 and peaks[1] < 400


def open_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def test_the_public_api_is_what_it_says():
    assert all(getattr(vqmeter, name) is not None for name in vqmeter.__all__)
    with pytest.raises(AttributeError):
        vqmeter.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"metrics": "pnsr"}, "did you mean psnr"), ({"metrics": "ssim:tap=3"}, "no option 'tap'"),
        ({"metrics": "psnr,psnr"}, "two metrics give"), ({"metrics": "ssim:as=a:as=b"}, "twice"),
        ({"size": "64"}, "WIDTHxHEIGHT"),
        ({"rate": "0"}, "frames a second"), ({"device": "tpu"}, "unknown device"), ({"metrics": ()}, "no metric"),
    ],
)  # fmt: skip
def test_wrong_requests(raw_pair, arguments, says):
    ref, dist = raw_pair()
    with pytest.raises(UsageError, match=says):
        report = measure(dist, reference=ref, **arguments)
        raise report.only.error


def test_renamed_scores(raw_pair):
    ref, dist = raw_pair()
    names = set(measure(dist, reference=ref, metrics="psnr:as=mine,psnr").pooled)
    assert {"mine", "mine_y", "psnr", "psnr_cb"} <= names


@pytest.mark.parametrize(("text", "value"), [("1920x1080", (1920, 1080)), ((4, 2), (4, 2)), ("1X1", (1, 1))])
def test_sizes(text, value):
    assert parse_size(text) == value


@pytest.mark.parametrize("text", ["0x4", "4", "4x4x4", "ax4", "-4x4", "４x４"])
def test_bad_sizes(text):
    with pytest.raises(UsageError):
        parse_size(text)


def test_rates():
    assert parse_rate("30000/1001") == parse_rate("30000/1001") and parse_rate("25") == 25
    for text in ("0", "-3", "x", "1/0", "nan", "inf"):
        with pytest.raises(UsageError):
            parse_rate(text)


class Windows:
    """A meter over clips: each score is the sum of the clip's items."""

    batch = 1

    def __init__(self, plan):
        self.scores = {}
        self._plan = plan
        self.batches = []

    def plan(self):
        return iter(self._plan)

    def score(self, batch):
        self.batches.append([clip.frames for clip in batch])
        for clip in batch:
            yield Score("s", sum(clip.items), range(clip.frames[0], clip.frames[-1] + 1))

    def finish(self):
        return [Score("total", len(self.batches))]


def drive(plan, frames, exhaust, batch=None):
    meter = Windows(plan)
    assembler = Assembler(meter, batch)
    out = []
    for n in range(frames):
        if assembler.wants(n):
            out += assembler.push(n, n)
    out += assembler.finish(frames, exhaust)
    return [s.value for s in out], assembler


def test_assembler_gives_clips_in_order_and_forgets():
    got, assembler = drive([(0, 1, 2), (1, 2, 3), (5, 6)], 8, True)
    assert got == [3, 6, 11, 3] and assembler.repeated == 0 and not assembler._held


def test_assembler_repeats_the_last_frame_where_the_video_ends_early():
    got, assembler = drive([(0, 2), (2, 4, 6), (6, 7)], 5, True)
    assert got[:3] == [2, 2 + 4 + 4, 4 + 4] and assembler.repeated == 3


def test_assembler_drops_what_never_began_in_endless_plans():
    import itertools

    got, _ = drive(((n, n + 1) for n in itertools.count(0, 2)), 5, False)
    assert got == [1, 5, 8, 3]


def test_assembler_never_asks_for_what_no_clip_wants():
    assembler = Assembler(Windows([(1,), (4,)]))
    assert [n for n in range(7) if assembler.wants(n)] == [1, 4]
