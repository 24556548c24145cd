"""Data sets on miniature copies in their authors' layouts, what `problems` finds, and raw ratings to MOS."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from vqmeter.errors import InputError, MissingInputError, UsageError
from vqmeter.training.datasets import NAMES, open_dataset, problems
from vqmeter.training.datasets.video import qualcomm_scene
from vqmeter.training.ratings import Ratings, opinion, read_ratings


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def cells(*texts: str) -> np.ndarray:
    """A cell array of text, as MATLAB saves it."""
    array = np.empty((len(texts), 1), object)
    array[:, 0] = texts
    return array


def only_counts(found: list[str]) -> bool:
    """Whether the only thing wrong with a miniature is that it is one."""
    return len(found) == 1 and "are expected" in found[0]


# --- one miniature a data set ----------------------------------------------------------------------------------------


def make_konvid_1k(root: Path) -> None:
    write(root / "KoNViD_1k_attributes.csv", "file_name,MOS\n11.mp4,1.5\n222.mp4,3\n33.mp4,4.5\n")
    touch(root, "KoNViD_1k_videos/11.mp4", "KoNViD_1k_videos/222_original_centercrop_960x540_8s.mp4", "KoNViD_1k_videos/33.mp4")


def make_live_vqc(root: Path) -> None:
    scipy.io.savemat(root / "data.mat", {"mos": np.array([[80.2], [57.3]]), "video_list": cells("A001.mp4", "A002.mp4")})
    touch(root, "Video/A001.mp4", "Video/A002.mp4")


def make_cvd2014(root: Path) -> None:
    write(root / "CVD2014_ratings/Realignment_MOS.csv", "File_name;Content;Realignment MOS\nTest01_City_D01;City;20,65\n"
          "Test02_Talking_head_D10;Talking head;-6,5\nTest05_City_D02;City;93,38\n;;\n")  # fmt: skip
    touch(root, "Test1/City/Test01_City_D01.avi", "Test2/Talking_head/Test02_Talking_head_D10.avi",
          "Test5/City/Test05_City_D02.avi")  # fmt: skip


def make_live_qualcomm(root: Path) -> None:
    names = ["0723_ManUnderTree_GS5_03_20150723_130016.yuv", "0911duckSwim_lumia1020_WindowsPhone_1.yuv",
             "0911duckSwim_notes4_20150911.yuv"]  # fmt: skip
    scipy.io.savemat(root / "qualcommSubjectiveData.mat", {
        "qualcommSubjectiveData": {"biasedMOS": np.ones((3, 1)), "unBiasedMOS": np.array([[20.0], [40.0], [60.0]])},
        "qualcommVideoData": {"vidNames": cells(*names), "distortionNames": cells("Artifacts", "Color"),
                              "distortionType": np.array([[1], [2], [2]])}})  # fmt: skip
    touch(root, f"Artifacts/{names[0]}", f"Color/{names[1]}", f"Color/{names[2]}")


def make_live_vqa(root: Path) -> None:
    write(root / "live_video_quality_seqs.txt", "pa2_25fps.yuv\npa9_25fps.yuv\nsh16_50fps.yuv\n")
    write(root / "live_video_quality_data.txt", "44.5\t12.2\n70.1\t8.4\n66.4\t10.9\n")
    touch(root, *(f"pa_Folder/pa{n}_25fps.yuv" for n in (1, 2, 9)), "sh_Folder/sh1_50fps.yuv", "sh_Folder/sh16_50fps.yuv")


def make_live_apv(root: Path) -> None:
    names = ["Kickoffp2_1080_30fps_o", "Kickoffp2_1080_30fps_f", "Tennis_2160_25fps_j", "Tennis_2160_25fps_p"]
    write(root / "scores.csv", "video,1,2,distortionType,resolution,avg_score,MOS\n" + "".join(
        f"{name}.yuv,0.1,0.2,x,1080,0.1,{50 + n}\n" for n, name in enumerate(names)))  # fmt: skip
    touch(root, *(f"{name}.yuv" for name in [*names, "Tennis_2160_25fps_o"]))


def make_tid2013(root: Path) -> None:
    write(root / "mos_with_names.txt", "5.51429 I01_01_1.bmp\n4.9 i01_24_5.bmp\n3.2 i25_08_3.bmp\n")
    touch(root, "reference_images/I01.BMP", "reference_images/i25.bmp", "distorted_images/i01_01_1.bmp",
          "distorted_images/I01_24_5.BMP", "distorted_images/i25_08_3.bmp")  # fmt: skip


def make_kadid_10k(root: Path) -> None:
    write(root / "dmos.csv", "dist_img,ref_img,dmos,var\nI01_01_01.png,I01.png,4.57,0.5\nI81_25_05.png,I81.png,1.2,0.3\n")
    touch(root, *(f"images/{n}.png" for n in ("I01", "I01_01_01", "I81", "I81_25_05")))


def make_live_iqa(root: Path) -> None:
    kinds = ("jp2k", "jpeg", "wn", "gblur", "fastfading")
    for kind in kinds:
        write(root / kind / "info.txt", "ocean.bmp img1.bmp 1.0\nocean.bmp img2.bmp 0\n")
        touch(root, f"{kind}/img1.bmp", f"{kind}/img2.bmp")
    touch(root, "refimgs/ocean.bmp")
    scipy.io.savemat(root / "dmos.mat", {"dmos": np.arange(10.0)[None] * 8, "orgs": np.array([[0, 1] * 5])})
    scipy.io.savemat(root / "refnames_all.mat", {"refnames_all": cells(*["ocean.bmp"] * 10).T})


def make_csiq(root: Path) -> None:
    write(root / "csiq.csv", "image,dst_idx,dst_type,dst_lev,dmos_std,dmos\n1600,1,noise,1,0.1,0.06\n"
          "snow_leaves,2,jpeg 2000,5,0.1,0.9\nboston,3,contrast,2,0.1,0.3\n")  # fmt: skip
    touch(root, "src_imgs/1600.png", "src_imgs/snow_leaves.png", "src_imgs/boston.png", "dst_imgs/awgn/1600.AWGN.1.png",
          "dst_imgs/jpeg2000/snow_leaves.jpeg2000.5.png", "dst_imgs/contrast/boston.contrast.2.png")  # fmt: skip


def make_mlive(root: Path) -> None:
    for part, kind in (("Part 1", "blurjpeg"), ("Part 2", "blurnoise")):
        (root / part).mkdir(parents=True)
        scipy.io.savemat(root / part / "Imagelists.mat", {"distimgs": cells(f"{kind}_1.bmp", f"{kind}_2.bmp"),
                         "refimgs": cells("girl.bmp", "sea.bmp"), "ref4dist": np.array([[2], [1]])})  # fmt: skip
        scipy.io.savemat(root / part / "Scores.mat", {"DMOSscores": np.array([[30.0, 50.0]])})
        touch(root, *(f"{part}/{kind}/{n}" for n in (f"{kind}_1.bmp", f"{kind}_2.bmp", "girl.bmp", "sea.bmp")))


#: Name -> items, higher is better, (group, type, reference's name) of the second item, its score.
EXPECTED = {
    "konvid-1k": (3, True, ("222", "", None), 3.0), "live-vqc": (2, True, ("A002.mp4", "", None), 57.3),
    "cvd2014": (3, True, ("talking_head", "Test2", None), -6.5), "live-qualcomm": (3, True, ("duckswim", "Color", None), 40.0),
    "live-vqa": (3, False, ("pa", "h264", "pa1_25fps.yuv"), 70.1),
    "live-apv": (3, True, ("kickoffp2", "flicker", "Kickoffp2_1080_30fps_o.yuv"), 51.0),
    "tid2013": (3, True, ("i01", "24", "I01.BMP"), 4.9), "kadid-10k": (2, True, ("i81", "25", "I81.png"), 1.2),
    "live-iqa": (5, False, ("ocean", "jpeg", "ocean.bmp"), 16.0),
    "csiq": (3, False, ("snow_leaves", "jpeg2000", "snow_leaves.png"), 0.9),
    "mlive": (4, False, ("girl", "blurjpeg", "girl.bmp"), 50.0),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_a_miniature_in_the_published_layout_is_read(name, tmp_path):
    globals()[f"make_{name.replace('-', '_')}"](tmp_path)
    dataset = open_dataset(name, tmp_path)
    count, higher, about, score = EXPECTED[name]
    item = dataset.items[1]
    assert (len(dataset.items), dataset.higher_is_better, item.score) == (count, higher, pytest.approx(score))
    assert (item.group, item.type, item.reference and Path(item.reference).name) == about
    assert only_counts(problems(dataset)), problems(dataset)
    assert dataset.low is not None and dataset.expected > 100


@pytest.mark.parametrize("name", EXPECTED)
def test_missing_media_are_listed_and_another_folder_is_refused(name, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"is this the folder of"):
        open_dataset(name, tmp_path / "empty")
    globals()[f"make_{name.replace('-', '_')}"](tmp_path)
    item = open_dataset(name, tmp_path).items[0]
    Path(item.path).unlink()
    found = problems(open_dataset(name, tmp_path))
    stem = Path(item.path).name.partition(".")[0]
    assert any("1 missing files" in line and stem.lower() in line.lower() for line in found), found
    assert only_counts(problems(open_dataset(name, tmp_path), media=False))


def test_raw_sizes_rates_and_levels_come_with_the_items(tmp_path):
    make_live_vqa(tmp_path)
    assert [(i.size, i.rate, i.type) for i in open_dataset("live-vqa", tmp_path).items] == [
        ((768, 432), 25, "wireless"), ((768, 432), 25, "h264"), ((768, 432), 50, "mpeg2")]  # fmt: skip
    make_live_apv(tmp_path)
    assert [i.size for i in open_dataset("live-apv", tmp_path).items] == [(1920, 1080)] * 2 + [(3840, 2160)]
    make_tid2013(tmp_path)
    assert [i.level for i in open_dataset("tid2013", tmp_path).items] == [1, 5, 3]


def test_scenes_of_live_qualcomm_are_54(testdata):
    path = testdata / "media/mos/scores/fastvqa_LIVE_Qualcomm_labels.txt"
    if not path.is_file():
        pytest.skip("no public score tables here")
    names = [line.split(",")[0] for line in path.read_text().splitlines()]
    assert (len(names), len({qualcomm_scene(name) for name in names})) == (208, 54)


def test_dropped_decimal_commas_of_cvd2014_are_mended(tmp_path):
    make_cvd2014(tmp_path)
    path = tmp_path / "CVD2014_ratings/Realignment_MOS.csv"
    path.write_text(path.read_text().replace(",", ""))
    assert [i.score for i in open_dataset("cvd2014", tmp_path).items[::2]] == [pytest.approx(20.65), pytest.approx(93.38)]


def test_matlab_7_3_is_read_by_h5py_or_says_so(tmp_path):
    if importlib.util.find_spec("h5py") is None:
        header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM"
        (tmp_path / "data.mat").write_bytes(header + b"\x89HDF\r\n\x1a\n" + bytes(512))
        with pytest.raises(UsageError, match=r"needs h5py.*vqmeter\[datasets\]"):
            open_dataset("live-vqc", tmp_path)
        return
    import h5py

    with h5py.File(tmp_path / "data.mat", "w", userblock_size=512) as file:
        file["mos"] = np.array([[80.2, 57.3]])
        names = []
        for n, name in enumerate(("A001.mp4", "A002.mp4")):
            node = file.create_dataset(f"#refs#/{n}", data=np.array([[ord(c)] for c in name], np.uint16))
            node.attrs["MATLAB_class"] = np.bytes_("char")
            names.append(node.ref)
        file.create_dataset("video_list", data=np.array([names], h5py.ref_dtype)).attrs["MATLAB_class"] = np.bytes_("cell")
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM"
    with open(tmp_path / "data.mat", "r+b") as file:
        file.write(header)
    items = open_dataset("live-vqc", tmp_path).items
    assert [(i.group, i.score) for i in items] == [("A001.mp4", 80.2), ("A002.mp4", 57.3)]


def test_csiq_workbook_or_the_extra_it_needs(tmp_path):
    make_csiq(tmp_path)
    (tmp_path / "csiq.csv").unlink()
    if importlib.util.find_spec("openpyxl") is None:
        touch(tmp_path, "csiq.DMOS.xlsx")
        with pytest.raises(UsageError, match=r"needs openpyxl.*vqmeter\[datasets\]"):
            open_dataset("csiq", tmp_path)
        return
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "all_by_image"
    for row in ([None], [None], [None], [None, None, None, "image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"],
                [None, None, None, 1600, 1, "noise", 1, 0.1, 0.06]):  # fmt: skip
        book.active.append(row)
    book.save(tmp_path / "csiq.DMOS.xlsx")
    assert [(i.group, i.type, i.level, i.score) for i in open_dataset("csiq", tmp_path).items] == [("1600", "awgn", 1, 0.06)]


# --- lists -----------------------------------------------------------------------------------------------------------


def test_csv_with_titles(tmp_path):
    path = write(tmp_path / "list.csv", "file,mos,ref,type,level\na.mp4,3.5,r.mp4,blur,2\nb.mp4,na,r.mp4,blur,3\n")
    first, second = open_dataset("csv", path).items
    assert (first.score, first.group, first.type, first.level) == (3.5, "r", "blur", 2)
    assert Path(first.reference) == tmp_path / "r.mp4" and math.isnan(second.score)
    assert first.column("type") == "blur" and first.column("nothing") is None
    assert "1 without a score: b.mp4" in problems(open_dataset("csv", path))[0]
    with pytest.raises(UsageError, match="no column moss"):
        open_dataset("csv", path, score="moss")


@pytest.mark.parametrize("text", [
    "a/x.mp4, 10.0, 25, 3.5\nb.mp4, -1, -1, 4\n", "a/x.mp4\t3.5\nb.mp4\t4\n", "3.5 a/x.mp4\n4 b.mp4\n",
    "path;score\na/x.mp4;3,5\nb.mp4;4,0\n", "\ufeffpath,Score\na\\x.mp4,3.5\nb.mp4,4\n", "a/x.mp4,3.5\nb.mp4,4\n",
])  # fmt: skip
def test_lists_without_ado(text, tmp_path):
    path = write(tmp_path / "list.txt", text)
    items = open_dataset("csv", path).items
    assert [(Path(i.path).relative_to(tmp_path).as_posix(), i.score) for i in items] == [("a/x.mp4", 3.5), ("b.mp4", 4)]


def test_pairs_and_dover(tmp_path):
    pairs = open_dataset("pairs", write(tmp_path / "p.csv", "r1.png,d1.png,4.5,s1\nr2.png,d2.png,1.5,s2\n"))
    assert [(Path(i.reference).name, Path(i.path).name, i.score, i.group) for i in pairs.items] == [
        ("r1.png", "d1.png", 4.5, "s1"), ("r2.png", "d2.png", 1.5, "s2")]  # fmt: skip
    titled = open_dataset("pairs", write(tmp_path / "t.csv", "ref,dist,dmos\nr1.png,d1.png,4.5\nr1.png,d2.png,1\n"))
    assert titled.items[0].group == "r1" and "higher is better" in titled.notes[0]
    dover = open_dataset("dover", write(tmp_path / "d.txt", "v/a.mp4, 8, 25, 3.5\nv/b.mp4, -1, -1, 2\n"))
    assert [i.score for i in dover.items] == [3.5, 2]
    for name, text in (("dover", "a.mp4, 3\nb.mp4, 2\n"), ("pairs", "a.png,3\n"), ("csv", "1,2\n3,4\n"), ("csv", "\n")):
        with pytest.raises(InputError):
            open_dataset(name, write(tmp_path / "bad.txt", text))


def test_names_are_helped(tmp_path):
    assert set(EXPECTED) | {"pairs", "dover", "csv", "distorted"} == set(NAMES)
    with pytest.raises(UsageError, match="did you mean konvid-1k"):
        open_dataset("konvid1k", tmp_path)
    with pytest.raises(MissingInputError):
        open_dataset("tid2013", tmp_path / "nowhere")


def test_problems_finds_the_wrong_column_and_doubles(tmp_path):
    path = write(tmp_path / "list.csv", "file,mos\na.mp4,3\na.mp4,3\n")
    found = problems(open_dataset("csv", path))
    assert any("more than once: a.mp4" in line for line in found) and any("every score is 3" in line for line in found)
    make_kadid_10k(tmp_path)
    (tmp_path / "dmos.csv").write_text((tmp_path / "dmos.csv").read_text().replace("4.57", "457"))
    assert any("far outside 1..5: images/I01_01_01.png (457)" in line for line in problems(open_dataset("kadid-10k", tmp_path)))


# --- raw ratings -----------------------------------------------------------------------------------------------------


def ratings_with_a_clown(seed: int = 0) -> Ratings:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(1.5, 4.5, 60)
    values = np.clip(np.rint(truth[:, None] + rng.normal(0, 0.5, (60, 24)) + rng.normal(0, 0.2, 24)), 1, 5)
    values[:, 5] = rng.integers(1, 6, 60)
    values[3, 2:20] = np.nan
    return Ratings(tuple(f"{n}.mp4" for n in range(60)), tuple(f"s{n}" for n in range(24)), values,
                   tuple("0.mp4" for _ in range(60)))  # fmt: skip


def test_ratings_table(tmp_path):
    table = read_ratings(str(write(tmp_path / "r.csv", "file,reference,s1,s2\na,a,5,4\nb,a,,2\n")))
    assert table.raters == ("s1", "s2") and table.references == ("a", "a") and np.isnan(table.values[1, 0])


def test_ratings_become_scores():
    if importlib.util.find_spec("sureal") is None:
        with pytest.raises(UsageError, match=r"needs sureal.*vqmeter\[ratings\]"):
            opinion(ratings_with_a_clown())
        pytest.skip("sureal is not installed: pip install 'vqmeter[ratings]'")
    ratings = ratings_with_a_clown()
    plain, screened, unbiased = (opinion(ratings, method) for method in ("mos", "bt500", "p913"))
    assert plain.rejected == () and screened.rejected == unbiased.rejected == ("s5",)
    assert plain.too_few == screened.too_few == ("3.mp4",) and np.isnan(screened.mos[3])
    keep = [n for n in range(24) if n != 5]
    others = [n for n in range(60) if n != 3]
    assert screened.mos[others] == pytest.approx(ratings.values[others][:, keep].mean(axis=1))
    deviation = ratings.values[others][:, keep].std(axis=1, ddof=1)
    assert screened.half_width[others] == pytest.approx(1.95996 * deviation / math.sqrt(23))
    assert unbiased.bias is not None and len(unbiased.bias) == 24
    dmos = opinion(ratings, "bt500", differential=True)
    assert dmos.mos[0] == pytest.approx(screened.mos[0] + 5 - plain.mos[0])
    with pytest.raises(InputError, match="reference"):
        opinion(Ratings(ratings.items, ratings.raters, ratings.values), differential=True)


def test_ratings_that_cannot_be_screened_are_refused():
    with pytest.raises(UsageError, match="no method"):
        opinion(ratings_with_a_clown(), "guess")
    with pytest.raises(InputError, match="fewer than two"):
        opinion(Ratings(("a",), ("s",), np.array([[3.0]])))


def test_reading_data_sets_imports_neither_torch_nor_scipy():
    code = (
        "import sys, vqmeter.training.datasets, vqmeter.evaluation.study; print({'torch', 'scipy', 'numba'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
