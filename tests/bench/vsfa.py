"""VSFA, ResNet-50 with seeded values: frames/s of the metric from a file, against a plain rendition of the authors' loop.

    python tests/bench/vsfa.py [--size 960x540] [--frames 16] [--rounds 3] [--device cpu|cuda]

The plain loop: the whole clip in memory as normalised float32, the network as it stands (contiguous, batch norm apart)
over batches of 64 frames, the head over all features, and the pooling. `one by one` is the same with batches of 1.
Timed in turn in one warm process, threads as the session has them. Reading and colour count on both sides.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import roofline
import table
import torch
from processes import WARM
from rows import Row, Target
from timing import in_turn, rate

from vqmeter import measure
from vqmeter.machine import cpu_count
from vqmeter.networks.resnet import ResNet
from vqmeter.networks.vsfa import Vsfa, mean_std, pool
from vqmeter.weights import save

BATCH = 64  # the authors'
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def models(bench: object) -> list[Row]:
    """VSFA's rows for the whole bench, on the CPU and where there is one on a GPU."""
    import torch

    found = rows()
    return found + rows((1920, 1080), 64, device="cuda") if torch.cuda.is_available() else found


def rows(size: tuple[int, int] = (960, 540), frames: int = 16, rounds: int = 3, device: str = "cpu") -> list[Row]:
    """fp32 and bf16 of ours, each against the plain loop as the authors have it and frame by frame."""
    threads = cpu_count()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip, networks = _write_clip(folder, size, frames), _write_weights(folder)

        def ours(precision: str) -> Callable[[], None]:
            def work() -> None:
                said = {"models": f"vsfa:weights={folder / 'vsfa.safetensors'}", "precision": precision, "device": device}
                report = measure(clip, threads=threads, **said)
                if report.exit_code:
                    raise RuntimeError(str(report.only.error))

            return work

        works = {
            "fp32": ours("fp32"), "bf16": ours("bf16"),
            "plain": lambda: _plain(clip, size, networks, device, BATCH),
            "one by one": lambda: _plain(clip, size, networks, device, 1),
        }  # fmt: skip
        for work in works.values():
            work()
        seconds = in_turn({key: _timed(work) for key, work in works.items()}, rounds)
    speed = {key: rate(values, frames) for key, values in seconds.items()}
    flops = _flops(size)
    what = f"VSFA ResNet-50 {size[0]}x{size[1]} {device}"
    out = []
    for precision, aim in (("fp32", 1.3), ("bf16", 2.5)) if device == "cpu" else (("fp32", None), ("bf16", 10.0)):
        note = f"{flops * speed[precision].median / 1e12:.2f} TFLOP/s in the backbone"
        bound = roofline.by_flops(speed[precision], flops, precision, threads) if device == "cpu" else None
        target = None if aim is None else Target(">=", aim)
        for peer in ("plain", "one by one"):
            key = f"vsfa.{device}.{size[0]}x{size[1]}.{precision}.{peer.replace(' ', '-')}"
            label = f"plain loop, batches of {BATCH}" if peer == "plain" else "plain loop, one by one"
            out.append(Row(WARM, key, f"{what} {precision}", speed[precision], label, speed[peer],
                           target if peer == "plain" else None, note=note if peer == "plain" else "", bound=bound))  # fmt: skip
    return out


def _flops(size: tuple[int, int]) -> int:
    """Operations of a frame through ResNet-50, two a multiplication, counted by torch without computing any."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.device("meta"), torch.no_grad():
        mean_std(ResNet(50).eval()(torch.empty(1, 3, *size[::-1])))
    return int(counter.get_total_flops())


def _timed(work: Callable[[], None]) -> Callable[[], float]:
    import time

    def job() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return job


def _write_clip(folder: Path, size: tuple[int, int], frames: int) -> str:
    """Headless 4:2:0 of moving noise."""
    width, height = size
    path = folder / f"clip_{width}x{height}_25.yuv"
    luma = np.random.default_rng(0).integers(16, 236, (height, width), np.uint8)
    with open(path, "wb") as file:
        for n in range(frames):
            file.write(np.roll(luma, 5 * n, 1).tobytes() + bytes([110]) * (width * height // 2))
    return str(path)


def _write_weights(folder: Path) -> tuple[ResNet, Vsfa]:
    torch.manual_seed(0)
    backbone, head = ResNet(50).eval(), Vsfa().eval()
    state = {**head.state_dict(), **{f"backbone.{key}": value for key, value in backbone.state_dict().items()}}
    said = {"name": "bench", "model": "vsfa", "label": {"low": -1, "high": 1}, "options": {"backbone": "resnet50"}}
    save(folder / "vsfa.safetensors", state, said)
    return backbone, head


@torch.no_grad()
def _plain(clip: str, size: tuple[int, int], networks: tuple[ResNet, Vsfa], device: str, batch: int) -> None:
    import av

    backbone, head = (network.to(device) for network in networks)
    width, height = size
    pictures = []
    with open(clip, "rb") as file:
        while data := file.read(width * height * 3 // 2):
            planes = np.frombuffer(data, np.uint8).reshape(height * 3 // 2, width)
            pictures.append(av.VideoFrame.from_ndarray(planes, "yuv420p").to_ndarray(format="rgb24"))
    video = torch.empty(len(pictures), 3, height, width)
    for n, picture in enumerate(pictures):
        x = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
        video[n] = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    features = torch.cat([mean_std(backbone(part.to(device))) for part in video.split(batch)])
    float(pool(head(features[None])[0][0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="960x540")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    said = parser.parse_args()
    width, height = (int(n) for n in said.size.split("x"))
    found = rows((width, height), said.frames, said.rounds, said.device)
    table.show(found, f"VSFA, medians of {said.rounds} rounds of {said.frames} frames, {cpu_count()} cores")


if __name__ == "__main__":
    main()
