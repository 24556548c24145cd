"""Which file a name means, and reading it with everything that is known of it."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from vqmeter.errors import WeightsError
from vqmeter.metric import choose
from vqmeter.weights import files, manifest, published
from vqmeter.weights.files import Arrays, State
from vqmeter.weights.manifest import SUFFIXES, Weights, entries, forget_hashes, places, sha256


def find(name: str, choice: str | Path | None = None, beside: Path | None = None) -> Weights:
    """The weights that `name` means, with their path, their hash verified.

    Parameters
        name: a weight set's name, or a model's.
        choice: what the user asked for in its place: a file, a folder, or the name of another set.
        beside: a folder to look in first, that of a file which needs these weights.

    Raises
        WeightsError: no such file anywhere, one with another hash, or weights of another model.
    """
    said = Path(choice).expanduser() if choice and _is_path(choice) else None
    if said is not None and not said.exists():
        raise WeightsError(f"{choice}: no such file or folder; 'vqmeter weights list' shows what there is")
    asked = str(choice) if choice and said is None else name
    spots = [spot for spot in (said, beside, *places()) if spot is not None]
    for path, entry in _candidates(asked, spots):
        weights = identify(path, entry)
        if path != said and asked not in (weights.name, weights.model, path.stem):
            continue
        is_model = name in {entry.model for entry in entries()}
        if name != weights.model and (is_model or name not in (weights.name, path.stem)):
            raise WeightsError(f"{path}: these are weights of {weights.model}, not of {name}")
        return weights
    raise WeightsError(_missing(asked, spots))


def load(name: str, choice: str | Path | None = None, beside: Path | None = None) -> tuple[State, Weights]:
    """The tensors of the weights that `find` finds, in float32 under vqmeter's own names, and what they are."""
    weights = find(name, choice, beside)
    return _read(weights), weights


def load_arrays(name: str, choice: str | Path | None = None) -> tuple[Arrays, Weights]:
    """As `load`, as NumPy arrays, for models that compute without torch."""
    weights = find(name, choice)
    if weights.path is None:
        raise WeightsError(_missing(weights.name, places()))
    return files.read_arrays(weights.path)[0], weights


def load_with_backbone(name: str, choice: str | Path | None = None) -> tuple[State, Weights, State, Weights]:
    """A head and the backbone it needs: the head's tensors and weights, the backbone's tensors and weights.

    The backbone is in the head's file (keys `backbone.`), beside it, or where any name is looked for.

    Raises
        WeightsError: one of them is missing, or the backbone is not the one the head was trained on.
    """
    state, weights = load(name, choice)
    own = {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}
    if own:
        head = {key: value for key, value in state.items() if not key.startswith("backbone.")}
        return head, weights, own, weights
    if len(weights.needs) != 1:
        raise WeightsError(f"{weights.path}: does not say which backbone it stands on")
    [(backbone, wanted)] = weights.needs.items()
    under = find(backbone, beside=weights.path.parent if weights.path else None)
    if not any(digest and digest.startswith(wanted) for digest in (under.sha256, under.source_sha256)):
        raise WeightsError(
            f"{under.path}: another {backbone} (SHA-256 {under.sha256[:16]}...) than the one {weights.name} was"
            f" trained on ({wanted[:16]}...)"
        )
    return state, weights, _read(under), under


def hashes(name: str, choice: str | Path | None = None) -> list[str]:
    """SHA-256 of every file that scores with these weights hang on, a backbone's too. Of missing ones none: measuring tells."""
    with contextlib.suppress(WeightsError):
        weights = find(name, choice)
        beside = weights.path.parent if weights.path else None
        return [weights.sha256, *(find(backbone, beside=beside).sha256 for backbone in weights.needs)]
    return []


def hashes_of(metrics: Sequence[str], models: Sequence[str], named: str | None) -> list[str]:
    """`hashes` of all that specs choose, `named` standing for weights that a model's does not name."""
    found: list[str] = []
    for family, specs in (("fr", metrics), ("nr", models)):
        for chosen in choose(family, specs) if specs else ():
            if hasattr(chosen.metric, "weights"):
                found += hashes(chosen.name, chosen.metric.weights or (named if family == "nr" else None))
    return found


def _read(weights: Weights) -> State:
    if weights.path is None:
        raise WeightsError(_missing(weights.name, places()))
    state, said = files.read(weights.path)
    return state if said.get("model") else published.convert(state, weights.path)[0]


