"""A client that reads no more of one answer than an answer can hold: a server may send for ever."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai

from pacos.engines.http.troubles import NoReplyError

# Far beyond the longest reply that any model writes: a million tokens, each character escaped, are about half of it.
MOST_BYTES = 16 * 2**20
# They say how the body came, not what it is.
_OF_THE_WAY = (b"content-encoding", b"content-length", b"transfer-encoding")


class BoundedClient(openai.DefaultAsyncHttpxClient):
    """Raises NoReplyError where a body, unpacked, passes MOST_BYTES, or a line of it where it is read as a stream."""

    async def send(self, request: httpx2.Request, *, stream: bool = False, **more: Any) -> httpx2.Response:
        """The whole response, or one to be read piece by piece where `stream` is set and it is no error."""
        response = await super().send(request, stream=True, **more)
        body: dict[str, Any] = {"stream": _BoundedLines(response)}
        if not stream or response.is_error:
            body = {"content": await _whole(response)}
        return httpx2.Response(
            response.status_code,
            # As bytes: a header's value may be in any encoding.
            headers=[(name, value) for name, value in response.headers.raw if name.lower() not in _OF_THE_WAY],
            request=response.request,
            extensions=response.extensions,
            history=response.history,
            **body,
        )


class _BoundedLines(httpx2.AsyncByteStream):
    """A batch's file and a streamed reply may be of any length; what reads them keeps a line at a time."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        length = 0
        async for piece in self._response.aiter_bytes():
            length = len(piece) - 1 - piece.rfind(b"\n") if b"\n" in piece else length + len(piece)
            _check(length)
            yield piece

    async def aclose(self) -> None:
        await self._response.aclose()


async def _whole(response: httpx2.Response) -> bytes:
    body = bytearray()
    try:
        # Unpacked a piece at a time, so that a small body cannot become a huge one at once.
        async for piece in response.aiter_bytes():
            body += piece
            _check(len(body))
    finally:
        await response.aclose()
    return bytes(body)


def _check(num_bytes: int) -> None:
    if num_bytes > MOST_BYTES:
        # Cut off by us after it was written, so it is paid for like half a body.
        raise NoReplyError(f"its answer is longer than {MOST_BYTES / 2**20:g} MiB, which no reply needs", True)
