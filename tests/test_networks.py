"""The networks: parameter counts and shapes of the papers, and numbers of the published implementations."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vqmeter.networks.alexnet import AlexNet, CaffeAlexNet
from vqmeter.networks.bosse import Bosse, pool_patches
from vqmeter.networks.c3d import C3d, Regressor
from vqmeter.networks.cnn3d import Cnn3d, GroupLstm
from vqmeter.networks.dipqa import Dipqa
from vqmeter.networks.fusion import fuse
from vqmeter.networks.resnet import ResNet
from vqmeter.networks.shallow import Shallow
from vqmeter.networks.svr import Svr
from vqmeter.networks.vgg import Vgg13Block4, Vgg16
from vqmeter.networks.vsfa import FrameScores, MixedVsfa, Vsfa, mean_std, pool


def present(path: Path) -> Path:
    if not path.is_file():
        pytest.skip(f"no {path}; set VQMETER_TESTDATA to the folder of test data")
    return path


def meta(make: Callable[[], nn.Module]) -> nn.Module:
    """The module without memory, in eval mode."""
    with torch.device("meta"):
        return make().eval()


def count(module: nn.Module, prefix: str = "") -> int:
    return sum(p.numel() for name, p in module.named_parameters() if name.startswith(prefix))


COUNTS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    # torchvision's totals less the classifier of 1000
    "resnet18": (lambda: ResNet(18), 11_689_512 - 513_000),
    "resnet34": (lambda: ResNet(34), 21_797_672 - 513_000),
    "resnet50": (lambda: ResNet(50), 25_557_032 - 2_049_000),
    "resnet101": (lambda: ResNet(101), 44_549_160 - 2_049_000),
    "resnet18, half": (lambda: ResNet(18, 0.5), (11_176_512 - 9_408 - 9_600) // 4 + 9_408 // 2 + 9_600 // 2),
    "vgg16": (Vgg16, 138_357_544),
    "vgg16, 1 out": (lambda: Vgg16(1), 134_264_641),
    "vgg13-bn block 4": (Vgg13Block4, 4_685_376 + 3_840),
    "alexnet": (AlexNet, 61_100_840),
    "alexnet, 1 out": (lambda: AlexNet(1), 57_007_937),
    "caffe alexnet, 1 out": (CaffeAlexNet, 56_872_321),
    "shallow": (Shallow, 166_913),
    "c3d to fc7": (C3d, 77_995_776),
    "c3d, blocks": (lambda: C3d(blocks=True), 27_655_936),
    "c3d, Sports-1M": (lambda: C3d(487), 79_991_015),
    "c3d, UCF101": (lambda: C3d(101), 78_409_573),
    "c3d regressor": (Regressor, 2_098_177),
    "cnn3d paper": (lambda: Cnn3d("paper"), 192_351_617),
    "cnn3d lite": (Cnn3d, 2_297_217),
    "cnn3d stats": (lambda: Cnn3d("stats", hidden=(128, 64)), 1_640_065),
    "group lstm": (GroupLstm, 8_993),
    "dipqa-64": (Dipqa, 17_273_153),
    "dipqa-128": (lambda: Dipqa(128), 55_021_889),
    "dipqa-gap": (lambda: Dipqa(None), 5_476_673),
    "diqam-fr": (lambda: Bosse(True), 5_499_681),
    "wadiqam-fr": (lambda: Bosse(True, weighted=True), 6_287_138),
    "diqam-fr, 64": (lambda: Bosse(True, size=64), 7_858_977),
    "diqam-fr, 128": (lambda: Bosse(True, size=128), 17_296_161),
    "diqam-nr": (lambda: Bosse(False), 4_975_393),
    "vsfa": (Vsfa, 540_001),
    "vsfa on resnet-18": (lambda: Vsfa(1024), 146_785),
    "vsfa, lstm": (lambda: Vsfa(temporal="lstm"), 545_185),
    "vsfa, no time": (lambda: Vsfa(temporal="none"), 524_545),
    "mdtvsfa": (MixedVsfa, 540_001 + 4 + 8),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name: str) -> None:
    make, parameters = COUNTS[name]
    assert count(meta(make)) == parameters


def test_parts_of_the_counts() -> None:
    assert count(meta(C3d), "conv") == 27_655_936
    assert count(meta(lambda: Cnn3d("paper")), "conv") == count(meta(Cnn3d), "conv") == 1_508_736
    assert count(meta(lambda: Cnn3d("paper")), "fc1") == 190_317_568
    assert count(meta(lambda: Bosse(True)), "features") == 4_712_224
    assert count(meta(Dipqa), "fc") == 12_583_937
    assert count(meta(C3d)) + count(meta(Regressor)) == 80_093_953


SHAPES: dict[str, tuple[Callable[[], Any], tuple[int, ...], tuple[int, ...]]] = {
    "resnet50, 540p": (lambda: meta(lambda: ResNet(50)), (1, 3, 540, 960), (1, 2048, 17, 30)),
    "resnet18, 1080p": (lambda: meta(lambda: ResNet(18)), (1, 3, 1080, 1920), (1, 512, 34, 60)),
    "resnet101, 4K": (lambda: meta(lambda: ResNet(101)), (1, 3, 2160, 3840), (1, 2048, 68, 120)),
    "vgg13-bn block 4": (lambda: meta(Vgg13Block4), (2, 3, 64, 64), (2, 512, 4, 4)),
    "alexnet": (lambda: meta(lambda: AlexNet(1)), (2, 3, 224, 224), (2, 1)),
    "caffe alexnet": (lambda: meta(CaffeAlexNet), (2, 3, 227, 227), (2, 1)),
    "vgg16": (lambda: meta(lambda: Vgg16(1)), (2, 3, 224, 224), (2, 1)),
    "shallow": (lambda: meta(Shallow), (2, 3, 227, 227), (2, 1)),
    "shallow, conv3": (lambda: meta(Shallow).maps, (2, 3, 227, 227), (2, 32, 12, 12)),
    "shallow, a whole frame": (lambda: meta(Shallow), (1, 3, 540, 960), (1, 1)),
    "c3d": (lambda: meta(C3d), (2, 3, 16, 112, 112), (2, 4096)),
    "c3d, pool5": (lambda: meta(C3d).maps, (2, 3, 16, 112, 112), (2, 512, 1, 4, 4)),
    "c3d, symmetric": (lambda: meta(lambda: C3d(pool5="symmetric")).maps, (1, 3, 16, 112, 112), (1, 512, 1, 4, 4)),
    "c3d, classes": (lambda: meta(lambda: C3d(487)), (1, 3, 16, 112, 112), (1, 487)),
    "c3d, blocks": (lambda: meta(lambda: C3d(blocks=True)), (2, 3, 16, 112, 112), (2, 2 * (64 + 128 + 256 + 512 + 512))),
    "c3d, small": (lambda: meta(lambda: C3d(width=0.25, fc_rank=64)), (1, 3, 16, 112, 112), (1, 1024)),
    "cnn3d paper, maps": (lambda: meta(lambda: Cnn3d("paper")).maps, (1, 3, 16, 224, 224), (1, 256, 6, 11, 11)),
    "cnn3d lite, maps": (lambda: meta(Cnn3d).maps, (1, 3, 16, 224, 224), (1, 256, 16, 14, 14)),
    "cnn3d paper": (lambda: meta(lambda: Cnn3d("paper")), (2, 3, 16, 224, 224), (2,)),
    "cnn3d stats": (lambda: meta(lambda: Cnn3d("stats", (8, 16, 32, 64), (9, 7))).features, (2, 3, 16, 32, 80), (2, 7)),
    "cnn3d narrow": (lambda: meta(lambda: Cnn3d(widths=(8, 16, 32, 64))).features, (2, 3, 16, 224, 224), (2, 512)),
    "group lstm": (lambda: meta(GroupLstm), (2, 32, 32), (2,)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str) -> None:
    make, inputs, outputs = SHAPES[name]
    assert tuple(make()(torch.empty(inputs, device="meta")).shape) == outputs


@pytest.mark.parametrize(("size", "maps"), [(64, 64), (128, 128), (None, 96)])
def test_dipqa_scores_pairs(size: int | None, maps: int) -> None:
    x = torch.empty((3, 3, maps, maps), device="meta")
    assert tuple(meta(lambda: Dipqa(size))(x, x).shape) == (3,)


def by_rule(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The filling rule of golden/README.md: every tensor from a generator seeded by its key."""

    def fill(key: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        if key.endswith("num_batches_tracked"):
            return np.zeros(shape)
        if key.endswith("running_var"):
            return rng.uniform(0.5, 1.5, shape)
        if key.endswith("running_mean"):
            return rng.standard_normal(shape) * 0.1
        if len(shape) >= 2:
            return rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
        return rng.uniform(0.2, 0.6, shape) if key.endswith(".weight") else rng.standard_normal(shape) * 0.01

    return {key: torch.from_numpy(np.asarray(fill(key, tuple(v.shape)))).to(v.dtype) for key, v in state.items()}


def filled(make: Callable[[], nn.Module]) -> Any:
    module = meta(make)
    module.load_state_dict(by_rule(module.state_dict()), assign=True)
    return module.requires_grad_(False)


def picture(seed: int, size: tuple[int, ...]) -> Tensor:
    x = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)).permute(0, 3, 1, 2) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (x - mean[:, None, None]) / std[:, None, None]


