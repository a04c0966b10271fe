"""How near a local target is to saying a text: the text's likelihood after a prompt, one pass forward and no reply."""

from collections.abc import Sequence
from math import exp

from pacos.engines import Failure, Message, Reply, Request, Sampling
from pacos.engines.local.tokenizer import load_tokenizer, prompt_ids
from pacos.redteam.account import Account
from pacos.redteam.cases import Case
from pacos.redteam.targets import Target


class Nearness:
    """Of one text as the beginning of an answer; its tokens are those that it has alone, as an answer's in training."""

    def __init__(self, target: Target, text: str) -> None:
        self._target = target
        self._tokenizer = load_tokenizer(target.table.path)
        self._text: list[int] = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    async def of_cases(self, account: Account, cases: Sequence[Case]) -> dict[int, float | None]:
        """The shares after each case, by its number."""
        told = await account.look([self._request(str(case.number), case.turns) for case in cases])
        return {int(name): _share(answer) for name, answer in told.items()}

    def _request(self, name: str, turns: tuple[Message, ...]) -> Request:
        prompt = self._target.prompt(turns)
        before = prompt_ids(self._tokenizer, prompt)
        ids, start = (*before, *self._text), len(before)
        return Request(name, prompt, Sampling(0, temperature=0.0), ids, logprobs=0, echo=True, echo_from=start)


def find_nearness(target: Target, objective: str) -> Nearness | None:
    """What tells how near an answer came to the objective; None where nothing here can."""
    kind, _, text = objective.partition(":")
    return Nearness(target, text) if kind == "contains" and target.table.engine == "local" else None


def _share(answer: Reply | Failure) -> float | None:
    """The geometric mean of the text's token probabilities, 0 to 1; None where the target cannot tell."""
    if isinstance(answer, Failure) or not answer.prompt_logprobs:
        return None
    told = [token.logprob for token in answer.prompt_logprobs if token.logprob is not None]
    return exp(sum(told) / len(told)) if told else None
