"""One request and one reply for every engine, whoever plays teacher, student or judge."""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import torch

LogitsHook = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""(input_ids [B, T], logits [B, V]) -> logits [B, V], called at every decoding step; ids are padded on the left."""

FinishReason = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is drawn; temperature 0 is greedy."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """`prompt` is raw text to complete, or a chat; `id` is the caller's own and comes back on the reply."""

    id: str
    prompt: str | tuple[Message, ...]
    sampling: Sampling


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
    what came, each as JSON text without secrets, where the engine's table asks to keep it.
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


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a streamed reply; the last piece carries the whole Reply."""

    text: str
    reply: Reply | None = None


class Engine(Protocol):
    """Whatever turns requests into replies."""

    name: str

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
