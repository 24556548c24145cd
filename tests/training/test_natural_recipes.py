"""The recipes of niqe and brisque from end to end: weight files that score, and that say what the recipe predicted."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("sklearn", reason="fitting BRISQUE needs scikit-learn, the extra 'train'")


@pytest.fixture(scope="module")
def rated(tmp_path_factory):
    """Eight textured pictures, sharp, blurred and noisy, with the level as a score; paths, references, groups."""
    from PIL import ImageFilter

    folder = tmp_path_factory.mktemp("rated")
    rows = ["path,mos,reference,group,type,level"]
    for n in range(8):
        rng = np.random.default_rng(n)
        coarse = Image.fromarray(rng.integers(0, 256, (14, 18, 3), np.uint8)).resize((384, 288), Image.BICUBIC)
        sharp = np.asarray(coarse) + rng.normal(0, 9, (288, 384, 1)) * (1.2 + 0.2 * np.sin(np.arange(384) / 20))[None, :, None]
        pristine = Image.fromarray(np.clip(sharp, 0, 255).astype(np.uint8))
        for level, sigma in enumerate((0, 0.8, 1.6, 3.2)):
            copy = pristine.filter(ImageFilter.GaussianBlur(sigma)) if sigma else pristine
            copy.save(folder / f"{n}_{level}.png")
            rows.append(f"{n}_{level}.png,{4 - level},{n}_0.png,g{n},GB,{level}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.parametrize("model", ["niqe", "brisque"])
def test_trained_scored_and_better_than_a_constant(cli, rated, tmp_path, model):
    out = tmp_path / f"{model}.safetensors"
    code, text, err = cli("train", model, str(rated / "labels.csv"), "-o", str(out), "--splits", "60/20/20")
    assert code == 0, err
    figures = dict(zip(text.splitlines()[-1].split()[1::2], map(float, text.splitlines()[-1].split()[2::2]), strict=True))
    assert figures["srocc"] > 0.8
    scores = []
    for level in range(4):
        code, number, err = cli("nr", str(rated / f"7_{level}.png"), "--model", model, "--weights", str(out), "--score", model)
        assert code == 0, err
        scores.append(float(number))
    assert scores[0] == min(scores) and scores[3] > scores[1]  # lower is better


def test_what_is_predicted_is_what_is_scored(rated, tmp_path):
    from vqmeter import measure
    from vqmeter.training.cards import publish
    from vqmeter.training.data import divide
    from vqmeter.training.datasets import open_dataset
    from vqmeter.training.recipes import find
    from vqmeter.training.run import Run

    [data] = divide(open_dataset("csv", rated / "labels.csv"), "none")
    for name, sign in (("niqe", -1), ("brisque", 1)):
        trained = find(name)[1].train(data, Run(tmp_path / name))
        publish(tmp_path / f"{name}.safetensors", name, trained, data, "")
        for item, raw in zip(data.train[:3], trained.predict(data.train[:3]), strict=True):
            report = measure(item.path, models=name, weights=str(tmp_path / f"{name}.safetensors"))
            assert report.results[0].pooled[name]["raw"] == pytest.approx(sign * raw, abs=1e-4)
