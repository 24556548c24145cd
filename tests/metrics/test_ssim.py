"""SSIM against scikit-image in float64, golden clips and pictures; the torch road against the kernel."""

import json

import numpy as np
import pytest
from scipy.ndimage import uniform_filter
from skimage.metrics import structural_similarity

from vqmeter import measure
from vqmeter.errors import MismatchError
from vqmeter.frames import Frame, PixelFormat, VideoInfo
from vqmeter.kernels.rows import rows
from vqmeter.kernels.shrink import shrink
from vqmeter.kernels.ssim import ssim_cs
from vqmeter.metric import Context, Sample, Stream
from vqmeter.metrics.fr.ssim import Ssim, TorchSsimMeter


def oracle(a, b, peak):
    """scikit-image, float64: Gaussian sigma 1.5, population covariance, mean over the valid region."""
    _, full = structural_similarity(a.astype(float), b.astype(float), data_range=peak, gaussian_weights=True, sigma=1.5,
                                    use_sample_covariance=False, full=True)  # fmt: skip
    return full[5:-5, 5:-5].mean()


def score(a, b, depth, torch_road=False, down=False):
    fmt = PixelFormat.parse("gray" if depth == 8 else f"gray{depth}le")
    info = VideoInfo("x", a.shape[1], a.shape[0], fmt)
    frames = [Frame(info, 0, lambda p=p: (p,)) for p in (a, b)]
    stream = Stream(info, info, fmt, 1, None)
    metric = Ssim(down=down)
    meter = TorchSsimMeter(metric, stream, "cpu") if torch_road else metric.open(stream, Context())
    assert list(meter.scores) == (["ssim_down_y"] if down else ["ssim_y"])
    return meter.prepare(Sample(0, frames[1], frames[0]))[0]


def pictures(depth):
    """Pairs that try float32: noise, flat, extremes, faint noise on a bright ground."""
    rng = np.random.default_rng(depth)
    peak = (1 << depth) - 1
    dtype = np.uint8 if depth == 8 else np.uint16
    y, x = np.mgrid[0:70, 0:93]
    smooth = (np.sin(x / 9) * np.cos(y / 7) * 0.4 + 0.5) * peak
    noise = rng.integers(0, peak + 1, (70, 93))
    bright = np.full((70, 93), peak - 2)
    pairs = {
        "noise": (noise, rng.integers(0, peak + 1, (70, 93))), "smooth": (smooth, smooth + rng.normal(0, peak / 100, (70, 93))),
        "bright": (bright, bright + rng.integers(-1, 2, (70, 93))), "extremes": (np.zeros((70, 93)), np.full((70, 93), peak)),
        "shifted": (smooth, smooth * 0.8 + peak * 0.1), "faint": (smooth, smooth + rng.integers(-1, 2, (70, 93))),
    }  # fmt: skip
    return {k: tuple(np.clip(np.rint(p), 0, peak).astype(dtype) for p in pair) for k, pair in pairs.items()}


@pytest.mark.parametrize("torch_road", [False, True])
@pytest.mark.parametrize("depth", [8, 10, 12, 16])
def test_equals_scikit_image(depth, torch_road):
    for name, (a, b) in pictures(depth).items():
        assert score(a, b, depth, torch_road) == pytest.approx(oracle(a, b, (1 << depth) - 1), abs=1e-5), name


@pytest.mark.parametrize("depth", [8, 16])
def test_identical_pictures_are_exactly_one(depth):
    for a, _ in pictures(depth).values():
        assert score(a, a, depth) == 1.0


@pytest.mark.parametrize("shape", [(11, 11), (11, 40), (40, 11), (13, 17), (64, 64)])
def test_small_and_odd_sizes(shape):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, shape).astype(np.uint8) for _ in range(2))
    assert score(a, b, 8) == pytest.approx(oracle(a, b, 255), abs=1e-5)


def test_too_small_is_said():
    with pytest.raises(MismatchError, match="11x11"):
        score(np.zeros((10, 40), np.uint8), np.zeros((10, 40), np.uint8), 8)


