"""Which file a name means, in which order, and what is refused."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from torch import Tensor

from vqmeter.errors import WeightsError
from vqmeter.weights import Label, Weights, find, load, load_with_backbone, manifest, published, save

State = dict[str, Tensor]
Run = Callable[..., Result]
Write = Callable[..., State]


def test_manifest_of_this_checkout_is_sound() -> None:
    entries = manifest.entries()
    assert {"vsfa-konvid", "mdtvsfa", "resnet50", "resnet18", "resnet101", "vgg16", "vgg13_bn", "alexnet"} <= {
        e.name for e in entries
    }
    for values in ([e.name for e in entries], [e.file for e in entries]):
        assert len(set(values)) == len(values)
    for entry in entries:
        assert entry.model and entry.source and entry.licence != "unknown"
        assert not entry.url or entry.url.startswith(("http://", "https://"))
        assert len(entry.sha256) in (0, 8, 16, 64)
    assert {kind.like for kind in published.KINDS} <= {e.name for e in entries}


def test_label_scales_turn_to_higher_is_better() -> None:
    konvid = Label(scale=4.64, low=1, high=5)
    assert konvid.value(0.5) == pytest.approx(2.32) and konvid.score(0.5) == pytest.approx(33)
    assert konvid.score(2) == 100 and konvid.score(-1) == 0
    assert Label(low=0, high=100, higher_is_better=False).score(30) == pytest.approx(70)
    soft = Label(low=0, high=100, soft=8)
    scores = [soft.score(value) for value in (-30, 0, 8, 50, 92, 100, 110)]
    assert scores == pytest.approx([8 * math.exp(-4.75), 8 / math.e, 8, 50, 92, 100 - 8 / math.e, 100 - 8 * math.exp(-2.25)])
    assert scores == sorted(scores) and scores[0] > 0 and scores[-1] < 100
    with pytest.raises(WeightsError, match="scale is not known"):
        Weights("x", "vsfa").score(1)


def test_weights_go_through_json() -> None:
    weights = Weights("a", "vsfa", label=Label(scale=2), needs={"resnet50": "00"}, options={"fps": 25})
    assert Weights.from_json(json.loads(json.dumps(weights.to_json())) | {"of_a_later_version": 1}) == weights


def test_places_are_searched_in_order(home: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_head: Write) -> None:
    said, env = tmp_path / "said", tmp_path / "env"
    for folder in (said, env, home.data, home.bundled):
        write_head(folder / "vsfa.safetensors", source=folder.name)
    monkeypatch.setenv("VQMETER_WEIGHTS", str(env))
    assert find("vsfa", said).source == "said"
    assert find("vsfa").source == "env"
    monkeypatch.delenv("VQMETER_WEIGHTS")
    assert find("vsfa").source == "weights"
    (home.data / "vsfa.safetensors").unlink()
    assert find("vsfa").source == "bundled"
    (home.bundled / "vsfa.safetensors").unlink()
    with pytest.raises(WeightsError) as error:
        find("vsfa")
    assert error.value.exit_code == 6
    message = str(error.value)
    assert str(home.data) in message and str(home.bundled) in message and "weights pull vsfa-konvid" in message


def test_a_model_means_its_first_set_that_is_here(home: Any, write_head: Write) -> None:
    home.add(name="vsfa-second", model="vsfa", file="second.safetensors")
    home.add(name="vsfa-first", model="vsfa", file="first.safetensors")
    write_head(home.data / "second.safetensors", name="vsfa-second")
    assert find("vsfa").name == "vsfa-second"
    write_head(home.bundled / "first.safetensors", name="vsfa-first")
    assert find("vsfa").name == "vsfa-first"
    assert find("vsfa", "vsfa-second").name == "vsfa-second"
    with pytest.raises(WeightsError, match="did you mean 'vsfa-second'"):
        find("vsfa", "vsfa-secnd")


def test_weights_of_another_model_are_refused(
    home: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_head: Write
) -> None:
    other = tmp_path / "mine.safetensors"
    write_head(other)
    with pytest.raises(WeightsError, match="weights of vsfa, not of rankiqa"):
        find("rankiqa", other)
    write_head(home.data / "rankiqa.safetensors", model="rankiqa")
    monkeypatch.setenv("VQMETER_WEIGHTS", str(other))  # a file for one model does not stand in the way of others
    assert find("rankiqa").model == "rankiqa" and find("vsfa").path == other
    with pytest.raises(WeightsError, match="no such file or folder"):
        find("vsfa", "nowhere/x.pt")
    monkeypatch.setenv("VQMETER_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(WeightsError, match=r"\$VQMETER_WEIGHTS is .*nowhere"):
        find("rankiqa")


def test_a_file_goes_by_its_own_name_too(home: Any, write_head: Write) -> None:
    write_head(home.data / "Copy.safetensors", name="original")
    assert find("Copy").name == "original" and find("vsfa", "Copy").model == "vsfa"
    write_head(home.data / "rankiqa.safetensors")
    with pytest.raises(WeightsError, match="weights of vsfa, not of rankiqa"):
        find("rankiqa")


def test_an_altered_file_is_refused(home: Any, run: Run, write_head: Write) -> None:
    path = home.data / "mine.safetensors"
    state = write_head(path, name="mine")
    home.add(name="mine", model="vsfa", file=path.name, sha256=manifest.sha256(path))
    assert torch.equal(load("mine")[0]["q.bias"], state["q.bias"])
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for attempt in (lambda: load("mine"), lambda: load("vsfa", path)):
        with pytest.raises(WeightsError, match="not the file of 'mine'"):
            attempt()
    result = run("verify", "mine")
    assert isinstance(result.exception, WeightsError) and result.exception.exit_code == 6


def test_verify_reads_anew(home: Any, run: Run, write_head: Write) -> None:
    path = home.data / "mine.safetensors"
    write_head(path, name="mine")
    home.add(name="mine", model="vsfa", file=path.name, sha256=manifest.sha256(path))
    assert run("verify").stdout.startswith("ok\tmine\t")
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # hidden from the cache of hashes
    assert isinstance(run("verify").exception, WeightsError)


def write_backbone(path: Path, **meta: Any) -> str:
    save(path, {"conv1.weight": torch.ones(1, 1)}, {"name": "resnet50", "model": "resnet50", **meta})
    return manifest.sha256(path)


def test_a_head_finds_its_backbone(home: Any, tmp_path: Path, write_head: Write) -> None:
    digest = write_backbone(home.data / "resnet50.safetensors", source="data")
    head = tmp_path / "mine/head.safetensors"
    write_head(head, needs={"resnet50": digest})
    state, weights, trunk, under = load_with_backbone("vsfa", head)
    assert "q.weight" in state and weights.path == head and list(trunk) == ["conv1.weight"] and under.source == "data"
    write_backbone(head.with_name("resnet50.safetensors"), source="beside")
    with pytest.raises(WeightsError, match="another resnet50"):
        load_with_backbone("vsfa", head)
    write_backbone(head.with_name("resnet50.safetensors"), source="beside", source_sha256=digest)
    assert load_with_backbone("vsfa", head)[3].source == "beside"


def test_a_head_without_its_backbone_says_how_to_get_it(home: Any, tmp_path: Path, write_head: Write) -> None:
    write_head(tmp_path / "head.safetensors", needs={"resnet50": "00"})
    with pytest.raises(WeightsError, match="weights pull resnet50"):
        load_with_backbone("vsfa", tmp_path / "head.safetensors")
    write_head(tmp_path / "bare.safetensors")
    with pytest.raises(WeightsError, match="which backbone"):
        load_with_backbone("vsfa", tmp_path / "bare.safetensors")


def test_a_file_may_bring_its_own_backbone(home: Any, tmp_path: Path) -> None:
    state = {"q.bias": torch.zeros(1), "backbone.conv1.weight": torch.ones(1, 1)}
    save(tmp_path / "both.safetensors", state, {"name": "both", "model": "vsfa"})
    head, weights, trunk, under = load_with_backbone("vsfa", tmp_path / "both.safetensors")
    assert list(head) == ["q.bias"] and list(trunk) == ["conv1.weight"] and under is weights
