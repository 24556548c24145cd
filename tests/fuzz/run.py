"""The fuzzer for as long as is wanted: rounds over all targets with new seeds, findings shrunk and kept.

    python tests/fuzz/run.py --seconds 600 --keep .fuzz [--only container] [--media FOLDER]

Exit 1 where something was found. A case that kills the process, or takes more than a minute, is the one that the last
line of KEEP/log names.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase
from targets import TARGETS, Corpus, quiet

HERE = Path(__file__).resolve()
MEDIA = Path(os.environ.get("VQMETER_TESTDATA", HERE.parents[3] / "shared")) / "media" / "oddities"
SLOWEST = 60


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--keep", type=Path, default=Path(".fuzz"))
    parser.add_argument("--only", choices=list(TARGETS), action="append")
    parser.add_argument("--media", type=Path, default=MEDIA)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--examples", type=int, default=100, help="cases of a target in a round")
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    quiet()
    end, found, counts, slowest = time.monotonic() + options.seconds, 0, collections.Counter(), collections.defaultdict(float)
    with tempfile.TemporaryDirectory() as folder, open(options.keep / "log", "a", buffering=1) as log:
        corpus = Corpus(Path(folder), options.media if options.media.is_dir() else None)
        number = options.seed
        while time.monotonic() < end:
            for name in options.only or TARGETS:
                if time.monotonic() < end:
                    found += not fuzz(name, number, corpus, options, log, counts, slowest)
            number += 1
    for key, count in sorted(counts.items()):
        print(f"{key[0]:15} {key[1]:8} {count:8}   slowest {slowest[key[0]]:.1f} s")
    print(f"{sum(counts.values())} cases, {found} findings; seeds {options.seed} to {number - 1}")
    return 1 if found else 0


def fuzz(name, number, corpus, options, log, counts, slowest) -> bool:
    """One round of a target; whether nothing was found."""
    target, strategies = TARGETS[name]

    @seed(number)
    @settings(max_examples=options.examples, deadline=None, database=DirectoryBasedExampleDatabase(str(options.keep / "cases")),
              phases=(Phase.reuse, Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck),
              verbosity=Verbosity.quiet, print_blob=True)  # fmt: skip
    @given(st.tuples(*strategies))
    def check(values):
        print(f"{name} {values!r}"[:4000], file=log)
        faulthandler.dump_traceback_later(SLOWEST, exit=True, file=log)
        started = time.monotonic()
        try:
            counts[name, target(corpus, *values)] += 1
        finally:
            faulthandler.cancel_dump_traceback_later()
        slowest[name] = max(slowest[name], time.monotonic() - started)

    try:
        check()
        log.seek(0)
        log.truncate()
        return True
    except Exception:
        text = traceback.format_exc()
        print(f"--- {name}, seed {number}\n{text[-3000:]}", file=sys.stderr, flush=True)
        with open(options.keep / "findings.txt", "a") as file:
            file.write(f"--- {name}, seed {number}\n{text}\n")
        return False


if __name__ == "__main__":
    sys.exit(main())
