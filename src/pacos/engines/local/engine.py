"""LocalEngine: a checkpoint behind the one engine door. All of its computing is done by one worker thread."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

import torch

from pacos.core.errors import PacosError
from pacos.core.models import resolve_model
from pacos.engines.local.checkpoint import Checkpoint, cache_budget, load_checkpoint
from pacos.engines.local.choice import Draw
from pacos.engines.local.scheduler import SLOTS, Job, Scheduler
from pacos.engines.local.text import ReplyText
from pacos.engines.types import Delta, Failure, LogitsHook, Reply, Request, RequestFailedError

CLOSING_SECONDS = 5.0


Item = Reply | Failure | str | Exception | None
"""An end, a piece of text, a fault of the program, or None for what was given up after a stop."""


@dataclass(eq=False)
class Channel:
    """From the worker to one caller's event loop."""

    loop: asyncio.AbstractEventLoop
    items: asyncio.Queue[Item] = field(default_factory=asyncio.Queue)
    is_closed: bool = False

    def deliver(self, item: Item) -> None:
        """For the loop's own thread."""
        if not self.is_closed:
            self.items.put_nowait(item)


@dataclass(frozen=True)
class Order:
    """A request as it goes to the worker."""

    request: Request
    channel: Channel
    is_streamed: bool
    stop: threading.Event | None


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
        self.logits_hook = logits_hook
        self._chat, self._precision = chat, precision
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._outgoing: dict[asyncio.AbstractEventLoop, list[tuple[Channel, Item]]] = {}
        self._worker: threading.Thread | None = None
        self._scheduler: Scheduler | None = None
        self._tokens_before = 0

    @property
    def tokens_written(self) -> int:
        """New tokens so far, those of replies under way too."""
        return self._tokens_before + (self._scheduler.tokens_written if self._scheduler else 0)

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
                while under_way < SLOTS and not stop.is_set() and (request := next(source, None)):
                    self._submit(Order(request, channel, is_streamed=False, stop=stop))
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
        channel = Channel(asyncio.get_running_loop())
        try:
            self._submit(Order(request, channel, is_streamed=True, stop=None))
            while True:
                item = await self._next_item(channel)
                if isinstance(item, Failure):
                    raise RequestFailedError(self.name, item)
                yield Delta("", item) if isinstance(item, Reply) else Delta(str(item))
                if isinstance(item, Reply):
                    return
        finally:
            channel.is_closed = True

    async def close(self) -> None:
        """Ends the worker thread and lets the weights go."""
        worker, self._worker = self._worker, None
        if worker:
            self._orders.put(None)
            await asyncio.to_thread(worker.join, CLOSING_SECONDS)

    async def _next_item(self, channel: Channel) -> Reply | Failure | str | None:
        """The channel's next; what went wrong in the worker is raised here."""
        item = await channel.items.get()
        if isinstance(item, Exception):
            raise item
        return item

    def _submit(self, order: Order) -> None:
        if self._worker is None:
            self._orders = SimpleQueue()
            self._worker = threading.Thread(target=self._work, name="local-engine", daemon=True)
            self._worker.start()
        self._orders.put(order)

    # From here on everything happens in the worker's thread.

    def _work(self) -> None:
        orders = self._orders
        checkpoint: Checkpoint | None = None
        scheduler: Scheduler | None = None
        with torch.inference_mode():
            while True:
                try:
                    order = orders.get(block=scheduler is None or scheduler.idle)
                except Empty:
                    assert scheduler is not None
                    self._step(scheduler)
                    continue
                if order is None:
                    self._end(scheduler)
                    return
                try:
                    if checkpoint is None or scheduler is None:
                        checkpoint = load_checkpoint(self.path, self._precision)
                        self._scheduler = scheduler = Scheduler(checkpoint, cache_budget(checkpoint.network.device))
                    self._take(order, checkpoint, scheduler)
                except Exception as error:
                    self._post(order.channel, error)
                    self._send()

    def _end(self, scheduler: Scheduler | None) -> None:
        """Tells whoever still waits, in a row or in line, that there will be no answer."""
        closed = PacosError(f"{self.name}: was closed while it had requests under way.")
        for job in scheduler.clear() if scheduler else ():
            job.on_end(closed)
        while not self._orders.empty():
            if order := self._orders.get():
                self._post(order.channel, closed)
        self._send()
        self._tokens_before += scheduler.tokens_written if scheduler else 0
        self._scheduler = None

    def _step(self, scheduler: Scheduler) -> None:
        try:
            scheduler.step()
        except Exception as error:
            # A fault of this program, or no memory left: whoever waits is told, and the next ones are served.
            for job in scheduler.clear():
                job.on_end(error)
        self._send()

    def _take(self, order: Order, checkpoint: Checkpoint, scheduler: Scheduler) -> None:
        request, channel, sampling = order.request, order.channel, order.request.sampling
        failure = None
        try:
            prompt_ids = checkpoint.prompt_ids(request, as_chat=self._chat)
        except PacosError as error:
            failure = Failure(request.id, "bad_request", str(error))
        else:
            limit = min(sampling.max_tokens, checkpoint.context_tokens - len(prompt_ids))
            if limit < min(sampling.max_tokens, 1):
                message = (
                    f"the prompt has {len(prompt_ids):,} tokens and the checkpoint holds "
                    f"{checkpoint.context_tokens:,}, prompt and reply together; shorten the prompt."
                )
                failure = Failure(request.id, "context_length", message)
            elif refusal := scheduler.refusal(len(prompt_ids) + limit):
                failure = Failure(request.id, "context_length", refusal)
        if failure:
            self._post(channel, failure)
            self._send()
            return
        stop = order.stop
        scheduler.add(
            Job(
                request,
                prompt_ids,
                limit,
                ReplyText(checkpoint.tokenizer, prompt_ids, sampling.stop),
                Draw(sampling, limit, prompt_ids, request.logits_hook or self.logits_hook),
                on_end=lambda end: self._post(channel, end),
                is_cancelled=lambda: channel.is_closed or (stop is not None and stop.is_set()),
                on_piece=(lambda piece: self._post(channel, piece)) if order.is_streamed else None,
            )
        )

    def _post(self, channel: Channel, item: Item) -> None:
        self._outgoing.setdefault(channel.loop, []).append((channel, item))

    def _send(self) -> None:
        """Wakes each loop once a step, however many rows it waits for."""
        outgoing, self._outgoing = self._outgoing, {}
        for loop, items in outgoing.items():
            try:
                loop.call_soon_threadsafe(_deliver, items)
            except RuntimeError:
                # The loop is closed: nobody waits there any more.
                continue


def _deliver(items: list[tuple[Channel, Item]]) -> None:
    for channel, item in items:
        channel.deliver(item)
