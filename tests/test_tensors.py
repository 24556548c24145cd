"""Frames to luma and RGB: matrices against exact fractions, siting against ramps, the torch road against the kernel.

Shapes against numpy; networks folded, placed and run in batches that fit memory.
"""

import threading
from fractions import Fraction

import numpy as np
import pytest
import torch

from vqmeter import tensors
from vqmeter.colour import Colour, colour, rgb_matrix
from vqmeter.errors import DeviceError, InputError, UsageError
from vqmeter.frames import Frame, PixelFormat, VideoInfo
from vqmeter.metric import Context

KR_KB = {"bt601": ("0.299", "0.114"), "bt709": ("0.2126", "0.0722"), "bt2020": ("0.2627", "0.0593")}


def info(fmt="yuv420p", width=64, height=48, **said):
    return VideoInfo("x", width, height, PixelFormat.parse(fmt), **said)


def frame(planes, fmt, **said):
    planes = tuple(np.ascontiguousarray(plane) for plane in planes)
    return Frame(info(fmt, planes[0].shape[1], planes[0].shape[0], **said), 0, lambda: planes)


def exact_samples(rgb, matrix, full, depth):
    """Y, Cb, Cr of R, G, B in 0..1 by Rec. 601/709/2020's formulas, in fractions of a sample, unrounded."""
    kr, kb = (Fraction(k) for k in KR_KB[matrix])
    r, g, b = (Fraction(c) for c in rgb)
    y = kr * r + (1 - kr - kb) * g + kb * b
    differences = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    step, peak = 1 << (depth - 8), (1 << depth) - 1
    if full:
        return [y * peak, *(128 * step + d * peak for d in differences)]
    return [(16 + 219 * y) * step, *((128 + 224 * d) * step for d in differences)]


@pytest.mark.parametrize("matrix", KR_KB)
@pytest.mark.parametrize("span", ["limited", "full"])
@pytest.mark.parametrize("depth", [8, 10, 12, 16])
def test_matrix_inverts_the_recommendations_exactly(matrix, span, depth):
    fmt = PixelFormat.parse("yuv444p" + ("" if depth == 8 else f"{depth}le"))
    m = rgb_matrix(fmt, Colour(matrix, span))
    for rgb in [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (0, 0, 0), ("1/2", "1/4", "3/4")]:
        samples = [float(s) for s in exact_samples(rgb, matrix, span == "full", depth)]
        np.testing.assert_allclose(m[:, :3] @ samples + m[:, 3], [float(Fraction(c)) for c in rgb], atol=1e-12)


def test_known_primaries_in_8_bits():
    """The 8-bit codes of the primaries in Rec. 601 and 709, limited range, give them back to a rounding."""
    codes = {"bt601": [(81, 90, 240), (145, 54, 34), (41, 240, 110)], "bt709": [(63, 102, 240), (173, 42, 26), (32, 240, 118)]}
    for matrix, primaries in codes.items():
        planes = [np.array([[p[i] for p in primaries]], np.uint8) for i in range(3)]
        got = tensors.rgb(frame(planes, "yuv444p", matrix=matrix))[:, 0].numpy()
        np.testing.assert_allclose(got, np.eye(3), atol=0.012)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"height": 719}, Colour("bt601", "limited", ("range", "matrix"))),
        ({"height": 720}, Colour("bt709", "limited", ("range", "matrix"))),
        ({"height": 480, "primaries": "bt2020"}, Colour("bt2020", "limited", ("range", "matrix"))),
        ({"height": 2160, "transfer": "smpte2084"}, Colour("bt2020", "limited", ("range", "matrix"))),
        ({"fmt": "yuvj420p"}, Colour("bt601", "full", ("range", "matrix"))),
        ({"matrix": "bt709", "range": "full"}, Colour("bt709", "full")),
        ({"matrix": "smpte170m", "range": "tv"}, Colour("bt601", "limited")),
        ({"matrix": "bt470bg", "range": "pc"}, Colour("bt601", "full")),
        ({"matrix": "bt2020nc", "range": "unspecified"}, Colour("bt2020", "limited", ("range",))),
        ({"fmt": "rgb24"}, Colour("rgb", "full")),
        ({"fmt": "gray"}, Colour("gray", "full")),
    ],
)
def test_what_streams_leave_unsaid(said, expected):
    assert colour(info(**said)) == expected


