"""A server's answer as JSON, and that as a Reply, without secrets: the one place that knows what answers look like."""

import json
import re
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Any

import openai

from pacos.core.recipe import EngineTable
from pacos.engines.http.body import left_out, prompt_text
from pacos.engines.http.connection import Connection
from pacos.engines.http.dialects import TEXT_PARTS, THOUGHT_FIELDS, Ending, ending
from pacos.engines.http.error_body import read_error
from pacos.engines.http.likelihoods import token_logprobs
from pacos.engines.http.troubles import NoReplyError, Trouble, one_line, said_trouble, status_trouble, trouble_of
from pacos.engines.http.usage import said_usd, usage_of
from pacos.engines.prices import Prices
from pacos.engines.thinking import after_thinking, reply_start
from pacos.engines.types import UNKNOWN_TOKEN, Delta, FinishReason, Reply, Request, TokenLogprob

UNREADABLE = "\N{REPLACEMENT CHARACTER}"
_TEXT_KEYS = ("text", "thinking", "reasoning", "summary", "content", "refusal")
# Of a word that nobody knows.
_MOST_SHOWN = 60
# What the last event of a stream may hold beside its choices.
_BESIDE = ("usage", "x_groq", "timings", "usageMetadata", "error")


class Reader:
    """Reads one server's answers. Whatever it returns has been masked: a server may send back what it was sent."""

    def __init__(self, table: EngineTable, connection: Connection) -> None:
        self.prices, self._mask, self._keep_raw = Prices(table), connection.mask, table.keep_raw
        self._tell_once = connection.tell_once
        # A template that opens the block of thoughts itself leaves its closing mark in every whole reply, and in one
        # cut before it nothing.
        self._closes_alone, self._ends_without = False, False

    def body(self, response: Any) -> dict[str, Any]:
        """A response's body as a JSON object; raises as `json` does."""
        return self.json(_text_of(response), response.headers.get("content-type", ""))

    def json(self, text: str, content_type: str = "application/json") -> dict[str, Any]:
        """A JSON object; NoReplyError where it is none or ends early."""
        if text.lstrip()[:1] not in ("{", "["):
            what = "an HTML page" if text.lstrip()[:1] == "<" else f"{content_type or 'something'}: {_said(text)}"
            raise NoReplyError(f"not an OpenAI-compatible server: it answers {what}")
        try:
            value = self._mask.json(json.loads(text))
        except json.JSONDecodeError:
            raise NoReplyError("the server's answer ended in the middle", True, "connection") from None
        except (RecursionError, ValueError):
            raise NoReplyError("not an OpenAI-compatible answer: nested too deep, or a number too long") from None
        if not isinstance(value, dict):
            if read_error(value).messages:
                raise NoReplyError("", trouble=said_trouble(value))
            raise NoReplyError(f"not an OpenAI-compatible server: it answers a list ({_said(value)})")
        return value

    def reply(self, answer: dict[str, Any], request: Request, sent: dict[str, Any], seconds: float = 0.0) -> Reply:
        """The first choice of an answer to the body that was sent, with its cost, ended at the request's stop strings.

        Raises NoReplyError where there is none.
        """
        choice = _first_choice(answer)
        message = _object(choice.get("message", choice))
        said, thoughts, refusal = _read_parts(message.get("content") if "message" in choice else choice.get("text"))
        # Once more: a text may come in parts that cut a secret.
        said = self._mask.text(said)
        thoughts += _thoughts_beside(message)
        reason = self._finish_reason(choice, answer, bool(said or thoughts))
        text, reason = self._without_thoughts(said, thoughts, reason)
        if not text and (refusal or message.get("refusal")):
            reason = "content_filter"
        usage = usage_of(answer, request, said + thoughts)
        usd = max(self.prices.usd(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens), said_usd(answer))
        # For servers that refuse or overlook the parameter.
        ends = [at for stop in request.sampling.stop if (at := text.find(stop)) >= 0]
        if ends:
            text, reason = text[: min(ends)], "stop"
        raw = (json.dumps(self._mask.json(sent)), json.dumps(answer)) if self._keep_raw else None
        told, left = choice.get("logprobs"), left_out(request, sent)
        own = () if request.echo else token_logprobs(told)
        echoed = _echoed(choice, prompt_text(request)) if request.echo else ()
        return Reply(
            request.id, text, reason, usage, usd, seconds, left_out=left, raw=raw, logprobs=own, prompt_logprobs=echoed
        )

    async def deltas(
        self, events: AsyncIterator[dict[str, Any]], request: Request, sent: dict[str, Any]
    ) -> AsyncGenerator[Delta, None]:
        """A streamed answer's pieces as they come, then its Reply; raises as `reply` does."""
        start, said, thoughts, held = time.monotonic(), "", "", ""
        answer: dict[str, Any] = {}
        choice: dict[str, Any] = {}
        begin: int | None = None
        async for event in events:
            answer |= {key: event[key] for key in _BESIDE if event.get(key)}
            choices = event.get("choices")
            for part in map(_object, choices if isinstance(choices, list) else ()):
                choice |= {
                    key: value for key, value in part.items() if value and key not in ("delta", "text", "logprobs")
                }
                delta = _object(part.get("delta"))
                piece, thought, _ = _read_parts(delta.get("content") or part.get("text"))
                said, thoughts = said + piece, thoughts + thought + _thoughts_beside(delta)
                if begin is None:
                    begin = reply_start(said, self._opens_itself)
                    piece = "" if begin is None else said[begin:]
                # A secret may come in pieces.
                piece, held = self._mask.cut(held + piece)
                if piece:
                    yield Delta(piece)
        answer["choices"] = [choice | {"message": {"content": said, "reasoning_content": thoughts}}]
        reply = self.reply(self._mask.json(answer), request, sent, time.monotonic() - start)
        yield Delta(reply.text if begin is None else self._mask.text(held), reply)

    def trouble(self, error: Exception) -> Trouble:
        """Reads what a request raised."""
        if isinstance(error, openai.APIStatusError):
            text = _text_of(error.response)
            try:
                body = json.loads(text)
            except (ValueError, RecursionError):
                body = None
            trouble = status_trouble(error.status_code, body, text, error.response.headers)
        else:
            trouble = trouble_of(error)
        return replace(trouble, message=self._mask.text(trouble.message))

    def _finish_reason(self, choice: dict[str, Any], answer: dict[str, Any], begun: bool) -> FinishReason:
        """Ours for the server's; a word that is not known, or none, never means a whole reply. Raises NoReplyError."""
        word = choice.get("finish_reason")
        said, native = ending(word), ending(choice.get("native_finish_reason"))
        # OpenRouter's own word is one for all; that of the server behind it knows more of what was cut.
        found: Ending | None = native if said in ("stop", None) and native else said
        for error in (choice.get("error"), answer.get("error")):
            # Some send an object of nothings where there is none.
            if any(error.values()) if isinstance(error, dict) else error:
                raise NoReplyError("", trouble=said_trouble(error, begun=begun))
        if found == "failed":
            raise NoReplyError(f"the server broke its answer off (finish_reason {word!r})", begun)
        if found is None:
            shown = one_line(repr(word), _MOST_SHOWN)
            self._tell_once(f"finish_reason {shown} is no word that pacos knows; its replies count as cut off")
        return found or "length"

    def _without_thoughts(self, said: str, thoughts: str, reason: FinishReason) -> tuple[str, FinishReason]:
        """The text behind what the model thought; where it was cut in its thoughts, none."""
        read = after_thinking(said)
        if read.closes_alone:
            self._closes_alone = True
        elif not read.thought and reason == "stop":
            self._ends_without = True
        is_cut = read.is_cut or (reason == "length" and not read.thought and self._opens_itself)
        text = "" if is_cut else read.text
        # A reply of thoughts alone is no whole one, whatever the server says.
        is_whole = not is_cut and (text.strip() or not (read.thought or thoughts))
        return text, reason if is_whole or reason != "stop" else "length"

    @property
    def _opens_itself(self) -> bool:
        return self._closes_alone and not self._ends_without


