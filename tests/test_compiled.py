"""Compiled loops: what they take and give, and when the code on disk is taken, made anew, or done without."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from vqmeter.kernels import compiled as module
from vqmeter.kernels.compiled import compiled


@compiled
def _add(a, b, out):
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = a[y, x] + b[x]


@compiled
def _scaled_sum(values, by):
    total = by * 0
    for value in values:
        total += value * by
    return total


@compiled
def _third(a, b, c):
    _add(a, b, c)
    return c[0, 0] / 3


@compiled
def _quotient(a, b):
    return a // b


@compiled
def _takes_memory(n):
    return np.empty(n).size


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Object code is kept in a folder of its own."""
    monkeypatch.setenv("VQMETER_KERNELS", str(tmp_path / "kernels"))
    monkeypatch.setattr(_scaled_sum, "_ready", {})
    return tmp_path / "kernels"


@pytest.fixture
def compilations(monkeypatch):
    """The names of what was compiled, not loaded."""
    names, compile_ = [], module.Compiled._compile

    def spy(self, kinds, name):
        names.append(name)
        return compile_(self, kinds, name)

    monkeypatch.setattr(module.Compiled, "_compile", spy)
    return names


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32, np.float64])
def test_arrays_of_any_dtype_layout_and_permission(dtype):
    a, b = np.arange(12).reshape(3, 4).astype(dtype), np.arange(4).astype(dtype)
    a.flags.writeable = False
    out, turned = np.zeros((3, 4), dtype), np.zeros((4, 3), dtype).T
    assert _add(a, b, out) is None
    assert (out == a + b).all()
    _add(a[::-1, ::2], b[:2], turned[:, :2])
    assert (turned[:, :2] == a[::-1, ::2] + b[:2]).all() and not turned[:, 2:].any()


def test_numbers_come_back_as_they_are():
    for by, kind in ((3, int), (0.5, float), (np.float32(0.1), float)):
        found = _scaled_sum(np.arange(5).astype(np.float32 if isinstance(by, np.float32) else type(by)), by)
        assert found == 10 * by and type(found) is kind
    assert _scaled_sum(np.array([2**40]), -3) == _scaled_sum(np.array([2**40]), np.int64(-3)) == -3 * 2**40


def test_a_loop_may_call_another():
    assert _third(np.full((1, 1), 5.0), np.ones(1), np.empty((1, 1))) == 2.0


def test_an_error_inside_is_an_error_outside():
    assert _quotient(7, 2) == 3
    with pytest.raises(ArithmeticError, match="_quotient"):
        _quotient(7, 0)


def test_what_takes_memory_does_not_compile():
    with pytest.raises(Exception, match="empty"):
        _takes_memory(3)


def test_code_is_kept_and_taken(kept, compilations):
    values = np.arange(4.0)
    assert _scaled_sum(values, 2.0) == 12
    (file,) = kept.iterdir()
    _scaled_sum._ready.clear()
    assert _scaled_sum(values, 2.0) == 12
    assert len(compilations) == 1 and file.name.startswith(compilations[0])


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:-1000], lambda b: b"", lambda b: bytes(4) + b[4:],
                                    lambda b: b[:-1] + bytes([b[-1] ^ 1])])  # fmt: skip
def test_code_that_is_damaged_or_of_other_sources_is_made_anew(kept, compilations, damage):
    _scaled_sum(np.arange(4.0), 2.0)
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    _scaled_sum._ready.clear()
    assert _scaled_sum(np.arange(4.0), 2.0) == 12
    assert len(compilations) == 2 and file.read_bytes().partition(b"\n")[0] == whole.partition(b"\n")[0]


def test_where_nothing_can_be_kept_it_works_all_the_same_and_says_so(tmp_path, monkeypatch, compilations, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("VQMETER_KERNELS", str(tmp_path / "file" / "kernels"))
    monkeypatch.setattr(_scaled_sum, "_ready", {})
    with caplog.at_level("INFO", "vqmeter"):
        assert _scaled_sum(np.arange(4.0), 2.0) == 12 and compilations
    assert "cannot be kept" in caplog.text and "not a directory" in caplog.text


def test_what_cannot_be_put_in_its_place_leaves_nothing_behind(kept, compilations):
    _scaled_sum(np.arange(4.0), 2.0)
    (file,) = kept.iterdir()
    file.unlink()
    file.mkdir()
    _scaled_sum._ready.clear()
    assert _scaled_sum(np.arange(4.0), 2.0) == 12 and list(kept.iterdir()) == [file]


def test_an_empty_name_of_the_folder_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("VQMETER_KERNELS", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_scaled_sum, "_ready", {})
    assert _scaled_sum(np.arange(4.0), 2.0) == 12 and not list(tmp_path.iterdir())


def test_the_folder_for_caches_stands_in_for_one_that_cannot_be_written(tmp_path, monkeypatch, compilations):
    (tmp_path / "file").touch()
    monkeypatch.delenv("VQMETER_KERNELS", raising=False)
    module._made_with()  # of the sources that there are
    monkeypatch.setattr(module, "_HERE", tmp_path / "file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    for _ in range(2):
        monkeypatch.setattr(_scaled_sum, "_ready", {})
        _scaled_sum(np.arange(4.0), 2.0)
    assert len(compilations) == 1
    if sys.platform == "linux":
        assert list((tmp_path / "caches" / "vqmeter" / "kernels").iterdir())


def test_many_threads_compile_once(kept, compilations):
    found = []
    threads = [threading.Thread(target=lambda: found.append(_scaled_sum(np.arange(4.0), 2.0))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [12.0] * 8 and len(compilations) == 1


def test_numba_is_imported_to_compile_and_not_to_load(tmp_path):
    code = ("import sys, numpy as np\nfrom vqmeter.kernels.sse import sse\n"
            "a = np.full((2, 3), 7, np.uint8)\nprint(sse((a,), (a - 4,), (3,)), 'numba' in sys.modules)")  # fmt: skip
    env = {**os.environ, "VQMETER_KERNELS": str(tmp_path)}
    runs = [subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True) for _ in range(2)]
    assert [run.stdout for run in runs] == ["[96] True\n", "[96] False\n"]
