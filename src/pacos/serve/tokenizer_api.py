"""/tokenize, /detokenize and /tokenizer_info: the model's tokenizer, as vLLM shows it."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field

from pacos.serve.answering import Answers
from pacos.serve.bodies import ChatMessage, Ids
from pacos.serve.limits import Limits
from pacos.web.json_body import JsonBody


class TokenizeBody(JsonBody):
    """POST /tokenize: a raw text, or a conversation as the chat template has it."""

    model_config = ConfigDict(extra="ignore")
    prompt: str | None = None
    messages: list[ChatMessage] | None = None
    add_special_tokens: bool = True


class DetokenizeBody(JsonBody):
    """POST /detokenize."""

    model_config = ConfigDict(extra="ignore")
    tokens: Ids = Field(max_length=1_000_000)


class TokenizerApi:
    """Routes for programs that prepare prompts; none asks the engine for anything."""

    def __init__(self, answers: Answers, limits: Limits) -> None:
        self.tokens, self.model, self.limit = answers.tokens, answers.model, limits.tokenizing

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
        self.limit.take(request)
        if body.messages:
            prompt = self.model.prompt(tuple(message.message() for message in body.messages))
            ids = self.tokens.of_prompt(prompt, parse_special_tokens=False)
        else:
            ids = self.tokens.of_text(body.prompt or "", add_special_tokens=body.add_special_tokens)
        return {"count": len(ids), "max_model_len": self.model.context_tokens, "tokens": list(ids)}

    def detokenize(self, body: DetokenizeBody, request: Request) -> dict[str, str]:
        """The text of ids."""
        self.limit.take(request)
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
