"""Everything a measurement was asked to do, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vqmeter.errors import UsageError
from vqmeter.limits import Limit
from vqmeter.machine import cpu_count
from vqmeter.sources import InputOptions
from vqmeter.sources.cropping import Crop
from vqmeter.sources.pair import Selection
from vqmeter.sources.scaling import Scale
from vqmeter.worst import Worst


@dataclass(frozen=True)
class Settings:
    """How to measure, as resolved from the command line or the call to `measure`."""

    metrics: tuple[str, ...] = ("psnr", "ssim")
    models: tuple[str, ...] = ()
    selection: Selection = field(default_factory=Selection)
    ref_input: InputOptions = field(default_factory=InputOptions)
    dist_input: InputOptions = field(default_factory=InputOptions)
    planes: str = "y"
    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    batch: int | None = None
    seed: int = 0
    psnr_cap: float | str | None = "auto"
    weights: str | None = None
    model_ref: bool = False
    scale: Scale | None = None
    map_folder: str | None = None
    worst: Worst | None = None
    sync: str | int = "off"
    crop: Crop | None = None
    deinterlace: bool = False
    limits: tuple[Limit, ...] = ()  # stop as soon as they are decided
    cache: str | None = None

    def to_json(self, pix_fmt: str) -> dict[str, Any]:
        s = self.selection
        return {
            "metrics": list(self.metrics), "models": list(self.models), "start": s.start, "duration": s.duration,
            "frames": s.frames, "subsample": s.every, "shortest": s.shortest, "pair": s.pair, "sync": self.sync,
            "planes": self.planes, "compare_format": pix_fmt, "device": self.device, "precision": self.precision,
            "crop": None if self.crop is None else str(self.crop), "deinterlace": self.deinterlace,
            "scale": None if self.scale is None else str(self.scale),
            "until_decided": [str(limit) for limit in self.limits] or None,
            "threads": self.threads or cpu_count(), "batch": self.batch, "seed": self.seed, "psnr_cap": self.psnr_cap,
        }  # fmt: skip


def parse_sync(sync: str | int, pair: str = "index") -> str | int:
    """`off`, `auto` or a number of frames.

    Raises
        UsageError: none of these, an offset beside pairing by time, which needs none, or another way to pair.
    """
    if pair not in ("index", "pts"):
        raise UsageError(f"--pair is index or pts, not '{pair}'")
    if sync not in ("off", "auto"):
        try:
            sync = int(sync)
        except ValueError:
            raise UsageError(f"--sync is off, auto or a number of frames, not '{sync}'") from None
    if sync not in ("off", 0) and pair == "pts":
        raise UsageError("--sync counts frames and --pair pts goes by time; choose one")
    return sync
