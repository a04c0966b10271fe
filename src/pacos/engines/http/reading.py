"""A server's answer as JSON, and that as a Reply, without secrets: the one place that knows what answers look like."""

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Any

import openai

from pacos.core.recipe import EngineTable
from pacos.engines.http.body import SHAPING, prompt_text
from pacos.engines.http.masking import Mask
from pacos.engines.http.troubles import NoReplyError, Trouble, status_trouble, trouble_of
from pacos.engines.prices import Prices
from pacos.engines.types import Delta, FinishReason, Reply, Request, Usage

# A server's word for why a text ends -> ours; whatever is neither a cut nor a filter is a stop.
FINISH_REASONS: dict[str, FinishReason] = {"length": "length", "content_filter": "content_filter"}
# No model reads or writes so many at once; a count beyond is none.
_MOST_TOKENS = 2**24
# Without a usage count in the reply, money is counted at about three bytes a token: rather too much than nothing.
_BYTES_PER_TOKEN = 3


class Reader:
    """Reads one server's answers. Whatever it returns has been masked: a server may send back what it was sent."""

    def __init__(self, table: EngineTable, mask: Mask) -> None:
        self.prices, self._mask, self._keep_raw = Prices(table), mask, table.keep_raw

    def body(self, response: Any) -> dict[str, Any]:
        """A response's body as a JSON object; raises as `json` does."""
        return self.json(_text_of(response), response.headers.get("content-type", ""))

    def json(self, text: str, content_type: str = "application/json") -> dict[str, Any]:
        """A JSON object; NoReplyError where it is none or ends early."""
        if text.lstrip()[:1] != "{":
            what = "an HTML page" if text.lstrip()[:1] == "<" else f"{content_type or 'something'}: {_said(text)}"
            raise NoReplyError(f"not an OpenAI-compatible server: it answers {what}")
        try:
            value: dict[str, Any] = self._mask.json(json.loads(text))
        except json.JSONDecodeError:
            raise NoReplyError("the server's answer ended in the middle", True, "connection") from None
        except (RecursionError, ValueError):
            raise NoReplyError("not an OpenAI-compatible answer: nested too deep, or a number too long") from None
        return value

    def reply(self, answer: dict[str, Any], request: Request, sent: dict[str, Any], seconds: float = 0.0) -> Reply:
        """The first choice of an answer to the body that was sent, with its cost, ended at the request's stop strings.

        Raises NoReplyError where there is none.
        """
        text, reason = _first_choice(answer)
        # Once more: a text may come in parts that cut a secret.
        text = self._mask.text(text)
        usage, cached_tokens = _usage(answer.get("usage"), request, text)
        usd = self.prices.usd(usage.prompt_tokens, usage.completion_tokens, cached_tokens)
        # For servers that refuse or overlook the parameter.
        ends = [at for stop in request.sampling.stop if (at := text.find(stop)) >= 0]
        if ends:
            text, reason = text[: min(ends)], "stop"
        left_out = tuple(name for name in SHAPING if getattr(request.sampling, name) is not None and name not in sent)
        raw = (json.dumps(self._mask.json(sent)), json.dumps(answer)) if self._keep_raw else None
        return Reply(request.id, text, reason, usage, usd, seconds, left_out=left_out, raw=raw)

    async def deltas(
        self, events: AsyncIterator[dict[str, Any]], request: Request, sent: dict[str, Any]
    ) -> AsyncGenerator[Delta, None]:
        """A streamed answer's pieces as they come, then its Reply; raises as `reply` does."""
        start, text, held, reason, usage = time.monotonic(), "", "", None, None
        async for event in events:
            usage = event.get("usage") or usage
            for choice in event.get("choices") or ():
                reason = choice.get("finish_reason") or reason
                said = _plain_text((choice.get("delta") or {}).get("content") or choice.get("text"))
                # A secret may come in pieces.
                piece, held = self._mask.cut(held + said)
                text += piece
                if piece:
                    yield Delta(piece)
        answer = {"choices": [{"text": text + held, "finish_reason": reason}], "usage": usage}
        reply = self.reply(answer, request, sent, time.monotonic() - start)
        yield Delta(self._mask.text(held), reply)

    def trouble(self, error: Exception) -> Trouble:
        """Reads what a request raised."""
        if isinstance(error, openai.APIStatusError):
            headers = error.response.headers
            trouble = status_trouble(error.status_code, error.body, _text_of(error.response), headers)
        else:
            trouble = trouble_of(error)
        return replace(trouble, message=self._mask.text(trouble.message))


def _text_of(response: Any) -> str:
    """A response's body, which is UTF-8 in this protocol, whatever the server says it is."""
    content: bytes = response.content
    return content.decode("utf-8-sig", "replace")


def _first_choice(answer: dict[str, Any]) -> tuple[str, FinishReason]:
    try:
        choice = answer["choices"][0]
        # A model that thinks until its limit may say nothing at all.
        text = _plain_text(choice["message"].get("content") if "message" in choice else choice["text"])
        reason = choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        if answer.get("error"):
            raise NoReplyError(f"the server answers with an error ({_said(answer['error'])})") from None
        if "choices" in answer:
            raise NoReplyError(f"no message in the answer's choices ({_said(answer['choices'])})", True) from None
        keys = ", ".join(answer) or "none"
        raise NoReplyError(f"not an OpenAI-compatible answer: no choices in it (keys {keys})") from None
    # Half a surrogate pair is legal in JSON and in no file.
    text = text.encode("utf-8", "replace").decode()
    return text, FINISH_REASONS.get(reason, "stop") if isinstance(reason, str) else "stop"


def _plain_text(content: Any) -> str:
    """A message's content as text: a string, nothing, or a list of parts, whose texts are joined."""
    if isinstance(content, list) and content:
        texts = [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
        content = "".join(texts) if texts else content
    if content and not isinstance(content, str):
        raise NoReplyError(f"not an OpenAI-compatible answer: no text in its content ({_said(content)})", True)
    return content or ""


def _usage(said: Any, request: Request, text: str) -> tuple[Usage, int]:
    """The server's `usage`, and how many prompt tokens it had read before and charges less for.

    Each count that it does not send, or cannot have counted, is estimated from the texts.
    """
    said = said if isinstance(said, dict) else {}
    details = said.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    prompt = _whole(said.get("prompt_tokens")) or len(prompt_text(request).encode()) // _BYTES_PER_TOKEN
    completion = _whole(said.get("completion_tokens")) or len(text.encode()) // _BYTES_PER_TOKEN
    return Usage(prompt, completion), min(_whole(cached), prompt)


def _whole(count: Any) -> int:
    """The count, or 0 for what no server can have counted."""
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= _MOST_TOKENS else 0


def _said(value: Any) -> str:
    """All of it: a message is cut where it is shown, after everything that goes round it."""
    return str(value).strip() or "nothing"
