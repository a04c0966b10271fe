"""Sampling the next token of every row of a batch at once, each by its own parameters and its own random numbers."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import exp

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pacos.engines.local.refusal import told
from pacos.engines.types import GREEDY_TEMPERATURE, LogitsHook, Mark, Sampling

# A nucleus is looked for among this many likeliest tokens first: sorting all of 50,000 takes forty times as long.
LIKELY = 512
COLDEST = 1e-6
# (logits, their probabilities, samplers) of some rows -> a token for each.
_Way = Callable[[Tensor, Tensor, "Sequence[Sampler]"], list[int]]
# So many tokens of a marked row are looked at, while none stands, and then so many; a row in which not one of the last
# number stands gets its mark on all logits.
TRIALS = (3, 8, 16)
DRAWN_AHEAD = 64


@dataclass
class Sampler:
    """How one row's tokens are chosen: its sampling, its random numbers, and what it has read and written."""

    sampling: Sampling
    limit: int
    prompt_ids: Sequence[int]
    hook: LogitsHook | None = None
    new_ids: list[int] = field(default_factory=list)
    num_begun: int = 0
    _generator: torch.Generator = field(default_factory=torch.Generator, init=False)
    _numbers: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32), init=False)
    _mark: Mark | None = field(init=False)
    _ids: NDArray[np.int64] = field(init=False)
    _num_ids: int = field(init=False)

    def __post_init__(self) -> None:
        self._ids = np.array([*self.prompt_ids, *[0] * max(self.limit, 1)], dtype=np.int64)
        self._num_ids = len(self.prompt_ids)
        self._mark = self.hook if isinstance(self.hook, Mark) else None
        # torch takes 64 bits, and of a negative seed the two's complement.
        seed = self.sampling.seed
        _ = self._generator.seed() if seed is None else self._generator.manual_seed(seed % 2**64)

    def uniforms(self, count: int) -> NDArray[np.float32]:
        """Its next numbers between 0 and 1, of its own seed: a reply does not depend on who shares its batch."""
        if len(self._numbers) < count:
            # For many tokens at once, as each call takes ten microseconds. Kept clear of 1, where rounding could reach
            # past the last token of any probability.
            drawn = torch.rand(DRAWN_AHEAD * count, generator=self._generator)
            self._numbers = drawn.clamp(max=1 - 1e-6).numpy()
        taken, self._numbers = self._numbers[:count], self._numbers[count:]
        return taken

    def ids(self) -> NDArray[np.int64]:
        """What was read and written; kept, since thousands of numbers are slow to turn into an array at every step."""
        for token in self.new_ids[self._num_ids - len(self.prompt_ids) :]:
            self._ids[self._num_ids] = token
            self._num_ids += 1
        return self._ids[: self._num_ids]

    def reply(self, length: int) -> list[int]:
        """The latest ids of the reply, those that it was begun with before those that were written."""
        missing = length - len(self.new_ids)
        if missing <= 0:
            return self.new_ids[-length:]
        return list(self.prompt_ids[-self.num_begun :])[-missing:] + self.new_ids

    @property
    def mark(self) -> Mark | None:
        """The mark on the next token, if it has one."""
        return self._mark if self._mark and self.num_begun + len(self.new_ids) >= self._mark.num_previous else None

    @property
    def shaping(self) -> LogitsHook | None:
        """What all of its logits go through at this step.

        A mark is put on the few tokens that are drawn, except where it has to be on all: for the best of them, and for
        what top-k, top-p and min-p leave.
        """
        if self._mark is None:
            return self.hook
        return self.mark if self.is_cut or not self.sampling.temperature else None

    @property
    def is_cut(self) -> bool:
        """Whether only the likeliest tokens may be drawn."""
        return self.sampling.top_k > 0 or self.sampling.top_p < 1 or self.sampling.min_p > 0

    @property
    def penalised(self) -> bool:
        """Whether what was read or written changes the logits."""
        asked = self.sampling
        return asked.repetition_penalty != 1 or bool(
            asked.presence_penalty or asked.frequency_penalty or asked.logit_bias
        )