def near(got: Tensor, golden: Any, name: str) -> None:
    wanted = golden[name]
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-3, atol=1e-3 * float(np.abs(wanted).mean()))


@pytest.mark.parametrize("depth", [18, 50, 101])
def test_resnet_is_torchvisions(depth: int, golden: Any) -> None:
    near(mean_std(filled(lambda: ResNet(depth))(picture(1234, (2, 96, 160, 3)))), golden, f"resnet{depth}_meanstd")


def test_vgg_is_torchvisions(golden: Any) -> None:
    a = picture(1234, (2, 96, 160, 3))
    near(filled(Vgg13Block4)(a).mean((2, 3)), golden, "vgg13bn_block4_mean")
    vgg = filled(Vgg16)
    near(vgg.features(a).mean((2, 3)), golden, "vgg16_features_mean")
    near(vgg(picture(4321, (2, 224, 224, 3)))[:, :10], golden, "vgg16_fc6_input224_logits10")


def test_alexnet_is_torchvisions(golden: Any) -> None:
    b = picture(4321, (2, 224, 224, 3))
    alexnet = filled(AlexNet)
    near(alexnet(b)[:, :10], golden, "alexnet_logits10")
    near(alexnet.features(b).mean((2, 3)), golden, "alexnet_features_mean")