def _text_of(response: Any) -> str:
    """A response's body, which is UTF-8 in this protocol, whatever the server says it is."""
    content: bytes = response.content
    return content.decode("utf-8-sig", "replace")


def _first_choice(answer: dict[str, Any]) -> dict[str, Any]:
    try:
        choice: dict[str, Any] = answer["choices"][0]
        # One that holds an error may hold no message.
        if not choice.get("error"):
            choice["message"].get("content") if "message" in choice else choice["text"]
    except (KeyError, IndexError, TypeError, AttributeError):
        if answer.get("error") or ("choices" not in answer and read_error(answer).messages):
            raise NoReplyError("", trouble=said_trouble(answer)) from None
        if "choices" in answer:
            raise NoReplyError(f"no message in the answer's choices ({_said(answer['choices'])})", True) from None
        keys = ", ".join(answer) or "none"
        raise NoReplyError(f"not an OpenAI-compatible answer: no choices in it (keys {keys})") from None
    return choice


def _echoed(choice: dict[str, Any], prompt: str) -> tuple[TokenLogprob, ...]:
    """The prompt's tokens with their log-probabilities, of a reply that is the prompt alone; none where none are told.

    A token's text is its part of the prompt, a part of a character as surrogates for its bytes. They are laid out from
    the end: some servers begin with a special token by its name.
    """
    told = _object(choice.get("logprobs"))
    names, values = told.get("tokens"), told.get("token_logprobs")
    if not isinstance(names, list) or not isinstance(values, list) or len(names) != len(values):
        return ()
    content, tokens = prompt.encode(), deque[TokenLogprob]()
    end = len(content)
    for name, value in zip(reversed(names), reversed(values), strict=True):
        if not isinstance(name, str) or not isinstance(value, int | float | None):
            return ()
        start = max(0, end - _num_bytes(name, prompt))
        text = content[start:end].decode(errors="surrogateescape")
        tokens.appendleft(TokenLogprob(UNKNOWN_TOKEN, text, None if value is None else float(value)))
        end = start
    return tuple(tokens) if end == 0 else ()


