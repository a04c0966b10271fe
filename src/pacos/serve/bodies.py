"""OpenAI's request bodies, with what vLLM and llama.cpp add; what this server does not do it refuses by name."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError, PydanticKnownError

from pacos.engines import Message, Sampling
from pacos.web.json_body import JsonBody, JsonPart

MAX_TOKENS = 2048
LEGACY_DEFAULT_MAX_TOKENS = 16
MAX_TOP_LOGPROBS = 20
# Answers of one request: prompts times choices.
MAX_ANSWERS = 128
# Of one request; each takes some 350 bytes until the last is known.
MAX_LOGPROBS = 600_000
# Each is checked alone, which may be a guard model's work.
MAX_MESSAGES = 256
MAX_BIASES = 300
_ANY = object()
# Parameters that clients send with a value that asks for nothing; any other value is refused.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "suffix": ("", None),
    "response_format": ({"type": "text"}, None),
    "tools": ([], None),
    "tool_choice": ("none", "auto", None),
    "functions": ([], None),
    "function_call": ("none", "auto", None),
    "store": (False, None),
    "modalities": (["text"], None),
    "audio": (None,),
    "prediction": (None,),
    "web_search_options": (None,),
    "verbosity": ("medium", None),
    "reasoning_effort": ("none", None),
    "use_beam_search": (False, None),
    "length_penalty": (1, None),
    "min_tokens": (0, None),
    "ignore_eos": (False, None),
    "include_stop_str_in_output": (False, None),
    "skip_special_tokens": (True, None),
    "spaces_between_special_tokens": (True, None),
    "add_special_tokens": (True, None),
    "guided_json": (None,),
    "typical_p": (1, None),
    "metadata": (_ANY,),
    "user": (_ANY,),
    "safety_identifier": (_ANY,),
    "service_tier": (_ANY,),
    "prompt_cache_key": (_ANY,),
    "parallel_tool_calls": (_ANY,),
    "cache_prompt": (_ANY,),
    "priority": (_ANY,),
    "request_id": (_ANY,),
}
# The same of a message: what answers of this and other servers have, which clients send back as they got it.
_NEUTRAL_IN_MESSAGES: dict[str, tuple[Any, ...]] = {
    "tool_calls": ([], None),
    "function_call": (None,),
    "tool_call_id": (None,),
    "audio": (None,),
    "name": (_ANY,),
    "refusal": (_ANY,),
    "annotations": (_ANY,),
    "reasoning": (_ANY,),
    "reasoning_content": (_ANY,),
    "cache_control": (_ANY,),
    "id": (_ANY,),
    "created_at": (_ANY,),
    "metadata": (_ANY,),
}
# Other programs' names for what this server has.
_SYNONYMS = {"repeat_penalty": "repetition_penalty", "n_predict": "max_tokens"}

StopText = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class StreamOptions(JsonPart):
    """`include_usage` asks for one more chunk, with the token counts."""

    model_config = ConfigDict(extra="forbid", strict=True)
    include_usage: bool = False
    include_obfuscation: Literal[False] = False
    continuous_usage_stats: Literal[False] = False


class SamplingBody(JsonBody):
    """What both endpoints share."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    model: str
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    # JSON has texts for keys.
    logit_bias: dict[Annotated[int, Field(strict=False)], Annotated[float, Field(ge=-100, le=100)]] | None = Field(
        None, max_length=MAX_BIASES
    )
    do_sample: bool | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=16)] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    n: int | None = Field(None, ge=1, le=MAX_ANSWERS)
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_neutral(cls, body: Any) -> Any:
        kept = _without_neutral(body, _NEUTRAL)
        return {_SYNONYMS.get(name, name): value for name, value in kept.items()} if isinstance(kept, dict) else kept

    @field_validator("logit_bias", mode="before")
    @classmethod
    def _refuse_many_biases(cls, biases: Any) -> Any:
        # Before each of them is looked at.
        if isinstance(biases, dict) and len(biases) > MAX_BIASES:
            told = {"field_type": "Dictionary", "max_length": MAX_BIASES, "actual_length": len(biases)}
            raise PydanticKnownError("too_long", told)
        return biases

    def sampling(self, default_max_tokens: int, advised: Mapping[str, float]) -> Sampling:
        """The sampling asked for, up to this server's cap on tokens; `advised` is the model's own, as vLLM takes it,
        and where that says nothing OpenAI's defaults hold."""
        most = default_max_tokens if self.max_tokens is None else self.max_tokens

        def chosen(name: str, default: float) -> float:
            said = getattr(self, name)
            return advised.get(name, default) if said is None else said

        temperature = chosen("temperature", 1.0)
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or ()
        return Sampling(
            max_tokens=min(most, MAX_TOKENS),
            temperature=0.0 if self.do_sample is False else temperature,
            top_p=chosen("top_p", 1.0),
            stop=tuple(stop),
            seed=self.seed,
            # vLLM says -1 for all.
            top_k=max(int(chosen("top_k", 0)), 0),
            min_p=chosen("min_p", 0.0),
            repetition_penalty=chosen("repetition_penalty", 1.0),
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            logit_bias=tuple(sorted((self.logit_bias or {}).items())),
        )

    @property
    def wants_usage_chunk(self) -> bool:
        """Whether the stream ends with a chunk of token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)


# A list's first wrong entry is enough: a megabyte of them would make an error each, for each kind that a prompt may be.
Ids = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, fail_fast=True)]
Prompts = (
    Annotated[list[str], Field(min_length=1, fail_fast=True)]
    | Annotated[list[Ids], Field(min_length=1, fail_fast=True)]
)


class CompletionBody(SamplingBody):
    """POST /v1/completions: a text, token ids, or a list of either."""

    prompt: str | Ids | Prompts
    max_tokens: int | None = Field(None, ge=0)
    best_of: int | None = Field(None, ge=1, le=MAX_ANSWERS)
    logprobs: int | None = Field(None, ge=0, le=MAX_TOP_LOGPROBS)
    echo: bool | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "CompletionBody":
        if self.best_of is not None and self.best_of < (self.n or 1):
            raise PydanticCustomError("best_of", "Invalid 'best_of': expected a value >= n.")
        if self.best_of not in (None, self.n or 1) and self.stream:
            raise _unsupported("best_of", "with stream it has to be n")
        if self.stream and self.echo and self.logprobs is not None:
            raise _unsupported("echo", "with stream it has no logprobs")
        if self.max_tokens == 0 and not self.echo:
            raise PydanticCustomError("max_tokens", "Invalid 'max_tokens': 0 is for a prompt that is echoed only.")
        _check_answers(len(self.prompts) * self.num_drawn)
        return self

    @property
    def prompts(self) -> list[str | tuple[int, ...]]:
        """Each prompt by itself."""
        listed: list[Any] = self.prompt if isinstance(self.prompt, list) else [self.prompt]
        if isinstance(listed[0], int):
            return [tuple(listed)]
        return [each if isinstance(each, str) else tuple(each) for each in listed]

    @property
    def num_drawn(self) -> int:
        """Answers made for each prompt, of which the best `n` are given."""
        return self.best_of or self.n or 1


class ContentPart(JsonPart):
    """A part of a message; only text is understood."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]
    text: str


