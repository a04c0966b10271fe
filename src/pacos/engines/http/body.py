"""A Request as the JSON that is sent."""

from collections.abc import Set
from typing import Any

from pacos.engines.http.troubles import NoReplyError, Trouble
from pacos.engines.types import Request

_OPTIONAL = ("temperature", "top_p", "stop", "seed")
# Sent where they ask for anything: the first three are vLLM's and llama.cpp's own, which others refuse.
BEYOND_OPENAI = ("top_k", "min_p", "repetition_penalty")
_CHOSEN = (*BEYOND_OPENAI, "presence_penalty", "frequency_penalty", "logit_bias")
# What shapes the reply; a stop string is no such thing, as texts are cut here too.
_SHAPING = ("temperature", "top_p", "seed", *_CHOSEN)


def body_of(request: Request, model: str, api: str, refused: Set[str]) -> dict[str, Any]:
    """The JSON to send; parameters in `refused` are left out, or renamed where a newer name is known.

    Raises NoReplyError where the request asks for what only a local engine has; legacy completions can echo a prompt.
    """
    is_echo = request.echo and api == "completions"
    asked = {"echo": request.echo and not is_echo, "logits_hook": bool(request.logits_hook)}
    if in_vain := [name for name, is_asked in asked.items() if is_asked]:
        message = f"{' and '.join(in_vain)}: only a local engine has that"
        raise NoReplyError("", trouble=Trouble("bad_request", message))
    body: dict[str, Any] = {"model": model}
    if api == "completions":
        body["prompt"] = list(request.prompt_ids) or prompt_text(request)
    elif isinstance(request.prompt, str):
        body["messages"] = [{"role": "user", "content": request.prompt}]
    else:
        body["messages"] = [{"role": message.role, "content": message.content} for message in request.prompt]
    name = "max_completion_tokens" if "max_tokens" in refused and api == "chat" else "max_tokens"
    body[name] = request.sampling.max_tokens
    for name in _OPTIONAL:
        value = getattr(request.sampling, name)
        if value not in (None, ()) and name not in refused:
            body[name] = list(value) if name == "stop" else value
    if is_echo:
        # One likeliest token is the fewest that some servers tell.
        body |= {name: value for name, value in (("echo", True), ("logprobs", 1)) if name not in refused}
    chosen = request.sampling.chosen()
    for name in _CHOSEN:
        if name in chosen and name not in refused:
            body[name] = {str(token): bias for token, bias in chosen[name]} if name == "logit_bias" else chosen[name]
    if request.logprobs is not None and "logprobs" not in refused:
        # One endpoint's number is the other's switch and number.
        is_chat = api != "completions"
        body |= {"logprobs": True, "top_logprobs": request.logprobs} if is_chat else {"logprobs": request.logprobs}
    return body


def left_out(request: Request, sent: dict[str, Any]) -> tuple[str, ...]:
    """What of the request's sampling the body that was sent does not ask for, so that the server's default held."""
    chosen = request.sampling.chosen()
    return tuple(name for name in _SHAPING if chosen.get(name) is not None and name not in sent)


def shapes_replies(parameter: str) -> bool:
    """Whether replies differ where a server does not take it."""
    return parameter in _SHAPING


def prompt_text(request: Request) -> str:
    """The prompt as one text; the turns of a chat are joined."""
    if isinstance(request.prompt, str):
        return request.prompt
    return "\n\n".join(message.content for message in request.prompt)
