"""`vqmeter weights`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from click.testing import Result
from torch import Tensor

from vqmeter.errors import UsageError, WeightsError
from vqmeter.weights import catalogue, load

State = dict[str, Tensor]
Run = Callable[..., Result]
Write = Callable[..., State]


def test_list_names_every_set_and_where_it_is(home: Any, run: Run, write_head: Write) -> None:
    write_head(home.data / "of-mine.safetensors", licence="mine")
    sets = json.loads(run("list", "--json").stdout)
    assert len(sets) == len(home.entries) + 1
    mine = next(s for s in sets if s["name"] == "of-mine")
    assert mine["path"] == str(home.data / "of-mine.safetensors") and mine["model"] == "vsfa"
    konvid = next(s for s in sets if s["name"] == "vsfa-konvid")
    assert konvid["label"]["scale"] == 4.64 and "path" not in konvid and konvid["url"].startswith("https://")
    table = run("list").stdout
    assert all(w.name in table for w in catalogue()) and "of-mine" in table and "pull" in table


def test_path_names_the_places(home: Any, run: Run) -> None:
    assert run("path").stdout.splitlines() == [str(home.data), str(home.bundled)]
    assert isinstance(run("path", "vsfa").exception, WeightsError)


def test_wrong_use_is_a_usage_error(home: Any, tmp_path: Path, run: Run, write_head: Write) -> None:
    write_head(tmp_path / "a.safetensors", name="a")
    path = tmp_path / "a.safetensors"
    for args in (
        ["import", path, "--range", "5"],
        ["import", path, "--range", "5:5"],
        ["export", "vsfa", tmp_path / "a.onnx"],
    ):
        assert isinstance(run(*args).exception, UsageError), args
    assert isinstance(run("import", tmp_path / "none.pt").exception, WeightsError)


def test_export_writes_both_forms(home: Any, tmp_path: Path, run: Run, write_head: Write) -> None:
    state = write_head(home.data / "mine.safetensors", name="mine", options={"fps": 25})
    for name in ("a.pth", "a.safetensors"):
        assert run("export", "mine", tmp_path / name).stdout == f"{tmp_path / name}\n"
        read, weights = load("vsfa", tmp_path / name)
        assert weights.options == {"fps": 25} and all(torch.equal(read[k], state[k]) for k in state)
    assert set(torch.load(tmp_path / "a.pth", weights_only=True)) == {"state_dict", "vqmeter"}


def test_the_command_imports_no_torch(tmp_path: Path, run: Run) -> None:
    code = (
        "import sys, vqmeter.cli.weights, vqmeter.weights\n"
        "from click.testing import CliRunner\n"
        "assert CliRunner().invoke(vqmeter.cli.weights.command, ['list', '--json']).exit_code == 0\n"
        "print([m for m in ('torch', 'requests', 'numba') if m in sys.modules])"
    )
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"