def test_the_user_overrides_the_stream_and_odd_matrices_are_refused():
    assert colour(info(matrix="bt709", range="full"), "bt601", "limited") == Colour("bt601", "limited")
    with pytest.raises(InputError, match="ictcp"):
        colour(info(matrix="ictcp"))


def test_chroma_lies_on_luma_across_and_between_lines_down():
    """4:2:0 from a ramp: chroma sample i stands at luma 2i across, at 2i + 1/2 down; the ends repeat."""
    across = tensors.chroma_up(torch.arange(4.0).expand(1, 4, 4) * 2, 8, 8, 1, 1)[0]
    assert across[3].tolist() == [0, 1, 2, 3, 4, 5, 6, 6]
    down = tensors.chroma_up((torch.arange(4.0) * 2).view(1, 4, 1).expand(1, 4, 4), 8, 8, 1, 1)[0]
    assert down[:, 3].tolist() == [0, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6]
    assert tensors.chroma_up(torch.arange(4.0).expand(1, 8, 4) * 2, 8, 7, 1, 0)[0, 5].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert tensors.chroma_up(torch.arange(2.0).expand(1, 8, 2) * 4, 8, 8, 2, 0)[0, 5].tolist() == [0, 1, 2, 3, 4, 4, 4, 4]


FORMATS = ["yuv420p", "yuv420p10le", "yuv422p", "yuv444p12le", "yuv440p", "yuv411p", "yuv410p", "yuvj420p", "gray", "gray10le",
           "rgb24", "gbrp10le", "yuv420p16le"]  # fmt: skip


def noise(fmt, width, height, seed=0):
    pixel, rng = PixelFormat.parse(fmt), np.random.default_rng(seed)
    planes = []
    for n in range(len(pixel.components)):
        w, h = pixel.chroma_size(width, height) if n and pixel.family == "yuv" else (width, height)
        planes.append(rng.integers(0, pixel.peak + 1, (h, w)).astype(pixel.dtype))
    return frame(planes, fmt)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("size", [(32, 20), (33, 21), (7, 5), (1, 1)])
def test_kernel_and_torch_agree(fmt, size):
    picture = noise(fmt, *size)
    planes = [plane[None] for plane in tensors.upload(picture.planes)]
    pixel = picture.info.pix_fmt
    by_torch = tensors.rgb_of_planes(planes, pixel, rgb_matrix(pixel, colour(picture.info)))[0]
    by_kernel = tensors.rgb(picture)
    assert by_kernel.shape == (3, size[1], size[0]) and by_kernel.dtype == torch.float32
    torch.testing.assert_close(by_kernel, by_torch.expand_as(by_kernel), atol=3e-6, rtol=0)


def test_padded_and_strided_planes():
    picture = noise("yuv420p", 30, 20)
    padded = []
    for plane in picture.planes:
        memory = np.full((plane.shape[0], 2 * plane.shape[1] + 6), 99, plane.dtype)
        view = memory[:, : plane.shape[1]] if len(padded) == 0 else memory[:, : 2 * plane.shape[1] : 2]
        view[:] = plane
        padded.append(view)
    other = Frame(picture.info, 0, lambda: tuple(padded))
    assert torch.equal(tensors.rgb(other), tensors.rgb(picture))
    assert torch.equal(tensors.luma(other), tensors.luma(picture))


def test_ten_bits_are_eight_times_four():
    eight = noise("yuv420p", 40, 30)
    ten = frame([plane.astype(np.uint16) * 4 for plane in eight.planes], "yuv420p10le")
    torch.testing.assert_close(tensors.rgb(ten), tensors.rgb(eight), atol=1e-6, rtol=0)


def test_grey_is_tripled_and_rgb_taken_as_it_is():
    grey, rgb = noise("gray", 20, 10), noise("rgb24", 20, 10)
    assert torch.equal(tensors.rgb(grey), torch.from_numpy(np.stack(grey.planes * 3)).float() * np.float32(1 / 255))
    torch.testing.assert_close(tensors.rgb(rgb) * 255, torch.from_numpy(np.stack(rgb.planes)).float(), atol=1e-4, rtol=0)


def test_luma_is_as_stored_or_weighed():
    yuv, rgb = noise("yuv420p10le", 20, 10), noise("rgb24", 20, 10)
    np.testing.assert_allclose(tensors.luma(yuv).numpy(), yuv.planes[0] * (255 / 1023), rtol=1e-6)
    weighed = np.tensordot([0.299, 0.587, 0.114], np.stack(rgb.planes).astype(float), 1)
    np.testing.assert_allclose(tensors.luma(rgb).numpy(), weighed, rtol=1e-5)


