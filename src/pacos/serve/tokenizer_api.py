"""/tokenize, /detokenize and /tokenizer_info: the model's tokenizer, as vLLM shows it."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from pacos.serve.answering import Answers
from pacos.serve.bodies import MAX_MESSAGES, ChatMessage, Ids
from pacos.serve.limits import Limits
from pacos.web.error_shape import RefusalError
from pacos.web.json_body import JsonBody

# More characters or ids count as another text.
CHARACTERS_A_TEXT = 32_000
MAX_LENGTH = 10 * CHARACTERS_A_TEXT


class TokenizeBody(JsonBody):
    """POST /tokenize: a raw text, or a conversation as the model reads it before it answers or goes on."""

    model_config = ConfigDict(extra="forbid")
    model: str | None = None
    prompt: str | None = Field(None, max_length=MAX_LENGTH)
    messages: list[ChatMessage] | None = Field(None, min_length=1, max_length=MAX_MESSAGES, fail_fast=True)
    add_special_tokens: bool = True
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    return_token_strs: bool | None = None

    @model_validator(mode="after")
    def _as_it_would_be_answered(self) -> "TokenizeBody":
        if not self.messages:
            if self.prompt is None:
                raise PydanticCustomError("prompt", "Missing required parameter: 'prompt' or 'messages'.")
            return self
        # An answer goes on where it stopped; nothing else is read without the beginning of an answer.
        last = self.messages[-1].role
        goes_on = last == "assistant" and len(self.messages) > 1
        asked_for = (self.continue_final_message, self.add_generation_prompt)
        if asked_for != (goes_on, not goes_on) or not (goes_on or last == "user"):
            line = (
                "Invalid 'messages': expected a user's at the end, or an answer to go on with, "
                "continue_final_message=true and add_generation_prompt=false."
            )
            raise PydanticCustomError("messages", line)
        return self


class DetokenizeBody(JsonBody):
    """POST /detokenize."""

    model_config = ConfigDict(extra="forbid")
    model: str | None = None
    tokens: Ids = Field(max_length=MAX_LENGTH)


class TokenizerApi:
    """Routes for programs that prepare prompts; none asks the engine for anything."""

    def __init__(self, answers: Answers, limits: Limits) -> None:
        self.answers, self.limit = answers, limits.tokenizing
        self.tokens, self.model = answers.tokens, answers.model

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        # Plain functions run in threads: a long text takes its time.
        router.add_api_route("/tokenize", self.tokenize, methods=["POST"])
        router.add_api_route("/detokenize", self.detokenize, methods=["POST"])
        router.add_api_route("/tokenizer_info", self.tokenizer_info, methods=["GET"])
        return router

    def tokenize(self, body: TokenizeBody, request: Request) -> dict[str, Any]:
        """The ids of a prompt as the model would read it."""
        if body.messages:
            messages = tuple(message.message() for message in body.messages)
            self.limit.take(request, _cost(sum(len(message.content) for message in messages)))
            ids = self.answers.read(messages).ids
        else:
            self.limit.take(request, _cost(len(body.prompt or "")))
            ids = self.tokens.of_text(body.prompt or "", add_special_tokens=body.add_special_tokens)
        names = self.tokens.names(ids) if body.return_token_strs else None
        counted = {"count": len(ids), "max_model_len": self.model.context_tokens}
        return {**counted, "tokens": list(ids), "token_strs": names}

    def detokenize(self, body: DetokenizeBody, request: Request) -> dict[str, str]:
        """The text of ids."""
        self.limit.take(request, _cost(len(body.tokens)))
        if (most := max(body.tokens)) >= self.model.vocab_size:
            line = f"Invalid 'tokens': {most} is none of this model's, which are below {self.model.vocab_size:,}."
            raise RefusalError(400, "invalid_value", line, param="tokens")
        return {"prompt": self.tokens.decode(tuple(body.tokens))}

    def tokenizer_info(self) -> dict[str, Any]:
        """What a client needs to write prompts itself: the class, the template, and the special tokens."""
        tokenizer = self.tokens.tokenizer
        special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
        return {
            "tokenizer_class": type(tokenizer).__name__,
            "chat_template": tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else None,
            "model_max_length": self.model.context_tokens,
            "vocab_size": self.model.vocab_size,
            **{name: special.get(name) for name in ("bos_token", "eos_token", "pad_token", "unk_token")},
        }


def _cost(length: int) -> int:
    """What a text counts as: one that is as long as many counts as many."""
    return 1 + length // CHARACTERS_A_TEXT
