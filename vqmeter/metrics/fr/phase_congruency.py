"""Phase congruency of pictures: where the Fourier components of a picture are in phase, by Kovesi's phasecong2.

    PC = sum_o max(E_o - T_o, 0) / sum_o sum_s A_so

A_so is the amplitude of the picture under a log-Gabor filter of scale s and orientation o; E_o the local energy, the
parts of the responses along their sum less the parts across it; T_o what noise would give, from the median energy of
the finest scale. The settings are those FSIM's authors chose. A GPU takes the torch road, a batch at a time; on the
CPU `kernels.phase` does the pointwise half. Both agree to 1e-5.

Source: P. Kovesi, "Image Features from Phase Congruency", Videre: Journal of Computer Vision Research 1(3), 1999;
settings of L. Zhang et al., doi:10.1109/TIP.2011.2109730.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqmeter.kernels import phase

SCALES, ORIENTATIONS = 4, 4
SHORTEST_WAVE, WAVE_RATIO = 6.0, 2.0  # pixels, ratio between scales
SIGMA_ON_F = 0.55  # width of the log-Gabor filter over its centre frequency
THETA_SIGMA = math.pi / ORIENTATIONS / 1.2  # angular width, radians
CUTOFF, SHARPNESS = 0.45, 15  # Butterworth low-pass
NOISE_SIGMAS, NOISE_DIVISOR = 2.0, 1.7
EPSILON = 1e-4


def phase_congruency(x: Tensor) -> Tensor:
    """(N, H, W) float32 in [0, 1] of pictures (N, H, W); zero where there is no signal."""
    bank, noise = filters(x.shape[1], x.shape[2], x.device)
    spectrum = torch.fft.fft2((x - x[:, :1, :1]).float())  # no filter passes DC, and a flat picture gives exact zeros
    if x.device.type == "cpu":
        return torch.stack([_of_spectrum(one, bank, noise) for one in spectrum])
    return congruency(spectrum, bank, noise)


def congruency(spectrum: Tensor, bank: Tensor, noise: Tensor) -> Tensor:
    """The torch road: phase congruency of spectra (N, H, W) on any device."""
    energy, amplitude = torch.zeros_like(spectrum.real), torch.zeros_like(spectrum.real)
    for o in range(ORIENTATIONS):
        waves = torch.fft.ifft2(spectrum[:, None] * bank[o], norm="forward")  # (N, scales, H, W): even + i odd
        an = waves.abs()
        total = waves.sum(1)
        direction = total / (total.abs() + EPSILON)
        turned = waves * direction.conj()[:, None]
        local = (turned.real - turned.imag.abs()).sum(1)
        threshold = noise[o] * _median_rms(an[:, 0])
        energy += (local - threshold[:, None, None]).clamp_(min=0)
        amplitude += an.sum(1)
    return torch.where(amplitude > 0, energy / amplitude, 0.0)


def _median_rms(x: Tensor) -> Tensor:
    """sqrt(median(x^2)) of (N, H, W) non-negative numbers; of an even count, the mean of the middle two."""
    ordered = x.flatten(1).sort(1).values
    n = ordered.shape[1]
    return ((ordered[:, (n - 1) // 2] ** 2 + ordered[:, n // 2] ** 2) / 2).sqrt()


def _of_spectrum(spectrum: Tensor, bank: Tensor, noise: Tensor) -> Tensor:
    """The CPU road: phase congruency (H, W) of one spectrum."""
    h, w = spectrum.shape
    flat = torch.view_as_real(spectrum).numpy().reshape(-1)
    product = np.empty((SCALES, 2 * h * w), np.float32)
    spectra = torch.view_as_complex(torch.from_numpy(product).view(SCALES, h, w, 2))
    local, total = np.empty((3, h * w), np.float32), np.zeros((2, h * w), np.float32)
    for o in range(ORIENTATIONS):
        phase.filtered(flat, bank[o].view(SCALES, -1).numpy(), product)
        waves = torch.view_as_real(torch.fft.ifft2(spectra, norm="forward")).view(SCALES, -1).numpy()
        phase.local_energy(waves, EPSILON, local)
        phase.accumulate(local, float(noise[o]) * _middle_rms(local[2]), total)
    congruent = np.divide(total[0], total[1], out=np.zeros(h * w, np.float32), where=total[1] > 0)
    return torch.from_numpy(congruent.reshape(h, w))


def _middle_rms(x: NDArray[np.float32]) -> float:
    """`_median_rms` of one flat array."""
    low = (x.size - 1) // 2
    parted = np.partition(x, low)  # one place: two would leave numpy's fast path
    high = parted[low] if x.size % 2 else parted[low + 1 :].min()
    return math.sqrt((float(parted[low]) ** 2 + float(high) ** 2) / 2)


@lru_cache(maxsize=8)
def filters(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The log-Gabor bank (orientations, scales, H, W) float32, divided by H W for an unscaled inverse transform,
    and for each orientation the noise threshold over the root of the finest scale's median energy."""
    fy, fx = np.meshgrid(frequencies(height), frequencies(width), indexing="ij")
    radius, theta = np.hypot(fx, fy), np.arctan2(-fy, fx)
    low_pass = 1 / (1 + (radius / CUTOFF) ** (2 * SHARPNESS))
    radius[0, 0] = 1
    centres = 1 / (SHORTEST_WAVE * WAVE_RATIO ** np.arange(SCALES))
    radial = np.exp(-(np.log(radius / centres[:, None, None]) ** 2) / (2 * math.log(SIGMA_ON_F) ** 2)) * low_pass
    radial[:, 0, 0] = 0
    bank = np.empty((ORIENTATIONS, SCALES, height, width), np.float32)
    noise = np.empty(ORIENTATIONS)
    for o in range(ORIENTATIONS):
        away = theta - o * math.pi / ORIENTATIONS
        away = np.arctan2(np.sin(away), np.cos(away))
        exact = radial * np.exp(-(away**2) / (2 * THETA_SIGMA**2))
        bank[o] = exact / (height * width)
        noise[o] = _noise(exact)
    return torch.from_numpy(bank).to(device), torch.from_numpy(noise.astype(np.float32)).to(device)


def frequencies(n: int) -> NDArray[np.float64]:
    """Frequencies of n samples in FFT order; Kovesi divides those of an odd n by n - 1."""
    return np.fft.ifftshift((np.arange(n) - n // 2) / (n - n % 2))


def _noise(bank: NDArray[np.float64]) -> float:
    """Threshold for a unit median: Rayleigh-distributed noise energy, its mean and k sigmas."""
    kernels = np.fft.ifft2(bank).real * math.sqrt(bank.shape[1] * bank.shape[2])
    power = 1 / math.log(2) / (bank[0] ** 2).sum()
    squares, pairs = (kernels**2).sum(), (kernels.sum(0) ** 2).sum()  # pairs: squares + 2 sum of products i < j
    tau = math.sqrt((2 * power * squares + 2 * power * (pairs - squares)) / 2)
    return tau * (math.sqrt(math.pi / 2) + NOISE_SIGMAS * math.sqrt(2 - math.pi / 2)) / NOISE_DIVISOR
