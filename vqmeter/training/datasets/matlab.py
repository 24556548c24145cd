"""MATLAB files: v5 by SciPy, v7.3 (HDF5, strings as UTF-16 units) by h5py, which is an extra."""

from __future__ import annotations

from typing import Any

import numpy as np

from vqmeter.errors import InputError
from vqmeter.training import need


def load(path: str) -> dict[str, Any]:
    """The variables of a .mat file: structures as dicts, cells as lists or arrays, text as str.

    Raises
        InputError: it is none.
        UsageError: it is v7.3, and h5py is not installed.
    """
    import scipy.io

    try:
        return dict(scipy.io.loadmat(path, simplify_cells=True))
    except NotImplementedError:
        return _load_hdf5(path)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: not a MATLAB file that can be read ({error})") from None


def _load_hdf5(path: str) -> dict[str, Any]:
    h5py = need("h5py", "datasets", f"{path} (MATLAB v7.3)")

    def value(node: Any) -> Any:
        if isinstance(node, h5py.Group):
            return {key: value(child) for key, child in node.items() if not key.startswith("#")}
        kind = node.attrs.get("MATLAB_class", b"")
        cells = np.asarray(node[()]).T
        if kind == b"char":
            return "".join(map(chr, cells.ravel()))
        if node.dtype == object:
            return [value(file[reference]) for reference in cells.ravel(order="F")]
        return np.squeeze(cells)

    try:
        with h5py.File(path, "r") as file:
            return {key: value(node) for key, node in file.items() if not key.startswith("#")}
    except OSError as error:
        raise InputError(f"{path}: not a MATLAB file that can be read ({error})") from None


def variable(variables: Any, name: str, path: str) -> Any:
    """`variables[name]`.

    Raises
        InputError: the file has no such variable.
    """
    if not isinstance(variables, dict) or name not in variables:
        raise InputError(f"{path}: no variable '{name}'; is this the file as published?")
    return variables[name]


def strings(value: Any) -> list[str]:
    """A cell array of text as a list."""
    if isinstance(value, str):
        return [value]
    return [str(np.asarray(v).ravel()[0]) if not isinstance(v, str) else v.strip() for v in np.asarray(value, object).ravel()]


def numbers(value: Any) -> list[float]:
    """A numeric array as a list, in MATLAB's order."""
    return [float(v) for v in np.atleast_1d(np.asarray(value, np.float64)).ravel(order="F")]
