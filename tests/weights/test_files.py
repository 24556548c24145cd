"""Stored in fewer bits, read back, built into modules; damaged and hostile files."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from torch import Tensor, nn

from vqmeter.errors import WeightsError
from vqmeter.networks.vsfa import Vsfa
from vqmeter.weights import build, files, load, manifest, save

State = dict[str, Tensor]
Run = Callable[..., Result]
Write = Callable[..., State]


def random_state(make: Callable[[], nn.Module]) -> State:
    torch.manual_seed(0)
    return make().state_dict()


def small_head() -> Vsfa:
    return Vsfa(inputs=64, reduced=64, hidden=8)


@pytest.mark.parametrize(("store", "error", "share"), [("fp32", 0.0, 1.0), ("fp16", 6e-4, 0.55), ("int8", 5e-3, 0.35)])
def test_stored_values_come_back(tmp_path: Path, store: str, error: float, share: float) -> None:
    state = {"w": torch.randn(64, 32, 3, 3), "b": torch.randn(64), "n": torch.tensor(7), "small": torch.randn(2, 3)}
    save(tmp_path / "a.safetensors", state, {"name": "a", "model": "m", "label": {"scale": 2.0}}, store)
    assert (tmp_path / "a.safetensors").stat().st_size < share * 64 * 32 * 9 * 4 + 1500
    read, said = files.read(tmp_path / "a.safetensors")
    assert said == {"name": "a", "model": "m", "label": {"scale": 2.0}, "store": store}
    assert read.keys() == state.keys()
    for key, value in state.items():
        assert read[key].dtype == value.dtype
        assert (read[key] - value).abs().max() <= error * value.abs().max()
    assert torch.equal(read["b"], state["b"]) and torch.equal(read["n"], state["n"])


def test_eight_bits_have_a_scale_for_each_channel(tmp_path: Path) -> None:
    w = torch.randn(64, 64) * torch.logspace(-6, 6, 64)[:, None]
    w[3] = 0
    save(tmp_path / "a.safetensors", {"w": w}, {}, "int8")
    read, _ = files.read(tmp_path / "a.safetensors")
    assert ((read["w"] - w).abs().amax(1) <= w.abs().amax(1) / 250).all()


def test_files_are_the_same_every_time(tmp_path: Path) -> None:
    for name in "ab":
        save(
            tmp_path / f"{name}.safetensors",
            random_state(small_head),
            {"model": "vsfa", "name": "x", "options": {"b": 1, "a": 2}},
        )
    assert manifest.sha256(tmp_path / "a.safetensors") == manifest.sha256(tmp_path / "b.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_values_too_large_for_16_bits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="16 bits"):
        save(tmp_path / "a.safetensors", {"w": torch.full((2, 2), 1e6)}, {}, "fp16")
    assert not list(tmp_path.iterdir())


def test_a_module_is_built_whole_or_not_at_all() -> None:
    state = random_state(small_head)
    module = build(small_head, state)
    assert not module.training and torch.equal(module.q.weight, state["q.weight"])
    scores, _ = module(torch.zeros(1, 2, 64))
    assert scores.isfinite().all()
    with pytest.raises(WeightsError, match=r"do not fit Vsfa: .*q\.bias"):
        build(small_head, {key: value for key, value in state.items() if key != "q.bias"})
    with pytest.raises(WeightsError, match="size mismatch"):
        build(Vsfa, state)


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{broken", b"not a file of weights at all"])
def test_damaged_files_are_weights_errors(home: Any, tmp_path: Path, content: bytes) -> None:
    for suffix in (".safetensors", ".pt"):
        path = tmp_path / f"broken{suffix}"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="broken"):
            load("vsfa", path)


def test_a_cut_safetensors_file_is_a_weights_error(home: Any, tmp_path: Path, write_head: Write) -> None:
    path = tmp_path / "cut.safetensors"
    write_head(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="not a whole"):
        load("vsfa", path)


class Payload:
    """Pickled, it runs a command when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_a_pickle_with_a_payload_is_refused(home: Any, tmp_path: Path, run: Run) -> None:
    mark = tmp_path / "it ran"
    torch.save({"ann.fc0.weight": Payload(mark)}, tmp_path / "zip.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"ann.fc0.weight": Payload(mark)}))
    for name in ("zip.pt", "plain.pt"):
        with pytest.raises(WeightsError, match="refused"):
            load("vsfa", tmp_path / name)
        assert isinstance(run("import", tmp_path / name).exception, WeightsError)
    assert not mark.exists()
