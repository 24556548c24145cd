"""The one road from frames to torch: upload, luma and RGB, sizes, and how networks are run over batches.

A model keeps frames (`keep`), or what it cuts out of them, in `prepare`; in `score` it runs its network:

    network = place(module, context)                                  # once
    batches = Batches(batch_size(context, bytes_each))
    with computing(context):
        out = batches.run(lambda kept: network(feed(to_rgb(kept, context.device), context)).float(), items)

Modules: `pictures` (frames to RGB and luma), `shapes` (resize, crop, pad, normalise), `running` (threads, device,
precision, memory).
"""

from __future__ import annotations

from vqmeter.tensors.pictures import (
    Kept,
    chroma_up,
    keep,
    kept_rgb,
    luma,
    rgb,
    rgb_array,
    rgb_of_planes,
    rgb_reduced,
    three_planes,
    to_rgb,
    upload,
)
from vqmeter.tensors.running import (
    Batches,
    batch_size,
    batched,
    computing,
    dtype_of,
    feed,
    fold_norms,
    place,
    single_thread,
)
from vqmeter.tensors.shapes import crops, normalise, reflect_pad, resize, resize_matrix

__all__ = [
    "Batches", "Kept", "batch_size", "batched", "chroma_up", "computing", "crops", "dtype_of", "feed", "fold_norms", "keep",
    "kept_rgb", "luma", "normalise", "place", "reflect_pad", "resize", "resize_matrix", "rgb", "rgb_array", "rgb_of_planes",
    "rgb_reduced", "single_thread", "three_planes", "to_rgb", "upload",
]  # fmt: skip
