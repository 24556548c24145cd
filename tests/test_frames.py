"""Pixel formats: sizes by hand, layouts against libswscale's own conversions; and where frames lie in their files."""

import os

import av
import numpy as np
import pytest

from vqmeter.errors import DecodeError
from vqmeter.frames import Frame, PixelFormat, VideoInfo
from vqmeter.kernels.rows import rows
from vqmeter.sources import InputOptions, open_video
from vqmeter.sources.pair import at_depth


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("gray", (3, 5), 15), ("gray10le", (3, 5), 30), ("yuv420p", (353, 201), 353 * 201 + 2 * 177 * 101),
        ("yuv422p10be", (353, 201), 2 * (353 * 201 + 2 * 177 * 201)), ("yuv444p", (7, 3), 63), ("nv12", (5, 3), 15 + 12),
        ("p010le", (4, 4), 48), ("yuva420p", (4, 4), 40), ("rgb24", (5, 2), 30), ("bgra", (5, 2), 40), ("gbrp16le", (2, 2), 24),
        ("yuyv422", (5, 2), 24), ("yuv411p", (9, 2), 18 + 2 * 6), ("yuv410p", (5, 5), 25 + 2 * 4),
    ],
)  # fmt: skip
def test_frame_bytes(name, size, expected):
    assert PixelFormat.parse(name).frame_bytes(*size) == expected


@pytest.mark.parametrize("name", ["", "yuv", "yuv420", "pal8", "xyz12le", "yuv420p11le", "graf32le"])
def test_unknown_layouts_are_not_guessed(name):
    with pytest.raises(KeyError):
        PixelFormat.parse(name)


def _planes(frame: av.VideoFrame) -> tuple[np.ndarray, ...]:
    fmt = PixelFormat.parse(frame.format.name)
    memory = [np.frombuffer(p, fmt.memory_dtype).reshape(-1, p.line_size // fmt.bytes_per_sample) for p in frame.planes]
    return fmt.planes(memory, frame.width, frame.height)


@pytest.mark.parametrize(
    ("planar", "other"),
    [
        ("yuv420p", "nv12"), ("yuv420p", "nv21"), ("yuv422p", "nv16"), ("yuv444p", "nv24"), ("yuv420p10le", "p010le"),
        ("yuv420p10le", "p010be"), ("yuv420p10le", "yuv420p10be"), ("yuv422p", "yuyv422"), ("yuv422p", "uyvy422"),
        ("gbrp", "rgb24"), ("gbrp", "bgr24"), ("gbrp", "rgba"), ("gbrp", "abgr"), ("gray16le", "gray16be"),
    ],
)  # fmt: skip
def test_layouts_hold_the_same_samples_as_the_planar_one(planar, other):
    """Oracle: libswscale, which moves samples between these layouts without changing them."""
    rng = np.random.default_rng(3)
    frame = av.VideoFrame(48, 32, planar)
    fmt = PixelFormat.parse(planar)
    for plane in frame.planes:
        samples = rng.integers(0, fmt.peak + 1, plane.buffer_size // fmt.bytes_per_sample).astype(fmt.memory_dtype)
        plane.update(samples.tobytes())
    converted = frame.reformat(format=other)
    assert converted.format.name == other
    for expected, got in zip(_planes(frame), _planes(converted), strict=True):
        assert got.dtype.isnative
        np.testing.assert_array_equal(got, expected)


def test_a_frame_loads_once_shares_what_is_derived_and_lets_go():
    calls = []
    info = VideoInfo("x", 2, 2, PixelFormat.parse("gray"))

    def load():
        calls.append(1)
        return (np.zeros((2, 2), np.uint8),)

    frame = Frame(info, 0, load)
    assert frame.planes is frame.planes
    assert frame.derive("sum", lambda f: [f.planes[0].sum()]) is frame.derive("sum", lambda f: [])
    assert len(calls) == 1
    frame.release()
    assert frame.derive("sum", lambda f: "new") == "new"
    assert frame.planes[0].shape == (2, 2) and len(calls) == 2


def test_rows_gives_padded_rows_without_a_copy_and_copies_interleaved_samples():
    memory = np.arange(60, dtype=np.uint8).reshape(6, 10)
    view = memory[:5, :7]
    got = rows(view)
    assert got.shape == (5, 10) and got.flags.c_contiguous and np.shares_memory(got, memory)
    np.testing.assert_array_equal(got[:, :7], view)
    strided = memory[:, 1::2]
    np.testing.assert_array_equal(rows(strided)[:, :5], strided)


@pytest.mark.parametrize(("fmt", "plain"), [("yuv420p", True), ("yuv422p10le", True), ("gray", True), ("gray16le", True),
                                            ("yuvj444p", True), ("gbrp", False), ("nv12", False), ("rgb24", False),
                                            ("yuv420p10be", False), ("yuva420p", False), ("p010le", False)])  # fmt: skip
def test_frames_that_lie_plainly_in_a_file_say_where(tmp_path, fmt, plain):
    path = tmp_path / "a.yuv"
    info = PixelFormat.parse(fmt)
    path.write_bytes(np.random.default_rng(1).integers(0, 256, 3 * info.frame_bytes(18, 10), np.uint8).tobytes())
    source = open_video(str(path), InputOptions(size=(18, 10), pix_fmt=fmt))
    frame = list(source.frames())[2]
    part = frame.unread()
    assert (part is not None) == plain
    if part is not None:
        assert part.at == 2 * info.frame_bytes(18, 10) and part.samples.nbytes == info.frame_bytes(18, 10)
        os.preadv(part.file, [part.samples.view(np.uint8)], part.at)
        frame.was_read(part)
        read = [plane.copy() for plane in frame.planes]
        frame.release()
        assert all(np.array_equal(a, b) for a, b in zip(read, frame.planes, strict=True))
    assert frame.planes and frame.unread() is None  # somebody has read it
    deeper = at_depth(next(iter(source.frames())), 16)
    assert info.bit_depth == 16 or deeper.unread() is None  # what is promoted lies nowhere
    source.close()


def test_where_a_frame_of_y4m_lies_is_told_behind_its_marker_and_not_where_that_is_damaged(tmp_path):
    path = tmp_path / "a.y4m"
    path.write_bytes(b"YUV4MPEG2 W4 H2 F25:1 Cmono\n" + b"FRAME\n12345678" + b"FRAMe\n12345678")
    source = open_video(str(path))
    good, bad = source.frames()
    part = good.unread()
    assert part is not None and os.pread(part.file, 8, part.at) == b"12345678"
    assert bad.unread() is None
    with pytest.raises(DecodeError, match="does not begin with FRAME"):
        _ = bad.planes
    source.close()
