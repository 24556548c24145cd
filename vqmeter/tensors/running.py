"""How networks are run: threads, device, precision, and batches as large as memory allows."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from vqmeter.errors import DeviceError, UsageError
from vqmeter.machine import hold_memory
from vqmeter.metric import Context

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)

torch.get_num_threads()  # settles the count of the thread that loads this: `single_thread` changes what new ones start with


def single_thread() -> None:
    """Keep torch's operators to the calling thread: frames are spread over threads instead, which is faster.

    The thread that loaded this module keeps its own count.
    """
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


def dtype_of(context: Context) -> torch.dtype:
    """The type a network computes in. 16 bits only where they are named.

    Raises
        UsageError: fp16 on the CPU, which has no arithmetic for it.
    """
    if context.precision == "fp16" and context.device == "cpu":
        raise UsageError("fp16 needs a GPU; take --precision bf16 or fp32")
    return DTYPES[context.precision]


def place(module: M, context: Context) -> M:
    """The module on its device in its type, weights in channels_last, batch norm folded into convolutions."""
    fold_norms(module)
    if context.device == "cpu":
        hold_memory()
    placed = cast(M, module.eval().requires_grad_(False).to(context.device, dtype_of(context)))
    for parameter in placed.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return placed


def fold_norms(module: nn.Module) -> None:
    """Fold every batch norm into the convolution before it: `convN` and `bnN`, or neighbours in a sequence."""
    for parent in module.modules():
        children = dict(parent.named_children())
        pairs = zip(children, list(children)[1:], strict=False) if isinstance(parent, nn.Sequential) else (
            (name, name.replace("conv", "bn")) for name in children if name.startswith("conv"))  # fmt: skip
        for first, second in pairs:
            conv, norm = children[first], children.get(second)
            if isinstance(conv, nn.modules.conv._ConvNd) and isinstance(norm, nn.modules.batchnorm._BatchNorm):
                setattr(parent, first, nn.utils.fusion.fuse_conv_bn_eval(conv.eval(), norm.eval()))
                setattr(parent, second, nn.Identity())


def feed(x: Tensor, context: Context) -> Tensor:
    """What a placed network takes: on the device, in its type, pictures in channels_last."""
    layout = torch.channels_last if x.dim() == 4 else torch.contiguous_format
    return x.to(context.device, dtype_of(context), non_blocking=True).contiguous(memory_format=layout)


@contextmanager
def computing(context: Context) -> Iterator[None]:
    """Inference with the session's threads and without TF32, which would make fp32 something else on a GPU.

    Wrap `Meter.score` and `finish` in it. Torch's thread count belongs to the calling thread (OpenMP's and MKL's local
    one), but a thread that never used torch begins with the count that was set last anywhere, by `single_thread` in a
    worker for instance. So the count is set here for every call and put back afterwards; that takes a microsecond.
    """
    before = torch.get_num_threads()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if context.device == "cpu":
            stack.callback(torch.set_num_threads, before)
            torch.set_num_threads(max(1, context.threads))
        else:
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False))
        yield


def batch_size(context: Context, bytes_each: int, most: int = 16) -> int:
    """`context.batch` where it is said, else as many items as memory is there for, `bytes_each` at the peak of one.

    On a GPU half of what is free; on the CPU no more than 128 MiB: there batches bring nothing beyond filling the
    threads, and large intermediate maps leave the caches (ResNet-50 at 960x540 is fastest with one frame).
    """
    if context.batch is not None:
        return max(1, context.batch)
    on_cpu = context.device == "cpu"
    room = min(_free_memory() // 4, 128 << 20) if on_cpu else torch.cuda.mem_get_info(context.device)[0] // 2
    return max(1, min(most, room // max(1, bytes_each)))


def _free_memory() -> int:
    """Bytes that can be had without swapping."""
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 if hasattr(os, "sysconf") else 2 << 30


@dataclass
class Batches:
    """Runs a function over items in batches of `size`, halved for good whenever memory runs out."""

    size: int

    def run(self, fn: Callable[[Sequence[T]], Tensor], items: Sequence[T]) -> Tensor:
        """The outputs of `fn` for all items, one after another, (len(items), ...).

        Raises
            DeviceError: memory is too short for a single item.
        """
        out: list[Tensor] = []
        at = 0
        while at < len(items):
            try:
                out.append(fn(items[at : at + self.size]))
                at += self.size
                continue
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error):
                    raise
                tried = min(self.size, len(items) - at)
                reason = " ".join(str(error).split())[:100]
            if tried == 1:
                raise DeviceError(f"out of memory on a single frame or clip ({reason}); use smaller pictures or --device cpu")
            self.size = tried // 2
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return torch.cat(out)


def _out_of_memory(error: BaseException) -> bool:
    """torch has a class of its own for GPUs; its CPU allocator and oneDNN only say so."""
    said = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        words in said for words in ("not enough memory", "can't allocate memory", "out of memory", "could not create a memory")
    )


def batched(fn: Callable[[Sequence[T]], Tensor], items: Sequence[T], size: int) -> Tensor:
    """`Batches(size).run(fn, items)`, for one call only."""
    return Batches(size).run(fn, items)
