"""The keyed scheme: the published function's own answers, and one arithmetic wherever it runs."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pacos.core.errors import PacosError
from pacos.watermark import SETTINGS_FILE, Watermark, WatermarkSettings, read_settings
from pacos.watermark.green_lists import KeyedLists
from pacos.watermark.threefry import threefry

# Counter, key and result, as the function's authors publish them with Random123.
KNOWN_ANSWERS = (
    (["00000000"] * 4, ["00000000"] * 4, "9c6ca96a e17eae66 fc10ecd4 5256a7d8"),
    (["ffffffff"] * 4, ["ffffffff"] * 4, "2a881696 57012287 f6c7446e a16a6732"),
    (
        ["243f6a88", "85a308d3", "13198a2e", "03707344"],
        ["a4093822", "299f31d0", "082efa98", "ec4e6c89"],
        "59cd1dbb b8879579 86b5d00c ac8b6d84",
    ),
)
WORD = st.integers(0, 2**32 - 1)


def with_numpy(counter: Sequence[int], key: Sequence[int]) -> list[int]:
    return [int(word[0]) for word in threefry([np.array([word], dtype=np.uint32) for word in counter], key)]


def with_torch(counter: Sequence[int], key: Sequence[int]) -> list[int]:
    signed = [word - 2**32 * (word >= 2**31) for word in counter]
    words = threefry([torch.tensor([word], dtype=torch.int32) for word in signed], key)
    return [int(word[0]) & 0xFFFFFFFF for word in words]


def with_integers(counter: Sequence[int], key: Sequence[int]) -> list[int]:
    """The function written out again, in Python's own numbers."""
    ones, x = 2**32 - 1, list(counter)
    keys = [*key, key[0] ^ key[1] ^ key[2] ^ key[3] ^ 0x1BD11BDA]
    turns = [(10, 26), (11, 21), (13, 27), (23, 5), (6, 20), (17, 11), (25, 10), (18, 20)]
    for number in range(21):
        if number % 4 == 0:
            x = [word + keys[(number // 4 + i) % 5] + (number // 4 if i == 3 else 0) & ones for i, word in enumerate(x)]
        if number == 20:
            return x
        for (to, from_), bits in zip(
            ((0, 3), (2, 1)) if number % 2 else ((0, 1), (2, 3)), turns[number % 8], strict=True
        ):
            x[to] = x[to] + x[from_] & ones
            x[from_] = (x[from_] << bits | x[from_] >> 32 - bits) & ones ^ x[to]
    raise AssertionError


@pytest.mark.parametrize("function", [with_numpy, with_torch, with_integers])
def test_the_published_answers_are_given(function: object) -> None:
    for counter, key, result in KNOWN_ANSWERS:
        words = function([int(word, 16) for word in counter], [int(word, 16) for word in key])
        assert " ".join(f"{word:08x}" for word in words) == result


@given(st.lists(WORD, min_size=4, max_size=4), st.lists(WORD, min_size=4, max_size=4))
@settings(max_examples=100, deadline=None)
def test_numpy_torch_and_plain_numbers_agree(counter: list[int], key: list[int]) -> None:
    assert with_numpy(counter, key) == with_torch(counter, key) == with_integers(counter, key)


@given(st.integers(1, 2**128 - 1), st.integers(0, 48_999), st.sampled_from([0.1, 0.25, 0.5, 0.75]))
@settings(max_examples=10, deadline=None)
def test_whole_lists_single_answers_and_a_devices_own_pass_agree(key: int, previous: int, gamma: float) -> None:
    size = 49_002
    mark, lists = Watermark("threefry", size, gamma, key=key), KeyedLists(size, gamma, key)
    green = set(mark.green_ids([previous]))
    assert abs(len(green) / size - gamma) < 0.02
    on_device = lists.on_device(torch.tensor([[7], [previous]]))[1]
    assert set(on_device.nonzero().flatten().tolist()) == green
    words = [int(key >> 32 * place & 0xFFFFFFFF) for place in range(4)]
    for candidate in (0, 1, 2, 3, 4, 12_345, size - 1):
        expected = with_integers([candidate // 4, previous, 0, 0], words)[candidate % 4] < gamma * 2**32
        assert (candidate in green) == mark.is_green([previous], candidate) == expected


def test_the_key_is_kept_as_128_bits_in_hexadecimal(tmp_path: Path) -> None:
    path = tmp_path / SETTINGS_FILE
    chosen = WatermarkSettings(scheme="threefry", vocab_size=500, key=2**127 + 5)
    chosen.write(path)
    assert json.loads(path.read_text())["key"] == "80000000000000000000000000000005"
    assert read_settings(path) == chosen
    for key in ("5", 5, "g" * 32, "0" * 32, "-" + "0" * 31, None):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"key": key}))
        with pytest.raises(PacosError, match=SETTINGS_FILE):
            read_settings(path)
    with pytest.raises(PacosError, match="key"):
        Watermark("lefthash", 500, key=2**127)
