"""Decoding steps of few shapes, each recorded once and then replayed: for a GPU, where launching costs more than doing.

No GPU has run this yet; the tests run it on a CPU, with a recording that computes anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pacos.engines.local.cache import TOKENS_STEP, KVCache

Step = Callable[[KVCache, Tensor, Tensor, int], Tensor]
"""(cache, ids [B], positions [B], span) -> logits [B, V]."""
Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], Any], Tensor]]
"""Runs a function and keeps how: returns what runs it again on the same memory, and the memory of its result."""


@dataclass(frozen=True)
class Recorded:
    """A step of one shape: write `ids` and `positions` [B], call `replay`, read `logits` [B, V]."""

    ids: Tensor
    positions: Tensor
    replay: Callable[[], Any]
    logits: Tensor


class StaticSteps:
    """Rows are filled up to a power of two, and what they see to a multiple of TOKENS_STEP: six shapes for 32 rows and
    256 tokens. A row that fills up writes into its last place, which `reserve` keeps free of everyone.
    """

    def __init__(self, step: Step, record: Record) -> None:
        self._step, self._record = step, record
        self._recorded: dict[tuple[int, int], Recorded] = {}
        self._planes: list[Tensor] = []

    def logits(self, cache: KVCache, last_ids: Sequence[int], positions: Sequence[int]) -> Tensor:
        """Logits [B, V] of one more token for every row."""
        rows = 1 << (len(last_ids) - 1).bit_length()
        cache.reserve(rows, max(positions) + 2)
        if cache.planes is not self._planes:
            # A recording holds the addresses that it read.
            self._recorded.clear()
            self._planes = cache.planes
        span = min(-(-(max(positions) + 1) // TOKENS_STEP) * TOKENS_STEP, cache.tokens)
        filling = rows - len(last_ids)
        given = [[*last_ids, *[0] * filling], [*positions, *[cache.tokens - 1] * filling]]
        ids_B, positions_B = torch.tensor(given, device=cache.device)
        recorded = self._recorded.get((rows, span))
        if recorded is None:
            replay, logits_BV = self._record(lambda: self._step(cache, ids_B, positions_B, span))
            recorded = self._recorded[rows, span] = Recorded(ids_B, positions_B, replay, logits_BV)
        else:
            recorded.ids.copy_(ids_B)
            recorded.positions.copy_(positions_B)
        recorded.replay()
        return recorded.logits[: len(last_ids)].clone()


def cuda_graph(step: Callable[[], Tensor]) -> tuple[Callable[[], Any], Tensor]:
    """A CUDA graph of one step, as torch documents it: warmed up on a stream of its own, then captured."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = step()
    return graph.replay, logits
