"""DIQaM and WaDIQaM with a reference: quality of 32x32 patches by ten convolutions, pooled by mean or by weight.

    q = mean_p q_p,   or in the weighted form   q = sum_p w_p q_p / sum_p w_p

q_p and w_p come from the features of the reference's and the distorted's patch and their difference, in the order
the weights were trained with. The paper scores pictures by 32 random patches; the video is the mean over frames (ours).
Source: Bosse et al., IEEE TIP 27(1), 2018, doi:10.1109/TIP.2017.2760518; github.com/dmaniry/deepIQA.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from vqmeter.errors import UsageError, WeightsError
from vqmeter.metric import About, Context, Meter, Scale, Stream
from vqmeter.metrics.crops import SAMPLED_RATE, Crop, Recipe, frame_rate
from vqmeter.metrics.fr.dipqa import PATCHES, PairMeter, patch_count
from vqmeter.networks.bosse import Bosse, shape_of
from vqmeter.weights import build, load

PORT = Recipe("RGB", 255.0)


@dataclass(frozen=True)
class Diqam:
    """Score `diqam`, 0 to 100, higher is better; `raw` is the network's own number, `mos` on its data set's scale."""

    patches: str = str(PATCHES)
    pooling: Literal["auto", "mean", "weighted"] = "auto"
    rate: str = "auto"
    weights: str | None = None

    about: ClassVar[About] = About(
        title="DIQaM, WaDIQaM",
        definition="Ten convolutions on 32x32 patches of reference and distorted, their features fused in the order the "
        "weights were trained with; one number a patch, and in the weighted form a weight; pooled over 32 patches of two "
        "frames a second, at random places that follow from --seed, the frame's number and its size, the same in both. "
        "pooling=auto is weighted where the weights have a weight branch, else the mean; pooling=mean leaves "
        "the branch out. Weights of fewer channels, or of other parts than the two vectors and their difference, are told by "
        "the file. patches=N for more or fewer, patches=grid for as few evenly spread ones as cover the frame; "
        "rate=native for every frame, rate=N for N frames a second. Smaller frames are mirrored at their borders. The "
        "video's score is that of the mean raw value. R, G, B in 0..1 unless the weight file says otherwise; 0..100 is its "
        "label's range, turned round where a lower label is better. --map shows the qualities of the grid's patches and "
        "leaves the score as it is.",
        source="Bosse, Maniry, Mueller, Wiegand, Samek: Deep Neural Networks for No-Reference and Full-Reference Image Quality "
        "Assessment. IEEE TIP 27(1), 2018, doi:10.1109/TIP.2017.2760518",
        differs="The authors' own code takes R, G, B in 0..255 and draws patches anew in every run; the PyTorch ports leave "
        "out the last row and column of a grid where the picture's size is a multiple of 32.",
        needs="a reference, and weights of diqam; see 'vqmeter weights list'",
        validated="Network shapes, patches and pooling are held by tests against a plain rendition.",
    )
    needs_length: ClassVar[bool] = False
    identical_is_best: ClassVar[bool] = False
    prefers_cuda: ClassVar[bool] = True
    has_map: ClassVar[bool] = True

    def __post_init__(self) -> None:
        patch_count("diqam", self.patches)
        frame_rate("diqam", self.rate, None)

    def scales(self) -> Mapping[str, Scale]:
        return {"diqam": Scale("", 0.0, 100.0, "higher", "the mean over patches, weighted or not, of DIQaM's qualities")}

    def open(self, stream: Stream, context: Context) -> Meter:
        state, weights = load("diqam", self.weights)
        if "fc_q.0.weight" not in state:
            raise WeightsError(f"{weights.path}: weights of diqam without fc_q")
        shape = shape_of(state, str(weights.options.get("fusion", "d-r,d,r")))
        if self.pooling == "weighted" and not shape["weighted"]:
            raise UsageError(f"diqam: {weights.name} has no weight branch; take pooling=mean")
        eps = float(weights.options.get("eps", 1e-6))
        network = build(lambda: Bosse(True, eps=eps, **shape), state)
        if self.pooling == "mean":
            network.fc_w = None
        return DiqamMeter(
            "diqam", network, weights, stream, context, size=shape["size"], count=patch_count("diqam", self.patches),
            rate=frame_rate("diqam", self.rate, SAMPLED_RATE), recipe=Recipe.of(weights, PORT),
        )  # fmt: skip


class DiqamMeter(PairMeter):
    """Patches count by the network's weight, which is 1 without a weight branch."""

    def values(self, squares: Sequence[tuple[Crop, Crop]]) -> Tensor:
        ref, dist = self.both(squares)
        quality, weight = self.network(dist, ref)
        return torch.stack([quality.float(), weight.float()], 1)