@pytest.fixture
def golden(testdata: Path) -> Any:
    return np.load(present(testdata / "golden/backbones.npz"))


@pytest.fixture
def golden_head(testdata: Path) -> Any:
    return np.load(present(testdata / "golden/vsfa_head.npz"))


@pytest.fixture
def head(testdata: Path) -> Vsfa:
    """The authors' regressor."""
    head = Vsfa()
    head.load_state_dict(torch.load(present(testdata / "weights/VSFA.pt"), map_location="cpu", weights_only=True))
    return head.eval()


LENGTHS = (1, 5, 12, 13, 60, 240)


def frames(length: int) -> Tensor:
    noise = np.random.default_rng(7000 + length).standard_normal((length, 4096))
    return torch.from_numpy(np.abs(noise).astype(np.float32) * np.float32(0.45))


@pytest.mark.parametrize("length", LENGTHS)
def test_vsfa_is_the_authors(length: int, head: Vsfa, golden_head: Any) -> None:
    with torch.inference_mode():
        scores, _ = head(frames(length)[None])
    np.testing.assert_allclose(scores[0].numpy(), golden_head[f"T{length}_q"], atol=1e-5)
    assert float(pool(scores[0])) == pytest.approx(float(golden_head[f"T{length}_score"]), abs=1e-5)


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_vsfa_stream_does_not_depend_on_its_chunks(chunk: int, head: Vsfa, golden_head: Any) -> None:
    for length in LENGTHS:
        whole, cut = FrameScores(head), FrameScores(head)
        whole.push(frames(length))
        for part in frames(length).split(chunk):
            cut.push(part)
        assert len(cut.values) == length
        np.testing.assert_allclose(cut.values, whole.values, atol=1e-6)
        assert cut.pooled() == pytest.approx(whole.pooled(), abs=1e-6)
        assert cut.pooled() == pytest.approx(float(golden_head[f"T{length}_score"]), abs=1e-5)


