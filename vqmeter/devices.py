"""Where to compute: the CPU, or a CUDA device that is really there."""

from __future__ import annotations

from vqmeter.errors import DeviceError, UsageError


def resolve_device(wanted: str, prefers_cuda: bool) -> str:
    """`cpu` or `cuda:N`. torch is imported only when a GPU is asked for or some metric is better off with one.

    Raises
        DeviceError: CUDA was asked for and is not usable.
    """
    if wanted == "cpu" or (wanted == "auto" and not prefers_cuda):
        return "cpu"
    kind, _, number = wanted.partition(":")
    if wanted != "auto" and (kind != "cuda" or not (number or "0").isdigit()):
        raise UsageError(f"unknown device '{wanted}'; there are auto, cpu, cuda and cuda:N")
    import torch

    usable = torch.cuda.is_available()
    if wanted == "auto":
        return "cuda:0" if usable else "cpu"
    if not usable:
        raise DeviceError("no usable CUDA GPU here; use --device cpu")
    if int(number or 0) >= torch.cuda.device_count():
        raise DeviceError(f"no GPU {number} here; there are {torch.cuda.device_count()}")
    return f"cuda:{number or 0}"
