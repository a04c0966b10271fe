"""Which records of a data file are trained on, and which are held back for a look at what was learnt."""

import math
from typing import TypeVar

HELDOUT_MOST = 200
HELDOUT_SHARE = 0.05
FEWEST_TO_HOLD_BACK = 100
Split = TypeVar("Split")


def split_heldout(
    examples: list[Split], max_examples: int | None, all_trained: bool = False
) -> tuple[list[Split], list[Split]]:
    """(trained on, held back): the records after the first `max_examples`, else the last twentieth; 200 at most. Fewer
    than 100 records are all trained on, and so are all where `all_trained` asks for it and none are left over."""
    if len(examples) < FEWEST_TO_HOLD_BACK:
        return examples[:max_examples], []
    kept = len(examples) - min(HELDOUT_MOST, math.ceil(len(examples) * HELDOUT_SHARE)) * (not all_trained)
    if max_examples is not None and len(examples) > max_examples:
        kept = max_examples
    return examples[:kept], examples[kept : kept + HELDOUT_MOST]