@pytest.mark.parametrize("size", [(600, 410), (101, 67)])
@pytest.mark.parametrize("fmt", ["yuv420p", "rgb24", "gray10le"])
def test_reduced_rgb_is_rgb_reduced(size, fmt):
    picture = noise(fmt, *size)
    whole = tensors.rgb(picture).double().numpy()
    boxes, small = tensors.rgb_reduced(picture, 3, (40, 300))
    padded = np.pad(whole, ((0, 0), (1, 3), (1, 3)))
    h, w = boxes.shape[1:]
    expected = sum(padded[:, i : i + 3 * h : 3, j : j + 3 * w : 3] for i in range(3) for j in range(3)) / 9
    np.testing.assert_allclose(boxes, expected, atol=2e-6)
    rows, columns = (tensors.resize_matrix(n, m, "bilinear") for n, m in zip(size[::-1], (40, 300), strict=True))
    np.testing.assert_allclose(small, rows @ whole @ columns.T, atol=2e-6)
    assert tensors.rgb_reduced(picture, 3)[1].size == 0


@pytest.mark.cuda
@pytest.mark.parametrize("fmt", FORMATS)
def test_cuda_equals_cpu(fmt):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU here")
    picture = noise(fmt, 33, 21)
    torch.testing.assert_close(tensors.rgb(picture, "cuda:0").cpu(), tensors.rgb(picture), atol=3e-6, rtol=0)
    torch.testing.assert_close(tensors.luma(picture, "cuda:0").cpu(), tensors.luma(picture), atol=1e-4, rtol=0)


@pytest.mark.parametrize("fmt", FORMATS)
def test_kept_frames_outlive_their_planes(fmt):
    pictures = [noise(fmt, 33, 21, seed) for seed in range(3)]
    kept = [tensors.keep(picture) for picture in pictures]
    expected = torch.stack([tensors.rgb(picture) for picture in pictures])
    for picture in pictures:
        for plane in picture.planes:
            plane[:] = 0
        picture.release()
    assert all(plane.flags.c_contiguous and plane.flags.owndata for k in kept for plane in k.planes)
    assert kept[0].size == (21, 33)
    got = tensors.to_rgb(kept)
    assert got.shape == (3, 3, 21, 33) and torch.equal(got, expected)
    torch.testing.assert_close(tensors.to_rgb(kept[:2], order="BGR", scale=255), expected[:2].flip(1) * 255, atol=1e-4, rtol=0)
    assert torch.equal(tensors.to_rgb(kept, dtype=torch.bfloat16), expected.bfloat16())


def test_a_frame_is_kept_once_for_all():
    picture = noise("yuv420p", 16, 16)
    assert tensors.keep(picture) is tensors.keep(picture)


@pytest.mark.cuda
@pytest.mark.parametrize("fmt", FORMATS)
def test_cuda_converts_batches_like_the_cpu(fmt):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU here")
    kept = [tensors.keep(noise(fmt, 33, 21, seed)) for seed in range(3)]
    for order in ("RGB", "BGR"):
        got = tensors.to_rgb(kept, "cuda:0", order=order, scale=255).cpu()
        torch.testing.assert_close(got, tensors.to_rgb(kept, order=order, scale=255), atol=1e-3, rtol=0)


def test_normalise_by_channel_in_any_number_of_dimensions():
    for shape in [(2, 3, 4, 5), (2, 3, 2, 4, 5)]:
        x = torch.rand(shape)
        got = tensors.normalise(x, (0.1, 0.2, 0.3), (1, 2, 4))
        for c, (mean, std) in enumerate(zip((0.1, 0.2, 0.3), (1, 2, 4), strict=True)):
            torch.testing.assert_close(got[:, c], (x[:, c] - mean) / std)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resize_is_the_antialiased_one_away_from_borders(mode):
    x = torch.rand(1, 2, 90, 120, dtype=torch.float64)
    rows, columns = (torch.from_numpy(tensors.resize_matrix(n, m, mode)) for n, m in ((90, 30), (120, 50)))
    torch.testing.assert_close(tensors.resize(x, (30, 50), mode)[..., 4:-4, 4:-4], (rows @ x @ columns.T)[..., 4:-4, 4:-4])
    assert tensors.resize(x, (90, 120), mode) is x and tensors.resize(x.float(), (200, 121), mode).shape == (1, 2, 200, 121)