POOLINGS = [(1, 12, 0.5, 1), (7, 12, 0.5, 1), (40, 5, 0.3, 100), (9, 1, 0.5, 1)]


def pool_by_definition(q: list[float], tau: int, beta: float) -> float:
    """The formula, frame by frame, in float64."""
    total = 0.0
    for t in range(len(q)):
        lowest, ahead = min(q[max(0, t - tau + 1) : t + 1]), q[t : t + tau]
        weights = [math.exp(min(ahead) - x) for x in ahead]
        memory = sum(x * w for x, w in zip(ahead, weights, strict=True)) / sum(weights)
        total += beta * memory + (1 - beta) * lowest
    return total / len(q)


@pytest.mark.parametrize(
    ("length", "tau", "beta", "scale"), [(1, 12, 0.5, 1), (7, 12, 0.5, 1), (40, 5, 0.3, 100), (9, 1, 0.5, 1)]
)
def test_temporal_pooling_is_its_formula(length: int, tau: int, beta: float, scale: float) -> None:
    q = (np.random.default_rng(length).random(length) * scale).tolist()
    assert float(pool(torch.tensor(q, dtype=torch.float64), tau, beta)) == pytest.approx(pool_by_definition(q, tau, beta))


@pytest.mark.parametrize(("tau", "beta"), [(12, 0.5), (5, 0.3)])
def test_temporal_pooling_of_padded_videos_is_that_of_each(tau: int, beta: float) -> None:
    rng = np.random.default_rng(8)
    lengths = [1, 30, 11, 4]
    videos = [torch.from_numpy(rng.random(n)) for n in lengths]
    padded = torch.full((4, 30), 1e6, dtype=torch.float64)
    for row, video in zip(padded, videos, strict=True):
        row[: len(video)] = video
    padded.requires_grad_()
    pooled = pool(padded, tau, beta, torch.tensor(lengths))
    assert pooled.tolist() == pytest.approx([pool_by_definition(v.tolist(), tau, beta) for v in videos])
    pooled.sum().backward()
    gradient = padded.grad
    assert gradient is not None and gradient.isfinite().all()
    assert gradient[0, 1:].abs().sum() == 0 and gradient[1].abs().sum() > 0.5
    with pytest.raises(ValueError, match="without frames"):
        pool(padded, tau, beta, torch.tensor([1, 0, 2, 3]))


def test_temporal_pooling_holds_for_large_scores_and_half_precision() -> None:
    assert float(pool(torch.full((30,), 2e4))) == pytest.approx(2e4)
    assert float(pool(torch.full((30,), 60.0, dtype=torch.bfloat16))) == 60.0
    with pytest.raises(ValueError, match="without frames"):
        pool(torch.empty(0))


def test_temporal_pooling_has_gradients() -> None:
    q = torch.rand(20, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: pool(x, 4, 0.5), q)


def test_a_map_of_one_position_has_no_deviation() -> None:
    with pytest.raises(ValueError, match="32x32"):
        mean_std(torch.zeros(1, 4, 1, 1))


def test_mixed_vsfa_maps_to_its_datasets() -> None:
    head = MixedVsfa(8, datasets=("K",)).eval()
    for parameter, value in ((head.nlm[0].weight, 2.0), (head.nlm[0].bias, -1.0), (head.nlm[2].weight, 1.0),
                             (head.nlm[2].bias, 0.0), (head.lm["K"].weight, 3.0), (head.lm["K"].bias, 1.0)):  # fmt: skip
        nn.init.constant_(parameter, value)
    mapped = 1 / (1 + math.exp(1 - 2 / (1 + math.exp(-0.3))))
    assert head.align(torch.tensor([0.3])).item() == pytest.approx(mapped)
    assert head.align(torch.tensor([0.3]), "K").item() == pytest.approx(3 * mapped + 1)


def test_c3d_pools_see_the_windows_they_are_named_for() -> None:
    x = torch.arange(7.0).repeat(7, 1)[None, None, None].expand(1, 1, 2, 7, 7)
    assert C3d(width=1 / 64).pool5(x)[0, 0, 0, 0].tolist() == [1, 3, 5, 6]
    assert C3d(width=1 / 64, pool5="symmetric").pool5(x)[0, 0, 0, 0].tolist() == [0, 2, 4, 6]


