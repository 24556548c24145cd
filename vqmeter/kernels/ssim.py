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
tile is taken off s and d before they are squared (a variance does not mind) and put back into S and D. Up to 14 bits
s and d are kept as int16, half the memory to move, and become float32 as they are blurred.

Order of work. A tile is a band of rows in a strip of columns. Each of its samples becomes s and d once. Their columns
are dealt into 16 lanes, each a run of `stride` neighbours: sample `[t, lane]` is column `lane * stride + t`. So
horizontal taps lie one 512-bit vector apart, and both passes load whole aligned vectors. Three blocks of eight rows are
kept, in turn the first, second and third: from these the vertical pass makes eight blurred rows, which the horizontal
pass consumes; then eight new rows take the place of the oldest. The vertical pass holds its eighteen rows in registers,
and the reduction in the horizontal one makes LLVM take two vectors at a time, which share most of their loads; both
then mostly wait for multiplications, and the division costs little beside them.

Notes for whoever edits this: numba wraps signed indices around, which stops vectorisation unless they count plainly
from 0, hence the uint64 ones; LLVM gives up on many alias checks, hence flat arrays with constant pitches; and it
leaves long functions as calls, which cannot be vectorised, hence `forceinline`.
"""

import numpy as np

from vqmeter.kernels.compiled import compiled

TAPS = 11
MARGIN = TAPS - 1  # samples lost to the window, in each direction
_gauss = np.exp(-0.5 * ((np.arange(TAPS) - TAPS // 2) / 1.5) ** 2)
W0, W1, W2, W3, W4, W5 = (np.float32(w) for w in (_gauss / _gauss.sum())[: TAPS // 2 + 1])

LANES = 16  # float32 in 512 bits
STRIDE = 128  # the most columns a lane yields
SLACK = 8  # columns more than a row of a tile needs: dealing ends on whole vectors
PITCH = LANES * (STRIDE + MARGIN + SLACK)  # samples in a row of a tile
BAND = 64  # rows a tile yields, a multiple of GROUP
GROUP = 8  # rows yielded by one vertical pass
BLOCKS = 3  # of GROUP rows, which are what a vertical pass reads
PLANES = 4  # S, E[s^2], D, E[d^2]
ROUND = 32  # samples of 16 bits in 512

_TAP = tuple(np.uint64(k * LANES) for k in range(TAPS))
_ROW = tuple(np.uint64(k * PITCH) for k in range(GROUP))
_OUT = tuple(np.uint64(k * PLANES * PITCH) for k in range(GROUP))
_PLANE = tuple(np.uint64(k * PITCH) for k in range(PLANES))
_REAL = np.dtype(np.float32)
_NO_MAP = np.empty((0, 0), np.float32)


def ssim(ref: np.ndarray, dist: np.ndarray, width: int, depth: int) -> float:
    """Mean SSIM of two `(h, pitch)` uint8 or uint16 planes of `depth` bits, in [-1, 1]; 1 for equal planes, exactly.

    Only the first `width` columns count. `h` and `width` must be 11 at least: unchecked.
    """
    peak, means = float((1 << depth) - 1), np.empty(1)
    _measure(ref, dist, width, peak, *_scratch(_mixed(ref, peak)), means, _NO_MAP)
    return float(means[0])


def ssim_cs(ref: np.ndarray, dist: np.ndarray, width: int, peak: float) -> tuple[float, float]:
    """Mean SSIM and mean contrast-structure term of two `(h, pitch)` planes, uint8, uint16 or float32 in [0, peak]."""
    means = np.empty(2)
    _measure(ref, dist, width, peak, *_scratch(_mixed(ref, peak)), means, _NO_MAP)
    return float(means[0]), float(means[1])


def ssim_map(ref: np.ndarray, dist: np.ndarray, width: int, depth: int) -> np.ndarray:
    """The map whose mean `ssim` is: `(h - 10, width - 10)` float32."""
    peak, out = float((1 << depth) - 1), np.empty((ref.shape[0] - MARGIN, width - MARGIN), np.float32)
    _measure(ref, dist, width, peak, *_scratch(_mixed(ref, peak)), np.empty(1), out)
    return out


def _mixed(plane: np.ndarray, peak: float) -> np.dtype:
    """The type of s and d, less their levels."""
    return np.dtype(np.int16 if plane.dtype.kind == "u" and peak < 1 << 14 else np.float32)


def _scratch(mixed: np.dtype) -> tuple[np.ndarray, ...]:
    """What `_measure` works in: rows being dealt, blocks of s and d, blurred rows, a row of factors and one of losses.

    Each starts on a 64-byte boundary: a vector that crosses one costs two loads.
    """
    parts = (mixed, 3 * PITCH), (mixed, 2 * BLOCKS * GROUP * PITCH), (_REAL, PLANES * GROUP * PITCH), (_REAL, 2 * PITCH)
    sizes = [dtype.itemsize * size for dtype, size in parts]
    room = np.empty(sum(sizes) + 64, np.uint8)
    start = -room.ctypes.data % 64
    arrays = []
    for (dtype, _), size in zip(parts, sizes, strict=True):
        arrays.append(room[start : start + size].view(dtype))
        start += size
    arrays[1] = arrays[1].reshape(BLOCKS, -1)
    return tuple(arrays)


@compiled
def _measure(ref, dist, width, peak, dealt, blocks, blurred, masks, means, out):
    """Fill `means` with SSIM and, if it has room for two, CS; or, unless it is empty, only the map `out`."""
    height, columns = ref.shape[0] - MARGIN, width - MARGIN
    strips = -(-columns // (LANES * STRIDE))
    stride = -(-columns // (LANES * strips))
    c1, c2 = np.float32(2 * (0.01 * peak) ** 2), np.float32(2 * (0.03 * peak) ** 2)
    stride += stride % 2  # the horizontal pass takes two vectors at a time
    twos, losses, n = masks[:PITCH], masks[PITCH:], LANES * stride
    d = GROUP * PITCH
    loss = cs_loss = 0.0
    dealt[:] = 0  # what lies behind a row is dealt too
    for left in range(0, columns, LANES * stride):
        right = min(left + LANES * stride + MARGIN, width)
        _count(columns - left, stride, twos)
        for top in range(0, height, BAND):
            rows = min(BAND, height - top)
            a, b = ref[top : top + rows + MARGIN], dist[top : top + rows + MARGIN]
            ref_level, dist_level = _level(a, left, right), _level(b, left, right)
            plus, minus = np.float32(ref_level + dist_level), np.float32(ref_level - dist_level)
            for block in range(BLOCKS - 1):
                _fill(a, b, block, left, right, stride, plus, minus, dealt, blocks)
            for y in range(0, rows, GROUP):
                block = y // GROUP
                _fill(a, b, block + BLOCKS - 1, left, right, stride, plus, minus, dealt, blocks)
                one, two, three = blocks[block % BLOCKS], blocks[(block + 1) % BLOCKS], blocks[(block + 2) % BLOCKS]
                _vertical(one, two, three, n + LANES * MARGIN, blurred)
                _vertical(one[d:], two[d:], three[d:], n + LANES * MARGIN, blurred[2 * PITCH :])
                for r in range(min(GROUP, rows - y)):
                    row = np.uint64(r * PLANES * PITCH)
                    if out.size > 0:
                        _horizontal_map(blurred, row, n, plus, minus, c1, c2, losses)
                        _undeal(losses, stride, out[top + y + r, left:])
                    elif means.size == 1:
                        loss += _horizontal(blurred, row, n, plus, minus, c1, c2, twos)
                    else:
                        row_loss, row_cs_loss = _horizontal_cs(blurred, row, n, plus, minus, c1, c2, twos)
                        loss += row_loss
                        cs_loss += row_cs_loss
    means[-1] = 1 - cs_loss / (height * columns)
    means[0] = 1 - loss / (height * columns)


@compiled
def _count(columns, stride, twos):
    """The 2 of the loss where a lane's column is in the picture, 0 where it is padding."""
    for t in range(stride):
        for lane in range(LANES):
            twos[t * LANES + lane] = 2 if lane * stride + t < columns else 0


