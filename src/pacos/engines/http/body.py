"""A Request as the JSON that is sent."""

from collections.abc import Set
from typing import Any

from pacos.engines.types import Request

_OPTIONAL = ("temperature", "top_p", "stop", "seed")
# What shapes the reply; a stop string is no such thing, as texts are cut here too.
SHAPING = ("temperature", "top_p", "seed")


def body_of(request: Request, model: str, api: str, refused: Set[str]) -> dict[str, Any]:
    """The JSON to send; parameters in `refused` are left out, or renamed where a newer name is known."""
    body: dict[str, Any] = {"model": model}
    if api == "completions":
        body["prompt"] = prompt_text(request)
    elif isinstance(request.prompt, str):
        body["messages"] = [{"role": "user", "content": request.prompt}]
    else:
        body["messages"] = [{"role": message.role, "content": message.content} for message in request.prompt]
    if request.begun and api == "chat":
        # As vLLM has it; a server that knows no such thing says so.
        body["messages"].append({"role": "assistant", "content": request.begun})
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    name = "max_completion_tokens" if "max_tokens" in refused and api == "chat" else "max_tokens"
    body[name] = request.sampling.max_tokens
    for name in _OPTIONAL:
        value = getattr(request.sampling, name)
        if value not in (None, ()) and name not in refused:
            body[name] = list(value) if name == "stop" else value
    return body


def prompt_text(request: Request) -> str:
    """The prompt as one text, with the answer's beginning where there is one; the turns of a chat are joined."""
    if isinstance(request.prompt, str):
        return request.prompt + request.begun
    return "\n\n".join(message.content for message in request.prompt) + request.begun
