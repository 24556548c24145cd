"""What two videos say of themselves that differs, each with what to do about it."""

from __future__ import annotations

from fractions import Fraction

from vqmeter.frames import VideoInfo

_FIXES = {
    "range": "--range {ref} overrides a wrong flag, ffmpeg -vf scale=out_range={ref} converts a right one",
    "matrix": "--matrix {ref} overrides a wrong flag, ffmpeg -vf scale=out_color_matrix={ref} converts a right one",
    "transfer": "ffmpeg -vf zscale=transfer={ref} converts one",
    "rotation": "ffmpeg -vf transpose turns one",
}  # fmt: skip


def differences(ref: VideoInfo, dist: VideoInfo, pair: str = "index") -> tuple[str, ...]:
    """A line for every difference in meaning, rate or depth; what one of them leaves unsaid differs from nothing, nor do rates
    where frames are paired by time."""
    said = []
    for what, fix in _FIXES.items():
        of_ref, of_dist = getattr(ref, what), getattr(dist, what)
        if of_ref is not None and of_dist is not None and of_ref != of_dist:
            said.append(f"{what} differs: {of_ref} in the reference, {of_dist} in the distorted; "
                        f"samples are compared as stored; {fix.format(ref=of_ref)}")  # fmt: skip
    stated = ref.rate_stated and dist.rate_stated and pair == "index"
    if ref.rate and dist.rate and stated and not _one_rate(ref.rate, dist.rate):
        said.append(f"rate differs: {float(ref.rate):.6g} in the reference, {float(dist.rate):.6g} in the distorted; "
                    "frames are paired by number, --pair pts pairs them by time")  # fmt: skip
    a, b = ref.pix_fmt.bit_depth, dist.pix_fmt.bit_depth
    if a != b:
        said.append(f"depth differs: {a} bit in the reference, {b} in the distorted; compared at {max(a, b)} bit; "
                    "ffmpeg -pix_fmt brings both to one depth where rounding is not to count")  # fmt: skip
    return tuple(said)


def _one_rate(a: Fraction, b: Fraction) -> bool:
    """Whether two rates may be the same: those that are not usual ones are averages of rounded times, sure to a hundredth."""
    return abs(a - b) <= a / (2000 if _usual(a) and _usual(b) else 100)


def _usual(rate: Fraction) -> bool:
    """Whether it is a whole number, or one divided by 1.001."""
    return any(abs(r - round(r)) < Fraction(1, 10000) for r in (rate, rate * Fraction(1001, 1000)))
