"""DIQaM with a reference: patches pooled by mean or weight, against a plain rendition with seeded weights."""

import numpy as np
import pytest
import torch

from vqmeter import measure
from vqmeter.errors import UsageError
from vqmeter.metric import find
from vqmeter.metrics import crops
from vqmeter.networks.bosse import Bosse
from vqmeter.sources import open_video
from vqmeter.tensors import rgb_array
from vqmeter.weights import save

pytestmark = pytest.mark.usefixtures("one_thread")

LABEL = {"scale": 1.0, "offset": 0.0, "low": -3.0, "high": 3.0, "unit": "MOS, seeded"}


def seeded(weighted, fusion="d-r,d,r", size=32):
    torch.manual_seed(8)
    network = Bosse(True, weighted, size, fusion).eval()
    for value in network.state_dict().values():
        if value.dim() > 1:
            torch.nn.init.normal_(value, std=(2.6 / value[0].numel()) ** 0.5)
    return network


def write(path, weighted=True, size=32, **meta):
    known = {"name": path.stem, "model": "diqam", "label": LABEL, "options": {"fusion": "d-r,d,r", "eps": 1e-6}}
    save(path, seeded(weighted, size=size).state_dict(), known | meta)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("diqam")


@pytest.fixture(scope="module")
def weights(folder):
    return write(folder / "weighted.safetensors")


@pytest.fixture(scope="module")
def pair(folder, moving_luma):
    rng = np.random.default_rng(4)
    paths = []
    for name, amount in (("ref", 0), ("dist", 12)):
        path = folder / f"{name}_140x90_yuv444p.yuv"
        with open(path, "wb") as file:
            for picture in moving_luma(4, 140, 90, 255):
                for plane in (picture, picture[::-1], picture[:, ::-1]):
                    file.write(np.clip(plane + rng.normal(0, 1, plane.shape) * amount, 0, 255).astype(np.uint8).tobytes())
        paths.append(str(path))
    return tuple(paths)


def run(pair, *metrics, **options):
    result = measure(pair[1], reference=pair[0], metrics=list(metrics), **options).only
    assert result.error is None, result.error
    return result


def spec(path, **options):
    return ":".join([f"diqam:weights={path}", *(f"{key}={value}" for key, value in options.items())])


def plain(pair, network, weighted, corners_of, size=32, frames=4):
    """Patch by patch, then sum(q w) / sum(w) or the mean."""
    sources = [open_video(path) for path in pair]
    raw = []
    for ref, dist in zip(*(source.frames() for source in sources), strict=True):
        if ref.index < frames:
            a, b = rgb_array(ref), rgb_array(dist)
            pieces = [[torch.from_numpy(p[:, t : t + size, u : u + size]) for t, u in corners_of(ref.index)] for p in (b, a)]
            with torch.no_grad():
                quality, weight = zip(*(network(x[None], y[None]) for x, y in zip(*pieces, strict=True)), strict=True)
            q, w = (np.array([float(v) for v in values]) for values in (quality, weight))
            raw.append((q * w).sum() / w.sum() if weighted else q.mean())
    for source in sources:
        source.close()
    return np.array(raw)


def scaled(raw):
    return 100 * (np.asarray(raw) + 3) / 6


@pytest.mark.parametrize(("pooling", "weighted"), [("auto", True), ("weighted", True), ("mean", False)])
def test_pooling_against_a_plain_rendition(pair, weights, pooling, weighted):
    result = run(pair, spec(weights, pooling=pooling, patches=6, rate="native"), seed=3)
    raw = plain(pair, seeded(True), weighted, lambda n: crops.random_corners(3, n, (90, 140), 32, 6))
    assert scaled(raw).min() > 2 and scaled(raw).max() < 98 and np.ptp(scaled(raw)) > 0.5
    np.testing.assert_allclose(result.frames["diqam"], scaled(raw), rtol=0, atol=1e-2)
    assert result.whole["diqam"]["raw"] == pytest.approx(raw.mean(), abs=6e-4)
    other = plain(pair, seeded(True), not weighted, lambda n: crops.random_corners(3, n, (90, 140), 32, 6))
    assert np.abs(scaled(other) - scaled(raw)).max() > 0.1


def test_the_order_of_fusion_and_the_size_are_the_weight_files(folder, pair):
    for fusion, size in (("r,d,d-r", 32), ("d-r,d,r", 64)):
        path = write(folder / "other.safetensors", False, size, options={"fusion": fusion})
        result = run(pair, spec(path, patches="grid", rate="native"), frames=1)
        raw = plain(pair, seeded(False, fusion, size), False, lambda _, s=size: crops.grid_corners((90, 140), s), size, 1)
        assert result.whole["diqam"]["raw"] == pytest.approx(raw[0], abs=6e-4)


def test_batches_threads_company_and_maps_change_nothing(pair, weights, tmp_path):
    one = run(pair, spec(weights, rate="native"), batch=1, threads=1)
    for other in (
        run(pair, spec(weights, rate="native"), batch=16, threads=2),
        run(pair, "psnr", spec(weights, rate="native"), spec(weights) + ":as=x"),
        run(pair, spec(weights, rate="native"), map=tmp_path),
    ):
        np.testing.assert_allclose(other.frames["diqam"], one.frames["diqam"], rtol=0, atol=1e-2)
        assert other.whole["diqam"]["score"] == pytest.approx(one.whole["diqam"]["score"], abs=1e-2)
    assert len(list(tmp_path.glob("*.png"))) == 4


def test_two_frames_a_second_seeds_and_direction(folder, pair, weights):
    one = run(pair, spec(weights), rate=4)
    assert list(one.series["diqam"].frames) == [0, 2] and len(one.columns["n"]) == 4
    assert np.abs(run(pair, spec(weights), rate=4, seed=1).frames["diqam"] - one.frames["diqam"]).min() > 1e-3
    turned = write(folder / "turned.safetensors", label=LABEL | {"higher_is_better": False})
    np.testing.assert_allclose(run(pair, spec(turned), rate=4).frames["diqam"], 100 - one.frames["diqam"], atol=1e-9)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (33, 21), (36, 64), (20, 12)])
def test_any_size(raw_pair, weights, width, height):
    for patches in ("3", "grid"):
        assert np.isfinite(run(raw_pair(width, height, frames=2), spec(weights, patches=patches)).frames["diqam"]).all()


def test_what_cannot_be_done_is_said_in_one_line(folder, pair, cli, monkeypatch, tmp_path, empty_box):
    monkeypatch.setenv("VQMETER_WEIGHTS", str(tmp_path))
    code, out, err = cli("fr", *pair, "-m", "diqam")
    assert code == 6 and not out and "diqam" in err.splitlines()[-1] and "Traceback" not in err
    path = write(folder / "unweighted.safetensors", False)
    code, out, err = cli("fr", *pair, "-m", spec(path, pooling="weighted"))
    assert code == 2 and "no weight branch" in err
    with pytest.raises(UsageError, match="pooling is one of"):
        find("fr", "diqam:pooling=max")
