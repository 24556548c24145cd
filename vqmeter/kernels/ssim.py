"""Structural similarity (SSIM) of two planes, as Wang et al. 2004 define it.

    SSIM = (2 mu_a mu_b + C1) (2 sigma_ab + C2) / ((mu_a^2 + mu_b^2 + C1) (sigma_a^2 + sigma_b^2 + C2))
    CS   = (2 sigma_ab + C2) / (sigma_a^2 + sigma_b^2 + C2)

in a sliding 11x11 Gaussian window of sigma 1.5, C1 = (0.01 peak)^2, C2 = (0.03 peak)^2, population moments, at full
resolution, over the valid region only (windows wholly inside the picture), averaged over the map.

Source: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity",
IEEE Trans. Image Processing 13(4), 2004, DOI 10.1109/TIP.2003.819861.

Arithmetic. With s = a + b and d = a - b, blurred to S and D, and variances Vs = E[s^2] - S^2, Vd = E[d^2] - D^2,

    l = S^2 + D^2 + 2 C1,  v = Vs + Vd + 2 C2,  1 - CS = 2 Vd / v,  1 - SSIM = 2 (D^2 (v - 2 Vd) + Vd l) / (l v)

Four planes are blurred, and what is summed is the loss, whose terms all come from d: the better the picture the
smaller the rounding, and equal pictures give exactly 1. float32 suffices up to 16 bits, because the mean level of each
tile is taken off the samples before they are squared (a variance does not mind) and put back into S and D.

Order of work. A tile is a band of rows in a strip of columns. Its columns are dealt into 16 lanes, each a run of
`stride` neighbours: sample `[t, lane]` is column `lane * stride + t`. So horizontal taps lie one 512-bit vector apart,
and both passes load whole aligned vectors. The vertical pass makes four rows at once from fourteen.

Notes for whoever edits this: numba wraps signed indices around, which stops vectorisation unless they count plainly
from 0, hence the uint64 ones; LLVM gives up on many alias checks, hence flat arrays with constant pitches.
"""

import numba
import numpy as np

