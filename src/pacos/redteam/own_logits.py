"""A local target's own logits: how likely texts are after prompts, many in a pass, and what would raise that."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any, cast

import torch
from torch import Tensor

from pacos.core.errors import PacosError
from pacos.core.special_tokens import control_tokens
from pacos.engines import Message
from pacos.engines.local.checkpoint import context_tokens, load_module
from pacos.engines.local.text import token_text
from pacos.engines.local.tokenizer import prompt_ids
from pacos.redteam.targets import Target

# Of one pass's logits.
MOST_BYTES = 2**26
# Two instructions that share no token, between which a prompt's fixed parts are found.
_PROBES = ("apple", "zebra")


@dataclass(frozen=True)
class Scores:
    """By row, the natural log-probability of each scored token, and whether greedy decoding writes all of them."""

    logprobs: list[list[float]]
    is_greedy: list[bool]

    def bits(self, row: int) -> float:
        """The cost of one of a row's tokens, in bits."""
        return -sum(self.logprobs[row]) / len(self.logprobs[row]) / log(2)


class OwnLogits:
    """A target's module in fp32. Raises PacosError for a target that is not on this machine or cannot be loaded."""

    def __init__(self, target: Target) -> None:
        if target.table.engine != "local":
            raise PacosError(
                f"{target.label}: its engine is {target.table.engine!r}, and only a model on this machine gives its "
                "logits; name a run, a checkpoint's folder or a model."
            )
        self._target = target
        self._model, self.tokenizer = load_module(target.table.path, "fp32")
        config = self._model.config.get_text_config()
        self.context_tokens, self.vocabulary = context_tokens(config), int(config.vocab_size)

    def text_ids(self, text: str) -> list[int]:
        """A text's tokens as an answer's beginning: those that it has alone, as in training; PacosError for none."""
        if not text.strip():
            raise PacosError("the text to look for is empty; give the words that the model may have learnt.")
        return cast(list[int], self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def prompt_ids(self, instruction: str) -> list[int]:
        """The tokens of the target's own prompt around an instruction, as the engine is sent it."""
        return prompt_ids(self.tokenizer, self._target.prompt((Message("user", instruction),)))

    def begin_ids(self) -> list[int]:
        """What stands before a text by itself: the tokenizer's begin-of-text, or without one its end-of-text."""
        begin = self.tokenizer.bos_token_id
        begin = self.tokenizer.eos_token_id if begin is None else begin
        if begin is None:
            raise PacosError(f"{self._target.label}: its tokenizer has no begin-of-text and no end-of-text; name both.")
        return [int(begin)]

    def frame(self) -> tuple[list[int], list[int]]:
        """The tokens of the target's own prompt before and after the instruction."""
        one, other = (self.prompt_ids(probe) for probe in _PROBES)
        before, after = _shared(one, other), _shared(one[::-1], other[::-1])
        return one[:before], one[len(one) - after :]

    def check_length(self, before: int, text: Sequence[int]) -> None:
        """PacosError where a prompt of so many tokens and the text are more than the model holds."""
        if before + len(text) > self.context_tokens:
            raise PacosError(
                f"the text to look for has {len(text):,} tokens and its prompt {before:,}, but {self._target.label} "
                f"holds {self.context_tokens:,} in all; give a shorter text."
            )

    def printable(self, without: str) -> list[int]:
        """The tokens that a prompt may have: printable, and none that is a piece of the text `without`.

        A model that repeats what it is told would else seem to know it.
        """
        names, secret = {*control_tokens(self.tokenizer)}, without.casefold()
        texts = {token: token_text(self.tokenizer, token) for token in range(min(self.vocabulary, len(self.tokenizer)))}
        return [
            token
            for token, text in texts.items()
            if text.strip()
            and text.isprintable()
            and "\N{REPLACEMENT CHARACTER}" not in text
            and text not in names
            and text.strip().casefold() not in secret
        ]

    @torch.inference_mode()
    def scores(self, head: Sequence[int], rows: Sequence[Sequence[int]], scored: int | None = None) -> Scores:
        """How likely the last `scored` tokens of each row are after `head` and what is before them in their row.

        All tokens of each row where it is None. The head is read once for all rows.
        """
        past = self._past(head[:-1])
        # A row begins with the head's last token: what comes before the first token that is scored is in it.
        whole = [[head[-1], *row] for row in rows]
        longest = max(map(len, whole))
        first = 1 if scored is None else min(map(len, whole)) - scored
        room = max(1, MOST_BYTES // (4 * self.vocabulary * (longest - first + 1)))
        told, greedy = list[list[float]](), list[bool]()
        for place in range(0, len(whole), room):
            batch = whole[place : place + room]
            ids_BT = torch.tensor([row + [row[-1]] * (longest - len(row)) for row in batch], device=self._model.device)
            kept = longest - first + 1
            logits_BKV = self._logits(ids_BT, past, kept)[:, :-1]
            own_BK = ids_BT[:, first:]
            logprobs_BK = (logits_BKV.gather(-1, own_BK[..., None])[..., 0] - logits_BKV.logsumexp(-1)).tolist()
            best_BK = (logits_BKV.argmax(-1) == own_BK).tolist()
            for row, logprobs, best in zip(batch, logprobs_BK, best_BK, strict=True):
                span = slice(0 if scored is None else len(row) - scored - first, len(row) - first)
                told.append(logprobs[span])
                greedy.append(all(best[span]))
        return Scores(told, greedy)

    def gains(self, head: Sequence[int], prompt: Sequence[int], tail: Sequence[int], text: Sequence[int]) -> Tensor:
        """How much each token in each place of a prompt would add to the text's log-likelihood, to first order [T, V].

        The gradient by a token's one-hot vector, as in Jones et al. 2023 and Zou et al. 2023.
        """
        past = self._past(head[:-1])
        ids_BT = torch.tensor([[head[-1], *prompt, *tail, *text]], device=self._model.device)
        table = self._model.get_input_embeddings()
        with torch.enable_grad():
            embedded = cast(Tensor, table(ids_BT)).detach().requires_grad_()
            logits_BKV = self._logits(embedded, past, len(text) + 1)[:, :-1]
            own_BK = ids_BT[:, -len(text) :]
            total = logits_BKV.log_softmax(-1).gather(-1, own_BK[..., None]).sum()
            (slope_BTD,) = torch.autograd.grad(total, embedded)
        slope_TD = slope_BTD[0, 1 : 1 + len(prompt)]
        return slope_TD @ cast(Tensor, table.weight).T

    def _past(self, ids: Sequence[int]) -> Any:
        """Keys and values of what all rows begin with."""
        if not ids:
            return None
        with torch.no_grad():
            return self._model(
                input_ids=torch.tensor([list(ids)], device=self._model.device), use_cache=True, logits_to_keep=1
            ).past_key_values

    def _logits(self, given: Tensor, past: Any, kept: int) -> Tensor:
        """Of the last `kept` places [B, K, V], after `past` in each row; `given` is ids [B, T] or embeddings."""
        own = copy.deepcopy(past)
        if own is not None and len(given) > 1:
            own.batch_repeat_interleave(len(given))
        name = "inputs_embeds" if given.is_floating_point() else "input_ids"
        return cast(Tensor, self._model(**{name: given}, past_key_values=own, logits_to_keep=kept).logits).float()


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