@compiled
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


@compiled
def _fill(ref, dist, block, left, right, stride, plus, minus, dealt, blocks):
    """Fill a block with its rows of s and d, as far as the band has them."""
    slot = blocks[block % BLOCKS]  # eight rows of s, then eight of d
    s, d, spare = dealt[:PITCH], dealt[PITCH : 2 * PITCH], dealt[2 * PITCH :]
    for r in range(min(GROUP, ref.shape[0] - block * GROUP)):
        _mix(ref, dist, block * GROUP + r, left, right, plus, minus, s, d)
        _deal(s, stride, spare, slot, r * PITCH)
        _deal(d, stride, spare, slot, (GROUP + r) * PITCH)


@compiled
def _mix(ref, dist, y, left, right, plus, minus, s, d):
    """s and d of row `y`, less their levels: exact for whole numbers."""
    kind = s.dtype.type
    row, first = np.uint64(y), np.uint64(left)
    for x in range(right - left):
        i = np.uint64(x)
        a, b = kind(ref[row, first + i]), kind(dist[row, first + i])
        s[i] = a + b - kind(plus)
        d[i] = a - b - kind(minus)


@compiled
def _deal(row, stride, spare, out, start):
    """Deal the columns of `row` into lanes of `out` from `start` on, and what lies behind it into the slack."""
    length = -(-4 * (stride + MARGIN) // ROUND) * ROUND
    _interleave(row, 4 * stride, length, spare, 0)
    _interleave(spare, 4 * stride, length, out, start)


@compiled
def _interleave(runs, apart, length, out, start):
    """Interleave four runs of samples that start `apart` from each other. Twice by 4 vectorises; by 16 not."""
    one, two, three, first = np.uint64(apart), np.uint64(2 * apart), np.uint64(3 * apart), np.uint64(start)
    for x in range(length):
        i = np.uint64(x)
        to = first + np.uint64(4) * i
        out[to] = runs[i]
        out[to + np.uint64(1)] = runs[i + one]
        out[to + np.uint64(2)] = runs[i + two]
        out[to + np.uint64(3)] = runs[i + three]


@compiled
def _undeal(losses, stride, out):
    for lane in range(LANES):
        for t in range(min(stride, out.size - lane * stride)):
            out[lane * stride + t] = np.float32(1) - losses[t * LANES + lane]


@compiled(forceinline=True, fastmath={"contract"})
def _blur(v):
    """The window along eleven samples. The small weights come first: the other order rounds ten times worse."""
    far = W0 * (v[0] + v[10]) + W1 * (v[1] + v[9]) + W2 * (v[2] + v[8])
    return far + W3 * (v[3] + v[7]) + W4 * (v[4] + v[6]) + W5 * v[5]


@compiled
def _vertical(first, second, third, n, out):
    """Blur v, which is s or d, and v^2 down the columns: eighteen rows of three blocks to eight rows of two planes."""
    for x in range(n):
        i = np.uint64(x)
        v = _eight(first, i) + _eight(second, i) + (_at(third, i), _at(third, i + _ROW[1]))
        _store(v, i, out)
        _store(_squares(v), i + _PLANE[1], out)


@compiled(forceinline=True)
def _eight(rows, i):
    r = _ROW
    first = _at(rows, i), _at(rows, i + r[1]), _at(rows, i + r[2]), _at(rows, i + r[3])
    rest = _at(rows, i + r[4]), _at(rows, i + r[5]), _at(rows, i + r[6]), _at(rows, i + r[7])
    return first + rest


@compiled(forceinline=True)
def _at(rows, i):
    return np.float32(rows[i])


@compiled(forceinline=True)
def _squares(v):
    a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, s = v
    first = a * a, b * b, c * c, d * d, e * e, f * f, g * g, h * h, i * i
    rest = j * j, k * k, m * m, n * n, o * o, p * p, q * q, r * r, s * s
    return first + rest


@compiled(forceinline=True)
def _store(v, i, out):
    out[i] = _blur(v[0:11])
    out[i + _OUT[1]] = _blur(v[1:12])
    out[i + _OUT[2]] = _blur(v[2:13])
    out[i + _OUT[3]] = _blur(v[3:14])
    out[i + _OUT[4]] = _blur(v[4:15])
    out[i + _OUT[5]] = _blur(v[5:16])
    out[i + _OUT[6]] = _blur(v[6:17])
    out[i + _OUT[7]] = _blur(v[7:18])


@compiled(fastmath={"reassoc"})
def _horizontal(blurred, row, n, plus, minus, c1, c2, twos):
    """The sum of 1 - SSIM of `n` samples of the row that starts at `row`."""
    loss = np.float32(0)
    for x in range(n):
        i = np.uint64(x)
        loss += twos[i] * _loss(blurred, row + i, plus, minus, c1, c2)[0]
    return loss


@compiled(fastmath={"reassoc"})
def _horizontal_cs(blurred, row, n, plus, minus, c1, c2, twos):
    """The sums of 1 - SSIM and of 1 - CS."""
    loss, cs_loss = np.float32(0), np.float32(0)
    for x in range(n):
        i = np.uint64(x)
        lost, cs_lost = _loss(blurred, row + i, plus, minus, c1, c2)
        loss += twos[i] * lost
        cs_loss += twos[i] * cs_lost
    return loss, cs_loss


@compiled
def _horizontal_map(blurred, row, n, plus, minus, c1, c2, losses):
    """1 - SSIM of each sample."""
    for x in range(n):
        i = np.uint64(x)
        losses[i] = np.float32(2) * _loss(blurred, row + i, plus, minus, c1, c2)[0]


@compiled(forceinline=True)
def _along(row, i):
    t = _TAP
    first = (row[i], row[i + t[1]], row[i + t[2]], row[i + t[3]], row[i + t[4]], row[i + t[5]])
    rest = (row[i + t[6]], row[i + t[7]], row[i + t[8]], row[i + t[9]], row[i + t[10]])
    return _blur(first + rest)


@compiled(forceinline=True, error_model="numpy", fastmath={"contract"})
def _loss(row, i, plus, minus, c1, c2):
    """Blur four planes along the lanes; half of 1 - SSIM and of 1 - CS by the formula at the top of the file."""
    s, s_square = _along(row, i), _along(row, i + _PLANE[1])
    d, d_square = _along(row, i + _PLANE[2]), _along(row, i + _PLANE[3])
    s_variance, d_variance = s_square - s * s, d_square - d * d
    s, d = s + plus, d + minus
    luminance = s * s + c1 + d * d
    variance = s_variance + d_variance + c2
    lost = d * d * (s_variance - d_variance + c2) + d_variance * luminance
    return lost / (luminance * variance), d_variance / variance
