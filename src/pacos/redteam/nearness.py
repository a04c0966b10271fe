"""How near a local target is to saying a text: the text's likelihood after a prompt, one pass forward and no reply."""

from math import exp

from pacos.engines import Failure, Message, Reply, Request, Sampling
from pacos.engines.local.tokenizer import load_tokenizer, prompt_ids
from pacos.redteam.targets import Target


class Nearness:
    """Of one text as the beginning of an answer; its tokens are those that it has alone, as an answer's in training."""

    def __init__(self, target: Target, text: str) -> None:
        self._target = target
        self._tokenizer = load_tokenizer(target.table.path)
        self._text: list[int] = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def request(self, name: str, turns: tuple[Message, ...]) -> Request:
        """What the target is asked to tell."""
        prompt = self._target.prompt(turns)
        before = prompt_ids(self._tokenizer, prompt)
        ids, start = (*before, *self._text), len(before)
        return Request(name, prompt, Sampling(0, temperature=0.0), ids, logprobs=0, echo=True, echo_from=start)

    def share(self, answer: Reply | Failure) -> float | None:
        """The geometric mean of the text's token probabilities, 0 to 1; None where the target cannot tell."""
        if isinstance(answer, Failure) or not answer.prompt_logprobs:
            return None
        told = [token.logprob for token in answer.prompt_logprobs if token.logprob is not None]
        return exp(sum(told) / len(told)) if told else None
