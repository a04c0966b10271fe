"""Agreement against published examples and the definitions written out."""

import itertools
import math

import evalica
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats import inter_rater

from pacos.statistics import (
    cohen_kappa,
    cohen_kappa_interval,
    fleiss_kappa,
    fleiss_kappa_interval,
    krippendorff_alpha,
    krippendorff_alpha_interval,
)

LABEL = st.sampled_from("abc")


def test_krippendorffs_own_example() -> None:
    # Four observers, twelve units, "." for missing; alpha 0.743 (Krippendorff, Computing Krippendorff's
    # Alpha-Reliability, 2011, section C).
    observers = ["1233214 12...", "1233224 125.3", ".333234 2251.", "1233244 1251."]
    rows = [row.replace(" ", "") for row in observers]
    units = [[None if label == "." else label for label in unit] for unit in zip(*rows, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)


@given(st.lists(st.lists(st.none() | LABEL, min_size=2, max_size=4), min_size=1, max_size=12))
def test_alpha_is_its_definition(units: list[list[str | None]]) -> None:
    """Observed over expected disagreement, both counted pair by pair."""
    labelled = [[label for label in unit if label is not None] for unit in units]
    paired = [unit for unit in labelled if len(unit) > 1]
    values = list(itertools.chain(*paired))
    observed = sum(sum(a != b for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in paired) / max(
        len(values), 1
    )
    pairs = list(itertools.permutations(values, 2))
    expected = sum(a != b for a, b in pairs) / max(len(pairs), 1)
    alpha = krippendorff_alpha(units)
    if expected == 0:
        assert math.isnan(alpha)
    else:
        assert alpha == pytest.approx(1 - observed / expected)


@given(st.lists(st.tuples(LABEL, LABEL), min_size=1, max_size=30))
def test_kappa_is_its_definition(pairs: list[tuple[str, str]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    observed = sum(a == b for a, b in pairs) / len(pairs)
    expected = sum(a == b for a in first for b in second) / len(pairs) ** 2
    kappa = cohen_kappa(first, second)
    if expected == 1:
        assert math.isnan(kappa)
    else:
        assert kappa == pytest.approx((observed - expected) / (1 - expected))


def test_kappa_of_a_textbook_table() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed 0.7, expected 0.5.
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)


@pytest.mark.parametrize("labels", [([], []), (["a"], ["a", "b"])])
def test_unequal_labels_are_refused(labels: tuple[list[str], list[str]]) -> None:
    with pytest.raises(ValueError):
        cohen_kappa(*labels)


OBSERVERS = ["*****34121133*3", "1*213343*******", "**21344*21133*4"]


def textbook() -> list[list[int | None]]:
    return [[None if label == "*" else int(label) for label in unit] for unit in zip(*OBSERVERS, strict=True)]


def frame(units: list[list[int | None]]) -> pd.DataFrame:
    return pd.DataFrame([[np.nan if label is None else label for label in unit] for unit in units], dtype=float).T


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.none() | st.integers(-3, 3), min_size=3, max_size=3), min_size=2, max_size=12))
def test_alpha_is_evalicas(units: list[list[int | None]]) -> None:
    for level in ("nominal", "interval"):
        found = krippendorff_alpha(units, level)
        if not math.isnan(found):
            assert found == pytest.approx(evalica.alpha(frame(units), level).alpha, abs=1e-9)


def test_the_published_alphas_of_three_coders() -> None:
    """Wikipedia's worked example, which the libraries' own tests use, too."""
    assert krippendorff_alpha(textbook()) == pytest.approx(0.691, abs=5e-4)
    assert krippendorff_alpha(textbook(), "interval") == pytest.approx(0.811, abs=5e-4)


def test_alpha_at_the_interval_level_does_not_mind_where_0_is() -> None:
    moved = [[None if label is None else label + 10**8 for label in unit] for unit in textbook()]
    assert krippendorff_alpha(moved, "interval") == pytest.approx(krippendorff_alpha(textbook(), "interval"))


@given(st.lists(st.lists(LABEL, min_size=4, max_size=4), min_size=1, max_size=20))
def test_fleiss_kappa_is_statsmodels(units: list[list[str]]) -> None:
    found = fleiss_kappa(units)
    counts = [[unit.count(label) for label in "abc"] for unit in units]
    if len({label for unit in units for label in unit}) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(inter_rater.fleiss_kappa(np.array(counts)))


def test_intervals_are_those_of_drawing_items_and_starting_over() -> None:
    generator = np.random.default_rng(1)
    truths = generator.integers(3, size=60)
    units = [[int(t) if generator.random() < 0.7 else int(generator.integers(3)) for _ in range(4)] for t in truths]
    first, second = [unit[0] for unit in units], [unit[1] for unit in units]
    drawn = [generator.integers(60, size=60) for _ in range(1000)]
    again = {
        "alpha": [krippendorff_alpha([units[i] for i in index]) for index in drawn],
        "interval": [krippendorff_alpha([units[i] for i in index], "interval") for index in drawn],
        "fleiss": [fleiss_kappa([units[i] for i in index]) for index in drawn],
        "cohen": [cohen_kappa([first[i] for i in index], [second[i] for i in index]) for index in drawn],
    }
    found = {
        "alpha": krippendorff_alpha_interval(units),
        "interval": krippendorff_alpha_interval(units, "interval"),
        "fleiss": fleiss_kappa_interval(units),
        "cohen": cohen_kappa_interval(first, second),
    }
    for name, values in again.items():
        assert found[name] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.04)


def test_kappas_interval_covers() -> None:
    generator = np.random.default_rng(3)
    covered, studies = 0, 300
    for _ in range(studies):
        same = generator.random(120) < 0.6
        first = generator.integers(2, size=120)
        second = np.where(same, first, generator.integers(2, size=120))
        low, high = cohen_kappa_interval(first.tolist(), second.tolist(), resamples=400)
        covered += low <= 0.6 <= high
    assert 0.9 <= covered / studies <= 0.99


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: fleiss_kappa([]), "no labels"),
        (lambda: fleiss_kappa([["a", "b"], ["a"]]), "krippendorff|as many labels"),
        (lambda: krippendorff_alpha([["a", "b"]], "interval"), "no finite number"),
        (lambda: krippendorff_alpha([[1.0, float("nan")]], "interval"), "no finite number"),
        (lambda: krippendorff_alpha_interval([["a", "b"], ["a", None]]), "at least two"),
        (lambda: cohen_kappa_interval(["a"], ["a"]), "at least two"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_line(call: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()  # type: ignore[operator]