def _num_bytes(name: str, prompt: str) -> int:
    """How many bytes of the prompt a token stands for: a part of a character is named "bytes:\\xe4", or by U+FFFD."""
    if name.startswith("bytes:\\x"):
        return name.count("\\x")
    return len((name if UNREADABLE in prompt else name.replace(UNREADABLE, "?")).encode())


def _object(value: Any) -> dict[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def _read_parts(content: Any) -> tuple[str, str, str]:
    """A message's content as text, thoughts and refusal: a string, nothing, or a list of parts, joined by kind."""
    said, thoughts, refusal, is_readable = "", "", "", not content
    for part in content if isinstance(content, list) else [content or ""]:
        kind = part.get("type") if isinstance(part, dict) else None
        is_listed = isinstance(content, list) and isinstance(part, dict)
        if isinstance(part, str):
            said, is_readable = said + part, True
        elif is_listed and kind in TEXT_PARTS and isinstance(part.get("text"), str):
            said, is_readable = said + part["text"], True
        elif is_listed and kind == "refusal":
            refusal, is_readable = refusal + _texts(part), True
        elif is_listed and re.search("think|reason", str(kind)):
            thoughts, is_readable = thoughts + _texts(part), True
    if not is_readable:
        raise NoReplyError(f"not an OpenAI-compatible answer: no text in its content ({_said(content)})", True)
    # Half a surrogate pair is legal in JSON and in no file.
    return said.encode("utf-8", "replace").decode(), thoughts, refusal


def _thoughts_beside(message: dict[str, Any]) -> str:
    """What the model thought, where the server keeps it apart; several fields hold the same."""
    return max((_texts(message.get(name)) for name, _ in THOUGHT_FIELDS), key=len)


def _texts(value: Any) -> str:
    """All texts in a value, whatever goes round them."""
    if isinstance(value, dict):
        return "".join(_texts(part) for key, part in value.items() if key in _TEXT_KEYS)
    if isinstance(value, list):
        return "".join(_texts(part) for part in value)
    return value if isinstance(value, str) else ""


def _said(value: Any) -> str:
    """All of it: a message is cut where it is shown, after everything that goes round it."""
    return str(value).strip() or "nothing"
