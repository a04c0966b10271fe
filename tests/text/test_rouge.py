"""ROUGE-L of two texts: rouge_score's value with its stemmer on ASCII, a value at all in other scripts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from pacos.text import rouge_l

SCORER = RougeScorer(["rougeL"], use_stemmer=True)
WORDS = st.lists(
    st.sampled_from(
        ["a", "b", "c", "The", "the", "7", "-", "it's", "Running", "runs", "runner", "dies", "died", "tries"]
    ),
    max_size=14,
).map(" ".join)


@given(reference=WORDS, text=WORDS)
def test_it_is_rouge_scores_on_ascii(reference: str, text: str) -> None:
    assert rouge_l(reference, text) == pytest.approx(SCORER.score(reference, text)["rougeL"].fmeasure, abs=1e-12)


def test_words_of_any_script_count_in_their_order() -> None:
    assert rouge_l("вода кипит при ста градусах", "вода кипит") == pytest.approx(4 / 7)
    assert rouge_l("你好世界", "世界你好") == pytest.approx(0.5)
    assert rouge_l("", "") == rouge_l("a", "") == 0
