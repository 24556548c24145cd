"""Distortions of one picture, as RankIQA makes them to train on: functions of (picture, value, random numbers).

Every function takes (H, W, 3) uint8 RGB, the value of its level and a generator, and gives a new array of the same
shape and dtype; those without chance leave the generator alone. Samples count as 0..1 where a variance is spoken of.
What differs from the authors' MATLAB: HFN and CA are what their supplement describes, not what their code does (that is
HFN-REPO and CA-REPO); non-local means stands in for CBM3D, a program not free to pass on; Otsu's thresholds are the
exact optimum; the palette is Pillow's of greatest coverage, after k-means.

Source: X. Liu, J. van de Weijer, A. D. Bagdanov, "RankIQA", ICCV 2017, supplement and code; types and their numbers
are those of TID2013.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqmeter.colour import Colour, rgb_matrix
from vqmeter.frames import PixelFormat

Picture = NDArray[np.uint8]  # (H, W, 3)
Floats = NDArray[np.float32]
Random = np.random.Generator

PATCH, DISPLACED = 15, 5  # NEPN: side of a patch and how far it goes right and down, in pixels
BLOCK = 32  # BW: side of a block, in pixels
CUTOFF = 10.0  # HFN: width of the Gaussian notch about zero frequency, in bins of the spectrum
PALETTE_PIXELS = 1 << 14  # CQD: a palette is sought on at most so many pixels
DENOISER_SIGMA = 25 / 255  # ID: of the noise added before denoising, and what the denoiser is told


def _samples(values: NDArray[Any]) -> Picture:
    """Rounded and saturated; `values` are 0..255."""
    out: Picture = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return out


def _normal(rgb: Picture, rng: Random) -> Floats:
    return rng.standard_normal(rgb.shape, np.float32)


def gaussian_noise(rgb: Picture, variance: float, rng: Random) -> Picture:
    """White noise in each of R, G and B (TID2013 1; MATLAB's imnoise)."""
    return _samples(rgb + np.float32(255 * variance**0.5) * _normal(rgb, rng))


def noise_in_ycbcr(rgb: Picture, variance: float, rng: Random) -> Picture:
    """White noise in Y, Cb and Cr of BT.601 in limited range (TID2013 2); Cb and Cr weigh more in RGB than Y does."""
    return _from_ycbcr(_to_ycbcr(rgb) + np.float32(255 * variance**0.5) * _normal(rgb, rng))


def high_frequency_noise(rgb: Picture, variance: float, rng: Random) -> Picture:
    """White noise without its lowest frequencies (TID2013 5): times 1 - exp(-d^2 / 2 c^2) at d bins from zero."""
    from scipy import fft

    noise = np.float32(variance**0.5) * _normal(rgb, rng)
    spectrum = fft.rfft2(noise, axes=(0, 1)) * _high_pass(rgb.shape[0], rgb.shape[1], 0.0)[:, : rgb.shape[1] // 2 + 1, None]
    return _samples(rgb + 255 * fft.irfft2(spectrum, rgb.shape[:2], axes=(0, 1)))


def noise_without_nyquist(rgb: Picture, variance: float, rng: Random) -> Picture:
    """HFN as the authors' code has it: the notch lies on the highest frequency, so that white noise remains."""
    from scipy import fft

    noisy = np.clip(rgb / np.float32(255) + np.float32(variance**0.5) * _normal(rgb, rng), 0, 1)
    kept = _high_pass(rgb.shape[0], rgb.shape[1], 0.5)[:, :, None]
    return _samples(255 * fft.ifft2(fft.fft2(noisy, axes=(0, 1)) * kept, axes=(0, 1)).real)


def _high_pass(height: int, width: int, centre: float) -> Floats:
    """1 - Gaussian about `centre` (0: zero frequency, 0.5: Nyquist) in the order of an FFT."""
    v, u = (np.fft.fftfreq(n) * n if centre == 0 else np.arange(n) - centre * n // 1 for n in (height, width))
    out: Floats = 1 - np.exp(-(v[:, None] ** 2 + u[None] ** 2) / (2 * CUTOFF**2)).astype(np.float32)
    return out


def impulse_noise(rgb: Picture, density: float, rng: Random) -> Picture:
    """`density` of all samples become 0 or 255, half of them each (TID2013 6)."""
    draw = rng.random(rgb.shape, np.float32)
    return np.where(draw < density / 2, np.uint8(0), np.where(draw >= 1 - density / 2, np.uint8(255), rgb))


def quantised(rgb: Picture, thresholds: int, rng: Random) -> Picture:
    """Otsu's best `thresholds` t1..tn over all samples; what lies between is set to 0, t2..tn, 255 (TID2013 7)."""
    cuts = otsu(np.bincount(rgb.ravel(), minlength=256), thresholds)
    values = np.array([0, *cuts[1:], 255], np.uint8)
    out: Picture = values[np.searchsorted(np.array(cuts), np.arange(256), side="left")][rgb]
    return out


def otsu(histogram: NDArray[Any], thresholds: int) -> list[int]:
    """The `thresholds` grey levels that part a histogram with the least variance within classes; exact, by dynamic
    programming. A class ends with its threshold."""
    count = histogram.astype(float)
    first = np.concatenate([[0], np.cumsum(count)])
    second = np.concatenate([[0], np.cumsum(count * np.arange(256))])
    mass = first[None] - first[:, None]  # [a, b]: levels a..b-1
    moment = second[None] - second[:, None]
    gain = np.where(mass > 0, moment**2 / np.where(mass > 0, mass, 1), 0)
    gain[np.tri(257, dtype=bool)] = -np.inf  # a class has at least one level
    best, steps = gain[0], []
    for _ in range(thresholds):
        total = best[:, None] + gain
        steps.append(np.argmax(total, axis=0))
        best = np.max(total, axis=0)
    ends, at = [], 256
    for step in reversed(steps):
        at = int(step[at])
        ends.append(at - 1)
    return ends[::-1]


def gaussian_blur(rgb: Picture, hsize: int, rng: Random) -> Picture:
    """Gaussian of `hsize` taps and sigma hsize / 6, edges mirrored (TID2013 8)."""
    return _samples(_convolved(rgb, _gaussian(hsize, hsize / 6), "reflect"))


def _gaussian(size: int, sigma: float) -> Floats:
    weights = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2)).astype(np.float32)
    out: Floats = weights / weights.sum()
    return out


def _convolved(rgb: NDArray[Any], weights: Floats, mode: str) -> Floats:
    from scipy.ndimage import correlate1d

    rows = correlate1d(rgb.astype(np.float32), weights, axis=0, mode=mode)
    out: Floats = correlate1d(rows, weights, axis=1, mode=mode)
    return out


def denoised(rgb: Picture, variance: float, rng: Random) -> Picture:
    """Noise of `variance`, noise of sigma 25 more, then a denoiser that is told of 25 alone (TID2013 9).

    The denoiser is scikit-image's non-local means: 5 x 5 patches, within 4 pixels.
    """
    from skimage.restoration import denoise_nl_means

    noisy = gaussian_noise(rgb, variance, rng) / np.float32(255)
    noisy = noisy + np.float32(DENOISER_SIGMA) * _normal(rgb, rng)
    clean = denoise_nl_means(noisy, patch_size=5, patch_distance=4, h=0.8 * DENOISER_SIGMA, sigma=DENOISER_SIGMA,
                             fast_mode=True, channel_axis=-1)  # fmt: skip
    return _samples(255 * clean.reshape(rgb.shape))


def jpeg(rgb: Picture, quality: int, rng: Random) -> Picture:
    """libjpeg at `quality`, chroma halved both ways (TID2013 10); 0 counts as 1."""
    return _coded(rgb, "JPEG", quality=max(quality, 1), subsampling="4:2:0")


def jpeg2000(rgb: Picture, ratio: float, rng: Random) -> Picture:
    """OpenJPEG, lossy, in 1 / `ratio` of the bytes of the samples (TID2013 11); 24 / `ratio` bits a pixel."""
    return _coded(rgb, "JPEG2000", quality_mode="rates", quality_layers=[ratio], irreversible=True)


def _coded(rgb: Picture, form: str, **options: Any) -> Picture:
    from PIL import Image

    with io.BytesIO() as file:
        Image.fromarray(rgb).save(file, form, **options)
        return np.asarray(Image.open(file).convert("RGB"))


def displaced_patches(rgb: Picture, count: int, rng: Random) -> Picture:
    """`count` patches of 15 x 15 copied 5 pixels to the right and down (TID2013 14)."""
    out = rgb.copy()
    height, width = rgb.shape[:2]
    for top, left in rng.random((count, 2)):
        h, w = min(PATCH, height - DISPLACED), min(PATCH, width - DISPLACED)
        if h > 0 and w > 0:
            y, x = int(top * (height - h - DISPLACED + 1)), int(left * (width - w - DISPLACED + 1))
            out[y + DISPLACED : y + h + DISPLACED, x + DISPLACED : x + w + DISPLACED] = rgb[y : y + h, x : x + w]
    return out


def blocks(rgb: Picture, value: tuple[int, int | None], rng: Random) -> Picture:
    """`value[0]` blocks of 32 x 32 in the picture's mean colour, with `value[1]` more red or no red (TID2013 15)."""
    count, more = value
    out = rgb.copy()
    height, width = rgb.shape[:2]
    h, w = min(BLOCK, height), min(BLOCK, width)
    red, green, blue = rgb.reshape(-1, 3).mean(axis=0)
    colour = _samples(np.array([0 if more is None else red + more, green, blue]))
    for top, left in rng.random((count, 2)):
        y, x = int(top * (height - h + 1)), int(left * (width - w + 1))
        out[y : y + h, x : x + w] = colour
    return out


def shifted(rgb: Picture, offset: int, rng: Random) -> Picture:
    """Mean shift: `offset` added to every sample (TID2013 16)."""
    return _samples(rgb.astype(np.int16) + offset)


def scaled(rgb: Picture, factor: float, rng: Random) -> Picture:
    """Contrast change: every sample times `factor`, about black (TID2013 17)."""
    return _samples(rgb * np.float32(factor))


def saturated(rgb: Picture, factor: float, rng: Random) -> Picture:
    """Cb and Cr of BT.601 times `factor`, about their middle (TID2013 18)."""
    ycbcr = _to_ycbcr(rgb)
    ycbcr[..., 1:] = 128 + np.float32(factor) * (ycbcr[..., 1:] - 128)
    return _from_ycbcr(ycbcr)


def multiplicative_noise(rgb: Picture, deviation: float, rng: Random) -> Picture:
    """Every sample times 1 + `deviation` x noise (TID2013 19)."""
    return _samples(rgb * (1 + np.float32(deviation) * _normal(rgb, rng)))


def dithered_palette(rgb: Picture, colours: int, rng: Random) -> Picture:
    """A palette of at most `colours`, errors diffused after Floyd and Steinberg (TID2013 22)."""
    from PIL import Image

    step = int(np.ceil((rgb.size / 3 / PALETTE_PIXELS) ** 0.5))
    picture, sample = Image.fromarray(rgb), Image.fromarray(rgb[::step, ::step])
    palette = sample.quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    return np.asarray(picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB"))


def colours_apart(rgb: Picture, value: tuple[int, int], rng: Random) -> Picture:
    """Red and blue displaced to the right by so many pixels, then a 3 x 3 Gaussian of sigma 0.5 (TID2013 23)."""
    return _displaced(rgb, {0: value[0], 2: value[1]})


def colours_apart_repo(rgb: Picture, value: tuple[int, int], rng: Random) -> Picture:
    """The authors' code, where variables changed places: red and green displaced, each by less."""
    return _displaced(rgb, {0: value[0], 1: value[1]})


def _displaced(rgb: Picture, shifts: dict[int, int]) -> Picture:
    out = rgb.copy()
    for channel, shift in shifts.items():
        out[..., channel] = rgb[:, np.maximum(np.arange(rgb.shape[1]) - shift, 0), channel]
    return _samples(_convolved(out, _gaussian(3, 0.5), "nearest"))


def blurred_jpeg(rgb: Picture, value: tuple[int, int], rng: Random) -> Picture:
    """MLIVE's first: blur, then JPEG."""
    return jpeg(gaussian_blur(rgb, value[0], rng), value[1], rng)


def blurred_noise(rgb: Picture, value: tuple[int, float], rng: Random) -> Picture:
    """MLIVE's second: blur, then Gaussian noise."""
    return gaussian_noise(gaussian_blur(rgb, value[0], rng), value[1], rng)


_YCBCR_TO_RGB = 255 * rgb_matrix(PixelFormat.parse("yuv444p"), Colour("bt601", "limited"))
_RGB_TO_YCBCR = np.linalg.inv(_YCBCR_TO_RGB[:, :3])


def _to_ycbcr(rgb: Picture) -> Floats:
    out: Floats = ((rgb - _YCBCR_TO_RGB[:, 3]) @ _RGB_TO_YCBCR.T).astype(np.float32)
    return out


def _from_ycbcr(ycbcr: Floats) -> Picture:
    return _samples(ycbcr @ _YCBCR_TO_RGB[:, :3].T.astype(np.float32) + _YCBCR_TO_RGB[:, 3].astype(np.float32))