def _is_path(choice: str | Path) -> bool:
    text = str(choice)
    known = any(text in (entry.name, entry.model) for entry in entries())
    return os.sep in text or text.endswith(SUFFIXES) or (not known and Path(text).exists())


def _candidates(name: str, spots: list[Path]) -> Iterator[tuple[Path, Weights | None]]:
    """Files that may be `name`: one that was pointed at, files of that name, files of the manifest's sets."""
    known = {entry.file: entry for entry in entries()}
    folders = [spot for spot in spots if spot.is_dir()]
    paths = [spot for spot in spots if spot.is_file()]
    paths += [folder / f"{name}{suffix}" for folder in folders for suffix in SUFFIXES]
    for entry in sorted((e for e in entries() if name in (e.name, e.model)), key=lambda e: e.name != name):
        paths += _files_of(entry, folders)
    for path in paths:
        named = known.get(path.name)
        if path.is_file():
            yield path, None if named is not None and named.bundled and path.parent != manifest.bundled() else named


def _files_of(entry: Weights, folders: list[Path]) -> list[Path]:
    """Where the file of a set may lie: converted by `import`, or as it was published."""
    return [folder / name for folder in folders for name in (f"{entry.name}.safetensors", entry.file)]


def _missing(name: str, spots: list[Path]) -> str:
    same = [entry for entry in entries() if name in (entry.name, entry.model)]
    near = difflib.get_close_matches(name, [n for e in entries() for n in (e.name, e.model)], n=1)
    if any(entry.url for entry in same):
        advice = f"run 'vqmeter weights pull {next(e.name for e in same if e.url)}'"
    elif same:
        advice = f"get {same[0].file} from {same[0].source} and run 'vqmeter weights import {same[0].file}'"
    else:
        advice = f"did you mean '{near[0]}'?" if near else "'vqmeter weights list' shows what there is"
    return f"no weights '{name}' in {', '.join(dict.fromkeys(map(str, spots)))}; {advice}"


def identify(path: Path, entry: Weights | None = None) -> Weights:
    """What the file at `path` holds: by the manifest, by its own header, or by the names of its tensors.

    Raises
        WeightsError: it is damaged, is not what the manifest says, or nothing is known of it.
    """
    digest = sha256(path)
    if entry is None:
        entry = next((e for e in entries() if len(e.sha256) >= 8 and digest.startswith(e.sha256)), None)
    else:
        check(path, entry, digest)
    own = files.header(path) if path.suffix == ".safetensors" or entry is None else {}
    values = (entry.to_json() if entry else {}) | own
    if not values.get("model"):
        values = published.describe(path).to_json() | values
    values.setdefault("name", path.stem)
    return Weights.from_json(values | {"file": path.name, "sha256": digest, "size": path.stat().st_size}, path)


def check(path: Path, entry: Weights, digest: str) -> None:
    """Hold a file's hash against the manifest, or where that has none against the one seen when it was pulled.

    Raises
        WeightsError: it is another file.
    """
    seen = path.with_name(f"{path.name}.sha256")
    wanted = entry.sha256 or (seen.read_text("ascii").split()[0] if seen.is_file() else "")
    if not digest.startswith(wanted):
        seen_and_wanted = f"SHA-256 {digest[:16]}, expected {wanted[:16]}"
        advice = f"run 'vqmeter weights pull --force {entry.name}'" if entry.url else "put the original in its place"
        raise WeightsError(f"{path}: not the file of '{entry.name}': {seen_and_wanted}; {advice}")


def verify(name: str, choice: str | Path | None = None) -> Weights:
    """`find`, with the file read anew, and its header and tensors too.

    Raises
        WeightsError: it is missing, altered or damaged.
    """
    forget_hashes()
    _, weights = load(name, choice)
    return weights


def catalogue() -> list[Weights]:
    """Every set of the manifest, with its path where its file is there, and every other file in the places."""
    folders = [place for place in places() if place.is_dir()]
    found = []
    for entry in entries():
        path = next((path for path in _files_of(entry, folders) if path.is_file()), None)
        found.append(dataclasses.replace(entry, path=path))
    listed = {entry.path for entry in found}
    for path in (p for place in places() for p in ([place] if place.is_file() else sorted(place.glob("*")))):
        if path.suffix in SUFFIXES and path not in listed:
            said = files.header(path) if path.suffix == ".safetensors" else {}
            values = {"name": path.stem, "model": "", "file": path.name, "size": path.stat().st_size} | said
            found.append(Weights.from_json(values, path))
    return found
