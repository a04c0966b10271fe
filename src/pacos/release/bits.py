"""Differences of raw bit patterns: exact for any type, small numbers for small changes, so they compress."""

import zlib

import numpy as np
import torch

FLOATS = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
# Higher levels cost several times the time for a percent or two: low bits of trained weights are noise.
ZLIB_LEVEL = 3


def convert(raw: bytes, dtype: str, wanted: str) -> bytes:
    """The same numbers in another float type, rounded to nearest even where it is narrower: equal on every machine."""
    if dtype == wanted or not raw:
        return raw
    numbers = torch.frombuffer(bytearray(raw), dtype=FLOATS[dtype]).to(FLOATS[wanted])
    return bytes(numbers.view(torch.uint8).numpy())


def encode(student: bytes, base: bytes, width: int) -> bytes:
    """student - base on unsigned integers of `width` bytes, wrapping; `base` is taken to go on in zeros.

    The difference is stored zigzag (0, -1, 1, -2, ... as 0, 1, 2, 3, ...) and byte plane by byte plane, so that the
    high bytes of small differences, which are zeros, lie together for zlib.
    """
    signed, unsigned = f"<i{width}", f"<u{width}"
    ours = np.frombuffer(student, unsigned)
    theirs = np.zeros_like(ours)
    theirs[: len(base) // width] = np.frombuffer(base, unsigned)
    difference = ours - theirs
    sign = (difference.view(signed) >> (8 * width - 1)).view(unsigned)
    zigzag = (difference << 1) ^ sign
    planes = zigzag.view(np.uint8).reshape(-1, width).T
    return zlib.compress(planes.tobytes(), ZLIB_LEVEL)


def decode(packed: bytes, base: bytes, width: int, num_units: int) -> bytes:
    """The student's bytes back from `encode`; ValueError where `packed` does not hold exactly that many units."""
    inflate = zlib.decompressobj()
    try:
        planes = inflate.decompress(packed, num_units * width + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(planes) != num_units * width or not inflate.eof or inflate.unused_data:
        raise ValueError("wrong size")
    zigzag = np.ascontiguousarray(np.frombuffer(planes, np.uint8).reshape(width, -1).T).view(f"<u{width}").ravel()
    difference = (zigzag >> 1) ^ (-(zigzag & 1).view(f"<i{width}")).view(f"<u{width}")
    theirs = np.zeros_like(difference)
    theirs[: len(base) // width] = np.frombuffer(base, f"<u{width}")
    return bytes((difference + theirs).view(np.uint8))
