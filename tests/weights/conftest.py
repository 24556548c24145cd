"""An installation of its own for the tests of weight files, and what several of them write into it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor

from vqmeter.cli.weights import command
from vqmeter.networks.vsfa import Vsfa
from vqmeter.weights import manifest, save

State = dict[str, Tensor]


class Home:
    """Folders of an installation of its own: data, bundled, and a manifest that tests add to."""

    def __init__(self, root: Path) -> None:
        self.data, self.bundled = root / "share/vqmeter/weights", root / "bundled"
        for folder in (self.data, self.bundled):
            folder.mkdir(parents=True)
        self.entries: list[dict[str, Any]] = json.loads((manifest.bundled() / "manifest.json").read_text())["weights"]
        self.entries = [entry for entry in self.entries if not entry.get("bundled")]
        self.write()

    def add(self, **fields: Any) -> None:
        """Put a set in front of the others."""
        self.entries.insert(0, fields)
        self.write()

    def write(self) -> None:
        (self.bundled / "manifest.json").write_text(json.dumps({"weights": self.entries}))
        manifest._entries.cache_clear()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    home = Home(tmp_path)
    monkeypatch.setattr(manifest, "bundled", lambda: home.bundled)
    monkeypatch.setattr(manifest.platformdirs, "user_data_path", lambda *_, **__: tmp_path / "share/vqmeter")
    for name in ("VQMETER_WEIGHTS", "VQMETER_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return home


@pytest.fixture
def run() -> Callable[..., Result]:
    """`vqmeter weights ARGS`; errors stay exceptions, as the command line's main wants them."""
    return lambda *args: CliRunner().invoke(command, [str(a) for a in args], standalone_mode=False)


@pytest.fixture
def write_head() -> Callable[..., State]:
    """Writes a small VSFA head, the same every time, and gives its tensors."""

    def write(path: Path, store: str = "fp32", **meta: Any) -> State:
        torch.manual_seed(0)
        state = Vsfa(inputs=64, reduced=64, hidden=8).state_dict()
        save(path, state, {"name": path.stem, "model": "vsfa", **meta}, store)
        return state

    return write
