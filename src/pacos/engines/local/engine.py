"""LocalEngine: a checkpoint behind the one engine door. All of its computing is done by one worker thread."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import TypeVar

from pacos.core.errors import PacosError
from pacos.core.models import resolve_model
from pacos.engines.local.checkpoint import Checkpoint, load_checkpoint
from pacos.engines.local.decode import Job, decode
from pacos.engines.local.text import ReplyText
from pacos.engines.types import Delta, Failure, LogitsHook, Reply, Request

BATCH_ROWS = 64
CACHE_BYTES = 2 * 2**30

Item = TypeVar("Item")
Post = Callable[[Item], None]


class LocalEngine:
    """Runs the checkpoint at `path`, a folder or a hub name; it is loaded when first asked.

    `logits_hook(input_ids [B, T], logits [B, V]) -> logits [B, V]` is called at every decoding step; ids are padded
    on the left. Raises PacosError where there is no checkpoint.
    """

    def __init__(self, path: str, *, logits_hook: LogitsHook | None = None, precision: str = "auto") -> None:
        resolve_model(path)
        self.name = f"local:{path}"
        self.path = path
        self.logits_hook = logits_hook
        self.precision = precision
        self._checkpoint: Checkpoint | None = None
        # One thread owns the model: requests queue for it, and none disturbs another.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="local-engine")

    async def complete(
        self, requests: Iterable[Request], stop: threading.Event | None = None
    ) -> AsyncIterator[Reply | Failure]:
        """Answers every request once, in batches of like prompt length; a stop ends the decoding within a token."""
        waiting, stop = list(requests), stop or threading.Event()

        def prepare(post: Post[Job | Failure], cancelled: threading.Event) -> None:
            for request in waiting:
                if stop.is_set():
                    return
                post(self._job(request))

        jobs: list[Job] = []
        async with aclosing(self._from_worker(prepare)) as items:
            async for prepared in items:
                if isinstance(prepared, Failure):
                    yield prepared
                else:
                    jobs.append(prepared)
        for batch in self._batches(jobs):

            def answer(post: Post[Reply | Failure], cancelled: threading.Event, batch: Sequence[Job] = batch) -> None:
                is_stopped = lambda: cancelled.is_set() or stop.is_set()  # noqa: E731
                decode(self._loaded(), batch, self.logits_hook, post, is_stopped)

            async with aclosing(self._from_worker(answer)) as replies:
                async for reply in replies:
                    yield reply

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        """Answers one request piece by piece; closing the iterator ends the decoding within a token.

        Raises PacosError for a prompt that the checkpoint cannot take.
        """

        def answer(post: Post[Delta], cancelled: threading.Event) -> None:
            job = self._job(request, on_piece=lambda piece: post(Delta(piece)))
            if isinstance(job, Failure):
                raise PacosError(f"{self.name}: {job.message}")
            decode(self._loaded(), [job], self.logits_hook, lambda reply: post(Delta("", reply)), cancelled.is_set)

        async with aclosing(self._from_worker(answer)) as deltas:
            async for delta in deltas:
                yield delta

    async def close(self) -> None:
        """Ends the worker thread and lets the weights go."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        self._checkpoint = None

    def _batches(self, jobs: list[Job]) -> Iterator[list[Job]]:
        """Jobs of like prompt length together, as many as the cache has room for should none end early."""
        waiting = sorted(jobs, key=lambda job: (len(job.prompt_ids), job.limit))
        while waiting:
            rows = min(BATCH_ROWS, len(waiting))
            while rows > 1 and rows * self._cache_bytes(waiting[:rows]) > CACHE_BYTES:
                rows -= 1
            yield waiting[:rows]
            waiting = waiting[rows:]

    def _cache_bytes(self, jobs: list[Job]) -> int:
        tokens = max(len(job.prompt_ids) for job in jobs) + max(job.limit for job in jobs)
        return tokens * self._loaded().cache_bytes_per_token

    def _loaded(self) -> Checkpoint:
        if self._checkpoint is None:
            self._checkpoint = load_checkpoint(self.path, self.precision)
        return self._checkpoint

    def _job(self, request: Request, on_piece: Callable[[str], None] | None = None) -> Job | Failure:
        checkpoint = self._loaded()
        try:
            prompt_ids = checkpoint.prompt_ids(request.prompt)
        except PacosError as error:
            return Failure(request.id, "bad_request", str(error))
        limit = min(request.sampling.max_tokens, checkpoint.context_tokens - len(prompt_ids))
        if limit < 1:
            return Failure(
                request.id,
                "context_length",
                f"the prompt has {len(prompt_ids):,} tokens and the checkpoint holds {checkpoint.context_tokens:,}, "
                "prompt and reply together; shorten the prompt.",
            )
        text = ReplyText(checkpoint.tokenizer, prompt_ids, request.sampling.stop)
        return Job(request, prompt_ids, limit, text, on_piece)

    async def _from_worker(self, work: Callable[[Post[Item], threading.Event], None]) -> AsyncGenerator[Item, None]:
        """Yields what `work` posts from the worker thread; an iterator closed early cancels it."""
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[Item | None] = asyncio.Queue()
        cancelled = threading.Event()

        def post(item: Item | None) -> None:
            # The loop may be gone by the time a cancelled worker notices.
            if not cancelled.is_set():
                loop.call_soon_threadsafe(items.put_nowait, item)

        def job() -> None:
            try:
                work(post, cancelled)
            finally:
                post(None)

        future = loop.run_in_executor(self._worker, job)
        try:
            while (item := await items.get()) is not None:
                yield item
            await future
        finally:
            cancelled.set()
            future.cancel()
