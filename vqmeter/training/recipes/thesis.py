"""The tables of the DIPQA thesis beside which ours are set, and variants that it describes without figures.

HMII, its data set, is not public: 1,511 pairs of HEVC-coded patches of 128x128 and their central 64x64. The tables can be made
on any list of pairs (`--dataset pairs`); published figures then stand for another data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqmeter.training.recipes import Comparison

Figures = tuple[float, float]  # PLCC and SROCC

#: Options of a row, its figures at 64x64 and at 128x128.
_TABLE_1: dict[str, tuple[dict[str, Any], Figures, Figures]] = {
    "SSIM": ({"baseline": "ssim"}, (0.785, 0.787), (0.795, 0.797)),
    "RFSIM": ({"baseline": "rfsim"}, (0.774, 0.757), (0.789, 0.759)),
    "FSIM": ({"baseline": "fsim"}, (0.794, 0.799), (0.824, 0.815)),
    "PSNR": ({"baseline": "psnr"}, (0.200, 0.737), (0.194, 0.752)),
    "UQI": ({"baseline": "uqi"}, (0.023, 0.621), (0.012, 0.589)),
    "VSI": ({"baseline": "vsi"}, (0.765, 0.765), (0.768, 0.786)),
    "SRSIM": ({"baseline": "srsim"}, (0.777, 0.803), (0.718, 0.803)),
}
_TABLE_2: dict[str, tuple[dict[str, Any], Figures, Figures]] = {
    "IPM (SSIM)": ({"baseline": "ipm_ssim"}, (0.836, 0.784), (0.843, 0.794)),
    "IPM (FSIM)": ({"baseline": "ipm_fsim"}, (0.848, 0.795), (0.871, 0.810)),
    "IPM (SRSIM)": ({"baseline": "ipm_srsim"}, (0.854, 0.802), (0.857, 0.798)),
    "DIQaM": ({"baseline": "diqam"}, (0.916, 0.824), (0.905, 0.819)),
    "DIPQA (VGG extractor)": ({"extractor": "frozen"}, (0.802, 0.754), (0.830, 0.760)),
    "DIPQA (VGG finetuning)": ({"extractor": "finetune"}, (0.921, 0.848), (0.955, 0.871)),
}
_COLUMNS = ("plcc", "srocc", "srocc_per_reference")
_HOURS = {64: "about 30 hours a deep row on 2 CPU cores, a quarter of an hour on a data centre's GPU",
          128: "about 5 days a deep row on 2 CPU cores, an hour on a data centre's GPU"}  # fmt: skip


def _published(table: Mapping[str, tuple[dict[str, Any], Figures, Figures]], size: int) -> dict[tuple[str, str], float]:
    return {(name, column): value for name, (_, at_64, at_128) in table.items()
            for column, value in zip(_COLUMNS, at_64 if size == 64 else at_128, strict=False)}  # fmt: skip


def _classic(size: int) -> Comparison:
    return Comparison(
        f"Full-reference metrics on pairs of {size}x{size}, all of them, without a fit", "DIPQA thesis, Table 4.1",
        {name: row[0] for name, row in _TABLE_1.items()}, _published(_TABLE_1, size),
        f"HMII, 1,511 pairs of {size}x{size}; minutes", _COLUMNS, splits="none", repeats=1,
    )  # fmt: skip


def _deep(size: int) -> Comparison:
    return Comparison(
        f"Cubic fits, DIQaM and DIPQA on pairs of {size}x{size}, ten folds", "DIPQA thesis, Table 4.2",
        {name: {**row[0], "size": str(size), "as_published": True} for name, row in _TABLE_2.items()},
        _published(_TABLE_2, size),
        f"HMII, 1,511 pairs of {size}x{size}; {_HOURS[size]}", _COLUMNS, splits="10-fold", repeats=1,
    )  # fmt: skip


def _variants(title: str, source: str, rows: Mapping[str, Mapping[str, Any]]) -> Comparison:
    return Comparison(title, source, rows, {}, f"HMII; {_HOURS[64]}", _COLUMNS, splits="10-fold", repeats=1)


COMPARISONS: Mapping[str, Comparison] = {
    "table_4_1_64": _classic(64),
    "table_4_1_128": _classic(128),
    "table_4_2_64": _deep(64),
    "table_4_2_128": _deep(128),
    "cut": _variants("Blocks of VGG-13 that are kept", "the thesis keeps 4 and gives no figures for others",
                     {f"{n} blocks": {"cut": n} for n in (3, 4, 5)}),
    "backbone": _variants("The network that gives the features", "VGG-13 is the thesis's, ResNet-18 ours; no figures are given",
                          {"VGG-13": {"backbone": "vgg13"}, "ResNet-18": {"backbone": "resnet18"}}),
    "fusion": _variants("How the features of both patches are joined", "the triple is the thesis's; no figures are given",
                        {"r, d, r - d": {"fusion": "triple"}, "r, d": {"fusion": "pair"}, "r - d": {"fusion": "difference"},
                         "r, |r - d|": {"fusion": "absolute"}}),
}  # fmt: skip


def of_cubic(metric: str) -> Mapping[str, Comparison]:
    """The row of a cubic fit in Table 4.2, beside ours that never falls."""
    name = f"IPM ({metric})"
    rows: dict[str, dict[str, Any]] = {name: {"shape": "free", "as_published": True}, "never falling": {"shape": "rising"}}
    return {
        f"table_4_2_{size}": Comparison(
            f"A cubic of {metric} on pairs of {size}x{size}, ten folds", "DIPQA thesis, Table 4.2", rows,
            _published({name: _TABLE_2[name]}, size), f"HMII, 1,511 pairs of {size}x{size}; minutes", _COLUMNS,
            splits="10-fold", repeats=1,
        )
        for size in (64, 128)
    }  # fmt: skip