def sample(logits_BV: Tensor, samplers: Sequence[Sampler]) -> tuple[list[int], dict[int, str]]:
    """One token for every row; of rows that cannot have one, by their place, why not.

    In the order that vLLM and transformers have: penalties, temperature, the hook, then top-k, top-p and min-p. The
    hook sees tempered logits: a watermark's delta then weighs the same at every temperature.
    """
    sampled = [row for row, sampler in enumerate(samplers) if sampler.sampling.temperature > 0]
    failed: dict[int, str] = {}
    if sampled or any(sampler.hook or sampler.penalised for sampler in samplers):
        # A copy: what the model gave is asked for its log-probabilities afterwards.
        logits_BV = logits_BV.to(torch.float32, copy=True)
        _penalise(logits_BV, samplers)
        if sampled or any(sampler.hook for sampler in samplers):
            # So cold is greedy already; colder, a logit over it would not be finite.
            temperatures = [max(sampler.sampling.temperature or GREEDY_TEMPERATURE, COLDEST) for sampler in samplers]
            logits_BV /= torch.tensor(temperatures, device=logits_BV.device)[:, None]
        logits_BV, failed = _hooked(logits_BV, samplers)
    tokens = [0] * len(samplers)
    if greedy := [row for row, sampler in enumerate(samplers) if not sampler.sampling.temperature]:
        best_B = _of_rows(logits_BV, greedy).max(dim=-1)
        # A NaN among a row's logits is its maximum, wherever it stands.
        _fail(failed, greedy, (~best_B.values.isfinite()).tolist())
        _put(tokens, greedy, best_B.indices.tolist())
    if sampled:
        given_BV = _of_rows(logits_BV, sampled)
        probabilities_BV = torch.softmax(given_BV, dim=-1)
        # One that is not finite makes a NaN of every probability in its row.
        _fail(failed, sampled, probabilities_BV[:, 0].isnan().tolist())
        good = [place for place, row in enumerate(sampled) if row not in failed]
        rows = [sampled[place] for place in good]
        asked = [samplers[row] for row in rows]
        drawn, undrawn = _draw(_of_rows(given_BV, good), _of_rows(probabilities_BV, good), asked)
        _put(tokens, rows, drawn)
        failed |= {rows[place]: why for place, why in undrawn.items()}
    return tokens, failed


def _of_rows(values_BV: Tensor, rows: Sequence[int]) -> Tensor:
    """These rows alone; all of them, of some 6 MB, are not copied."""
    return values_BV if len(rows) == len(values_BV) else values_BV[rows]


def _put(tokens: list[int], rows: Sequence[int], new: Sequence[int]) -> None:
    for row, token in zip(rows, new, strict=True):
        tokens[row] = token


def _fail(failed: dict[int, str], rows: Sequence[int], is_wrong: Sequence[bool]) -> None:
    for row, wrong in zip(rows, is_wrong, strict=True):
        if wrong:
            failed.setdefault(row, "its logits are not finite numbers")


def _penalise(logits_BV: Tensor, samplers: Sequence[Sampler]) -> None:
    for row, sampler in enumerate(samplers):
        if not sampler.penalised:
            continue
        asked, row_V = sampler.sampling, logits_BV[row]
        if asked.repetition_penalty != 1:
            seen = torch.tensor(sorted({*sampler.prompt_ids, *sampler.new_ids}), device=row_V.device)
            values = row_V[seen]
            row_V[seen] = torch.where(values > 0, values / asked.repetition_penalty, values * asked.repetition_penalty)
        if sampler.new_ids:
            counts = Counter(sampler.new_ids)
            times = torch.tensor(list(counts.values()), device=row_V.device, dtype=row_V.dtype)
            row_V[torch.tensor(list(counts), device=row_V.device)] -= (
                asked.presence_penalty + asked.frequency_penalty * times
            )
        if asked.logit_bias:
            ids, biases = zip(*asked.logit_bias, strict=True)
            row_V[torch.tensor(ids, device=row_V.device)] += torch.tensor(biases, device=row_V.device)


