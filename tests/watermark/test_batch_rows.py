"""Rows of a batch that another engine keeps: the same distribution as behind our own engine's hook, row by row."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from pacos.core.errors import PacosError
from pacos.engines import Sampling
from pacos.engines.local.sampler import Sampler, sample
from pacos.watermark import Watermark
from pacos.watermark.batch_rows import BatchRows

VOCABULARY = 600
PROMPTS = [list(range(place * 7 + 3, place * 7 + 12)) for place in range(4)]
ASKED: list[dict[str, Any]] = [
    {"temperature": 0.0},
    {"temperature": 0.7, "repetition_penalty": 1.3},
    {"temperature": 1.6, "presence_penalty": 0.9, "frequency_penalty": -0.4},
    {"temperature": 0.0, "repetition_penalty": 0.8, "frequency_penalty": 1.1},
]


@dataclass
class Params:
    """As vLLM's SamplingParams names them."""

    temperature: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0


def marks(scheme: str) -> Watermark:
    return Watermark(scheme, VOCABULARY, key=2**61 + 1)


def logits_of(rows: int) -> Tensor:
    return torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(rows)) * 3


def marked(tempered_BV: Tensor, written: list[list[int]], mark: Watermark) -> Tensor:
    """A mark reads what was written, and leaves alone what has too little before it."""
    rows = [
        mark.apply(torch.tensor([ids]), row_V[None]) if len(ids) >= mark.num_previous else row_V[None]
        for ids, row_V in zip(written, tempered_BV, strict=True)
    ]
    return torch.cat(rows)


def seen_by_hook(logits_BV: Tensor, written: list[list[int]], mark: Watermark | None) -> Tensor:
    """What our engine draws from: after penalties, temperature and, where there is one, the mark."""
    seen: list[Tensor] = []

    def hook(ids_BT: Tensor, tempered_BV: Tensor) -> Tensor:
        seen.append(marked(tempered_BV, written, mark) if mark else tempered_BV.clone())
        return seen[-1]

    samplers = [
        Sampler(Sampling(1, **asked), len(ids) + 1, prompt, hook, list(ids))
        for asked, prompt, ids in zip(ASKED, PROMPTS, written, strict=True)
    ]
    sample(logits_BV, samplers)
    return seen[0]


@pytest.mark.parametrize("scheme", ["lefthash", "minhash", "skipgram", "selfhash", "threefry"])
@pytest.mark.parametrize("num_written", [0, 1, 3, 5, 30])
def test_an_engine_that_penalises_and_tempers_afterwards_draws_from_the_same(scheme: str, num_written: int) -> None:
    mark = marks(scheme)
    written = [[(place * 31 + step * step) % VOCABULARY for step in range(num_written)] for place in range(4)]
    rows = BatchRows(mark)
    rows.update([], [(n, Params(**ASKED[n]), PROMPTS[n], written[n]) for n in range(4)], [])
    logits = logits_of(4)
    logits[1, 5] = -torch.inf
    ours = seen_by_hook(logits, written, mark)
    theirs = seen_by_hook(rows.apply(logits.clone()), written, None)
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-4)
    # And it is marked as soon as it can be.
    unmarked = seen_by_hook(logits, written, None)
    is_marked = ((ours - unmarked).nan_to_num() > 1).any(dim=1)
    assert is_marked.tolist() == [num_written >= mark.num_previous] * 4


def test_rows_that_end_move_and_change_places_keep_their_own_context() -> None:
    mark = marks("lefthash")
    rows = BatchRows(mark)
    written: list[list[int]] = [[10], [20], [30], [40]]
    rows.update([], [(n, Params(), PROMPTS[n], written[n]) for n in range(4)], [])

    def green_after(latest: list[int | None]) -> None:
        logits = logits_of(len(latest))
        raised = rows.apply(logits.clone()) - logits > 1
        for row, token in zip(raised, latest, strict=True):
            assert row.nonzero()[:, 0].tolist() == (sorted(mark.green_ids([token])) if token else [])

    green_after([10, 20, 30, 40])
    # The engine goes on writing into the lists that it handed over.
    for ids in written:
        ids.append(ids[0] + 1)
    green_after([11, 21, 31, 41])
    # Row 1 ends and the last takes its place; then the first and the third change theirs.
    rows.update([1], [], [(3, 1, False), (0, 2, True)])
    green_after([31, 41, 11])
    # A new one in a place that another still had, and one without a prompt of ids.
    rows.update([], [(0, Params(), None, [50]), (3, Params(), [60], [])], [])
    green_after([50, 41, 11, None])


def test_what_cannot_be_marked_is_never_let_through() -> None:
    rows = BatchRows(marks("lefthash"))
    rows.update([], [(0, Params(), [1, 2], [3, -1])], [])
    with pytest.raises(PacosError, match="hides a token"):
        rows.apply(logits_of(1))
    rows.update([], [(0, Params(), [1, 2], [3, 4])], [])
    with pytest.raises(PacosError, match="row 1 of the engine's batch was never announced"):
        rows.apply(logits_of(2))
