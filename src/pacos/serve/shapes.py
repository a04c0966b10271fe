"""OpenAI's response shapes, whole and chunk by chunk."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pacos.engines import Usage
from pacos.engines.types import TokenLogprob
from pacos.serve.tokens import Tokens


@dataclass(frozen=True)
class Choice:
    """One answer; `logprobs` is None where none were asked for, and begins with the prompt's where it is echoed."""

    index: int
    text: str
    finish_reason: str | None
    logprobs: tuple[TokenLogprob, ...] | None = None


class Shape:
    """The responses to one request."""

    def __init__(
        self, kind: Literal["chat", "completions"], model: str, fingerprint: str, tokens: Tokens, num_top: int
    ) -> None:
        self.is_chat = kind == "chat"
        self._tokens, self._num_top = tokens, num_top
        prefix, self._object = ("chatcmpl", "chat.completion") if self.is_chat else ("cmpl", "text_completion")
        self._base = {
            "id": f"{prefix}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": fingerprint,
        }

    def whole(self, choices: Sequence[Choice], usage: Usage) -> dict[str, Any]:
        """The answers in one piece."""
        listed = []
        for choice in choices:
            said: dict[str, Any] = {"text": choice.text}
            if self.is_chat:
                said = {"message": {"role": "assistant", "content": choice.text, "refusal": None}}
            listed.append(self._choice(choice, said, offset=0))
        return {**self._base, "object": self._object, "choices": listed, "usage": _counts(usage)}

    def first_chunk(self, index: int) -> dict[str, Any]:
        """A chat's first chunk names the role."""
        said = {"delta": {"role": "assistant", "content": ""}}
        return self._chunk([self._choice(Choice(index, "", None), said, offset=0)])

    def chunk(self, choice: Choice, offset: int) -> dict[str, Any]:
        """A piece of an answer, which begins `offset` characters into it; a chat's last has an empty delta."""
        said: dict[str, Any] = {"text": choice.text}
        if self.is_chat:
            said = {"delta": {"content": choice.text} if choice.text else {}}
        return self._chunk([self._choice(choice, said, offset)])

    def usage_chunk(self, usage: Usage) -> dict[str, Any]:
        """The last chunk, when counts were asked for."""
        return {**self._chunk([]), "usage": _counts(usage)}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self.is_chat else self._object
        return {**self._base, "object": kind, "choices": choices}

    def _choice(self, choice: Choice, said: dict[str, Any], offset: int) -> dict[str, Any]:
        logprobs = None
        if choice.logprobs is not None:
            logprobs = self._chat_logprobs(choice.logprobs) if self.is_chat else self._legacy(choice.logprobs, offset)
        return {"index": choice.index, **said, "logprobs": logprobs, "finish_reason": choice.finish_reason}

    def _chat_logprobs(self, logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
        content = [
            {
                **self._named(each.id, each.text, each.logprob),
                "top_logprobs": [self._named(*other) for other in each.top[: self._num_top]],
            }
            for each in logprobs
        ]
        return {"content": content, "refusal": None}

    def _named(self, token: int, text: str, logprob: float | None) -> dict[str, Any]:
        return {"token": text, "logprob": logprob, "bytes": list(self._tokens.bytes(token))}

    def _legacy(self, logprobs: Sequence[TokenLogprob], offset: int) -> dict[str, Any]:
        """One entry a token in four lists; a prompt's first token has no log-probability, and null beside it."""
        offsets = []
        for each in logprobs:
            offsets.append(offset)
            offset += len(each.text)
        return {
            "tokens": [self._legacy_name(each.id, each.text) for each in logprobs],
            "token_logprobs": [each.logprob for each in logprobs],
            "top_logprobs": [self._legacy_top(each) for each in logprobs],
            "text_offset": offsets,
        }

    def _legacy_top(self, each: TokenLogprob) -> dict[str, float] | None:
        if each.logprob is None or not each.top:
            return None
        named: dict[str, float] = {}
        for token, text, value in each.top[: self._num_top]:
            # Two tokens may have one name; the likelier, which comes first, keeps it.
            named.setdefault(self._legacy_name(token, text), value)
        # OpenAI's own has the token itself too, where it is none of the likeliest.
        named.setdefault(self._legacy_name(each.id, each.text), each.logprob)
        return named

    def _legacy_name(self, token: int, text: str) -> str:
        """A part of a character is named by its bytes, as OpenAI does."""
        if "\N{REPLACEMENT CHARACTER}" not in text:
            return text
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in self._tokens.bytes(token))


def _counts(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
