"""What is compiled gives, bit for bit, what arrays give without a compiler."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pacos.watermark import Watermark, green_lists
from pacos.watermark.mark_kernels import MarkKernels, mark_kernels

SCHEMES = ("lefthash", "minhash", "skipgram", "selfhash", "threefry")


@pytest.fixture(scope="module")
def kernels() -> MarkKernels:
    found = mark_kernels()
    if found is None:
        assert os.environ.get("CI") != "true", "no C compiler"
        pytest.skip("no C compiler here")
    return found


# From a divisor of 1,024 on quotients are taken by reciprocals, and from 624 numbers on the generator is made anew.
@given(
    st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3),
    st.one_of(st.integers(1, 3000), st.sampled_from([1023, 1024, 49_152, 128_256])),
    st.floats(0, 1),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_permutations_are_torchs(kernels: MarkKernels, seeds: list[int], n: int, share: float, draw: object) -> None:
    count = max(int(n * share), 1)
    inside = np.zeros((len(seeds), n), dtype=bool)
    for row, seed in zip(inside, seeds, strict=True):
        row[torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:count].numpy()] = True
    assert np.array_equal(kernels.first_places(np.array(seeds), n, count), inside)
    # Groups of different sizes, one of them without a candidate.
    sizes = [draw.randrange(12) for _ in seeds]  # type: ignore[attr-defined]
    starts = np.cumsum([0, *sizes])
    candidates = np.array([draw.randrange(n) for _ in range(starts[-1])], dtype=np.int64)  # type: ignore[attr-defined]
    expected = inside[np.repeat(np.arange(len(seeds)), sizes), candidates]
    assert np.array_equal(kernels.are_among_first(np.array(seeds), starts, candidates, n, count), expected)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_prepared_mark_is_the_same_mark(kernels: MarkKernels, scheme: str) -> None:
    vocab_size, draw = 5003, np.random.default_rng(3)
    plain, prepared = Watermark(scheme, vocab_size, key=77), Watermark(scheme, vocab_size, key=77)
    prepared.prepare()
    contexts = draw.integers(0, vocab_size, (12, 6))
    # Of a padded head, with many ties.
    logits = (torch.randn(12, vocab_size + 21, generator=torch.Generator().manual_seed(2)) * 2).round()
    ids = torch.from_numpy(contexts)
    assert torch.equal(prepared.apply(ids, logits), plain.apply(ids, logits))
    rows = draw.integers(0, 12, 3000)
    tokens = np.append(draw.integers(0, vocab_size + 21, 2000), logits.argmax(-1).numpy()[rows[2000:]])
    raised = prepared.are_raised(contexts, logits, rows, tokens)
    assert raised.tolist() == plain.are_raised(contexts, logits, rows, tokens).tolist()
    assert 20 < raised.sum() < 2980
    text = draw.integers(0, 60, 4000).tolist()
    assert prepared.detect(text) == plain.detect(text)


def test_lists_stay_right_where_they_take_each_others_places(
    kernels: MarkKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocab_size, plain = 500, Watermark("lefthash", 500)
    monkeypatch.setattr(green_lists, "KNOWN_BYTES", 64 * 80)
    mark, logits = Watermark("lefthash", vocab_size), torch.zeros(8, vocab_size)
    mark.prepare()

    def differ(seed: int) -> int:
        draw, wrong = np.random.default_rng(seed), 0
        for _ in range(150):
            contexts, rows = draw.integers(0, vocab_size, (8, 1)), np.repeat(np.arange(8), 9)
            tokens = draw.integers(0, vocab_size, 72)
            raised = mark.are_raised(contexts, logits, rows, tokens)
            wrong += int(np.count_nonzero(raised != green[contexts[rows, 0], tokens]))
        return wrong

    every = torch.arange(vocab_size)[:, None]
    green = plain.apply(every, torch.zeros(vocab_size, vocab_size)).numpy() > 0
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(differ, range(8))) == [0] * 8
