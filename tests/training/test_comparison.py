"""The command around a recipe: parts, weight file and card, comparisons beside published figures."""

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from vqmeter.training import recipes
from vqmeter.training.comparison import PUBLISHED_ONLY
from vqmeter.training.recipes import About, Comparison, Trained


@dataclass(frozen=True)
class Toy:
    """Predicts what it is told of an item's path, plus a bias."""

    bias: float = 0.0
    turned: bool = False

    about: ClassVar[About] = About("a toy", "nobody", "anything")
    comparisons: ClassVar[dict[str, Comparison]] = {
        "turned": Comparison("Does turning help?", "Toys, table 1",
                             {"plain": {}, "turned": {"turned": True}, "rival": PUBLISHED_ONLY},
                             {("plain", "srocc"): 0.91, ("rival", "srocc"): 0.5}, "a toy shop, 2 hours",
                             columns=("srocc", "shade"), repeats=3),
    }  # fmt: skip
    trained: ClassVar[list[str]] = []

    def train(self, data, run):
        self.trained.append(str(run.folder))
        sign = -1 if self.turned else 1

        def predict(items):
            return np.array([sign * float(item.path.split("_")[-1]) + self.bias for item in items])

        return Trained({"w": torch.ones(2, 2)}, data.label, predict, figures={"shade": 0.25}, notes=("Made of wood.",),
                       options={"bias": self.bias})  # fmt: skip


@pytest.fixture
def toy(monkeypatch, tmp_path):
    monkeypatch.setattr(recipes, "recipe_class", lambda name: Toy)
    monkeypatch.setattr(Toy, "trained", [])
    monkeypatch.chdir(tmp_path)
    rows = [f"clip_{n},{n},g{n // 2}" for n in range(20)]
    for n in range(20):
        (tmp_path / f"clip_{n}").touch()
    (tmp_path / "labels.csv").write_text("\n".join(["path,mos,group", *rows]) + "\n")
    return tmp_path


def test_the_weight_file_carries_its_card(cli, toy):
    code, out, err = cli("train", "toy:bias=0.5", "labels.csv", "-o", "toy.safetensors")
    assert code == 0, err
    assert "val: srocc 1.0000" in out and "test: srocc 1.0000" in out and "Made of wood" in err
    code, card, err = cli("weights", "card", "./toy.safetensors")
    assert code == 0, err
    for words in ("# toy", "csv: train 12 items of 6 contents", "Made of wood.", "bias=0.5", "SROCC 1.0000",
                  "Seed 0"):  # fmt: skip
        assert words in card
    from vqmeter.weights.files import read

    state, said = read(toy / "toy.safetensors")
    assert said["model"] == "toy" and said["options"] == {"bias": 0.5} and torch.equal(state["w"], torch.ones(2, 2))


def test_a_table_beside_the_published(cli, toy):
    code, out, err = cli("train", "toy", "labels.csv", "--compare", "turned", "-o", "table.json", "--work", "work")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == "Does turning help? (Toys, table 1)" and lines[-1] == "On the real data: a toy shop, 2 hours"
    plain, turned, rival = (line.split() for line in lines[3:6])
    assert plain == ["plain", "1.000", "(0.000)", "0.91", "0.250", "(0.000)", "-"]
    assert turned[:4] == ["turned", "-1.000", "(0.000)", "-"] and rival == ["rival", "-", "0.5", "-", "-"]
    table = json.loads((toy / "table.json").read_text())
    assert [row["name"] for row in table["rows"]] == ["plain", "turned", "rival"] and len(table["rows"][0]["splits"]) == 3
    assert len(Toy.trained) == 6
    assert cli("train", "toy", "labels.csv", "--compare", "turned", "-o", "table.json", "--work", "work")[1] == out
    assert len(Toy.trained) == 6  # what was done is read back


def test_wrong_requests_say_what_to_do(cli, toy):
    def refused(*words):
        code, _, err = cli("train", *words)
        assert code in (2, 4) and err.count("\n") == 1, err
        return err

    assert "-o FILE" in refused("toy", "labels.csv")
    assert ".safetensors" in refused("toy", "labels.csv", "-o", "toy.bin")
    assert "turned" in refused("toy", "labels.csv", "--compare", "turnd")
    assert "no option" in refused("toy:colour=red", "labels.csv", "-o", "t.safetensors")
    assert "--dataset NAME" in refused("toy", ".", "-o", "t.safetensors")
    assert "no folder" in refused("toy", "labels.csv", "-o", "none/t.safetensors")
    assert "contents" in refused("toy", "labels.csv", "-o", "t.safetensors", "--splits", "40-fold")
    assert cli("train", "toy", "labels.csv", "-o", "t.safetensors")[0] == 0
    assert "--restart" in refused("toy", "labels.csv", "-o", "t.safetensors", "--seed", "4")
    assert cli("train", "toy", "labels.csv", "-o", "t.safetensors", "--seed", "4", "--restart")[0] == 0


def test_missing_files_are_told_before_anything_is_trained(cli, toy):
    (toy / "clip_3").unlink()
    code, _, err = cli("train", "toy", "labels.csv", "-o", "t.safetensors")
    assert code == 4 and "1 missing files: clip_3" in err and "--allow-missing" in err and not Toy.trained
    assert cli("train", "toy", "labels.csv", "-o", "t.safetensors", "--allow-missing")[0] == 0
