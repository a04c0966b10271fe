"""An answer as the page gets it: pieces of sanitised HTML, then figures, one JSON object a line."""

import asyncio
import json
import sys
import time
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from pacos.engines import Message
from pacos.serve.answering import Answers, End, Piece
from pacos.serve.fair_queue import Visitor
from pacos.serve.page_forms import ChatQuestion, page_sampling
from pacos.serve.seals import Seals, shown_to
from pacos.watermark.detection import Verdict
from pacos.web.error_shape import RefusalError
from pacos.web.markdown import render_blocks

Event = dict[str, Any]
# No eye sees more, and a paragraph that is sent anew for each of its words grows with their square.
REDRAW_SECONDS = 0.04
# A long program takes a tenth of a second to colour; others wait meanwhile, so that it is done the more seldom.
REDRAW_SHARE = 0.1


@dataclass(frozen=True)
class Speaker:
    """A model that answers on the page; `verdict_of` is what the detector says of a text, absent without a mark."""

    answers: Answers
    verdict_of: Callable[[str], Verdict] | None = None


class PageAnswer:
    """One answer to a conversation that ends with a question, gone on with where it has been `begun`."""

    def __init__(
        self,
        speaker: Speaker,
        seals: Seals,
        conversation: tuple[Message, ...],
        question: ChatQuestion,
        visitor: Visitor,
        begun: str = "",
    ) -> None:
        self._speaker, self._seals, self._conversation = speaker, seals, conversation
        model = speaker.answers.model
        said = (*shown_to(model, conversation), *([Message("assistant", begun)] if begun else []))
        sampling = question.sampling_over(page_sampling(model))
        self._answer = speaker.answers.answer(speaker.answers.question(said), sampling, visitor=visitor)
        self._text, self._fresh = begun, ""
        self._blocks = render_blocks(begun) if begun else []
        self._asked, self._redraw_at = time.perf_counter(), 0.0
        self._first_seconds: float | None = None

    async def begin(self) -> None:
        """Waits until the engine has begun; RefusalError where it will not."""
        await anext(self._answer)
        self._first_seconds = time.perf_counter() - self._asked

    async def close(self) -> None:
        """Frees the engine."""
        await self._answer.aclose()

    async def events(self) -> AsyncGenerator[Event, None]:
        """`piece` events, then `end`."""
        async with aclosing(self._answer) as answer:
            async for event in answer:
                if isinstance(event, Piece):
                    self._fresh += event.text
                if self._fresh and (isinstance(event, End) or time.perf_counter() > self._redraw_at):
                    yield self._piece()
                if isinstance(event, End):
                    yield await self._end(event)

    def _piece(self) -> Event:
        self._text, fresh, self._fresh = self._text + self._fresh, self._fresh, ""
        started = time.perf_counter()
        before, self._blocks = self._blocks, render_blocks(self._text)
        drawn = time.perf_counter()
        self._redraw_at = drawn + max(REDRAW_SECONDS, (drawn - started) / REDRAW_SHARE)
        # Appended text only ever changes the last blocks.
        changed = [(i, html) for i, html in enumerate(self._blocks) if i >= len(before) or before[i] != html]
        seal = self._seals.seal(self._speaker.answers.model, self._conversation, self._text)
        return {"type": "piece", "text": fresh, "blocks": changed, "count": len(self._blocks), "seal": seal}

    async def _end(self, end: End) -> Event:
        seconds = time.perf_counter() - self._asked
        verdict_of = self._speaker.verdict_of
        return {
            "type": "end",
            "finish_reason": end.finish_reason,
            "completion_tokens": end.usage.completion_tokens,
            "seconds": round(seconds, 3),
            "first_token_seconds": round(self._first_seconds or seconds, 3),
            # In a thread, since a long answer takes some milliseconds.
            "mark": await asyncio.to_thread(verdict_of, self._text) if verdict_of else None,
        }


async def lines(events: AsyncGenerator[Event, None]) -> AsyncGenerator[str, None]:
    """The events as lines; a failure inside the stream can only be told there."""
    async with aclosing(events):
        try:
            async for event in events:
                yield line(event)
        except RefusalError as refusal:
            yield line({"type": "error", "message": refusal.message})
        except Exception:
            traceback.print_exc(file=sys.stderr)
            yield line({"type": "error", "message": "The server failed while answering. Please try again."})


def line(event: Event) -> str:
    """One event."""
    return json.dumps(event, ensure_ascii=False) + "\n"
