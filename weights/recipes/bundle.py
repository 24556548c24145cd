"""Puts a trained file into the box: python weights/recipes/bundle.py TRAINED NAME [--store fp16|int8|fp32]

NAME is the model's. The file goes to `weights/NAME.safetensors` with the card `weights/cards/NAME.md` in its header, and its
hash into `weights/manifest.json`. The card's line that begins with "Validated:" is what `vqmeter models NAME` says. Without
arguments but `--cards` the cards of all bundled files are renewed, tensors as they are; `weights/README.md` follows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from vqmeter.weights.files import KEY, header, read, save

WEIGHTS = Path(__file__).resolve().parents[1]
MANIFEST = WEIGHTS / "manifest.json"
LICENCE = "MIT"
SOFT = 8.0  # of 0..100 at either end: transparent clips are still told apart
SOURCE = "trained by weights/recipes on pristine pictures and clips, distorted; see the card"


def card_of(name: str) -> dict[str, str]:
    """The card, and what it says of validation in one sentence."""
    text = (WEIGHTS / "cards" / f"{name}.md").read_text("utf-8")
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    said = next((part.removeprefix("Validated:").strip() for part in paragraphs if part.startswith("Validated:")), "")
    return {"card": text, "validated": said}


def bundle(trained: Path, name: str, store: str) -> None:
    state, said = read(trained)
    meta: dict[str, Any] = {**said, **card_of(name), "name": name, "licence": LICENCE, "source": SOURCE,
                            "dataset": "distorted pristine media, labels by VMAF"}  # fmt: skip
    if meta.get("label"):
        meta["label"] = meta["label"] | {"soft": SOFT}
    save(WEIGHTS / f"{name}.safetensors", state, meta, store)


def renew(path: Path) -> None:
    """The card in a bundled file, its tensors untouched."""
    said = header(path) | card_of(path.stem)
    save_file(load_file(path), path, {KEY: json.dumps(said, sort_keys=True)})


def book() -> None:
    """Bring the manifest and the table of `weights/README.md` up to date."""
    manifest = json.loads(MANIFEST.read_text("utf-8"))
    others = [entry for entry in manifest["weights"] if not entry.get("bundled")]
    own = []
    for path in sorted(WEIGHTS.glob("*.safetensors")):
        said = header(path)
        data = path.read_bytes()
        own.append({"name": path.stem, "model": said["model"], "file": path.name, "bundled": True, "licence": LICENCE,
                    "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "dataset": said["dataset"],
                    "source": SOURCE, "validated": said["validated"]})  # fmt: skip
    manifest["weights"] = [*own, *others]
    MANIFEST.write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    total = sum(entry["size"] for entry in own) / 1e6
    rows = "\n".join(f"| [{e['name']}](cards/{e['name']}.md) | {e['size'] / 1e6:.2f} | {e['validated']} |" for e in own)
    (WEIGHTS / "README.md").write_text(f"""# Weights in the box

Written by `weights/recipes/bundle.py`. Everything here was trained by the recipes of `vqmeter train` on pictures and clips
that were distorted for the purpose; labels are VMAF's, so that scores follow VMAF, not people. No human rated video was seen.
Each file carries its card; `vqmeter weights card NAME` prints it. {total:.1f} MB in all.

| model | MB | validated |
|---|---:|---|
{rows}

`manifest.json` also lists published weight sets, which `vqmeter weights pull` and `import` bring. `recipes/` holds what made
these files: `material.py` the distorted clips and their labels, `train.sh` the commands, `judge.py` the figures of the cards.
""", "utf-8")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trained", type=Path, nargs="?")
    parser.add_argument("name", nargs="?")
    parser.add_argument("--store", default="fp16", choices=["fp32", "fp16", "int8"])
    parser.add_argument("--cards", action="store_true", help="renew the cards of what is bundled")
    arguments = parser.parse_args()
    if arguments.trained:
        bundle(arguments.trained, arguments.name, arguments.store)
    if arguments.cards:
        for path in WEIGHTS.glob("*.safetensors"):
            renew(path)
    book()


if __name__ == "__main__":
    main()