def test_c3d_features_are_not_negative_and_not_random() -> None:
    network = filled(lambda: C3d(width=1 / 16))
    clip = torch.randn(1, 3, 16, 112, 112, generator=torch.Generator().manual_seed(0))
    fc6, fc7 = network.features(clip, "fc6"), network(clip)
    assert fc6.shape == fc7.shape == (1, 256)
    assert fc7.min() >= 0 and torch.equal(fc7, network(clip)) and not torch.equal(fc6, fc7)


def test_c3d_blocks_are_means_and_deviations_of_what_blocks_give() -> None:
    network = filled(lambda: C3d(width=1 / 16, blocks=True))
    clip = torch.randn(2, 3, 16, 112, 112, generator=torch.Generator().manual_seed(0))
    found, at = network(clip).numpy(), 0
    for end in range(1, 6):
        maps = network.maps(clip, 0, end).flatten(2).double().numpy()
        for values in (maps.mean(2), maps.std(2)):
            np.testing.assert_allclose(found[:, at : at + values.shape[1]], values, rtol=1e-4, atol=1e-6)
            at += values.shape[1]
    assert at == found.shape[1] == network.length


def test_cnn3d_pads_even_kernels_on_the_far_side() -> None:
    network = filled(lambda: Cnn3d(widths=(1, 1, 1, 1)))
    seen: list[Tensor] = []
    network.conv4.register_forward_hook(lambda _, __, output: seen.append(output))
    network.conv5.register_forward_hook(lambda _, inputs, output: seen.extend([inputs[0], output]))
    assert network.maps(torch.rand(1, 3, 2, 32, 32)).shape == (1, 1, 2, 2, 2)
    before = nn.functional.max_pool3d(seen[0].relu(), (1, 2, 2))
    padded, after = seen[1:]
    assert after.shape == before.shape
    assert torch.equal(padded[..., :-1, :-1, :-1], before)
    assert not padded[:, :, -1].any() and not padded[..., -1, :].any() and not padded[..., -1].any()


