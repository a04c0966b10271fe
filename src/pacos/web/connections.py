"""A connection on which no whole request arrives in time is closed, whatever it sends meanwhile."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

# Long enough for a full body over a slow line; who only holds connections open soon holds none.
REQUEST_SECONDS = 30.0


class TimedProtocol(H11Protocol):
    """uvicorn's, which itself waits for ever for a connection's first request, and for the rest of a body."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Reads on."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Begins to wait for the next request, or for the end of a body that was refused unread."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no longer."""
        super().connection_lost(exc)
        self._stop()

    def _watch(self) -> None:
        if self.cycle and not self.cycle.more_body and not self.cycle.response_complete:
            self._stop()
        elif self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _stop(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None
