"""Video data sets in the layouts their authors publish: KoNViD-1k, LIVE-VQC, CVD2014, LIVE-Qualcomm, LIVE VQA, LIVE-APV."""

from __future__ import annotations

import os
import re

from vqmeter.errors import InputError
from vqmeter.training.datasets import matlab
from vqmeter.training.datasets.files import Folder
from vqmeter.training.datasets.items import Dataset, Item
from vqmeter.training.datasets.tables import number, read_table

#: Where the name of the phone begins in a file of LIVE-Qualcomm; what stands before it, without the date, is the scene.
_PHONE = re.compile(
    r"_(?:LG_?G2|G2|GS\d|Notes?\d|iPhone\w*?|5s|Lumia\d+|Nokia\d+|1020|HTCOneVx|Oppo\w*?)(?:[_.]|$)", re.IGNORECASE
)


def konvid_1k(root: str) -> Dataset:
    """KoNViD-1k: MOS 1..5, every clip its own content; `<id>.mp4` or `<id>_original_centercrop_960x540_8s.mp4`."""
    folder = Folder(root)
    path = folder.labels("KoNViD-1k", "KoNViD_1k_attributes.csv", "KoNViD_1k_mos.csv", "KONVID_1K_metadata.csv")
    table = read_table(path)
    name, score = table.required("file_name", "flickr_id"), table.required("MOS")
    items = []
    for row in table.rows:
        clip = row[name].removesuffix(".mp4").removesuffix(".0")
        found = folder.find(f"{clip}.mp4") or folder.starting(f"{clip}_", ".mp4")
        items.append(Item(found or os.path.join(root, "KoNViD_1k_videos", f"{clip}.mp4"), number(row[score]), group=clip))
    return Dataset("konvid-1k", tuple(items), True, 1, 5, "MOS", 1200, root)


def live_vqc(root: str) -> Dataset:
    """LIVE-VQC: MOS 0..100 in data.mat (`mos`, `video_list`), Video/A001.mp4 and on; every clip its own content."""
    folder = Folder(root)
    path = folder.labels("LIVE-VQC", "data.mat")
    data = matlab.load(path)
    names = matlab.strings(matlab.variable(data, "video_list", path))
    scores = matlab.numbers(matlab.variable(data, "mos", path))
    _same_length(path, names, scores)
    items = [Item(folder.path(f"Video/{name}"), score, group=name) for name, score in zip(names, scores, strict=True)]
    return Dataset("live-vqc", tuple(items), True, 0, 100, "MOS", 585, root)


def cvd2014(root: str) -> Dataset:
    """CVD2014: realigned MOS, about 0..100; Test1..6/<Content>/TestNN_Content_DMM.avi; contents are the scenes.

    The label file has semicolons and decimal commas; readers that drop the comma divide by 100.
    """
    folder = Folder(root)
    table = read_table(folder.labels("CVD2014", "Realignment_MOS.csv"))
    name, score, scene = table.required("File_name"), table.required("RealignmentMOS"), table.column("Content")
    rows = [row for row in table.rows if row[name] and len(row) > score]
    scores = [number(row[score]) for row in rows]
    if any(abs(value) > 200 for value in scores):
        scores = [value / 100 for value in scores]
    items = []
    for row, value in zip(rows, scores, strict=True):
        clip = row[name].removesuffix(".avi")
        test, _, rest = clip.partition("_")
        content = re.sub(r"[\s:]+", "_", row[scene] if scene is not None else re.sub(r"_D\d+$", "", rest))
        where = f"Test{test[-1]}/{content}/{clip}.avi"
        items.append(Item(folder.path(where), value, group=content.lower(), type=f"Test{test[-1]}"))
    return Dataset("cvd2014", tuple(items), True, 0, 100, "MOS", 234, root)


