"""Marking and detecting through the public door: statistics, batches, devices' dtypes, bad input."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from pacos.core.errors import PacosError
from pacos.watermark import SETTINGS_FILE, Watermark, WatermarkSettings, detect_text, read_settings
from pacos.watermark.permutation import are_among_first, first_ids, first_places, swap_targets

SCHEMES = ("lefthash", "minhash", "skipgram", "selfhash", "threefry")


@given(st.integers(0, 2**32 - 1), st.integers(1, 3000), st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_permutation_is_torch_randperm(seed: int, n: int, share: float) -> None:
    count = max(int(n * share), 1)
    expected = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
    targets = swap_targets(seed, n, count)
    assert first_ids(targets).tolist() == expected[:count]
    inside = set(expected[:count])
    assert set(first_places(targets, n).nonzero()[0].tolist()) == inside
    assert are_among_first(targets, range(0, n, 7)) == [candidate in inside for candidate in range(0, n, 7)]


@given(st.sampled_from(SCHEMES), st.lists(st.integers(0, 999), min_size=5, max_size=8), st.integers(1, 2**63 - 1))
@settings(max_examples=60, deadline=None)
def test_membership_is_the_green_list(scheme: str, context: list[int], key: int) -> None:
    mark = Watermark(scheme, 1000, gamma=0.5, key=key)
    for candidate in range(0, 1000, 97):
        window = [*context, candidate] if scheme == "selfhash" else context
        assert mark.is_green(context, candidate) == (candidate in mark.green_ids(window))


def generate(mark: Watermark, num_tokens: int, rows: int = 2) -> torch.Tensor:
    """Samples from uniform logits, marked at every step."""
    torch.manual_seed(1)
    ids = torch.randint(0, mark.vocab_size, (rows, 8))
    for _ in range(num_tokens):
        logits = mark.apply(ids, torch.randn(rows, mark.vocab_size))
        ids = torch.cat([ids, torch.multinomial(logits.softmax(-1), 1)], dim=1)
    return ids[:, 8:]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_marked_text_is_found_and_other_text_is_not(scheme: str) -> None:
    mark = Watermark(scheme, 500, delta=4.0)
    for row in generate(mark, 150).tolist():
        assert mark.detect(row).verdict == "watermarked"
        assert Watermark(scheme, 500, key=15485867).detect(row).verdict == "no watermark found"
        # The keyed function does not know the vocabulary.
        assert Watermark(scheme, 501).detect(row).verdict == (
            "watermarked" if scheme == "threefry" else "no watermark found"
        )
        assert mark.detect(row[:20]).verdict == "insufficient text"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_unmarked_text_is_green_as_often_as_gamma_says(scheme: str) -> None:
    tokens = np.random.default_rng(0).integers(0, 5000, 3000).tolist()
    found = Watermark(scheme, 5000).detect(tokens)
    assert found.num_tokens_scored > 2900
    assert abs(found.z_score) < 4


def test_repeats_count_once_unless_told_otherwise() -> None:
    mark = Watermark("lefthash", 300)
    tokens = [5, 9, 5, 9, 5, 9]
    assert mark.detect(tokens).num_tokens_scored == 2
    every = mark.detect(tokens, ignore_repeated_ngrams=False)
    assert (every.num_tokens_scored, every.num_green_tokens) == (5, sum(every.green_token_mask))
    assert len(mark.detect(tokens).green_token_mask) == 5


@given(st.lists(st.integers(0, 50), max_size=120), st.sampled_from([0.1, 0.25, 0.5]))
@settings(max_examples=60, deadline=None)
def test_exact_p_value_is_the_binomial_tail(tokens: list[int], gamma: float) -> None:
    found = Watermark("lefthash", 60, gamma=gamma).detect(tokens)
    expected = binom.sf(found.num_green_tokens - 1, found.num_tokens_scored, gamma)
    assert math.isclose(found.exact_p_value, expected, rel_tol=1e-9)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_apply_raises_by_delta_in_the_logits_own_precision(scheme: str, dtype: torch.dtype) -> None:
    mark = Watermark(scheme, 200, delta=1.7)
    ids, logits = torch.randint(0, 200, (3, 9)), torch.randn(3, 256).to(dtype)
    logits[0, 3] = -math.inf
    before = logits.clone()
    after = mark.apply(ids, logits)
    assert torch.equal(logits, before)
    assert after.dtype == dtype
    assert torch.equal(after[:, 200:], before[:, 200:])
    for row, context in enumerate(ids.tolist()):
        allowed = before[row, :200].topk(41).indices.tolist() if scheme == "selfhash" else range(200)
        green = [token for token in allowed if mark.is_green(context, token)]
        expected = before[row].clone()
        expected[green] += 1.7
        assert green
        assert torch.equal(after[row], expected)


@pytest.mark.parametrize(
    ("scheme", "too_short"), [("lefthash", 0), ("minhash", 3), ("skipgram", 4), ("selfhash", 2), ("threefry", 0)]
)
def test_too_short_contexts_stay_unmarked_and_unscored(scheme: str, too_short: int) -> None:
    mark, logits = Watermark(scheme, 64), torch.randn(2, 64)
    assert torch.equal(mark.apply(torch.zeros(2, too_short, dtype=torch.long), logits), logits)
    assert not torch.equal(mark.apply(torch.zeros(2, too_short + 1, dtype=torch.long), logits), logits)
    assert mark.detect([1] * (too_short + 1)).num_tokens_scored == 0
    assert mark.detect([1] * (too_short + 2)).num_tokens_scored == 1


def test_impossible_watermarks_are_refused() -> None:
    for arguments in ({"scheme": "righthash"}, {"gamma": 0.0}, {"gamma": 1.5}, {"key": 0}, {"vocab_size": 3}):
        with pytest.raises(PacosError, match="watermark"):
            Watermark(**{"scheme": "selfhash", "vocab_size": 100, **arguments})
    with pytest.raises(PacosError, match="logits"):
        Watermark("lefthash", 100).apply(torch.zeros(1, 5, dtype=torch.long), torch.zeros(1, 99))
    with pytest.raises(PacosError, match="context"):
        Watermark("minhash", 100).green_ids([1, 2])
    with pytest.raises(PacosError, match="token ids"):
        Watermark("lefthash", 100).detect([1, 2, -3])


def test_text_is_detected_with_the_settings_beside_the_model(tiny_model: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    chosen = WatermarkSettings(scheme="lefthash", delta=6.0, vocab_size=tokenizer.get_vocab_size())
    chosen.write(tmp_path / SETTINGS_FILE)
    assert read_settings(tmp_path / SETTINGS_FILE) == chosen
    # Printable ASCII only: such bytes decode to text that encodes to much the same tokens again.
    ids = [tokenizer.token_to_id(chr(code)) for code in range(33, 127)]
    logits = torch.full((1, chosen.vocab_size), -math.inf)
    logits[0, ids] = 0.0
    mark, written = chosen.watermark(), torch.tensor([[ids[0]]])
    torch.manual_seed(0)
    for _ in range(120):
        drawn = torch.multinomial(mark.apply(written, logits).softmax(-1), 1)
        written = torch.cat([written, drawn], dim=1)
    text = tokenizer.decode(written[0].tolist())
    assert detect_text(text, tiny_model, chosen).verdict == "watermarked"
    assert detect_text("the quick brown fox " * 40, tiny_model, chosen).verdict != "watermarked"
    assert detect_text("", tiny_model, chosen).verdict == "insufficient text"
    with pytest.raises(PacosError, match=r"tokenizer\.json"):
        detect_text(text, tmp_path, chosen)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(PacosError, match=r"tokenizer\.json"):
        detect_text(text, tmp_path, chosen)


@pytest.mark.parametrize(
    "change",
    [
        {"scheme": "righthash"},
        {"gamma": 2},
        {"key": "secret"},
        {"vocab_size": True},
        {"colour": "green"},
        {"key": None},
    ],
)
def test_bad_settings_files_are_one_line(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / SETTINGS_FILE
    WatermarkSettings(vocab_size=100).write(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(PacosError, match=SETTINGS_FILE) as caught:
        read_settings(path)
    assert "\n" not in str(caught.value)
    path.write_text("{")
    with pytest.raises(PacosError, match=SETTINGS_FILE):
        read_settings(path)
    with pytest.raises(PacosError, match=SETTINGS_FILE):
        read_settings(tmp_path / "missing" / SETTINGS_FILE)
