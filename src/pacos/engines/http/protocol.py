"""The OpenAI protocol: a Request as a body to send, a body received as a Reply."""

import json
from typing import Any, Literal

from pacos.engines.http.errors import BrokenBodyError, NoTextError, NotOpenAIError
from pacos.engines.types import FinishReason, Request, Usage

Api = Literal["chat", "completions"]
_OPTIONAL = ("temperature", "top_p", "stop", "seed")
# What some models refuse, or want under another name; without it the request can still be asked.
REFUSABLE = (*_OPTIONAL, "max_tokens")
# No model reads or writes so many at once; a count beyond is none.
_MOST_TOKENS = 2**24
# Without a usage count in the reply, money is counted at about three bytes a token: rather too much than nothing.
_BYTES_PER_TOKEN = 3


def body_of(request: Request, model: str, api: Api, refused: set[str]) -> dict[str, Any]:
    """The JSON to send; parameters in `refused` are left out, or renamed where a newer name is known."""
    sampling = request.sampling
    body: dict[str, Any] = {"model": model}
    if api == "chat":
        body["messages"] = _messages(request)
    else:
        body["prompt"] = _text(request)
    name = "max_completion_tokens" if "max_tokens" in refused and api == "chat" else "max_tokens"
    body[name] = sampling.max_tokens
    options = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
    }
    body.update({name: options[name] for name in _OPTIONAL if options[name] is not None and name not in refused})
    return body


def left_out(request: Request, body: dict[str, Any]) -> tuple[str, ...]:
    """What shapes the reply and is not in the body; a stop string is no such thing, as texts are cut here too."""
    return tuple(
        name
        for name in ("temperature", "top_p", "seed")
        if getattr(request.sampling, name) is not None and name not in body
    )


def _messages(request: Request) -> list[dict[str, str]]:
    if isinstance(request.prompt, str):
        return [{"role": "user", "content": request.prompt}]
    return [{"role": message.role, "content": message.content} for message in request.prompt]


def _text(request: Request) -> str:
    if isinstance(request.prompt, str):
        return request.prompt
    return "\n\n".join(message.content for message in request.prompt)


def read_json(text: str, content_type: str) -> dict[str, Any]:
    """The body as a JSON object; NotOpenAIError where it is none, BrokenBodyError where it ends early."""
    if text.lstrip()[:1] != "{":
        what = "an HTML page" if text.lstrip()[:1] == "<" else f"{content_type or 'something'}: {_excerpt(text)}"
        raise NotOpenAIError(f"not an OpenAI-compatible server: it answers {what}")
    try:
        value: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError:
        raise BrokenBodyError("the server's answer ended in the middle") from None
    except (RecursionError, ValueError):
        raise NotOpenAIError("not an OpenAI-compatible answer: nested too deep, or a number too long") from None
    return value


def _excerpt(value: Any) -> str:
    """All of it: what is to be masked before it is shown must not be cut yet."""
    return str(value).strip() or "nothing"


def read_reply(body: dict[str, Any]) -> tuple[str, str | None]:
    """Text and the server's finish reason of the first choice; NotOpenAIError where there is none."""
    try:
        choice = body["choices"][0]
        # A model that thinks until its limit may say nothing at all.
        text = choice["message"].get("content") if "message" in choice else choice["text"]
        text, reason = plain_text(text), choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        if body.get("error"):
            raise NotOpenAIError(f"the server answers with an error ({_excerpt(body['error'])})") from None
        if "choices" in body:
            raise NoTextError(f"no message in the answer's choices ({_excerpt(body['choices'])})") from None
        keys = ", ".join(body) or "none"
        raise NotOpenAIError(f"not an OpenAI-compatible answer: no choices in it (keys {keys})") from None
    # Half a surrogate pair is legal in JSON and in no file.
    return text.encode("utf-8", "replace").decode(), reason


def plain_text(content: Any) -> str:
    """A message's content as text: a string, nothing, or a list of parts, whose texts are joined."""
    if isinstance(content, list) and content:
        texts = [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
        content = "".join(texts) if texts else content
    if content and not isinstance(content, str):
        raise NoTextError(f"not an OpenAI-compatible answer: no text in its content ({_excerpt(content)})")
    return content or ""


def finish_reason(reason: str | None) -> FinishReason:
    """The server's word as one of ours; whatever is neither a cut nor a filter is a stop."""
    return reason if reason in ("length", "content_filter") else "stop"  # type: ignore[return-value]


def read_usage(usage: Any, request: Request, text: str) -> tuple[Usage, int]:
    """The server's `usage`, and how many prompt tokens it had read before and charges less for.

    Each count that it does not send, or cannot have counted, is estimated from the texts.
    """
    said = usage if isinstance(usage, dict) else {}
    details = said.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    prompt = _whole(said.get("prompt_tokens")) or len(_text(request).encode()) // _BYTES_PER_TOKEN
    completion = _whole(said.get("completion_tokens")) or len(text.encode()) // _BYTES_PER_TOKEN
    return Usage(prompt, completion), min(_whole(cached), prompt)


def _whole(count: Any) -> int:
    """The count, or 0 for what no server can have counted."""
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= _MOST_TOKENS else 0


def cut_at_stop(text: str, reason: FinishReason, request: Request) -> tuple[str, FinishReason]:
    """Ends the text at the first stop string, for servers that refuse or overlook the parameter."""
    ends = [at for stop in request.sampling.stop if (at := text.find(stop)) >= 0]
    return (text[: min(ends)], "stop") if ends else (text, reason)
