"""Answers that arrive piece by piece, and the client that may leave before the end."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing, suppress
from typing import TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")

SEND_SECONDS = 30.0


class ClientGoneError(Exception):
    """The client closed the connection; the work for it has been cancelled."""


async def while_connected(receive: Receive, work: Awaitable[T]) -> T:
    """The result of `work`, which is cancelled, cleaned up and ended by ClientGoneError when the client leaves first.

    The request's body must have been read before.
    """
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGoneError
    finally:
        for future in (task, leaving):
            future.cancel()
            # Waiting lets the work free what it holds before the connection is forgotten.
            with suppress(asyncio.CancelledError, Exception):
                await future


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def merged(sources: Sequence[AsyncGenerator[T, None]]) -> AsyncGenerator[tuple[int, T], None]:
    """What all of them yield as it comes, with the place of its source; a slow reader slows them all.

    The first exception ends it; all are closed at the end, at an error, and when it is closed itself.
    """
    if len(sources) == 1:
        async with aclosing(sources[0]) as only:
            async for each in only:
                yield 0, each
        return
    queue: asyncio.Queue[tuple[int, T] | BaseException | None] = asyncio.Queue(maxsize=1)

    async def drain(place: int, source: AsyncGenerator[T, None]) -> None:
        try:
            async with aclosing(source):
                async for item in source:
                    await queue.put((place, item))
            await queue.put(None)
        except Exception as error:
            await queue.put(error)

    tasks = [asyncio.create_task(drain(place, source)) for place, source in enumerate(sources)]
    try:
        left = len(tasks)
        while left:
            item = await queue.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                left -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class PieceResponse(Response):
    """Sends each piece as it comes; closes `pieces` at the end, at an error and when the client leaves.

    A slow client slows the sending: no queue stands between the pieces and the socket. One that takes nothing for
    `SEND_SECONDS` is cut off.
    """

    def __init__(self, pieces: AsyncGenerator[str, None], media_type: str) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        # Proxies such as nginx otherwise collect the whole answer before they pass it on.
        self.headers["X-Accel-Buffering"] = "no"
        self.headers["Cache-Control"] = "no-store"
        self.pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientGoneError):
            await while_connected(receive, self._send_all(send))

    async def _send_all(self, send: Send) -> None:
        async with aclosing(self.pieces) as pieces:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for piece in pieces:
                try:
                    # Not wait_for, which in Python 3.11 may swallow a cancellation that comes as the sending ends.
                    async with asyncio.timeout(SEND_SECONDS):
                        await send({"type": "http.response.body", "body": piece.encode(), "more_body": True})
                except TimeoutError:
                    raise ClientGoneError from None
            await send({"type": "http.response.body", "body": b"", "more_body": False})
