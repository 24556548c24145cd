"""The pointwise half of phase congruency on the CPU: filtering a spectrum, and local energy over four scales.

Complex arrays are seen as float32 with real and imaginary parts in turn; see `metrics.fr.fsim` for the definition.
"""

import numpy as np

from vqmeter.kernels.compiled import compiled

_FAST = {"contract", "nsz", "reassoc"}  # with numpy's error model: a check of every division would not vectorise
SCALES = 4


@compiled(fastmath=_FAST, error_model="numpy")
def filtered(spectrum: np.ndarray, bank: np.ndarray, out: np.ndarray) -> None:
    """`out[s] = spectrum * bank[s]`: spectrum (2n,), bank (4, n), out (4, 2n) float32."""
    for s in range(SCALES):
        gain, to = bank[s], out[s]
        for i in range(gain.size):
            to[2 * i] = spectrum[2 * i] * gain[i]
            to[2 * i + 1] = spectrum[2 * i + 1] * gain[i]


@compiled(fastmath=_FAST, error_model="numpy")
def local_energy(waves: np.ndarray, epsilon: float, out: np.ndarray) -> None:
    """Of waves (4, 2n): `out` (3, n) gets the local energy, the sum of amplitudes and the finest amplitude."""
    tiny = np.float32(epsilon)
    w0, w1, w2, w3 = waves[0], waves[1], waves[2], waves[3]
    energy, amplitude, finest = out[0], out[1], out[2]
    for i in range(finest.size):
        k = 2 * i
        e0, o0, e1, o1, e2, o2, e3, o3 = w0[k], w0[k + 1], w1[k], w1[k + 1], w2[k], w2[k + 1], w3[k], w3[k + 1]
        e, o = e0 + e1 + e2 + e3, o0 + o1 + o2 + o3
        scale = np.float32(1) / (np.sqrt(e * e + o * o) + tiny)
        c, s = e * scale, o * scale
        across = abs(e0 * s - o0 * c) + abs(e1 * s - o1 * c) + abs(e2 * s - o2 * c) + abs(e3 * s - o3 * c)
        energy[i] = e * c + o * s - across
        a0, a1, a2, a3 = e0 * e0 + o0 * o0, e1 * e1 + o1 * o1, e2 * e2 + o2 * o2, e3 * e3 + o3 * o3
        finest[i] = np.sqrt(a0)
        amplitude[i] = np.sqrt(a0) + np.sqrt(a1) + np.sqrt(a2) + np.sqrt(a3)


@compiled(fastmath=_FAST, error_model="numpy")
def accumulate(local: np.ndarray, threshold: float, total: np.ndarray) -> None:
    """Adds energy above the threshold, and amplitude, to `total` (2, n)."""
    floor = np.float32(threshold)
    for i in range(total.shape[1]):
        total[0, i] += max(local[0, i] - floor, np.float32(0))
        total[1, i] += local[1, i]
