"""Novelty decides exactly as rouge_score does, whatever the text and however large the pool."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from pacos.text import Novelty, rouge_tokens, unicode_tokens
from pacos.text import novelty as novelty_module

SCORER = RougeScorer(["rougeL"], use_stemmer=False)


def rouge(left: str, right: str) -> float:
    return SCORER.score(left, right)["rougeL"].fmeasure


# Few words, so that texts overlap; sizes around those where F is 0.7 to within a rounding error.
WORDS = st.sampled_from([*"abcdefgh", "Write", "poem,", "7", "été", "Ａ", "ß", "ـ"])
TEXTS = st.lists(WORDS, max_size=14).map(" ".join)
ANY_TEXTS = st.one_of(TEXTS, st.text(max_size=40))


@pytest.fixture(params=["dense", "indexed"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways through the pool: looking at every text, and only at those that the postings name."""
    if request.param == "indexed":
        monkeypatch.setattr(novelty_module, "_SMALL", 0)
        monkeypatch.setattr(novelty_module, "_DENSE_SHARE", 0)
    return request.param


@pytest.mark.parametrize("indexed", [False, True])
@settings(max_examples=100, deadline=None)
@given(pool=st.lists(ANY_TEXTS, max_size=12), text=ANY_TEXTS, threshold=st.sampled_from([0.0, 0.5, 0.7, 0.9, 1.0]))
def test_same_decision_and_score_as_rouge_score(indexed: bool, pool: list[str], text: str, threshold: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if indexed:
            patch.setattr(novelty_module, "_SMALL", 0)
            patch.setattr(novelty_module, "_DENSE_SHARE", 0)
        novelty = Novelty(threshold)
        for member in pool:
            novelty.add(member)
        scores = [rouge(text, member) for member in pool]
        best = max(scores, default=0.0)
        assert novelty.is_novel(text) == (not best > threshold)
        assert novelty.nearest(text) == (best, pool[scores.index(best)] if best > 0 else None)


def test_ties_at_the_threshold_fall_as_rouge_scores_floats_do(path: str) -> None:
    """Every pair of lengths up to 40 that makes F exactly 7/10: some of those floats are above 0.7, some are not."""
    above = below = 0
    for m in range(1, 41):
        for n in range(1, 41):
            if 7 * (m + n) % 20:
                continue
            common = 7 * (m + n) // 20
            if common > min(m, n):
                continue
            left = " ".join([f"c{i}" for i in range(common)] + [f"l{i}" for i in range(m - common)])
            right = " ".join([f"c{i}" for i in range(common)] + [f"r{i}" for i in range(n - common)])
            novelty = Novelty(0.7)
            novelty.add(right)
            score = rouge(left, right)
            assert novelty.is_novel(left) == (not score > 0.7)
            assert novelty.nearest(left) == (score, right)
            above += score > 0.7
            below += score <= 0.7
    assert above
    assert below


def test_a_large_pool_finds_what_brute_force_finds(path: str) -> None:
    """Recall 1.000 where the index has grown past its first size, with near neighbours planted."""
    rng = random.Random(0)
    words = [f"w{int(rng.paretovariate(0.6)) % 900}" for _ in range(5000)]
    pool = [" ".join(rng.choices(words, k=rng.randint(1, 24))) for _ in range(1500)]
    novelty = Novelty(0.7)
    for member in pool:
        novelty.add(member)
    codes = {member: rouge_tokens(member) for member in pool}
    for _ in range(12):
        planted = rng.choice(pool).split()
        text = " ".join(word for word in planted if rng.random() < 0.8) + " " + " ".join(rng.choices(words, k=2))
        best = max(_lcs_score(rouge_tokens(text), tokens) for tokens in codes.values())
        score, nearest = novelty.nearest(text)
        assert score == best
        assert nearest is None or _lcs_score(rouge_tokens(text), codes[nearest]) == best
        assert novelty.is_novel(text) == (not best > 0.7)


def _lcs_score(left: list[str], right: list[str]) -> float:
    """ROUGE-L by the textbook table, row by row, with rouge_score's order of operations."""
    row = [0] * (len(right) + 1)
    for token in left:
        previous = 0
        for j, other in enumerate(right, start=1):
            previous, row[j] = row[j], previous + 1 if token == other else max(row[j], row[j - 1])
    if not row[-1]:
        return 0.0
    precision, recall = row[-1] / len(right), row[-1] / len(left)
    return 2 * precision * recall / (precision + recall)


def test_released_data_is_novel_in_file_order(shared_data: Path) -> None:
    """The truth about the released 52,002: none is within 0.7 of a seed or of one before it."""
    novelty = Novelty(0.7)
    for line in (shared_data / "self_instruct" / "seed_tasks.jsonl").read_text().splitlines():
        novelty.add(json.loads(line)["instruction"])
    for record in json.loads((shared_data / "alpaca" / "alpaca_data.json").read_text()):
        assert novelty.is_novel(record["instruction"])
        novelty.add(record["instruction"])
    assert len(novelty) == 52_177


@given(st.text())
def test_rouge_tokens_are_rouge_scores(text: str) -> None:
    from rouge_score.tokenize import tokenize

    assert rouge_tokens(text) == tokenize(text, None)


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_unicode_tokens_of_ascii_are_rouge_tokens(text: str) -> None:
    assert unicode_tokens(text) == rouge_tokens(text)


@pytest.mark.parametrize(
    ("one", "near", "other"),
    [
        ("写一首关于春天的诗歌给妈妈", "写一首关于春天的诗歌给爸爸", "请把这句话翻译成英文"),
        (
            "Напиши стихотворение о весне для мамы",
            "Напиши стихотворение о весне для папы",
            "Сколько будет пять плюс семь",
        ),
        ("वसंत के बारे में एक कविता लिखिए", "वसंत के बारे में एक कहानी लिखिए", "पाँच और सात का योग क्या है"),
        ("اكتب قصيدة عن الربيع لأمي الحبيبة", "اكتب قصيدة عن الربيع لأبي الحبيبة", "كم يساوي خمسة زائد سبعة"),
    ],
)
def test_unicode_tokens_see_near_duplicates_in_every_script(one: str, near: str, other: str) -> None:
    seen = Novelty(0.7, tokenizer=unicode_tokens)
    seen.add(one)
    assert not seen.is_novel(near)
    assert seen.is_novel(other)
    blind = Novelty(0.7)
    blind.add(one)
    assert blind.is_novel(one)
