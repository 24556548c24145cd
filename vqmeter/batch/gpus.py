"""Which GPUs of this machine jobs want, and how they are dealt out."""

from __future__ import annotations

import os
from collections.abc import Iterable

from vqmeter.batch.jobs import Job
from vqmeter.devices import resolve_device
from vqmeter.metric import choose


def gpus_for(jobs: Iterable[Job]) -> tuple[int, list[str]]:
    """How many GPUs `jobs` compute on, and what each worker should see of them; [] where jobs name theirs by number.

    Raises
        DeviceError: a job asks for a GPU that is not here.
    """
    kinds = {(tuple(job.options["metrics"]), tuple(job.options["models"]), job.options.get("device", "auto")) for job in jobs}
    devices = {resolve_device(device, chosen.metric.prefers_cuda)
               for metrics, models, device in kinds for family, specs in (("fr", metrics), ("nr", models)) if specs
               for chosen in choose(family, specs)} - {"cpu"}  # fmt: skip
    if not devices:
        return 0, []
    if any(":" in device for _, _, device in kinds):
        return len(devices), []
    import torch

    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = seen.split(",") if seen else [str(n) for n in range(torch.cuda.device_count())]
    return len(names), names
