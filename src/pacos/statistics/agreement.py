"""How far raters agree beyond chance, on labels without an order."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Cohen's kappa of two raters' labels for the same items, in the same order (Cohen 1960).

    (observed - expected) / (1 - expected), expected from each rater's own frequencies. NaN where both only ever gave
    one and the same label: chance alone then agrees always. Raises ValueError for unequal or no labels.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} and {len(second)} labels; expected as many from both raters, at least one")
    count = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / count
    of_first, of_second = Counter(first), Counter(second)
    expected = sum(of_first[label] * of_second[label] for label in of_first) / count**2
    return (observed - expected) / (1 - expected) if expected < 1 else float("nan")


def krippendorff_alpha(units: Iterable[Sequence[Hashable | None]]) -> float:
    """Krippendorff's alpha for nominal labels: any number of raters, None where a rater gave none.

    1 - observed / expected disagreement over all pairable labels (Krippendorff, Content Analysis, ch. 11). A unit with
    fewer than two labels says nothing and is left out. NaN where no two labels can be paired or all are the same.
    """
    disagreement = 0.0
    totals: Counter[Hashable] = Counter()
    for unit in units:
        labels = Counter(label for label in unit if label is not None)
        size = labels.total()
        if size < 2:
            continue
        totals += labels
        disagreement += (size * size - sum(n * n for n in labels.values())) / (size - 1)
    count = totals.total()
    expected = (count * count - sum(n * n for n in totals.values())) / (count - 1) if count > 1 else 0.0
    return 1 - disagreement / expected if expected else float("nan")
