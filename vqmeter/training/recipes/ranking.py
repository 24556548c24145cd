"""Learning from rankings: ladders of distorted copies whose order is known, batches of pairs of them, and the hinge loss.

A ladder is one type of distortion: pictures at rising levels, the pristine ones at level 0. Within a ladder every picture
of a lower level counts as better than every one of a higher level, across contents too; between ladders nothing is known.

    loss = sum over pairs of max(0, margin - (f(better) - f(worse)))

`all` takes every pair of a batch, whose pictures go through the network once; `standard` draws pairs of two pictures of
their own, as a Siamese network does; `hard` learns from the half of such pairs with the greatest loss (after Simo-Serra et
al., ICCV 2015). All three send as many pictures a step through the network.

Source: Liu, van de Weijer, Bagdanov, RankIQA, ICCV 2017, doi:10.1109/ICCV.2017.118.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vqmeter.errors import UsageError
from vqmeter.training import need
from vqmeter.training.datasets import Item
from vqmeter.training.reading import as_reference
from vqmeter.training.recipes.rankiqa_crops import Cropper, CropTask, Groups
from vqmeter.training.run import Run
from vqmeter.writers import whole, write_whole

Pairs = Literal["all", "standard", "hard"]
HELD_BATCHES = 4  # whose pairs are looked at after every epoch
SHOWN = 32  # contents of a ladder whose scores are told by level


@dataclass(frozen=True)
class Ladder:
    """One type of distortion: of each content the items by level, mildest first, as numbers."""

    type: str
    contents: tuple[tuple[tuple[int, int], ...], ...]  # (level, item)


@dataclass(frozen=True)
class Mix:
    """What a batch is made of: `types` ladders, `contents` of each, all their levels."""

    types: int
    contents: int

    def pictures(self, made_of: Sequence[Ladder]) -> int:
        """In a batch, where every ladder is whole."""
        rungs = max(len(content) for ladder in made_of for content in ladder.contents)
        return min(self.types, len(made_of)) * self.contents * rungs


@dataclass(frozen=True)
class Batch:
    """Numbers of items, whose picture each is of (alike for copies of one content), and pairs of places, the better first."""

    items: tuple[int, ...]
    contents: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]


def rungs(items: Sequence[Item]) -> list[Item]:
    """The items that have a level, and the references of those without a pristine one at level 0."""
    leveled = [item for item in items if item.level is not None]
    pristine = {item.group for item in leveled if item.level == 0}
    missing = {item.reference: item for item in leveled if item.reference and item.group not in pristine}
    return [*leveled, *(_pristine(item) for item in missing.values())]


def _pristine(item: Item) -> Item:
    found = as_reference(item)
    return Item(found.path, float("nan"), found.path, item.group, "pristine", 0, item.size, item.rate)


def ladders(items: Sequence[Item], levels: int | None = None, first: int = 0) -> list[Ladder]:
    """The ladders among `items`, numbered from `first` on; of `levels` rungs, the pristine one counted, evenly spread.

    Raises
        UsageError: there is nothing to rank.
    """
    found: dict[str, dict[str, dict[int, int]]] = defaultdict(lambda: defaultdict(dict))
    pristine: dict[str, int] = {}
    for n, item in enumerate(items, first):
        content = item.group or item.reference or item.path
        if item.level == 0:
            pristine[content] = n
        elif item.level is not None:
            found[item.type][content][item.level] = n
    out = []
    for kind, contents in sorted(found.items()):
        kept = {0} | {level for rows in contents.values() for level in rows}
        if levels is not None and levels < len(kept):
            kept = {sorted(kept)[round(at)] for at in np.linspace(0, len(kept) - 1, levels)}
        rows = [{**({0: pristine[name]} if name in pristine else {}), **one} for name, one in sorted(contents.items())]
        whole = [tuple(sorted((level, n) for level, n in one.items() if level in kept)) for one in rows]
        out.append(Ladder(kind, tuple(one for one in whole if len(one) > 1)))
    out = [ladder for ladder in out if ladder.contents]
    if not out:
        raise UsageError("rankiqa: no item has a type and a level to rank by; 'vqmeter distort' makes such data, which "
                         "ladders=FOLDER names, and stage=tune learns from scores alone")  # fmt: skip
    return out


def set_apart(items: Sequence[Item], rng: np.random.Generator) -> tuple[list[Item], list[Item]]:
    """A tenth of the contents, at least one, apart from the others; fewer than five contents stand for both."""
    names = sorted({item.group or item.path for item in items})
    if len(names) < 5:
        return list(items), list(items)
    apart = {names[n] for n in rng.permutation(len(names))[: max(1, len(names) // 10)]}
    parts: tuple[list[Item], list[Item]] = ([], [])
    for item in items:
        parts[(item.group or item.path) in apart].append(item)
    return parts


def shared(items: Sequence[Item], share: float, rng: np.random.Generator) -> list[Item]:
    """The items of a random share of the contents."""
    names = sorted({item.group or item.path for item in items})
    count = max(1, round(share * len(names)))
    kept = {names[n] for n in rng.permutation(len(names))[:count]}
    return [item for item in items if (item.group or item.path) in kept]


def draw(made_of: Sequence[Ladder], mix: Mix, pairs: Pairs, rng: np.random.Generator) -> Batch:
    """One batch: ladders and contents by chance, and the pairs of it."""
    chosen = [made_of[n] for n in rng.permutation(len(made_of))[: mix.types]]
    groups = []
    for ladder in chosen:
        some = rng.permutation(len(ladder.contents))[: mix.contents]
        groups.append([ladder.contents[n] for n in some])
    return _whole(groups) if pairs == "all" else _siamese(groups, rng)


def _whole(groups: Sequence[Sequence[Sequence[tuple[int, int]]]]) -> Batch:
    """Every picture once, with every pair of two levels of a ladder."""
    items, contents, pairs = list[int](), list[int](), list[tuple[int, int]]()
    for group in groups:
        begin, levels = len(items), list[int]()
        for content in group:
            whose = contents[-1] + 1 if contents else 0
            items += [n for _, n in content]
            levels += [level for level, _ in content]
            contents += [whose] * len(content)
        pairs += [(begin + i, begin + j) for i, j in itertools.permutations(range(len(levels)), 2) if levels[i] < levels[j]]
    return Batch(tuple(items), tuple(contents), tuple(pairs))


def _siamese(groups: Sequence[Sequence[Sequence[tuple[int, int]]]], rng: np.random.Generator) -> Batch:
    """As many pictures as `_whole` would take, two a pair."""
    count = sum(len(content) for group in groups for content in group) // 2
    items, contents = list[int](), list[int]()
    while len(items) < 2 * count:
        group = groups[int(rng.integers(len(groups)))]
        one, other = (group[int(rng.integers(len(group)))] for _ in range(2))
        (low, better), (high, worse) = sorted((one[int(rng.integers(len(one)))], other[int(rng.integers(len(other)))]))
        if low < high:
            whose = contents[-1] + 1 if contents else 0
            items += [better, worse]
            contents += [whose, whose if one is other else whose + 1]
    return Batch(tuple(items), tuple(contents), tuple((n, n + 1) for n in range(0, 2 * count, 2)))


def hinges(scores: Tensor, pairs: Sequence[tuple[int, int]], margin: float) -> Tensor:
    """(P,) max(0, margin - (f(better) - f(worse))) of scores (N,)."""
    better, worse = torch.tensor(pairs, device=scores.device).T
    return (margin - (scores[better] - scores[worse])).clamp_min(0)


@dataclass(frozen=True)
class Ranking:
    """How ladders are ranked; `summed` divides the sum over pairs by the batch, as the authors do, else it is their mean; `own`
    has pairs of copies of one picture alone, which say nothing of how pictures compare."""

    mix: Mix
    pairs: Pairs = "all"
    margin: float = 1.0
    aligned: bool = False
    summed: bool = False
    steps: int | None = None  # an epoch; None: every content of every ladder once
    own: bool = False


class RankTask(CropTask):
    """The ranking stage. What it tells after an epoch is of fixed pairs, of `held` ladders that it does not learn from."""

    def __init__(self, module: nn.Module, cropper: Cropper, made_of: Sequence[Ladder], held: Sequence[Ladder],
                 how: Ranking, run: Run, groups: Groups | None = None) -> None:  # fmt: skip
        super().__init__(module, cropper, groups)
        self.ladders, self.how = list(made_of), how
        rng = run.rng("held pairs")
        batches = [draw(held, how.mix, "all", rng) for _ in range(HELD_BATCHES)]
        self.held = [(batch, rng.random((len(batch.items), 4))) for batch in batches]

    def _places(self, batch: Batch, rng: np.random.Generator) -> NDArray[np.float64]:
        """(N, 4) as a cropper takes them; one place a content where copies are aligned."""
        drawn = rng.random((max(batch.contents) + 1, 4)) if self.how.aligned else rng.random((len(batch.items), 4))
        return drawn[list(batch.contents)] if self.how.aligned else drawn

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[Batch]:
        mix = self.how.mix
        each = min(mix.types, len(self.ladders)) * mix.contents
        steps = self.how.steps or -(-sum(len(ladder.contents) for ladder in self.ladders) // each)
        return [draw(self.ladders, mix, self.how.pairs, rng) for _ in range(steps)]

    def loss(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        scores = self.say(self.cropper(batch.items, self._places(batch, rng)))
        pairs = [(a, b) for a, b in batch.pairs if not self.how.own or batch.contents[a] == batch.contents[b]]
        lost = hinges(scores, pairs, self.how.margin)
        if self.how.pairs == "hard":
            lost = lost.topk(-(-len(lost) // 2)).values
        return lost.sum() / len(batch.items) if self.how.summed else lost.mean()

    def validate(self) -> Mapping[str, float]:
        lost, right = list[Tensor](), list[Tensor]()
        for batch, places in self.held:
            scores = self.say(self.cropper(batch.items, places))
            lost.append(hinges(scores, batch.pairs, self.how.margin))
            right.append((hinges(scores, batch.pairs, 0.0) == 0).float())
        return {"pair_loss": float(torch.cat(lost).mean()), "accuracy": float(torch.cat(right).mean())}

    def by_level(self, made_of: Sequence[Ladder], rng: np.random.Generator) -> dict[str, dict[int, list[float]]]:
        """Type -> level -> what the network says of some pictures of it."""
        table: dict[str, dict[int, list[float]]] = {}
        for ladder in made_of:
            rungs = [rung for content in ladder.contents[:SHOWN] for rung in content]
            of_type: dict[int, list[float]] = defaultdict(list)
            for (level, _), score in zip(rungs, self.scores([n for _, n in rungs], rng), strict=True):
                of_type[level].append(float(score))
            table[ladder.type] = dict(sorted(of_type.items()))
        return table


def draw_levels(table: Mapping[str, Mapping[int, Sequence[float]]], folder: Path) -> None:
    """`levels.json` and, with matplotlib, `levels.png`: histograms of scores by level, a panel a type."""
    write_whole(folder / "levels.json", json.dumps(table, indent=1))
    try:
        figure = need("matplotlib.figure", "plots", "histograms")
    except UsageError:
        return
    columns = min(4, len(table))
    rows = -(-len(table) // columns)
    canvas = figure.Figure(figsize=(3.2 * columns, 2.4 * rows), layout="constrained")
    for axes, (kind, levels) in zip(canvas.subplots(rows, columns, squeeze=False).flat, table.items(), strict=False):
        ends = np.histogram_bin_edges([score for one in levels.values() for score in one], 30)
        for level, values in levels.items():
            axes.hist(values, ends, alpha=0.6, label=str(level))
        axes.set(title=kind, xlabel="score", ylabel="pictures")
        axes.legend(title="level", fontsize=7)
    with whole(str(folder / "levels.png"), ".png") as temporary:
        canvas.savefig(temporary, dpi=100)
