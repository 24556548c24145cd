"""The hot loops: numba functions on numpy arrays, one file per kind of loop.

Every kernel is compiled with `nogil=True, cache=True` and never with `parallel=True`: one thread works through one
frame, and the caller spreads frames over a thread pool. Planes are C-contiguous uint8 or uint16 arrays of shape
`(h, pitch)`; only the first `width <= pitch` columns are picture. Kernels check nothing: shapes are the caller's word.
"""

import atexit
import contextlib
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

_BLAS: Any = "scipy.linalg.cython_blas"


@contextlib.contextmanager
def _without_blas() -> Iterator[None]:
    """Spare the command line 0.2 s: numba looks for BLAS as it loads, and these kernels need none.

    In a user's own program, where other numba code may want BLAS, nothing is touched.
    """
    hide = "vqmeter.cli" in sys.modules and _BLAS not in sys.modules
    if hide:
        sys.modules[_BLAS] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hide:
            del sys.modules[_BLAS]


with _without_blas():
    import numba.np.arraymath
    from numba.core import event


def _keep_compiled_code() -> None:
    """Let kernels cache where the user can write; where that is nowhere, in a private folder of this process."""
    try:
        numba.njit(cache=True)(_keep_compiled_code)
    except RuntimeError:
        folder = tempfile.mkdtemp(prefix="vqmeter-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        numba.config.CACHE_DIR = folder


_keep_compiled_code()


class _SayThatItCompiles(event.Listener):
    """Tells a waiting user, once, that kernels are being compiled rather than loaded from the cache."""

    said = False

    def on_start(self, event: Any) -> None:
        if not self.said:
            self.said = True
            logging.getLogger("vqmeter").info("compiling kernels for this processor; later runs start at once")

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:compile", _SayThatItCompiles())