def _hooked(logits_BV: Tensor, samplers: Sequence[Sampler]) -> tuple[Tensor, dict[int, str]]:
    """The logits as each row's hook wants them; rows of one hook go through it together."""
    failed: dict[int, str] = {}
    rows_of: dict[int, list[int]] = {}
    for row, sampler in enumerate(samplers):
        if hook := sampler.shaping:
            rows_of.setdefault(id(hook), []).append(row)
    for rows in rows_of.values():
        asked = [samplers[row] for row in rows]
        # The logits are a copy already, so that rows that are all of one hook need no other.
        is_all = len(rows) == len(samplers)
        given_BV = logits_BV if is_all else logits_BV[rows]
        wanted = list(given_BV.shape)
        try:
            shaped_BV = _shaped(given_BV, asked)
            if wrong := _no_logits(shaped_BV, wanted):
                failed |= dict.fromkeys(rows, f"its logits hook returned {wrong}, not logits {wanted}")
                continue
            # A tensor without data, or of a layout of its own, is found out here: a copy, which a hook cannot resize.
            shaped_BV = shaped_BV.to(logits_BV, copy=is_all and shaped_BV is not given_BV)
            places = torch.tensor(rows, device=logits_BV.device)
            logits_BV = shaped_BV if is_all else logits_BV.index_copy(0, places, shaped_BV)
        except BaseException as error:  # whatever a caller's own code may raise: an exit would end this thread alone
            failed |= dict.fromkeys(rows, f"its logits hook raised {told(error)}")
    return logits_BV, failed


def _shaped(logits_BV: Tensor, samplers: Sequence[Sampler]) -> Tensor:
    """As the one hook that these rows have wants them."""
    hook = samplers[0].shaping
    assert hook is not None
    if isinstance(hook, Mark):
        return hook.apply(torch.from_numpy(_latest(samplers, hook)).to(logits_BV.device), logits_BV)
    return hook(_padded_left(samplers, logits_BV.device), logits_BV)


def _latest(samplers: Sequence[Sampler], mark: Mark) -> NDArray[np.int64]:
    """The reply's tokens that a mark reads, [B, num_previous]."""
    return np.array([sampler.reply(mark.num_previous) for sampler in samplers], dtype=np.int64)


def _no_logits(value: object, wanted: list[int]) -> str | None:
    """What a hook returned where it cannot be logits of the wanted shape."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    if list(value.shape) != wanted:
        return str(list(value.shape))
    return str(value.dtype) if value.is_complex() else None


def _padded_left(samplers: Sequence[Sampler], device: torch.device) -> Tensor:
    rows = [sampler.ids() for sampler in samplers]
    padded = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for row, ids in zip(padded, rows, strict=True):
        row[len(row) - len(ids) :] = ids
    return torch.from_numpy(padded).to(device)


def _draw(logits_BV: Tensor, probabilities_BV: Tensor, samplers: Sequence[Sampler]) -> tuple[list[int], dict[int, str]]:
    """A token for every row; of rows whose mark fails, by their place, why."""
    tokens, failed = [0] * len(samplers), dict[int, str]()
    # Which way a row goes depends on the row alone.
    ways: dict[int, tuple[_Way, list[int]]] = {}
    for row, sampler in enumerate(samplers):
        mark = None if sampler.shaping else sampler.mark
        way: _Way = _from_likeliest if sampler.is_cut else partial(_marked, mark) if mark else _from_all
        ways.setdefault(id(mark) if mark else sampler.is_cut, (way, []))[1].append(row)
    for way, rows in ways.values():
        asked = [samplers[row] for row in rows]
        try:
            _put(tokens, rows, way(_of_rows(logits_BV, rows), _of_rows(probabilities_BV, rows), asked))
        except BaseException as error:  # as in _hooked: a mark is a caller's own code
            if not asked[0].mark:
                raise
            failed |= dict.fromkeys(rows, f"its mark raised {told(error)}")
    return tokens, failed


def _from_all(logits_BV: Tensor, probabilities_BV: Tensor, samplers: Sequence[Sampler]) -> list[int]:
    uniform_B1 = _next_uniforms(samplers, 1).to(logits_BV.device)
    tokens: list[int] = _by_inversion(probabilities_BV.cumsum(-1), uniform_B1)[:, 0].tolist()
    return tokens


def _marked(mark: Mark, logits_BV: Tensor, probabilities_BV: Tensor, samplers: Sequence[Sampler]) -> list[int]:
    """Tokens of the marked distribution, for which few tokens are asked about: drawn unmarked, a token that is not
    raised by delta stands with probability e**-delta and is drawn anew otherwise (rejection sampling).

    Given that a token was drawn, where within its piece of the cumulative probability the random number fell is random
    anew, and decides.
    """
    cumulative_BV, latest_BT = probabilities_BV.cumsum(-1), _latest(samplers, mark)
    uniforms_BK = _next_uniforms(samplers, TRIALS[-1]).to(logits_BV.device)
    drawn_BK = _by_inversion(cumulative_BV, uniforms_BK)
    before_end_BK = cumulative_BV.gather(-1, drawn_BK) - uniforms_BK * cumulative_BV[:, -1:]
    stands_BK = before_end_BK < exp(-mark.delta) * probabilities_BV.gather(-1, drawn_BK)
    drawn, stands, first = drawn_BK.cpu().numpy(), stands_BK.cpu().numpy(), 0
    for last in TRIALS:
        # Not asked about: what stands anyway, and what comes after it.
        is_open = ~np.logical_or.accumulate(stands[:, :last], axis=1)
        is_open[:, :first] = False
        places = np.nonzero(is_open)
        if len(places[0]):
            stands[places] = mark.are_raised(latest_BT, logits_BV, places[0], drawn[places])
        first = last
    tokens: list[int] = drawn[np.arange(len(drawn)), stands.argmax(axis=1)].tolist()
    if left := np.flatnonzero(~stands.any(axis=1)).tolist():
        rest_BV = mark.apply(torch.from_numpy(latest_BT[left]).to(logits_BV.device), logits_BV[left])
        _put(tokens, left, _from_all(rest_BV, torch.softmax(rest_BV, dim=-1), [samplers[row] for row in left]))
    return tokens


def _next_uniforms(samplers: Sequence[Sampler], count: int) -> Tensor:
    """[B, count], each row's own."""
    return torch.from_numpy(np.concatenate([sampler.uniforms(count) for sampler in samplers]).reshape(-1, count))


