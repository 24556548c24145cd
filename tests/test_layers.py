"""Imports go downwards only, and no room hides its contents behind an empty name."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "vqmeter"

#: From the bottom up; a module may import from its own layer and those below it.
LAYERS = [
    {"errors", "machine", "schema"},
    {"frames"},
    {"kernels", "sources", "colour"},
    {"metric"},
    {"clips", "tensors", "networks", "weights", "report"},
    {"metrics", "writers", "devices", "environment", "heatmaps", "worst", "limits", "validity"},
    {"settings"},
    {"inputs", "runs", "on_reference"},
    {"cache"},
    {"onepass"},
    {"session"},
    {"training", "distortions", "evaluation", "compat", "bdrate", "page", "convert"},
    {"selfcheck"},
    {"batch"},
    {"cli"},
    {"__main__", "__init__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The rooms of vqmeter that a file imports, except where it only does so for types or lazily re-exports."""
    tree = ast.parse(path.read_text("utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "vqmeter":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {a.name for a in node.names if not a.name.startswith("__")}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("vqmeter.")}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downwards(path):
    own = LEVEL[room(path)]
    if path.name == "__init__.py" and path.parent == ROOT:
        return
    wrong = {name for name in imports(path) if LEVEL[name] > own}
    assert not wrong, f"{path.relative_to(ROOT)} imports {wrong} from above"


def test_every_room_has_its_layer():
    assert {room(path) for path in FILES} <= set(LEVEL)


def test_no_drawers_that_hide_their_contents():
    assert not [p for p in FILES if p.stem in ("utils", "helpers", "common", "base", "core", "misc")]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


def test_nothing_loads_pickles_or_runs_shells():
    for path in FILES:
        text = path.read_text("utf-8")
        assert "shell=True" not in text and "pickle.load" not in text and "weights_only=False" not in text, path
