"""Other people's files: recognised, renamed, imported, their direction found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from torch import Tensor, nn

from vqmeter.errors import WeightsError
from vqmeter.networks.alexnet import AlexNet
from vqmeter.networks.bosse import Bosse
from vqmeter.networks.c3d import C3d
from vqmeter.networks.resnet import ResNet
from vqmeter.networks.vgg import Vgg13Block4, Vgg16
from vqmeter.networks.vsfa import MixedVsfa, Vsfa
from vqmeter.weights import Label, Weights, build, files, load, manifest, published
from vqmeter.weights.transfer import export_file, import_file

State = dict[str, Tensor]
Run = Callable[..., Result]


def random_state(make: Callable[[], nn.Module]) -> State:
    torch.manual_seed(0)
    return make().state_dict()


def small_head() -> Vsfa:
    return Vsfa(inputs=64, reduced=64, hidden=8)


def hollow(make: Callable[[], nn.Module], *extra: str) -> State:
    """Keys and shapes of a network, zeros that take no memory."""
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in make().state_dict().items()}
    return {key: torch.zeros(1).expand(shape) if shape else torch.zeros(()) for key, shape in shapes.items()} | {
        key: torch.zeros(2) for key in extra
    }


def renamed(state: State, names: dict[str, str]) -> State:
    """Under published names; `names` maps stems to stems."""
    return {
        f"{names.get(key.rpartition('.')[0], key.rpartition('.')[0])}.{key.rpartition('.')[2]}": v for key, v in state.items()
    }


CONVOLUTIONS = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_2", "4_3", "5_1", "5_2", "5_3")
AT = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
CAFFE = {f"features.{n}": f"conv{name}" for n, name in zip(AT, CONVOLUTIONS, strict=True)} | {
    "classifier.0": "fc6", "classifier.3": "fc7", "classifier.6": "fc8_m",
}  # fmt: skip
MMACTION = {"conv1": "backbone.conv1a.conv", "conv2": "backbone.conv2a.conv", "fc6": "backbone.fc6", "fc7": "backbone.fc7"} | {
    f"conv{n}": f"backbone.conv{n}.conv" for n in ("3a", "3b", "4a", "4b", "5a", "5b")
}
MDTVSFA = {"ann.fc0": "dimemsion_reduction", "rnn": "feature_aggregation", "q": "regression"}
FORMS: dict[str, tuple[Callable[[], State], Callable[[], nn.Module], str]] = {
    "VSFA.pt": (lambda: hollow(Vsfa, "ann.fc.weight", "ann.fc.bias"), Vsfa, "vsfa"),
    "VSFA, LSTM": (lambda: hollow(lambda: Vsfa(1024, temporal="lstm")), lambda: Vsfa(1024, temporal="lstm"), "vsfa"),
    "MDTVSFA.pt": (lambda: renamed(hollow(MixedVsfa), MDTVSFA), MixedVsfa, "vsfa"),
    "resnet18": (lambda: hollow(lambda: ResNet(18), "fc.weight", "fc.bias"), lambda: ResNet(18), "resnet18"),
    "resnet50": (lambda: hollow(lambda: ResNet(50), "fc.weight"), lambda: ResNet(50), "resnet50"),
    "resnet101": (lambda: hollow(lambda: ResNet(101)), lambda: ResNet(101), "resnet101"),
    "vgg16": (lambda: hollow(Vgg16), Vgg16, "vgg16"),
    "vgg13_bn": (lambda: hollow(Vgg13Block4, "features.28.weight", "features.31.bias", "classifier.0.weight"),
                 Vgg13Block4, "vgg13_bn"),
    "alexnet": (lambda: hollow(AlexNet), AlexNet, "alexnet"),
    "c3d.pickle": (lambda: hollow(lambda: C3d(487)), C3d, "c3d_backbone"),
    "mmaction": (lambda: renamed(hollow(C3d), MMACTION), C3d, "c3d_backbone"),
    "RankIQA": (lambda: renamed(hollow(lambda: Vgg16(1)), CAFFE), lambda: Vgg16(1), "rankiqa"),
    "RankIQA, fine-tuned": (lambda: renamed(hollow(lambda: Vgg16(1)), CAFFE | {"classifier.6": "fc8", "classifier.0": "fc6_m"}),
                            lambda: Vgg16(1), "rankiqa"),
    "WaDIQaM": (lambda: hollow(lambda: Bosse(True, True)), lambda: Bosse(True, True), "diqam"),
    "WaDIQaM-NR": (lambda: hollow(lambda: Bosse(False, True)), lambda: Bosse(False, True), "diqam_nr"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_published_files_are_recognised(home: Any, tmp_path: Path, form: str) -> None:
    make, network, model = FORMS[form]
    path = tmp_path / "some.pth"
    path.write_bytes(form.encode())
    state, weights = published.convert(make(), path)
    assert weights.model == model and weights.preprocessing and weights.label is None
    build(network, state)
    with torch.device("meta"):
        assert state.keys() == network().state_dict().keys()


def test_what_is_not_known_is_said(home: Any, tmp_path: Path) -> None:
    torch.save({"encoder.weight": torch.zeros(2)}, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=r"no known model.*encoder\.weight"):
        load("vsfa", tmp_path / "x.pt")
    torch.save({"epoch": 3}, tmp_path / "y.pt")
    with pytest.raises(WeightsError, match="no state dict"):
        load("vsfa", tmp_path / "y.pt")
    torch.save(torch.zeros(2), tmp_path / "z.pt")
    with pytest.raises(WeightsError, match="holds a Tensor"):
        load("vsfa", tmp_path / "z.pt")
    torch.save(hollow(ResNet) | {"conv1.weight": torch.zeros(64, 1, 7, 7)}, tmp_path / "grey.pt")
    with pytest.raises(WeightsError, match="do not fit ResNet"):
        load("resnet50", tmp_path / "grey.pt")


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "params"])
def test_import_of_a_head_keeps_its_values(home: Any, tmp_path: Path, wrapper: str | None, old: bool) -> None:
    state = random_state(small_head)
    content = {**state, "ann.fc.weight": torch.zeros(64, 64), "ann.fc.bias": torch.zeros(64)}
    path = tmp_path / "Mine.pt"
    torch.save({wrapper: content} if wrapper else content, path, _use_new_zipfile_serialization=not old)
    weights = import_file(path, ends=(1.0, 0.0))
    assert weights.path == home.data / "mine.safetensors" and weights.source_sha256 == manifest.sha256(path)
    assert weights.options["temporal"] == "gru" and weights.options["inputs"] == 64 and "resnet50" in weights.needs
    assert weights.score(0.25) == pytest.approx(75)
    read, found = load("mine")
    assert found.model == "vsfa" and {k: v.tolist() for k, v in read.items()} == {k: v.tolist() for k, v in state.items()}


def test_import_of_a_backbone_in_eight_bits(home: Any, tmp_path: Path, run: Run) -> None:
    state = random_state(lambda: ResNet(18))
    torch.save({**state, "fc.weight": torch.zeros(1000, 512)}, tmp_path / "resnet18-mine.pth")
    result = run("import", tmp_path / "resnet18-mine.pth", "--name", "resnet18", "--store", "int8")
    assert result.exception is None, result.output
    path = Path(result.stdout.strip())
    assert path == home.data / "resnet18.safetensors" and path.stat().st_size < 11.5e6
    read, weights = load("resnet18")
    assert weights.store == "int8" and weights.preprocessing["order"] == "RGB"
    x = torch.rand(1, 3, 64, 64)
    exact, near = (build(lambda: ResNet(18), s)(x) for s in (state, read))
    assert (exact - near).norm() < 0.03 * exact.norm()


def test_v2_of_resnet50_is_refused(home: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(hollow(ResNet), tmp_path / "r.pth")
    monkeypatch.setattr(published, "sha256", lambda _: "11ad3fa6" + "0" * 56)
    with pytest.raises(WeightsError, match="IMAGENET1K_V2"):
        load("resnet50", tmp_path / "r.pth")


def sharpness(pictures: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.abs(np.diff(pictures.astype(float), axis=2)).mean((1, 2, 3))


def test_direction_is_found_by_blur() -> None:
    up, down = published.direction(sharpness), published.direction(lambda x: 50 - sharpness(x))
    assert up.higher_is_better and not down.higher_is_better
    sharp, blurred = (float(sharpness(published.pictures()[n]).mean()) for n in (0, -1))
    assert up.score(sharp) == pytest.approx(100) and up.score(blurred) == pytest.approx(0)
    assert down.score(50 - sharp) == pytest.approx(100) and down.score(50 - blurred) == pytest.approx(0)
    with pytest.raises(WeightsError, match="--range"):
        published.direction(lambda x: np.zeros(len(x)))


def test_import_of_rankiqa_asks_for_its_direction(home: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: dict[str, Any] = {}
    monkeypatch.setattr(published, "rankiqa_label", lambda _: Label(low=-3, high=2, higher_is_better=False))
    monkeypatch.setattr(files, "save", lambda path, state, meta, store: saved.update(meta) or path.write_bytes(b""))
    monkeypatch.setattr("vqmeter.weights.lookup.identify", lambda path, entry=None: entry or Weights("x", "rankiqa", path=path))
    torch.save(renamed(hollow(lambda: Vgg16(1)), CAFFE), tmp_path / "Rank_live.caffemodel.pt")
    import_file(tmp_path / "Rank_live.caffemodel.pt")
    assert saved["name"] == "rankiqa-rank-live" and saved["label"]["higher_is_better"] is False
    assert saved["preprocessing"]["order"] == "BGR"
    import_file(tmp_path / "Rank_live.caffemodel.pt", ends=(0, 9))
    assert saved["label"]["higher_is_better"] is True and saved["label"]["high"] == 9


def test_vsfa_as_published_needs_no_import(home: Any, testdata: Path, tmp_path: Path, run: Run) -> None:
    path = testdata / "weights/VSFA.pt"
    if not path.is_file():
        pytest.skip(f"no {path}")
    state, weights = load("vsfa", path)
    assert weights.name == "vsfa-konvid" and weights.sha256.startswith("07ce3eab277f3351") and weights.size == 2227645
    assert weights.label == Label(4.64, 0, 1, 5, True, "MOS, KoNViD-1k") and weights.options["backbone"] == "resnet50"
    assert sum(v.numel() for v in build(Vsfa, state).parameters()) == 540_001
    result = run("import", path, "--store", "fp16")
    assert result.stdout == f"{home.data / 'vsfa-konvid.safetensors'}\n"
    half, imported = load("vsfa")
    assert imported.label == weights.label and imported.source_sha256 == weights.sha256 and imported.needs == weights.needs
    assert all((half[k] - state[k]).abs().max() < 1e-3 for k in state)
    back = export_file("vsfa", tmp_path / "back.pt")
    again, exported = load("vsfa", back.path)
    assert exported.label == weights.label and all(torch.equal(half[k], again[k]) for k in half)