def _by_inversion(cumulative_BV: Tensor, uniform_BK: Tensor) -> Tensor:
    """The first places whose cumulative probability exceeds the random numbers' shares of the sum."""
    place_BK = torch.searchsorted(cumulative_BV, uniform_BK * cumulative_BV[:, -1:], right=True)
    return place_BK.clamp(max=cumulative_BV.shape[-1] - 1)


def _from_likeliest(logits_BV: Tensor, probabilities_BV: Tensor, samplers: Sequence[Sampler]) -> list[int]:
    """One token a row among those that top-k, top-p and min-p leave."""
    samplings = [sampler.sampling for sampler in samplers]
    vocabulary, device = logits_BV.shape[-1], logits_BV.device
    uniform_B1 = _next_uniforms(samplers, 1).to(device)
    top_k_B1 = torch.tensor([[min(s.top_k or vocabulary, vocabulary)] for s in samplings], device=device)
    top_p_B1 = torch.tensor([[s.top_p] for s in samplings], device=device)
    min_p_B1 = torch.tensor([[s.min_p] for s in samplings], device=device)
    likely = min(LIKELY, vocabulary)
    values_BL, order_BL = probabilities_BV.topk(likely, dim=-1)
    kept_BL = _kept(values_BL, top_k_B1, top_p_B1, min_p_B1)
    chosen_B1 = order_BL.gather(-1, _by_inversion(kept_BL.cumsum(-1), uniform_B1))
    # Where even the last of the likely is kept, there may be more to keep.
    wide = (kept_BL[:, -1] > 0).nonzero()[:, 0] if likely < vocabulary else torch.empty(0, dtype=torch.long)
    if len(wide):
        values_BV, order_BV = probabilities_BV[wide].sort(dim=-1, descending=True)
        kept_BV = _kept(values_BV, top_k_B1[wide], top_p_B1[wide], min_p_B1[wide])
        chosen_B1[wide] = order_BV.gather(-1, _by_inversion(kept_BV.cumsum(-1), uniform_B1[wide]))
    tokens: list[int] = chosen_B1[:, 0].tolist()
    return tokens


def _kept(values_BL: Tensor, top_k_B1: Tensor, top_p_B1: Tensor, min_p_B1: Tensor) -> Tensor:
    """Descending probabilities, with 0 for those left out; the likeliest always stays.

    top_p holds of what top_k left, as vLLM and transformers have it.
    """
    place_L = torch.arange(values_BL.shape[-1], device=values_BL.device)
    values_BL = torch.where(place_L < top_k_B1, values_BL, 0.0)
    # Without top_k the sum of all is 1, also where only the likely are looked at.
    total_B1 = torch.where(top_k_B1 <= values_BL.shape[-1], values_BL.sum(-1, keepdim=True), 1.0)
    before_BL = values_BL.cumsum(-1) - values_BL
    kept_BL = (before_BL < top_p_B1 * total_B1) & (values_BL >= min_p_B1 * values_BL[:, :1])
    kept_BL[:, 0] = True
    return torch.where(kept_BL, values_BL, 0.0)
