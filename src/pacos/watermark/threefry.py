"""Threefry-4x32 with 20 rounds: 128 key bits and a 128-bit counter give 128 bits that no one tells from chance.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), after Skein's cipher Threefish.
It adds, shifts and combines 32-bit words only, so that numpy, a CPU and a GPU give the same bits.
"""

from collections.abc import Sequence
from typing import Any

ROUNDS = 20
_PARITY = 0x1BD11BDA
_ROTATIONS = ((10, 26), (11, 21), (13, 27), (23, 5), (6, 20), (17, 11), (25, 10), (18, 20))
_ONES = 0xFFFFFFFF


def threefry(words: Sequence[Any], key: Sequence[int]) -> list[Any]:
    """The four output words, written over `words`: four arrays of one shape, numpy's of uint32 or torch's of int32.

    `key` has four words of 32 bits.
    """
    x = list(words)
    # torch has no arithmetic on unsigned words: the same bits are signed there, and a shift right copies the sign.
    is_signed = "uint" not in str(x[0].dtype)
    keys = [*key, key[0] ^ key[1] ^ key[2] ^ key[3] ^ _PARITY]

    def inject(number: int) -> None:
        for place in range(4):
            word = keys[(number + place) % 5] + (number if place == 3 else 0)
            x[place] += as_word(word, is_signed)

    inject(0)
    for number in range(ROUNDS):
        left, right = _ROTATIONS[number % 8]
        _mix(x[0], x[3 if number % 2 else 1], left, is_signed)
        _mix(x[2], x[1 if number % 2 else 3], right, is_signed)
        if number % 4 == 3:
            inject(number // 4 + 1)
    return x


def as_word(value: int, is_signed: bool) -> int:
    """The low 32 bits, as the array's own type has them."""
    value &= _ONES
    return value - 2**32 if is_signed and value >= 2**31 else value


def _mix(sum_: Any, turned: Any, bits: int, is_signed: bool) -> None:
    sum_ += turned
    high = turned >> (32 - bits)
    if is_signed:
        high &= (1 << bits) - 1
    turned <<= bits
    turned |= high
    turned ^= sum_
