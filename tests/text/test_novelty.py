"""Novelty decides exactly as rouge_score does, whatever the text and however large the pool."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

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


# The ways through a pool: score every text unseen; bound those that the postings name; bound by the bits of common
# tokens, for all tokens or for a few, those that the postings name or all texts.
PATHS = {
    "unseen": {},
    "dense": {"_CHUNK": 1},
    "indexed": {"_CHUNK": 1, "_SMALL": 0, "_DENSE_SHARE": 0},
    "few bits, indexed": {"_CHUNK": 1, "_SMALL": 0, "_DENSE_SHARE": 0, "_NUM_COMMON": 4},
    "few bits, all texts": {"_CHUNK": 1, "_SMALL": 0, "_DENSE_SHARE": 1000, "_NUM_COMMON": 4},
}


@contextmanager
def taking(path: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in PATHS[path].items():
            patch.setattr(novelty_module, name, value)
        yield


def agrees_with_rouge_score(pool: list[str], text: str, threshold: float) -> list[float]:
    novelty = Novelty(threshold)
    for member in pool:
        novelty.add(member)
    scores = [rouge(text, member) for member in pool]
    best = max(scores, default=0.0)
    assert novelty.is_novel(text) == (not best > threshold)
    assert novelty.nearest(text) == (best, pool[scores.index(best)] if best > 0 else None)
    return scores


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=100, deadline=None)
@given(pool=st.lists(ANY_TEXTS, max_size=12), text=ANY_TEXTS, threshold=st.sampled_from([0.0, 0.5, 0.7, 0.9, 1.0]))
def test_same_decision_and_score_as_rouge_score(path: str, pool: list[str], text: str, threshold: float) -> None:
    with taking(path):
        agrees_with_rouge_score(pool, text, threshold)


def tied(m: int, n: int) -> int | None:
    """The common tokens that make F exactly 7/10 for texts of m and n tokens, where there are any."""
    common, rest = divmod(7 * (m + n), 20)
    return common if not rest and 0 < common <= min(m, n) else None


TIES = [(m, n) for m in range(1, 41) for n in range(1, 41) if tied(m, n)]


@st.composite
def ties(draw: st.DrawFn) -> tuple[list[str], str]:
    """A text, and a pool of texts at 7/10 from it or a token off; tokens repeat, and all stand in the pool."""
    m = draw(st.sampled_from(sorted({m for m, _ in TIES if m <= 20})))
    text = draw(st.lists(st.sampled_from([f"t{i}" for i in range(8)]), min_size=m, max_size=m))
    pool = [draw(st.permutations(sorted(set(text))))]
    for n in draw(st.lists(st.sampled_from([n for other, n in TIES if other == m]), min_size=1, max_size=4)):
        common = tied(m, n)
        assert common is not None
        common = min(m, n, max(1, common + draw(st.sampled_from([0, 0, 0, -1, 1]))))
        kept = [text[i] for i in sorted(draw(st.permutations(range(m)))[:common])]
        for _ in range(n - common):
            kept.insert(draw(st.integers(0, len(kept))), draw(st.sampled_from(["x", "y", "z", *text])))
        pool.append(kept)
    return [" ".join(tokens) for tokens in draw(st.permutations(pool))], " ".join(text)


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=150, deadline=None)
@given(pool_and_text=ties())
def test_ties_in_a_pool_fall_as_rouge_scores_floats_do(path: str, pool_and_text: tuple[list[str], str]) -> None:
    with taking(path):
        agrees_with_rouge_score(*pool_and_text, 0.7)


@pytest.mark.parametrize("path", PATHS)
def test_every_tie_of_two_lengths_falls_as_rouge_scores_floats_do(path: str) -> None:
    """Every pair of lengths up to 40 that makes F exactly 7/10: some of those floats are above 0.7, some are not."""
    above = 0
    with taking(path):
        for m, n in TIES:
            common = tied(m, n)
            assert common
            left = " ".join([f"c{i}" for i in range(common)] + [f"l{i}" for i in range(m - common)])
            right = " ".join([f"c{i}" for i in range(common)] + [f"r{i}" for i in range(n - common)])
            # The second text makes every token a known one, and is itself far away.
            score, _ = agrees_with_rouge_score([right, " ".join(reversed(left.split())) + " far" * m], left, 0.7)
            assert abs(score - 0.7) < 1e-9
            above += score > 0.7
    assert 0 < above < len(TIES)


@pytest.mark.parametrize("path", PATHS)
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
        with taking(path):
            score, nearest = novelty.nearest(text)
            assert score == best
            assert nearest is None or _lcs_score(rouge_tokens(text), codes[nearest]) == best
            assert novelty.is_novel(text) == (not best > 0.7)


@pytest.mark.parametrize("path", PATHS)
def test_a_growing_pool_names_the_earliest_of_its_nearest_texts(path: str) -> None:
    """Asked again and again while the pool doubles, and what is frequent in it changes."""
    rng = random.Random(1)
    with taking(path):
        novelty, pool = Novelty(0.7), []
        for number in range(260):
            words = [f"w{int(rng.paretovariate(0.9)) + number // 40}" for _ in range(rng.randint(1, 9))]
            text = " ".join(words)
            if number % 3 == 0:
                scores = [_lcs_score(words, member.split()) for member in pool]
                best = max(scores, default=0.0)
                assert novelty.nearest(text) == (best, pool[scores.index(best)] if best else None)
                assert novelty.is_novel(text) == (not best > 0.7)
            novelty.add(text)
            pool.append(text)


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
