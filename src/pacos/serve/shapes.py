"""OpenAI's request and response shapes, as far as this server goes; what it does not support it refuses by name."""

import json
import time
import uuid
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pacos.engines import Message, Sampling, Usage

MAX_TOKENS = 2048
LEGACY_DEFAULT_MAX_TOKENS = 16
_ANY = object()
# Parameters that clients send with a value that asks for nothing; any other value is refused.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1, None),
    "best_of": (1, None),
    "frequency_penalty": (0, None),
    "presence_penalty": (0, None),
    "logit_bias": ({}, None),
    "logprobs": (False, None),
    "top_logprobs": (0, None),
    "echo": (False, None),
    "suffix": ("", None),
    "response_format": ({"type": "text"}, None),
    "tools": ([], None),
    "tool_choice": ("none", "auto", None),
    "store": (False, None),
    "modalities": (["text"], None),
    "metadata": (_ANY,),
    "user": (_ANY,),
    "safety_identifier": (_ANY,),
    "service_tier": (_ANY,),
    "prompt_cache_key": (_ANY,),
    "parallel_tool_calls": (_ANY,),
}


class StreamOptions(BaseModel):
    """`include_usage` asks for one more chunk, with the token counts."""

    model_config = ConfigDict(extra="forbid")
    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class SamplingBody(BaseModel):
    """What both endpoints share."""

    model_config = ConfigDict(extra="forbid")
    model: str
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    stop: str | list[str] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_neutral(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        try:
            json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise PydanticCustomError("text", "a text holds half a surrogate pair") from None
        kept = {}
        for name, value in body.items():
            accepted = _NEUTRAL.get(name)
            if accepted is None:
                kept[name] = value
            elif _ANY not in accepted and value not in accepted:
                raise PydanticCustomError(
                    "unsupported_parameter",
                    "'{name}' is not supported by this server; leave it out or give {neutral}.",
                    {"name": name, "neutral": repr(accepted[0])},
                )
        return kept

    @field_validator("stop")
    @classmethod
    def _four_at_most(cls, stop: str | list[str] | None) -> list[str]:
        stops = [stop] if isinstance(stop, str) else stop or []
        if len(stops) > 4 or any(not text or len(text) > 256 for text in stops):
            raise PydanticCustomError("invalid_stop", "expected at most four stop strings of 1 to 256 characters")
        return stops

    def sampling(self, default_max_tokens: int) -> Sampling:
        """The sampling asked for, with OpenAI's defaults and this server's cap on tokens."""
        return Sampling(
            max_tokens=min(self.max_tokens or default_max_tokens, MAX_TOKENS),
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            stop=tuple(self.stop or ()),
            seed=self.seed,
        )

    @property
    def wants_usage_chunk(self) -> bool:
        """Whether the stream ends with a chunk of token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)


class CompletionBody(SamplingBody):
    """POST /v1/completions; one prompt a request."""

    prompt: str | list[str]

    @field_validator("prompt")
    @classmethod
    def _one_prompt(cls, prompt: str | list[str]) -> str:
        if isinstance(prompt, list):
            if len(prompt) != 1:
                raise PydanticCustomError("unsupported_parameter", "expected one prompt, as a text or a list of one")
            return prompt[0]
        return prompt


class ContentPart(BaseModel):
    """A part of a message; only text is understood."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[ContentPart]

    def message(self) -> Message:
        """The turn as engines know it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message("system" if self.role == "developer" else self.role, text)


class ChatBody(SamplingBody):
    """POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_cap(self) -> "ChatBody":
        self.max_tokens = self.max_completion_tokens or self.max_tokens
        return self

    @field_validator("messages")
    @classmethod
    def _ends_with_user(cls, messages: list[ChatMessage]) -> list[ChatMessage]:
        if messages[-1].role != "user":
            raise PydanticCustomError("invalid_messages", "expected the last message to have the role user")
        return messages


class Shape:
    """The responses to one request: whole, or chunk by chunk."""

    def __init__(self, kind: Literal["chat", "completions"], model: str, fingerprint: str) -> None:
        self.is_chat = kind == "chat"
        prefix, self._object = ("chatcmpl", "chat.completion") if self.is_chat else ("cmpl", "text_completion")
        self._base = {
            "id": f"{prefix}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": fingerprint,
        }

    def whole(self, text: str, finish_reason: str, usage: Usage) -> dict[str, Any]:
        """The answer in one piece."""
        said: dict[str, Any] = {"text": text}
        if self.is_chat:
            said = {"message": {"role": "assistant", "content": text, "refusal": None}}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish_reason}
        return {**self._base, "object": self._object, "choices": [choice], "usage": _counts(usage)}

    def chunk(self, text: str, finish_reason: str | None = None, first: bool = False) -> dict[str, Any]:
        """A piece of the answer; a chat's first chunk names the role, its last has an empty delta."""
        said: dict[str, Any] = {"text": text}
        if self.is_chat:
            delta = {"role": "assistant", "content": ""} if first else {"content": text} if text else {}
            said = {"delta": delta}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish_reason}
        return {**self._base, "object": self._chunk_object, "choices": [choice]}

    def usage_chunk(self, usage: Usage) -> dict[str, Any]:
        """The last chunk, when counts were asked for."""
        return {**self._base, "object": self._chunk_object, "choices": [], "usage": _counts(usage)}

    @property
    def _chunk_object(self) -> str:
        return "chat.completion.chunk" if self.is_chat else self._object


def _counts(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
