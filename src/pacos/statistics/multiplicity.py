"""Several tests in one study."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given (Scandinavian Journal of Statistics 6, 1979, 65-70).

    Those at most alpha may be called found with a chance of at most alpha that any is false, whatever their dependence.
    Raises ValueError for a value outside [0, 1].
    """
    values = np.asarray(p_values, dtype=float)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values {list(p_values)}; expected each between 0 and 1")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]
