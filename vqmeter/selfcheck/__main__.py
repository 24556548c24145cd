"""`python -m vqmeter.selfcheck`: write golden.json anew, with the weights that come with vqmeter."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import Any

from vqmeter.errors import UsageError, VqmeterError, WeightsError
from vqmeter.selfcheck import everything, golden, score
from vqmeter.selfcheck.clips import CODED, encode, make, samples_of
from vqmeter.weights.manifest import VARIABLE, bundled
from vqmeter.writers import write_whole


def write(path: str) -> None:
    """Score the built-in clips and keep the numbers; those of what cannot run here stay as they were."""
    os.environ[VARIABLE] = str(bundled())
    try:
        known: dict[str, Any] = golden()
    except FileNotFoundError:
        known = {}
    encode()
    known[CODED.name] = {"samples": samples_of(str(CODED))}
    with tempfile.TemporaryDirectory(prefix="vqmeter-") as folder:
        pair = make(folder)
        for family, name in everything():
            try:
                result = score(family, name, pair)
            except (UsageError, WeightsError) as error:
                print(f"{name}: {error}", file=sys.stderr)
                continue
            for key, pooled in result.pooled.items():
                digest = result.metrics[key]["weights_sha256"]
                known[key] = {"score": round(pooled["score"], 9)} | ({"weights": digest} if digest else {})
    write_whole(path, json.dumps(dict(sorted(known.items())), indent=1) + "\n")


if __name__ == "__main__":
    try:
        write(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden.json"))
    except VqmeterError as failure:
        sys.exit(f"vqmeter: {failure}")
