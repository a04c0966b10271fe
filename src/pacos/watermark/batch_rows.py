"""The rows of a batch that another engine keeps, marked as pacos's own engine marks its.

Our engine's hook sees logits after penalties and temperature (engines/types.py). One that calls its hook before both,
as vLLM does, hands raw logits; they come back such that what it does next arrives at the very same distribution.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pacos.core.errors import PacosError
from pacos.engines.types import GREEDY_TEMPERATURE
from pacos.watermark.watermark import Watermark


class Params(Protocol):
    """What of a request's sampling comes between its raw logits and the draw."""

    temperature: float
    presence_penalty: float
    frequency_penalty: float
    repetition_penalty: float


@dataclass
class _Row:
    """One request; the engine goes on writing into `written`."""

    params: Params
    prompt: Sequence[int]
    written: Sequence[int]

    def context(self, length: int) -> list[int]:
        """The latest ids."""
        ids = [*self.written[-length:]]
        if min(ids) < 0:
            raise PacosError(
                "watermark: the engine hides a token that it has drawn, so the next one cannot be marked; run it "
                "without asynchronous scheduling."
            )
        return ids


class _Penalties:
    """A row's penalties as vLLM has them: repetition first, then presence and frequency."""

    def __init__(self, row: _Row, logits_V: Tensor) -> None:
        counts = Counter(row.written)
        asked = row.params
        self._factor = asked.repetition_penalty
        self._seen = torch.tensor(sorted({*row.prompt, *counts}), dtype=torch.long, device=logits_V.device)
        self._written = torch.tensor(list(counts), dtype=torch.long, device=logits_V.device)
        self._taken = logits_V.new_tensor(
            [asked.presence_penalty + asked.frequency_penalty * times for times in counts.values()]
        )

    @staticmethod
    def are_asked(params: Params) -> bool:
        """Whether there are any."""
        return params.repetition_penalty != 1 or bool(params.presence_penalty or params.frequency_penalty)

    def put_on(self, logits_V: Tensor) -> None:
        """As the engine will."""
        self._scale(logits_V, 1 / self._factor)
        logits_V[self._written] -= self._taken

    def take_off(self, logits_V: Tensor) -> None:
        """So that the engine's put_on gives these logits."""
        logits_V[self._written] += self._taken
        self._scale(logits_V, self._factor)

    def _scale(self, logits_V: Tensor, factor: float) -> None:
        values = logits_V[self._seen]
        logits_V[self._seen] = (values * factor).where(values > 0, values / factor)


class BatchRows:
    """Which request is in which row, and the mark on all of them."""

    def __init__(self, mark: Watermark) -> None:
        self.mark = mark
        self._rows: dict[int, _Row] = {}

    def update(
        self,
        removed: Iterable[int],
        added: Iterable[tuple[int, Params, Sequence[int] | None, Sequence[int]]],
        moved: Iterable[tuple[int, int, bool]],
    ) -> None:
        """What changed since the last step, in this order: rows that ended; (row, params, prompt, written) of new ones,
        which may take another's place; and (from, to, whether the two change places)."""
        for place in removed:
            self._rows.pop(place, None)
        for place, params, prompt, written in added:
            self._rows[place] = _Row(params, prompt or (), written)
        for source, target, is_swap in moved:
            left, taken = self._rows.pop(source, None), self._rows.pop(target, None)
            if left:
                self._rows[target] = left
            if taken and is_swap:
                self._rows[source] = taken

    def apply(self, logits_BV: Tensor) -> Tensor:
        """The logits to go on with. Raises PacosError where a row's request or its latest token is not known: it would
        not be marked."""
        try:
            rows = [self._rows[place] for place in range(len(logits_BV))]
        except KeyError as error:
            raise PacosError(f"watermark: row {error} of the engine's batch was never announced.") from None
        # A reply's first tokens stay as they are, as in pacos's own engine (engines/types.py, Mark).
        places = [place for place, row in enumerate(rows) if len(row.written) >= self.mark.num_previous]
        if not places:
            return logits_BV
        rows = [rows[place] for place in places]
        given_BV = logits_BV[places]
        contexts_BT = torch.tensor([row.context(self.mark.num_previous) for row in rows], device=logits_BV.device)
        temperatures = [row.params.temperature or GREEDY_TEMPERATURE for row in rows]
        temperatures_B1 = logits_BV.new_tensor(temperatures)[:, None] if set(temperatures) != {1.0} else None
        penalties = {
            place: _Penalties(row, given_BV[place])
            for place, row in enumerate(rows)
            if _Penalties.are_asked(row.params)
        }
        for place, each in penalties.items():
            each.put_on(given_BV[place])
        marked_BV = self.mark.apply(contexts_BT, given_BV, temperatures_B1)
        for place, each in penalties.items():
            each.take_off(marked_BV[place])
        if len(places) == len(logits_BV):
            return marked_BV
        logits_BV[places] = marked_BV
        return logits_BV