class ChatMessage(JsonPart):
    """One turn; beside role and content it may have what clients send back of an answer and what asks for nothing."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[ContentPart], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]

    @model_validator(mode="before")
    @classmethod
    def _drop_neutral(cls, message: Any) -> Any:
        return _without_neutral(message, _NEUTRAL_IN_MESSAGES)

    def message(self) -> Message:
        """The turn as engines know it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message("system" if self.role == "developer" else self.role, text)


class ChatBody(SamplingBody):
    """POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MAX_TOP_LOGPROBS)

    @model_validator(mode="after")
    def _fits_together(self) -> "ChatBody":
        self.max_tokens = self.max_completion_tokens or self.max_tokens
        if self.top_logprobs and not self.logprobs:
            raise PydanticCustomError("top_logprobs", "Invalid 'top_logprobs': expected with logprobs=true only.")
        _check_answers(self.n or 1)
        return self

    @field_validator("messages")
    @classmethod
    def _ends_with_user(cls, messages: list[ChatMessage]) -> list[ChatMessage]:
        if messages[-1].role != "user":
            raise PydanticCustomError(
                "messages", "Invalid 'messages': expected the last message to have the role user."
            )
        return messages


def _without_neutral(body: Any, neutral: Mapping[str, tuple[Any, ...]]) -> Any:
    """The body without what asks for nothing; the error of what is known and not supported."""
    if not isinstance(body, dict):
        return body
    kept = {}
    for name, value in body.items():
        accepted = neutral.get(name)
        if accepted is None:
            kept[name] = value
        elif _ANY not in accepted and value not in accepted:
            raise _unsupported(name, f"leave it out or give {json.dumps(accepted[0])}")
    return kept


def _check_answers(number: int) -> None:
    if number > MAX_ANSWERS:
        line = "Prompts times choices are {number}; this server gives at most {most} answers a request."
        raise PydanticCustomError("too_many_answers", line, {"number": number, "most": MAX_ANSWERS})


def _unsupported(name: str, advice: str) -> PydanticCustomError:
    line = "Unsupported parameter: '{name}' is not supported by this server with that value; {advice}."
    return PydanticCustomError("unsupported_parameter", line, {"name": name, "advice": advice})
