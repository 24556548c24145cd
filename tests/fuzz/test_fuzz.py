"""A short run of the fuzzer, the same cases every time; `make fuzz` runs it for longer, with other ones."""

import importlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

EXAMPLES = {"container": 100, "words": 60}


@pytest.fixture(scope="module")
def targets():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield importlib.import_module("targets")


@pytest.fixture(scope="module")
def corpus(targets, tmp_path_factory):
    return targets.Corpus(tmp_path_factory.mktemp("fuzz"))


NAMES = ["container", "y4m", "raw", "specification", "words", "config", "weights", "torch_file", "results", "tables"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_answers_and_foreseen_errors(targets, corpus, name):
    target, strategies = targets.TARGETS[name]
    seen = set()

    @settings(max_examples=EXAMPLES.get(name, 120), derandomize=True, deadline=None, database=None,
              phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.tuples(*strategies))
    def check(values):
        seen.add(target(corpus, *values))

    check()
    assert len(seen) > 1, f"every case came to the same end: {seen}"


def test_every_target_is_run(targets):
    assert list(targets.TARGETS) == NAMES
