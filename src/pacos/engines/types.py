"""One request and one reply for every engine, whoever plays teacher, student or judge."""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import asdict, dataclass, field, fields
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from pacos.core.errors import PacosError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


@runtime_checkable
class Mark(Protocol):
    """A watermark: it raises some tokens' logits by `delta`, which ones by the last `num_previous` tokens of a reply.

    A reply's first tokens, which have fewer before them, stay as they are: whoever looks for the mark sees the reply
    without its prompt and cannot score them.
    """

    delta: float

    @property
    def num_previous(self) -> int:
        """How many tokens it reads."""

    def apply(self, input_ids_BT: "torch.Tensor", logits_BV: "torch.Tensor") -> "torch.Tensor":
        """All logits, raised."""

    def are_raised(
        self,
        input_ids_BT: "NDArray[np.int64]",
        logits_BV: "torch.Tensor",
        rows_N: "NDArray[np.int64]",
        tokens_N: "NDArray[np.int64]",
    ) -> "NDArray[np.bool_]":
        """Whether `apply` would raise each token in its row [N]; far cheaper for a few."""


LogitsHook = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"] | Mark
"""A mark, or (input_ids [B, T], logits [B, V]) -> logits [B, V], called at every step for all rows that have it, row by
row the same whoever shares the batch; ids are of prompt and reply, padded on the left, logits fp32 and over their
temperature, greedy ones over GREEDY_TEMPERATURE."""
GREEDY_TEMPERATURE = 0.2
"""Over 1, a watermark's delta of 2 overruled SmolLM2's best token wherever it was less than seven times as likely as a
marked one, and its answers ran in circles."""

FinishReason = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


Prompt = str | tuple[Message, ...]
"""Raw text to complete, or a chat."""

KNOWN_TO_ALL = ("max_tokens", "temperature", "top_p", "stop", "seed")
"""The sampling parameters that every engine knows; ledgers of any age have them under a reply."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is drawn; temperature 0 is greedy.

    From `top_k` on a server is told only of what is not the default. As in vLLM and llama.cpp: the `top_k` likeliest
    tokens (0: all), those at least `min_p` times as likely as the likeliest, and `repetition_penalty`, which divides
    the positive logits of all tokens read or written and multiplies the negative (1: none). As in OpenAI's API,
    penalties are taken from the logits of written tokens: `presence` once, `frequency` once for each time.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    """(token id, what is added to its logit), before the temperature."""

    def chosen(self) -> dict[str, Any]:
        """What was asked for, by name: what every engine knows always, the others where they say anything."""
        asked, defaults = asdict(self), {field.name: field.default for field in fields(self)}
        return {name: value for name, value in asked.items() if name in KNOWN_TO_ALL or value != defaults[name]}


@dataclass(frozen=True, slots=True)
class Request:
    """`prompt` is raw text to complete, or a chat; `id` is the caller's own and comes back on the reply.

    `prompt_ids` are read instead of the prompt, by the local engine and by servers with api="completions". `logprobs`
    asks for log-probabilities and that many likeliest tokens beside each, of the local engine at most 100; a server
    that has none is asked without, and none is asked for them in a stream. `echo` asks for those of the prompt's
    tokens: the local engine's from place `echo_from` on, all of a server with api="completions" where it has them. What
    the local engine alone has: `logits_hook` shapes this request's logits alone, and the last `num_begun` of the
    prompt's ids are the beginning of the reply, which a mark reads.
    """

    id: str
    prompt: Prompt
    sampling: Sampling
    prompt_ids: tuple[int, ...] = ()
    logprobs: int | None = None
    echo: bool = False
    echo_from: int = 0
    num_begun: int = 0
    logits_hook: LogitsHook | None = field(default=None, compare=False)


UNKNOWN_TOKEN = -1
"""The id of a token that a server names by its text alone."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token, its natural log-probability given all before it (None for a prompt's first), and the likeliest.

    `id` is -1 where a server tells none.

    Of the model's own distribution: before temperature, penalties and hook. `top` has (id, text, logprob), best first.
    A token's text is what it adds to a text before it, its leading blank included, and a special token's its name.
    """

    id: int
    text: str
    logprob: float | None
    top: tuple[tuple[int, str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts, as the engine itself counts them.

    What a model thinks is part of its completion; `cached_tokens` are those of the prompt that were read before.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the new text only, without prompt or stop string.

    `unseen_usd` is the most that earlier attempts at it, which got no answer, may have cost beside `usd`; `left_out`
    names sampling parameters that the server did not take, so that its own defaults held. `raw` is what was sent and
    what came, each as JSON text without secrets, where the engine's table asks to keep it. `logprobs` are of every
    token written, and `prompt_logprobs` of every token read, where the request asked for them.
    """

    id: str
    text: str
    finish_reason: FinishReason
    usage: Usage = field(default_factory=Usage)
    usd: float = 0.0
    seconds: float = 0.0
    unseen_usd: float = 0.0
    left_out: tuple[str, ...] = ()
    attempts: int = 1
    raw: tuple[str, str] | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that got no reply after all retries; `fatal` means that no other request can do better.

    `retry` means that retries are left, and each needs money reserved anew: whoever holds it is to ask again.
    """

    id: str
    kind: Literal["auth", "quota", "rate_limit", "timeout", "connection", "bad_request", "context_length", "server"]
    message: str
    fatal: bool = False
    retry: bool = False
    unseen_usd: float = 0.0
    attempts: int = 1


class RequestFailedError(PacosError):
    """A stream's request that got no reply; `failure` says what kind of reason it was.

    `line` is for whoever runs the engine, where there is more to say than the failure's message.
    """

    def __init__(self, engine: str, failure: Failure, line: str = "") -> None:
        super().__init__(line or f"{engine}: {failure.message}")
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a streamed reply; the last piece carries the whole Reply.

    `logprobs` are of the tokens since the last piece, where the request asked for them: of this text, and of what ends
    it without being text.
    """

    text: str
    reply: Reply | None = None
    logprobs: tuple[TokenLogprob, ...] = ()


class Engine(Protocol):
    """Whatever turns requests into replies."""

    name: str

    @property
    def tokens_written(self) -> int:
        """New tokens so far, those of replies under way too; always 0 where an engine sees whole replies only."""
        ...

    def complete(self, requests: Iterable[Request], stop: Event | None = None) -> AsyncIterator[Reply | Failure]:
        """Answers every request once, in the order in which answers arrive.

        Once `stop` is set it takes and sends nothing more, neither anew nor again, and ends when what is under way is
        in or has been given up; whatever it took and did not answer may come as a Failure or not at all.
        """
        ...

    def stream(self, request: Request) -> AsyncIterator[Delta]:
        """Answers one request piece by piece; closing the iterator frees the engine."""
        ...

    async def close(self) -> None:
        """Releases connections or memory."""
        ...
