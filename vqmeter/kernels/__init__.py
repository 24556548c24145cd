"""The hot loops: functions on numpy arrays, compiled by numba once and loaded without it; one file per kind of loop.

One thread works through one frame, and the caller spreads frames over a thread pool: kernels let go of the interpreter and
start no threads. Planes are C-contiguous uint8 or uint16 arrays of shape `(h, pitch)`; only the first `width <= pitch`
columns are picture. Kernels check nothing: shapes are the caller's word. `compiled` has the rules for whoever writes one.
"""
