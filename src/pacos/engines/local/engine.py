"""LocalEngine: a checkpoint behind the one engine door. All of its computing is done by one worker thread."""

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Iterable

from pacos.core.models import resolve_model
from pacos.engines.local.scheduler import MAX_ROWS
from pacos.engines.local.worker import CLOSING_SECONDS, Channel, Order, Worker
from pacos.engines.types import Delta, Failure, LogitsHook, Reply, Request, RequestFailedError


def _let_go(worker: Worker) -> None:
    thread = worker.end()
    if thread and thread is not threading.current_thread():
        thread.join(CLOSING_SECONDS)


class LocalEngine:
    """Runs the checkpoint at `path`, a folder or a hub name; it is loaded when first asked.

    With `chat`, a prompt that is one text is put as a user's message into the checkpoint's chat template. `logits_hook`
    is that of every request which has none of its own. Raises PacosError where there is no checkpoint.
    """

    def __init__(
        self, path: str, *, chat: bool = False, logits_hook: LogitsHook | None = None, precision: str = "auto"
    ) -> None:
        resolve_model(path)
        self.name = f"local:{path}"
        self.path = path
        self._worker = Worker(self.name, path, precision, chat, logits_hook)
        # An engine that nobody closed lets its weights go all the same, when nobody holds it any more or the process
        # ends: a thread that computes while the interpreter is taken down aborts it.
        weakref.finalize(self, _let_go, self._worker)

    @property
    def tokens_written(self) -> int:
        """New tokens so far, those of replies under way too."""
        return self._worker.tokens_written

    async def complete(
        self, requests: Iterable[Request], stop: threading.Event | None = None
    ) -> AsyncIterator[Reply | Failure]:
        """Answers every request once, each as it ends; takes a next one as a row becomes free.

        A stop ends the writing within a token. Raises PacosError where the checkpoint cannot be loaded.
        """
        channel, stop = Channel(asyncio.get_running_loop()), stop or threading.Event()
        source, under_way = iter(requests), 0
        try:
            while True:
                while under_way < MAX_ROWS and not stop.is_set() and (request := next(source, None)):
                    self._worker.submit(Order(request, channel, is_streamed=False, stop=stop))
                    under_way += 1
                if not under_way:
                    return
                answer = await self._next_item(channel)
                under_way -= 1
                if isinstance(answer, Reply | Failure):
                    yield answer
        finally:
            channel.is_closed = True

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        """Answers one request piece by piece; closing the iterator frees its row within a token.

        Raises RequestFailedError where the request gets no reply.
        """
        channel, shown = Channel(asyncio.get_running_loop()), 0
        try:
            self._worker.submit(Order(request, channel, is_streamed=True, stop=None))
            while True:
                item = await self._next_item(channel)
                if isinstance(item, Failure):
                    raise RequestFailedError(self.name, item)
                if isinstance(item, Delta):
                    shown += len(item.logprobs)
                    yield item
                elif isinstance(item, Reply):
                    yield Delta("", item, item.logprobs[shown:])
                    return
        finally:
            channel.is_closed = True

    async def close(self) -> None:
        """Ends the worker thread and lets the weights go."""
        if thread := self._worker.end():
            await asyncio.to_thread(thread.join, CLOSING_SECONDS)

    async def _next_item(self, channel: Channel) -> Reply | Failure | Delta | None:
        """The channel's next; what went wrong in the worker is raised here."""
        item = await channel.items.get()
        if isinstance(item, Exception):
            raise item
        return item