@pytest.fixture(scope="module", params=[0, 1, 2])
def golden(request, testdata):
    folder = testdata / "golden"
    case = json.loads((folder / "fr_peers.json").read_text())[request.param]
    report = measure(folder / case["distorted"], reference=folder / case["reference"], metrics="ssim", size=case["size"],
                     pix_fmt=case["pix_fmt"])  # fmt: skip
    return case, report.only


def test_golden_scikit_image(golden):
    """scikit-image 0.26, float64, per frame 1e-5 and 1e-6 on the mean of the clip."""
    case, result = golden
    expected = [frame["ssim_y"] for frame in case["numpy_skimage_float64"]["frames"]]
    np.testing.assert_allclose(result.frames["ssim_y"], expected, rtol=0, atol=1e-5)
    assert result.pooled["ssim_y"]["mean"] == pytest.approx(np.mean(expected), abs=1e-6)


@pytest.mark.parametrize("picture", ["kodim01.png", "kodim13.png"])
def test_real_pictures(testdata, tmp_path, picture):
    """A photograph against a JPEG-like coarse copy, all of it through the picture reader."""
    from skimage.io import imread, imsave

    folder = testdata / "media/images/kodak"
    if not (folder / picture).exists():
        pytest.skip(f"{picture} is not among the test pictures")
    rgb = imread(folder / picture)
    imsave(tmp_path / "dist.png", rgb // 24 * 24, check_contrast=False)
    got = measure(tmp_path / "dist.png", reference=folder / picture, metrics="ssim").pooled["ssim_y"]["score"]
    weights = np.array([0.298936021293775, 0.587043074451121, 0.114020904255103])
    a, b = (np.floor(p @ weights + 0.5) for p in (rgb.astype(float), (rgb // 24 * 24).astype(float)))
    assert got == pytest.approx(oracle(a, b, 255), abs=1e-5)


@pytest.mark.parametrize("depth", [8, 10, 12, 16])
def test_photographs_at_every_depth(testdata, tmp_path, depth):
    """A photograph's luma spread over the depth, against itself coarser and shifted, as headless raw files."""
    from skimage.io import imread

    picture = sorted((testdata / "media/images/cid22_train").glob("*.png"))[3]
    peak = (1 << depth) - 1
    luma = imread(picture)[..., :3].astype(float) @ [0.299, 0.587, 0.114] / 255 * peak
    pair = [np.rint(luma), np.rint(np.clip(np.roll(luma, 1, 1) * 0.97 + peak * 0.01, 0, peak))]
    fmt, dtype = ("gray", np.uint8) if depth == 8 else (f"gray{depth}le", "<u2")
    for name, plane in zip(("ref", "dist"), pair, strict=True):
        plane.astype(dtype).tofile(tmp_path / f"{name}.yuv")
    height, width = luma.shape
    got = measure(tmp_path / "dist.yuv", reference=tmp_path / "ref.yuv", size=(width, height), pix_fmt=fmt).pooled
    assert got["ssim_y"]["score"] == pytest.approx(oracle(*pair, peak), abs=1e-6)
    error = int(((pair[0].astype(np.int64) - pair[1].astype(np.int64)) ** 2).sum())
    assert got["psnr_y"]["score"] == pytest.approx(10 * np.log10(peak**2 * luma.size / error), abs=1e-9)


def test_golden_piq_pictures(testdata):
    """.68237 (goldhill, grey) and .67909 (I01, rounded luma): SSIM without downsampling, piq 0.8 in float64."""
    folder = testdata / "golden/expected/piq"
    for dist, ref, expected in (("goldhill_jpeg.gif", "goldhill.gif", 0.68237), ("i01_01_5.bmp", "I01.BMP", 0.67909)):
        got = measure(folder / dist, reference=folder / ref, metrics="ssim").pooled["ssim_y"]["score"]
        assert got == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("torch_road", [False, True])
@pytest.mark.parametrize(("shape", "factor", "depth"), [((383, 500), 1, 8), ((384, 401), 2, 8), ((641, 643), 3, 10),
                                                       ((896, 899), 4, 8), ((1153, 1154), 5, 16)])  # fmt: skip
def test_down_reduces_as_matlab(shape, factor, depth, torch_road):
    """imfilter's symmetric box and every F-th sample, F rounded as MATLAB does, then SSIM: scipy and scikit-image."""
    rng = np.random.default_rng(factor)
    y, x = np.mgrid[: shape[0], : shape[1]]
    peak, smooth = (1 << depth) - 1, np.sin(x / 9) * np.cos(y / 7) * 0.3 + 0.5
    a, b = (np.rint((smooth + rng.normal(0, g, shape)).clip(0, 1) * peak).astype(np.uint16 if depth > 8 else np.uint8)
            for g in (0.02, 0.1))  # fmt: skip
    small = [uniform_filter(p.astype(float), factor, mode="reflect", origin=-1 if factor % 2 == 0 else 0)[::factor, ::factor]
             for p in (a, b)]  # fmt: skip
    assert score(a, b, depth, torch_road, down=True) == pytest.approx(oracle(*small, peak), abs=1e-5 if torch_road else 1e-6)


def test_down_golden_pictures(testdata):
    """.8202 on goldhill is MATLAB's, by piq 0.8's tests; .88003 on I01 is piq's in float64 on unrounded luma, else .87988."""
    folder = testdata / "golden/expected/piq"
    for dist, ref, expected in (("goldhill_jpeg.gif", "goldhill.gif", 0.82020), ("i01_01_5.bmp", "I01.BMP", 0.87988)):
        pooled = measure(folder / dist, reference=folder / ref, metrics="ssim:down=true").pooled
        assert list(pooled) == ["ssim_down_y"] and pooled["ssim_down_y"]["score"] == pytest.approx(expected, abs=5e-6)


def test_down_of_unrounded_luma(testdata):
    """.88003: piq 0.8 (commit 9948a52) in float64 on I01 and i01_01_5 as .299 R + .587 G + .114 B, unrounded."""
    from skimage.io import imread

    folder = testdata / "golden/expected/piq"
    grey = [(imread(folder / name) @ np.array([0.299, 0.587, 0.114])).astype(np.float32)
            for name in ("I01.BMP", "i01_01_5.bmp")]  # fmt: skip
    small = [rows(shrink(rows(p), p.shape[1], 2)) for p in grey]
    assert ssim_cs(*small, small[0].shape[1], 255.0)[0] == pytest.approx(0.88003, abs=5e-6)


def test_down_of_every_plane_and_its_map(raw_pair):
    ref, dist = raw_pair(width=800, height=770, frames=1)
    both = measure(dist, reference=ref, metrics=["ssim", "ssim:down=true"], planes="yuv").pooled
    assert list(both) == ["ssim_y", "ssim_cb", "ssim_cr", "ssim_down_y", "ssim_down_cb", "ssim_down_cr"]
    assert both["ssim_down_cb"]["score"] > both["ssim_cb"]["score"]  # 400x385: F = 2
    info = VideoInfo("x", 640, 640, PixelFormat.parse("gray"))
    frame = Frame(info, 0, lambda: (np.zeros((640, 640), np.uint8),))
    meter = Ssim(down=True).open(Stream(info, info, info.pix_fmt, 1, None), Context(maps=True))
    (found,) = meter.prepare(Sample(0, frame, frame)).maps
    assert found.name == "ssim_down_y" and found.values.shape == (214 - 10, 214 - 10) and (found.values == 1).all()


def test_rows_of_any_plane_are_one_kind_to_kernels():
    """Another kind would compile every kernel anew: two seconds for `ssim`."""
    from vqmeter.kernels.compiled import _kind

    memory = np.arange(600, dtype=np.uint8).reshape(20, 30)
    fixed = memory.copy()
    fixed.flags.writeable = False
    kinds = [memory, memory[:, :25], memory[:, ::2], memory[:1], fixed, fixed[2:, :25], np.asfortranarray(memory)]
    assert {_kind(rows(plane)) for plane in kinds} == {("B", 2, True)}
    assert all(np.array_equal(rows(plane)[:, : plane.shape[1]], plane) for plane in kinds)
    assert memory.flags.writeable and np.shares_memory(rows(memory), memory) and np.shares_memory(rows(fixed), fixed)
