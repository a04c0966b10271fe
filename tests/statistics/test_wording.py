"""What may be said of a comparison: never more than its tests and its interval allow."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacos.statistics import MARGIN, claims, equivalence_test, holm, sign_test, win_rate

COUNTS = st.tuples(st.integers(0, 900), st.integers(0, 900), st.integers(0, 900))
JUDGED = "blind in both orders by some judge (not certified)"


@given(st.dictionaries(st.sampled_from(["one", "two", "three"]), COUNTS, min_size=1))
def test_no_sentence_says_more_than_the_tests_allow(counts: dict[str, tuple[int, int, int]]) -> None:
    found = claims(counts, "base", JUDGED)
    assert list(found) == list(counts)
    with_votes = [name for name in counts if sum(counts[name])]
    differ = [sign_test(*counts[name][:2]) for name in with_votes]
    adjusted = dict(zip(with_votes, holm([1.0 if p is None else p for p in differ]), strict=True))
    equal = holm([equivalence_test(*counts[name], margin=MARGIN).p_value for name in with_votes])
    for name in with_votes:
        claim, estimate = found[name], win_rate(*counts[name])
        assert estimate
        assert ("better than" in claim.sentence) == (estimate.interval.low > 0.5 and adjusted[name] <= 0.05)
        assert ("worse than" in claim.sentence) == (estimate.interval.high < 0.5 and adjusted[name] <= 0.05)
        is_equal = equal[with_votes.index(name)] <= 0.05
        assert not ("on par" in claim.sentence and not is_equal)
        assert ("data do not decide" in claim.sentence) == (claim.finding == "undecided")
        assert not ("decide" in claim.sentence and is_equal)
        for number in counts[name]:
            assert f"{number:,} " in claim.sentence
        assert JUDGED in claim.sentence
        assert "interval" in claim.sentence
        assert re.search(r"sign test p [<=] ", claim.sentence)
        assert ("Holm" in claim.sentence) == (len(with_votes) > 1)
    for name in counts.keys() - set(with_votes):
        assert found[name].finding == "no data"
        assert "Nothing can be said" in found[name].sentence


@pytest.mark.parametrize(
    ("counts", "finding"),
    [
        ((90, 89, 0), "undecided"),
        ((63, 181, 8), "inferior"),
        ((210, 8, 14), "superior"),
        ((500, 490, 10), "on par"),
        ((5400, 5000, 9000), "superior"),
        ((0, 0, 400), "on par"),
        ((1, 0, 0), "undecided"),
        ((0, 0, 0), "no data"),
    ],
)
def test_known_comparisons(counts: tuple[int, int, int], finding: str) -> None:
    assert claims({"model": counts}, "base", JUDGED)["model"].finding == finding


def test_alpacas_own_numbers_are_not_on_par() -> None:
    sentence = claims({"Alpaca": (90, 89, 0)}, "text-davinci-003", "by five authors")["Alpaca"].sentence
    assert sentence.startswith("The data do not decide between Alpaca and text-davinci-003: judged by five authors, ")
    assert "a win rate of 50.3% over 179 items" in sentence
    assert "equivalence within 5 points is not shown, two one-sided tests p = 0.1" in sentence


def test_a_difference_under_the_margin_says_so() -> None:
    sentence = claims({"model": (5400, 5000, 9000)}, "base", JUDGED)["model"].sentence
    assert sentence.startswith("model is better than base, though by less than 5 points: ")


def test_many_comparisons_make_each_harder_to_claim() -> None:
    alone = claims({"one": (60, 38, 0)}, "base", JUDGED)["one"]
    among = claims({"one": (60, 38, 0), "two": (50, 49, 0)}, "base", JUDGED)["one"]
    assert (alone.finding, among.finding) == ("superior", "undecided")


@pytest.mark.parametrize("margin", [0, 0.5, -0.1])
def test_impossible_margin_is_refused(margin: float) -> None:
    with pytest.raises(ValueError):
        claims({"one": (1, 1, 1)}, "base", JUDGED, margin=margin)


@given(COUNTS, st.integers(0, 5))
def test_what_lacks_a_certificate_shows_no_equivalence(counts: tuple[int, int, int], unread: int) -> None:
    found = claims({"model": counts}, "base", JUDGED, lacking="some judge is not certified", unread={"model": unread})
    claim = found["model"]
    assert claim.finding != "on par"
    assert claim.equivalence is None or not claim.equivalence.equivalent
    assert "is shown" not in claim.sentence
    assert "though by less than" not in claim.sentence
    if claim.finding == "undecided":
        assert "some judge is not certified" in claim.sentence
    assert (f"{unread} more" in claim.sentence) == bool(unread and sum(counts))