def test_crops_from_their_corners():
    x = torch.arange(2 * 6 * 8.0).view(2, 6, 8)
    got = tensors.crops(x, [(0, 0), (3, 5)], (3, 3))
    assert torch.equal(got, torch.stack([x[:, :3, :3], x[:, 3:, 5:]]))


@pytest.mark.parametrize(
    ("size", "wanted"), [((5, 7), (8, 7)), ((5, 7), (3, 12)), ((2, 3), (9, 4)), ((1, 1), (4, 5)), ((6, 6), (6, 6))]
)
def test_reflect_pad_mirrors_as_numpy_does(size, wanted):
    x = np.random.default_rng(0).random((2, 3, *size)).astype(np.float32)
    pads = [(max(w - n, 0) // 2, max(w - n, 0) - max(w - n, 0) // 2) for n, w in zip(size, wanted, strict=True)]
    expected = np.pad(x, [(0, 0), (0, 0), *pads], "reflect")
    np.testing.assert_array_equal(tensors.reflect_pad(torch.from_numpy(x), wanted).numpy(), expected)


def refusing_more_than(most, error):
    calls = []

    def run(items):
        calls.append(len(items))
        if len(items) > most:
            raise error
        return torch.tensor(items)

    return run, calls


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"
        ),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. Error code 12"),
        MemoryError(),
    ],
)
def test_batches_are_halved_until_they_fit(error):
    run, calls = refusing_more_than(3, error)
    batches = tensors.Batches(16)
    assert batches.run(run, list(range(10))).tolist() == list(range(10))
    assert calls == [10, 5, 2, 2, 2, 2, 2] and batches.size == 2
    batches.run(run, [0, 1])
    assert calls[-1] == 2
    run, calls = refusing_more_than(0, error)
    with pytest.raises(DeviceError, match="out of memory on a single frame"):
        tensors.batched(run, [1, 2, 3], 2)


def test_other_errors_are_not_taken_for_memory():
    run, calls = refusing_more_than(0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        tensors.batched(run, [1, 2], 2)
    assert calls == [2]


def test_a_real_allocation_that_fails_is_recognised():
    def run(items):
        return torch.empty(len(items), 1 << 45) if len(items) > 1 else torch.zeros(1)

    assert tensors.batched(run, [1, 2, 3], 4).shape == (3,)


def test_batch_size_by_memory_unless_named():
    cpu = Context()
    assert tensors.batch_size(cpu, 1) == 16 and tensors.batch_size(cpu, 1, most=64) == 64
    assert tensors.batch_size(cpu, 1 << 50) == 1 and 1 <= tensors.batch_size(cpu, 40 << 20) <= 3
    assert tensors.batch_size(Context(batch=5), 1 << 50) == 5


def test_computing_sets_threads_wherever_it_is_called_and_puts_them_back():
    seen = []

    def work():
        torch.set_num_threads(1)
        with tensors.computing(Context(threads=2)):
            seen.extend([torch.get_num_threads(), torch.is_inference_mode_enabled()])
        seen.extend([torch.get_num_threads(), torch.is_inference_mode_enabled()])

    before = torch.get_num_threads()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [2, True, 1, False] and torch.get_num_threads() == before


class Net(torch.nn.Module):
    """Pairs by name, in a sequence, and a norm that follows no convolution."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(3, 8, 3, bias=False), torch.nn.BatchNorm2d(8)
        self.tail = torch.nn.Sequential(
            torch.nn.Conv2d(8, 4, 1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.BatchNorm2d(4)
        )

    def forward(self, x):
        return self.tail(self.bn1(self.conv1(x)))


def test_placed_networks_give_the_same_numbers_with_norms_folded():
    torch.manual_seed(0)
    net = Net().eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    x = torch.rand(2, 3, 9, 11)
    with torch.inference_mode():
        expected = net(x)
        placed = tensors.place(net, Context())
        torch.testing.assert_close(placed(tensors.feed(x, Context())), expected, atol=1e-5, rtol=1e-5)
        kinds = [type(module).__name__ for module in placed.modules()]
        assert kinds.count("BatchNorm2d") == 1 and kinds.count("Identity") == 2
        assert placed.conv1.weight.is_contiguous(memory_format=torch.channels_last)
        half = Context(precision="bf16")
        out = tensors.place(net, half)(tensors.feed(x, half))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, atol=0.1, rtol=0.05)


def test_sixteen_bit_floats_need_a_gpu():
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        tensors.dtype_of(Context(precision="fp16"))
    assert tensors.dtype_of(Context(device="cuda:0", precision="fp16")) == torch.float16