TAPS = 11
MARGIN = TAPS - 1  # samples lost to the window, in each direction
_gauss = np.exp(-0.5 * ((np.arange(TAPS) - TAPS // 2) / 1.5) ** 2)
W0, W1, W2, W3, W4, W5 = (np.float32(w) for w in (_gauss / _gauss.sum())[: TAPS // 2 + 1])

LANES = 16  # float32 in 512 bits
STRIDE = 128  # the most columns a lane yields
PITCH = LANES * (STRIDE + MARGIN)  # samples in a row of a tile
BAND = 64  # rows a tile yields, a multiple of GROUP
GROUP = 4  # rows yielded by one vertical pass
PLANES = 4  # S, E[s^2], D, E[d^2]

_TAP = tuple(np.uint64(k * LANES) for k in range(TAPS))
_ROW = tuple(np.uint64(k * PITCH) for k in range(GROUP + MARGIN))
_OUT = tuple(np.uint64(k * PLANES * PITCH) for k in range(GROUP))
_PLANE = tuple(np.uint64(k * PITCH) for k in range(PLANES))


@numba.njit(nogil=True, cache=True)
def ssim(ref: np.ndarray, dist: np.ndarray, width: int, depth: int) -> float:
    """Mean SSIM of two `(h, pitch)` uint8 or uint16 planes of `depth` bits, in [-1, 1]; 1 for equal planes, exactly.

    Only the first `width` columns count. `h` and `width` must be 11 at least: unchecked.
    """
    return float(ssim_cs(ref, dist, width, float((1 << depth) - 1))[0])


@numba.njit(nogil=True, cache=True)
def ssim_cs(ref: np.ndarray, dist: np.ndarray, width: int, peak: float) -> tuple[float, float]:
    """Mean SSIM and mean contrast-structure term of two `(h, pitch)` planes, uint8, uint16 or float32 in [0, peak]."""
    mean, contrast = _measure(ref, dist, width, peak, None)
    return float(mean), float(contrast)


@numba.njit(nogil=True, cache=True)
def ssim_map(ref: np.ndarray, dist: np.ndarray, width: int, depth: int) -> np.ndarray:
    """The map whose mean `ssim` is: `(h - 10, width - 10)` float32."""
    out = np.empty((ref.shape[0] - MARGIN, width - MARGIN), np.float32)
    _measure(ref, dist, width, float((1 << depth) - 1), out)
    return out


@numba.njit(nogil=True, cache=True)
def _measure(ref, dist, width, peak, out):
    """Mean SSIM and CS; fills the map `out` unless it is None."""
    height, columns = ref.shape[0] - MARGIN, width - MARGIN
    strips = -(-columns // (LANES * STRIDE))
    stride = -(-columns // (LANES * strips))
    ref_tile, dist_tile = np.empty((BAND + MARGIN) * PITCH, ref.dtype), np.empty((BAND + MARGIN) * PITCH, ref.dtype)
    blurred, losses, twos = _aligned(GROUP * PLANES * PITCH), _aligned(PITCH), _aligned(PITCH)
    c1, c2 = np.float32(2 * (0.01 * peak) ** 2), np.float32(2 * (0.03 * peak) ** 2)
    loss = cs_loss = 0.0
    for left in range(0, columns, LANES * stride):
        right = min(left + LANES * stride + MARGIN, width)
        _count(columns - left, stride, twos)
        for top in range(0, height, BAND):
            rows = min(BAND, height - top)
            ref_level = _deal(ref[top : top + rows + MARGIN], left, right, stride, ref_tile)
            dist_level = _deal(dist[top : top + rows + MARGIN], left, right, stride, dist_tile)
            plus, minus = np.float32(ref_level + dist_level), np.float32(ref_level - dist_level)
            for y in range(0, rows, GROUP):
                a, b, n = ref_tile[y * PITCH :], dist_tile[y * PITCH :], LANES * (stride + MARGIN)
                _vertical(a, b, n, np.float32(1), plus, blurred)
                _vertical(a, b, n, np.float32(-1), minus, blurred[2 * PITCH :])
                for r in range(min(GROUP, rows - y)):
                    row = blurred[r * PLANES * PITCH :]
                    row_loss, row_cs_loss = _horizontal(row, LANES * stride, plus, minus, c1, c2, twos, losses)
                    loss += row_loss
                    cs_loss += row_cs_loss
                    if out is not None:
                        _undeal(losses, stride, out[top + y + r, left:])
    return 1 - loss / (height * columns), 1 - cs_loss / (height * columns)


@numba.njit(nogil=True, cache=True)
def _aligned(size):
    """`size` float32 on a 64-byte boundary: a vector that crosses one costs two loads."""
    room = np.empty(size + 16, np.float32)
    skip = -(room.ctypes.data // 4) % 16
    return room[skip : skip + size]


@numba.njit(nogil=True, cache=True)
def _count(columns, stride, twos):
    """The 2 of the loss where a lane's column is in the picture, 0 where it is padding."""
    for t in range(stride):
        for lane in range(LANES):
            twos[t * LANES + lane] = 2 if lane * stride + t < columns else 0


@numba.njit(nogil=True, cache=True)
def _level(plane, left, right):
    """The mean of every eighth row, as an integer."""
    total = 0
    for y in range(0, plane.shape[0], 8):
        row = plane[y, left:right]
        row_total = np.int32(0)
        for x in range(row.size):
            row_total = np.int32(row_total + np.int32(row[x]))
        total += int(row_total)
    return total // (((plane.shape[0] + 7) // 8) * row.size)


@numba.njit(nogil=True, cache=True)
def _deal(plane, left, right, stride, tile):
    """Deal the columns of `plane` from `left` to `right` into the lanes of `tile`; returns their level."""
    padded = np.zeros(LANES * stride + MARGIN, plane.dtype)
    quarters = np.empty((4, 4 * (stride + MARGIN)), plane.dtype)
    for y in range(plane.shape[0]):
        row = plane[y, left:right]
        for x in range(row.size):  # a slice assignment would not vectorise
            padded[x] = row[x]
        for q in range(4):
            _interleave(padded[q * stride :], 4 * stride, stride + MARGIN, quarters[q])
        _interleave(quarters.reshape(-1), quarters.shape[1], quarters.shape[1], tile[y * PITCH :])
    return _level(plane, left, right)


@numba.njit(nogil=True, cache=True)
def _interleave(runs, apart, length, out):
    """Interleave four runs of `length` samples that start `apart` from each other. Twice by 4 vectorises; by 16 not."""
    a, b, c, d = runs, runs[apart:], runs[2 * apart :], runs[3 * apart :]
    for i in range(length):
        out[4 * i] = a[i]
        out[4 * i + 1] = b[i]
        out[4 * i + 2] = c[i]
        out[4 * i + 3] = d[i]


@numba.njit(nogil=True, cache=True)
def _undeal(losses, stride, out):
    for lane in range(LANES):
        for t in range(min(stride, out.size - lane * stride)):
            out[lane * stride + t] = np.float32(1) - losses[t * LANES + lane]


@numba.njit(nogil=True, cache=True, fastmath={"contract"})
def _blur(v):
    """The window along eleven samples. The small weights come first: the other order rounds ten times worse."""
    far = W0 * (v[0] + v[10]) + W1 * (v[1] + v[9]) + W2 * (v[2] + v[8])
    return far + W3 * (v[3] + v[7]) + W4 * (v[4] + v[6]) + W5 * v[5]


@numba.njit(nogil=True, cache=True, fastmath={"contract"})
def _vertical(a, b, n, sign, level, out):
    """Blur v = a + sign * b - level, and v^2, down the columns: fourteen rows of a and b to four rows of two planes."""
    for x in range(n):
        i = np.uint64(x)
        v = (
            _mix(a, b, i, sign, level),
            _mix(a, b, i + _ROW[1], sign, level),
            _mix(a, b, i + _ROW[2], sign, level),
            _mix(a, b, i + _ROW[3], sign, level),
            _mix(a, b, i + _ROW[4], sign, level),
            _mix(a, b, i + _ROW[5], sign, level),
            _mix(a, b, i + _ROW[6], sign, level),
            _mix(a, b, i + _ROW[7], sign, level),
            _mix(a, b, i + _ROW[8], sign, level),
            _mix(a, b, i + _ROW[9], sign, level),
            _mix(a, b, i + _ROW[10], sign, level),
            _mix(a, b, i + _ROW[11], sign, level),
            _mix(a, b, i + _ROW[12], sign, level),
            _mix(a, b, i + _ROW[13], sign, level),
        )
        _store(v, i, out)
        _store(_squares(v), i + _PLANE[1], out)


@numba.njit(nogil=True, cache=True, fastmath={"contract"})
def _mix(a, b, i, sign, level):
    return np.float32(a[i]) + sign * np.float32(b[i]) - level


@numba.njit(nogil=True, cache=True)
def _squares(v):
    a, b, c, d, e, f, g, h, i, j, k, m, n, o = v
    return a * a, b * b, c * c, d * d, e * e, f * f, g * g, h * h, i * i, j * j, k * k, m * m, n * n, o * o


@numba.njit(nogil=True, cache=True)
def _store(v, i, out):
    out[i] = _blur(v[0:11])
    out[i + _OUT[1]] = _blur(v[1:12])
    out[i + _OUT[2]] = _blur(v[2:13])
    out[i + _OUT[3]] = _blur(v[3:14])


@numba.njit(nogil=True, cache=True, fastmath={"reassoc"})
def _horizontal(row, n, plus, minus, c1, c2, twos, losses):
    """Blur four planes along the lanes; stores 1 - SSIM of `n` samples, returns the sums of 1 - SSIM and of 1 - CS."""
    loss, cs_loss = np.float32(0), np.float32(0)
    for x in range(n):
        i = np.uint64(x)
        s, s_square = _along(row, i), _along(row, i + _PLANE[1])
        d, d_square = _along(row, i + _PLANE[2]), _along(row, i + _PLANE[3])
        losses[i], lost = _loss(s, s_square, d, d_square, plus, minus, c1, c2, twos[i])
        loss += losses[i]
        cs_loss += lost
    return loss, cs_loss


@numba.njit(nogil=True, cache=True)
def _along(row, i):
    t = _TAP
    first = (row[i], row[i + t[1]], row[i + t[2]], row[i + t[3]], row[i + t[4]], row[i + t[5]])
    rest = (row[i + t[6]], row[i + t[7]], row[i + t[8]], row[i + t[9]], row[i + t[10]])
    return _blur(first + rest)


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _loss(s, s_square, d, d_square, plus, minus, c1, c2, two):
    """1 - SSIM and 1 - CS by the formula at the top of the file, with `two` for its factor 2."""
    s_variance, d_variance = s_square - s * s, d_square - d * d
    s, d = s + plus, d + minus
    luminance = s * s + d * d + c1
    variance = s_variance + d_variance + c2
    scale = two / (luminance * variance)
    cs_loss = d_variance * luminance * scale
    return d * d * (s_variance - d_variance + c2) * scale + cs_loss, cs_loss
