"""How likely a model on this machine finds given texts: one pass forward each, no reply and no cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from pacos.engines import Failure, Message, Reply, Request, Sampling
from pacos.engines.local.tokenizer import load_tokenizer, prompt_ids
from pacos.redteam.account import Account
from pacos.redteam.targets import Target

NEEDS_A_LOCAL_MODEL = "a server does not tell how likely it finds a text; name a run or a model on this machine"


@dataclass(frozen=True)
class Told:
    """A text, and the turns that it answers; () stands for nothing before it."""

    text: str
    turns: tuple[Message, ...] = ()


class SentenceScores:
    """Sums of the natural log-probabilities of texts' tokens.

    What answers turns has the tokens that it has alone, as an answer's are in training. A text with nothing before it
    is read after the tokenizer's own begin-of-text, or without one its end-of-text, as in lm-eval.
    """

    def __init__(self, target: Target, account: Account) -> None:
        self._target, self._account = target, account
        self._tokenizer = load_tokenizer(target.table.path)

    async def of(self, texts: Sequence[Told]) -> list[float | str]:
        """The sum of each text, or why there is none, such as a text that is too long."""
        requests = [self._request(str(number), told) for number, told in enumerate(texts)]
        answers = await self._account.look(requests)
        return [_sum(answers[request.id]) for request in requests]

    def _request(self, name: str, told: Told) -> Request:
        own = self._tokenizer(told.text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        begin = (
            self._tokenizer.bos_token_id if self._tokenizer.bos_token_id is not None else self._tokenizer.eos_token_id
        )
        prompt = self._target.prompt(told.turns) if told.turns else ""
        before = prompt_ids(self._tokenizer, prompt) if told.turns else [] if begin is None else [begin]
        nothing = Sampling(0, temperature=0.0)
        ids = (*before, *own)
        return Request(name, prompt or told.text, nothing, ids, logprobs=0, echo=True, echo_from=len(before))


def _sum(answer: Reply | Failure) -> float | str:
    if isinstance(answer, Failure):
        return f"{answer.kind}: {answer.message}"
    known = [token.logprob for token in answer.prompt_logprobs if token.logprob is not None]
    return sum(known) if known else "the model told no log-probabilities"