def live_qualcomm(root: str) -> Dataset:
    """LIVE-Qualcomm: unbiased MOS 0..100, raw 1920x1080 4:2:0 at 30 frames/s under <Distortion>/; contents are the scenes."""
    folder = Folder(root)
    path = folder.labels("LIVE-Qualcomm", "qualcommSubjectiveData.mat")
    data = matlab.load(path)
    scores = matlab.numbers(matlab.variable(matlab.variable(data, "qualcommSubjectiveData", path), "unBiasedMOS", path))
    video = matlab.variable(data, "qualcommVideoData", path)
    names = matlab.strings(matlab.variable(video, "vidNames", path))
    kinds = matlab.strings(matlab.variable(video, "distortionNames", path))
    types = [kinds[int(n) - 1] for n in matlab.numbers(matlab.variable(video, "distortionType", path))]
    _same_length(path, names, scores)
    items = [Item(folder.path(f"{kind}/{name}"), score, group=qualcomm_scene(name), type=kind, size=(1920, 1080), rate=30)
             for name, score, kind in zip(names, scores, types, strict=True)]  # fmt: skip
    return Dataset("live-qualcomm", tuple(items), True, 0, 100, "MOS", 208, root)


def qualcomm_scene(name: str) -> str:
    """The scene in a name of LIVE-Qualcomm: the four-digit date off, then up to the phone."""
    text = re.sub(r"^\d{4}_?", "", os.path.basename(name))
    phone = _PHONE.search(text)
    return (text[: phone.start()] if phone else os.path.splitext(text)[0]).lower()


def live_vqa(root: str) -> Dataset:
    """LIVE VQA: DMOS, low is good; raw 768x432 4:2:0; names in live_video_quality_seqs.txt, scores in ..._data.txt.

    The deviation of a clip's ratings, the second number of its row, is its column `std`.
    """
    folder = Folder(root)
    names = [row[0] for row in read_table(folder.labels("LIVE VQA", "live_video_quality_seqs.txt")).rows]
    path = folder.labels("LIVE VQA", "live_video_quality_data.txt")
    rows = read_table(path).rows
    scores = [number(row[0]) for row in rows]
    _same_length(path, names, scores)
    kinds = ((2, 5, "wireless"), (6, 8, "ip"), (9, 12, "h264"), (13, 16, "mpeg2"))
    items = []
    for name, score, row in zip(names, scores, rows, strict=True):
        match = re.match(r"([a-z]{2})(\d+)_(\d+)fps", os.path.basename(name), re.IGNORECASE)
        if match is None:
            raise InputError(f"{path}: '{name}' is not named as LIVE VQA names its clips")
        content, version, rate = match[1].lower(), int(match[2]), float(match[3])
        kind = next((k for first, last, k in kinds if first <= version <= last), "")
        where = f"{content}_Folder"
        items.append(Item(folder.path(f"{where}/{os.path.basename(name)}"), score,
                          folder.path(f"{where}/{content}1_{match[3]}fps.yuv"), content, kind,
                          size=(768, 432), rate=rate,
                          columns=dict(zip(("std",), row[1:], strict=False))))  # fmt: skip
    return Dataset("live-vqa", tuple(items), False, 0, 100, "DMOS", 150, root)


def live_apv(root: str) -> Dataset:
    """LIVE-APV: MOS 0..100 of 45 contents x 7 versions, originals (`_o`) among them; the authentic `p` clips are left out."""
    folder = Folder(root)
    kinds = {"o": "original", "a": "aliasing", "c": "compression", "d": "framedrop", "f": "flicker", "i": "interlacing",
             "j": "judder"}  # fmt: skip
    tables = [read_table(path) for path in folder if path.lower().endswith(".csv")]
    table = next((t for t in tables if t.column("video") is not None and t.column("MOS") is not None), None)
    if table is None:
        raise InputError(f"{root}: no CSV with columns video and MOS here; is this the folder of LIVE-APV?")
    name, score = table.required("video"), table.required("MOS")
    items = []
    for row in table.rows:
        clip = row[name].removesuffix(".yuv")
        match = re.fullmatch(r"(.+)_(1080|2160)_(\d+)fps_([acdfijop])", clip, re.IGNORECASE)
        if match is None or match[4].lower() == "p":
            continue
        height, letter = int(match[2]), match[4].lower()
        original = f"{match[1]}_{match[2]}_{match[3]}fps_o.yuv"
        items.append(Item(folder.path(f"{clip}.yuv"), number(row[score]), folder.path(original) if letter != "o" else None,
                          match[1].lower(), kinds[letter], size=(height * 16 // 9, height), rate=float(match[3])))  # fmt: skip
    return Dataset("live-apv", tuple(items), True, 0, 100, "MOS", 315, root)


def _same_length(path: str, names: list[str], scores: list[float]) -> None:
    if len(names) != len(scores):
        raise InputError(f"{path}: {len(scores)} scores for {len(names)} names")
