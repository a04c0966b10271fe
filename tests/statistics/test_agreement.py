"""Agreement against published examples and the definitions written out."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacos.statistics import cohen_kappa, krippendorff_alpha

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
