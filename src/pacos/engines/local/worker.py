"""The one thread that computes: requests go to it in a queue, pieces and replies come back to each caller's loop."""

import asyncio
import threading
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

import torch

from pacos.core.errors import PacosError
from pacos.engines.local.checkpoint import Checkpoint, cache_budget, load_checkpoint
from pacos.engines.local.refusal import refusal, told
from pacos.engines.local.sampler import Sampler
from pacos.engines.local.scheduler import Job, Scheduler
from pacos.engines.local.text import ReplyText
from pacos.engines.types import Delta, Failure, LogitsHook, Reply, Request

CLOSING_SECONDS = 5.0

Item = Reply | Failure | Delta | Exception | None
"""An end, a piece of a reply, a fault of the program, or None for what was given up after a stop."""


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


class Worker:
    """Loads the checkpoint at its first order, and lets it go when it is told to end; a next order begins anew.

    `name` is the engine's, for what callers are told; the others are as LocalEngine has them.
    """

    def __init__(self, name: str, path: str, precision: str, chat: bool, logits_hook: LogitsHook | None) -> None:
        self._name, self._path, self._precision = name, path, precision
        self._chat, self._logits_hook = chat, logits_hook
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._outgoing: dict[asyncio.AbstractEventLoop, list[tuple[Channel, Item]]] = {}
        self._thread: threading.Thread | None = None
        # Callers are threads of their own; a thread that was told to end may still be at its last step.
        self._lock = threading.RLock()
        self._ending: threading.Thread | None = None
        self._scheduler: Scheduler | None = None
        self._tokens_before = 0

    @property
    def tokens_written(self) -> int:
        """New tokens so far, those of replies under way too."""
        return self._tokens_before + (self._scheduler.tokens_written if self._scheduler else 0)

    def submit(self, order: Order) -> None:
        """Takes an order from any thread."""
        with self._lock:
            if self._thread is None:
                self._orders = SimpleQueue()
                begin = (self._orders, self._ending)
                self._thread = threading.Thread(target=self._work, args=begin, name="local-engine", daemon=True)
                self._thread.start()
            self._orders.put(order)

    def end(self) -> threading.Thread | None:
        """Tells the thread to end after the step it is at, and returns it."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread:
                self._ending = thread
                self._orders.put(None)
        return thread

    # From here on everything happens in the thread.

    def _work(self, orders: SimpleQueue[Order | None], before: threading.Thread | None) -> None:
        """Answers orders until it is told to end; it begins when the thread before it has let its weights go."""
        if before:
            before.join()
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
                    self._give_up(scheduler, orders)
                    return
                if checkpoint is None or scheduler is None:
                    try:
                        checkpoint = load_checkpoint(self._path, self._precision)
                        self._scheduler = scheduler = Scheduler(checkpoint, cache_budget(checkpoint.network.device))
                    except Exception as error:
                        # Whoever is in line asks for the same checkpoint: it is not tried again for each.
                        self._post(order.channel, error)
                        if self._refuse_all(orders, error):
                            return
                        continue
                self._take(order, checkpoint, scheduler)

    def _give_up(self, scheduler: Scheduler | None, orders: SimpleQueue[Order | None]) -> None:
        """Tells whoever still waits, in a row or in line, that there will be no answer."""
        closed = PacosError(f"{self._name}: was closed while it had requests under way.")
        for job in scheduler.clear() if scheduler else ():
            job.on_end(closed)
        self._refuse_all(orders, closed)
        self._tokens_before += scheduler.tokens_written if scheduler else 0
        self._scheduler = None

    def _refuse_all(self, orders: SimpleQueue[Order | None], error: Exception) -> bool:
        """Tells everyone in line; returns whether the thread was told to end meanwhile."""
        told_to_end = False
        while not orders.empty():
            order = orders.get()
            if order is None:
                told_to_end = True
            else:
                self._post(order.channel, error)
        self._send()
        return told_to_end

    def _step(self, scheduler: Scheduler) -> None:
        try:
            scheduler.step()
        except Exception as error:
            # A fault of this program, or no memory left: whoever waits is told, and the next ones are served.
            for job in scheduler.clear():
                job.on_end(error)
        self._send()

    def _take(self, order: Order, checkpoint: Checkpoint, scheduler: Scheduler) -> None:
        try:
            taken = self._job(order, checkpoint, scheduler)
        except PacosError as error:
            taken = Failure(order.request.id, "bad_request", str(error))
        except Exception as error:  # what a chat template or a tokenizer raises is this request's alone
            taken = Failure(order.request.id, "bad_request", f"the request cannot be read ({told(error)}).")
        if isinstance(taken, Job):
            scheduler.add(taken)
        else:
            self._post(order.channel, taken)
            self._send()

    def _job(self, order: Order, checkpoint: Checkpoint, scheduler: Scheduler) -> Job | Failure:
        request, channel, sampling = order.request, order.channel, order.request.sampling
        if wrong := refusal(request):
            return Failure(request.id, "bad_request", wrong)
        prompt_ids = checkpoint.prompt_ids(request, as_chat=self._chat)
        limit = min(sampling.max_tokens, checkpoint.context_tokens - len(prompt_ids))
        if limit < min(sampling.max_tokens, 1):
            message = (
                f"the prompt has {len(prompt_ids):,} tokens and the checkpoint holds "
                f"{checkpoint.context_tokens:,}, prompt and reply together; shorten the prompt."
            )
            return Failure(request.id, "context_length", message)
        if too_long := scheduler.refusal(len(prompt_ids) + limit):
            return Failure(request.id, "context_length", too_long)
        stop = order.stop
        return Job(
            request,
            prompt_ids,
            limit,
            ReplyText(checkpoint.tokenizer, prompt_ids, sampling.stop),
            Sampler(sampling, limit, prompt_ids, request.logits_hook or self._logits_hook, num_begun=request.num_begun),
            on_end=lambda end: self._post(channel, end),
            is_cancelled=lambda: channel.is_closed or (stop is not None and stop.is_set()),
            on_piece=(lambda delta: self._post(channel, delta)) if order.is_streamed else None,
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
