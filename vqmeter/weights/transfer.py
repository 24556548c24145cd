"""How weight files come in and go out: pull from the network, import from a published file, export to a place.

`pull` goes on where a broken download stopped (HTTP ranges), holds the whole file against its hash, and only then
gives it its name. It is the only part of vqmeter that opens a connection, and it does so only when asked to; proxies
are taken from the environment as curl does (`https_proxy`, `no_proxy`).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vqmeter.errors import OutputError, UsageError, WeightsError
from vqmeter.weights import files, lookup, published
from vqmeter.weights.manifest import Label, Weights, data_folder, entries, sha256

if TYPE_CHECKING:
    import requests

TIMEOUT_S = (15, 60)  # to connect, between two pieces
CHUNK = 1 << 16
ATTEMPTS = 4  # those that bring nothing new end it earlier
LARGEST = 4 << 30  # where the manifest knows no size


def pull(name: str, offline: bool | None = None, progress: bool = False, force: bool = False) -> Weights:
    """Download a set of the manifest into the user's data folder, unless it is there.

    Where neither the manifest nor anybody publishes a hash, the one seen is kept beside the file (`FILE.sha256`) and
    the file held against it from then on.

    Raises
        WeightsError: offline, no such set, no address, no connection, or another file than the manifest says.
        OutputError: the file cannot be written.
    """
    entry = next((e for e in entries() if e.name == name), None)
    if entry is None:
        names = ", ".join(e.name for e in entries() if e.url)
        raise WeightsError(f"no weights '{name}' to pull; there are {names or 'none'}")
    target = data_folder() / entry.file
    if target.is_file() and not force:
        return lookup.identify(target, entry)
    if not entry.url:
        raise WeightsError(f"'{name}' cannot be pulled; get {entry.file} from {entry.source} and import it")
    if offline if offline is not None else os.environ.get("VQMETER_OFFLINE", "") not in ("", "0"):
        raise WeightsError(f"'{name}' is not here and this is offline; pull it elsewhere and import {entry.file}")
    if urlsplit(entry.url).scheme not in ("http", "https"):
        raise WeightsError(f"'{name}': {entry.url} is not an address of the web")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = _download(entry, target.with_name(target.name + ".part"), progress)
        if not entry.sha256:
            target.with_name(f"{target.name}.sha256").write_text(f"{sha256(part)}  {target.name}\n", "ascii")
        part.replace(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from None
    return lookup.identify(target, entry)


def _download(entry: Weights, part: Path, progress: bool) -> Path:
    """The whole file at `part`, its hash verified. A part that turns out wrong is thrown away and fetched once more."""
    if not entry.sha256:
        part.unlink(missing_ok=True)  # nothing could tell two halves of different files
    resumed = part.is_file()
    _fetch(entry, part, progress)
    if resumed and not sha256(part).startswith(entry.sha256):
        part.unlink()
        _fetch(entry, part, progress)
    digest = sha256(part)
    if not digest.startswith(entry.sha256):
        part.unlink()
        raise WeightsError(f"{entry.url} is not '{entry.name}': SHA-256 {digest[:16]}, expected {entry.sha256[:16]}")
    return part


def _fetch(entry: Weights, part: Path, progress: bool) -> None:
    """Add to `part` until it is whole; a connection that breaks is taken up again while it brings something."""
    import requests
    from tqdm import tqdm

    bar = tqdm(desc=entry.file, total=entry.size, unit="B", unit_scale=True, leave=False, disable=None if progress else True)
    with requests.Session() as session, bar:
        for attempt in range(1, ATTEMPTS + 1):
            have = part.stat().st_size if part.exists() else 0
            bar.n = have
            try:
                with _request(session, entry, have) as response:
                    _append(response, entry, part, bar)
                return
            except requests.RequestException as error:
                gained = part.exists() and part.stat().st_size > have
                if attempt == ATTEMPTS or not gained:
                    raise WeightsError(f"{entry.url}: {_why(error)}{_kept(part)}") from None


@contextmanager
def _request(session: requests.Session, entry: Weights, have: int) -> Iterator[requests.Response]:
    wanted = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with session.get(entry.url, headers=wanted, stream=True, timeout=TIMEOUT_S) as response:
        if entry.url.startswith("https:") and not response.url.startswith("https:"):
            raise WeightsError(f"{entry.url}: leads to an address without encryption")
        if response.status_code >= 400 and response.status_code != 416:
            raise WeightsError(f"{entry.url}: the server answers {response.status_code} {response.reason}")
        yield response


def _append(response: requests.Response, entry: Weights, part: Path, bar: Any) -> None:
    if response.status_code == 416:  # nothing left to send: the part is whole, or too long for this file
        return
    resuming = response.status_code == 206
    limit = entry.size or LARGEST
    with part.open("ab" if resuming else "wb") as file:
        bar.n = file.tell()
        if bar.total is None and "Content-Length" in response.headers:
            bar.total = file.tell() + int(response.headers["Content-Length"])
        for chunk in response.iter_content(CHUNK):
            file.write(chunk)
            file.flush()
            bar.update(len(chunk))
            if file.tell() > limit:
                part.unlink()
                raise WeightsError(f"{entry.url}: sends more than the {limit} bytes of '{entry.name}'")


def _why(error: Exception) -> str:
    import requests

    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy cannot be reached or refuses"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate is not trusted"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke"
    return "no connection"


def _kept(part: Path) -> str:
    return f" after {part.stat().st_size} bytes; the same command goes on from there" if part.exists() else ""


def import_file(
    path: Path, name: str = "", store: str = "fp32", ends: tuple[float, float] | None = None, out: Path | None = None
) -> Weights:
    """Turn a published file into one of ours, in the user's data folder (or at `out`).

    Parameters
        name: the set's name; that of the manifest, or of the file, where not given.
        ends: the raw numbers of the worst and the best quality. Not given, the scale is the manifest's; where that has
            none, RankIQA's is found by scoring pictures, and any other stays unknown.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    known = lookup.identify(path, next((e for e in entries() if e.file == path.name), None))
    state, said = files.read(path)
    if not said.get("model"):
        state, seen = published.convert(state, path)
        known = dataclasses.replace(known, options={**seen.options, **known.options})
    label = known.label
    if ends is not None:
        if ends[0] == ends[1]:
            raise UsageError("the worst and the best of a range are the same number")
        label = Label(low=min(ends), high=max(ends), higher_is_better=ends[0] < ends[1], unit="given at import")
    elif label is None and known.model == "rankiqa":
        label = published.rankiqa_label(state)
    known = dataclasses.replace(
        known, label=label, name=name or known.name.lower(), source_sha256=known.source_sha256 or known.sha256
    )
    target = out or data_folder() / f"{known.name}.safetensors"
    _save(target, state, known, store)
    return lookup.identify(target)


def export_file(name: str, out: Path, store: str = "fp32") -> Weights:
    """Write the weights `name` means to `out`: safetensors, or a torch file by the ending `.pt` or `.pth`."""
    if out.suffix not in (".safetensors", ".pt", ".pth"):
        raise UsageError(f"{out}: the ending says the form: .safetensors, .pt or .pth")
    state, weights = lookup.load(name)
    _save(out, state, dataclasses.replace(weights, source_sha256=weights.source_sha256 or weights.sha256), store)
    return lookup.identify(out)


def _save(path: Path, state: files.State, weights: Weights, store: str) -> None:
    try:
        files.save(path, state, weights.to_json(), store)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None
