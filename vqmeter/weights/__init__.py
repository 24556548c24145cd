"""Weight files: what they are, where they lie, and how they come in.

`find` tells which file a name means, `load` reads it (`load_arrays` without torch), `load_with_backbone` reads a head and
the network under it, `build` makes a module of them. There are no default values: without a file there is a
`WeightsError` (exit 6).

Where a name is looked for, in this order: what the user said (`--weights PATH/NAME`, `vsfa:weights=...`),
`$VQMETER_WEIGHTS` (a folder or a file), the user's data folder (where `pull` and `import` write), the package.
A name is a weight set's (`vsfa-konvid`) or a model's (`vsfa`). It means the file of that name where there is one
(`vsfa.safetensors`), else the set of that name in the manifest, else the manifest's first set of that model that is
there: so pulling another set does not change what a model's name means. A file that bears a file name of the manifest
must have the SHA-256 of the manifest. A file in `$VQMETER_WEIGHTS` that is another model's is passed over.

Heads and backbones. VSFA's file holds the head alone; the ResNet-50 under it is a weight set of its own, named with
its hash in `Weights.needs`. So `--model vsfa:weights=PATH/VSFA.pt` finds the head by its path, and `resnet50` beside
the head, or else where any name is looked for; the backbone must be the one the head was trained on. A file may also
bring its own backbone, under keys that begin with `backbone.`.

Modules: `manifest` (what a set is, places, hashes), `lookup` (find and load), `files` (reading, writing, storage in
16 and 8 bits), `published` (other people's files under our names), `transfer` (pull, import, export). None imports
torch before a file is read.
"""

from __future__ import annotations

from vqmeter.weights.files import State, build, save
from vqmeter.weights.lookup import catalogue, find, hashes, hashes_of, load, load_arrays, load_with_backbone, verify
from vqmeter.weights.manifest import Label, Weights, places

__all__ = [
    "Label", "State", "Weights", "build", "catalogue", "find", "hashes", "hashes_of", "load", "load_arrays",
    "load_with_backbone", "places", "save", "verify",
]  # fmt: skip
