"""Everything a measurement was asked to do, as one frozen value."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from vqmeter.sources import InputOptions
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

    def to_json(self, pix_fmt: str) -> dict[str, Any]:
        s = self.selection
        return {
            "metrics": list(self.metrics), "models": list(self.models), "start": s.start, "duration": s.duration,
            "frames": s.frames, "subsample": s.every, "shortest": s.shortest, "planes": self.planes,
            "compare_format": pix_fmt, "device": self.device, "precision": self.precision,
            "scale": None if self.scale is None else f"{self.scale.size or 'ref'}:{self.scale.algorithm}",
            "threads": self.threads or cpu_count(), "batch": self.batch, "seed": self.seed, "psnr_cap": self.psnr_cap,
        }  # fmt: skip


def cpu_count() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