@pytest.mark.parametrize(("height", "width"), [(16, 16), (224, 48), (225, 40), (470, 37), (689, 64)])
def test_cnn3d_anywhere_does_not_show_its_bands(height: int, width: int) -> None:
    network = filled(lambda: Cnn3d("fcn", (2, 3, 4, 4), (8, 6)))
    x = torch.rand(2, 3, 3, height, width, generator=torch.Generator().manual_seed(0))
    maps = network.maps(x).movedim(1, -1)
    whole = network.fc2(network.fc1(maps).relu()).relu()
    torch.testing.assert_close(network.features(x), whole.mean((1, 2, 3)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(network(x), network.out(whole)[..., 0].mean((1, 2, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (50, 33)])
def test_cnn3d_stats_are_means_and_deviations_of_every_pool(height: int, width: int) -> None:
    network = filled(lambda: Cnn3d("stats", (2, 3, 4, 5), (8, 6)))
    x = torch.rand(2, 3, 4, height, width, generator=torch.Generator().manual_seed(0))
    seen: list[Tensor] = []
    network.fc1.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    score, at = network(x), 0
    maps = [maps.flatten(2).numpy().astype(np.float64) for maps in network.pools(x)]
    assert [m.shape[2] for m in maps] == [4 * (height >> n) * (width >> n) for n in range(1, 5)]
    for values in (moment for m in maps for moment in (m.mean(2), np.sqrt(m.var(2) + 1e-6))):
        np.testing.assert_allclose(seen[0][:, at : at + values.shape[1]], values, rtol=1e-4, atol=1e-6)
        at += values.shape[1]
    assert at == seen[0].shape[1] and np.array_equal(maps[-1], network.maps(x).flatten(2).numpy())
    expected = network.out(network.fc2(network.fc1(seen[0]).relu()).relu())[:, 0]
    torch.testing.assert_close(score, expected)


def test_cnn3d_stats_learn_where_channels_are_dead() -> None:
    torch.manual_seed(0)
    network = Cnn3d("stats", (2, 3, 4, 5), (8, 6))
    nn.init.constant_(network.conv6.bias, -100)
    with torch.autocast("cpu", torch.bfloat16):
        score = network(torch.rand(2, 3, 16, 32, 32))
    score.sum().backward()
    grads = [p.grad for p in network.parameters()]
    assert score.dtype == torch.float32 and all(grad is not None and grad.isfinite().all() for grad in grads)
    assert network.conv1.weight.grad.any() and not network.conv6.weight.grad.any()


def test_cnn3d_anywhere_learns_under_the_lstm() -> None:
    torch.manual_seed(0)
    clips, video = Cnn3d("fcn", (2, 3, 4, 4), (8, 6)), GroupLstm(6, 4, 4)
    video(clips.features(torch.rand(3, 3, 2, 250, 32))[None]).sum().backward()
    assert all(p.grad is not None for n, p in (*clips.named_parameters(), *video.named_parameters()) if not n.startswith("out"))


@pytest.mark.parametrize("vectors", [0, 4])
def test_support_vectors_and_ridges_are_their_formulas(vectors: int) -> None:
    generator = torch.Generator().manual_seed(1)
    state = {key: torch.rand(value.shape, generator=generator) + 0.5 for key, value in Svr(5, vectors).state_dict().items()}
    regression, x = Svr.like(state), torch.rand(3, 5, generator=generator)
    regression.load_state_dict(state)
    z = (x - state["mean"]) / state["std"]
    if vectors:
        squares = (z[:, None] - state["support"]).square().sum(2)
        expected = (-state["gamma"] * squares).exp() @ state["dual"] + state["intercept"]
    else:
        expected = z @ state["weight"] + state["intercept"]
    torch.testing.assert_close(regression(x), expected)


def test_bosse_weighs_patches() -> None:
    patches = torch.rand(4, 3, 32, 32)
    quality, weight = filled(lambda: Bosse(True, weighted=True))(patches, patches.flip(3))
    assert quality.shape == weight.shape == (4,) and weight.min() >= 1e-6
    quality, weight = filled(lambda: Bosse(False))(patches)
    assert torch.equal(weight, torch.ones(4))
    assert pool_patches(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 3.0]])).tolist() == [2.5]
    with pytest.raises(ValueError, match="reference"):
        meta(lambda: Bosse(True))(torch.empty((1, 3, 32, 32), device="meta"))


def test_fusion_takes_the_order_it_is_told() -> None:
    dist, ref = torch.tensor([[1.0]]), torch.tensor([[10.0]])
    assert fuse(dist, ref, "r,d,r-d").tolist() == [[10, 1, 9]]
    assert fuse(dist, ref, "d-r,d,r").tolist() == [[-9, 1, 10]]
    with pytest.raises(ValueError, match="'x'"):
        fuse(dist, ref, "r,x")


def test_shallow_on_a_larger_picture_is_the_mean_of_its_windows() -> None:
    network = filled(Shallow)
    x = torch.rand(1, 3, 227, 227 + 32)
    maps = network.maps(x)
    windows = [network.fc(network.conv4(maps[..., n : n + 12])[..., 0, 0]).item() for n in range(maps.shape[3] - 11)]
    assert len(windows) == 3
    assert network(x).item() == pytest.approx(np.mean(windows), rel=1e-4)


UNUSED: list[tuple[Callable[[], nn.Module], str]] = [
    (lambda: ResNet(18), "fc.weight"), (C3d, "fc8.bias"), (Vsfa, "ann.fc.weight"),
    (Vgg13Block4, "features.28.weight"), (Vgg13Block4, "classifier.0.weight"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "dead"), UNUSED)
def test_unused_keys_of_published_files_are_passed_over_and_others_are_not(make: Callable[[], nn.Module], dead: str) -> None:
    module = meta(make)
    state = dict(module.state_dict())
    module.load_state_dict({**state, dead: torch.zeros(1)}, assign=True)
    with pytest.raises(RuntimeError, match="Unexpected"):
        module.load_state_dict({**state, "stranger": torch.zeros(1)}, assign=True)
    with pytest.raises(RuntimeError, match="Missing"):
        module.load_state_dict(dict(list(state.items())[1:]), assign=True)
