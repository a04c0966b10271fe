"""What comes of a connection that brings no request: too late it is closed, unreadable it is told so."""

import asyncio
import sys
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from pacos.web.error_shape import error_response
from pacos.web.guards import SECURITY_HEADERS

# Long enough for a full body over a slow line; who only holds connections open soon holds none.
REQUEST_SECONDS = 30.0
# In which a sender of what cannot be read may read the answer.
LINGER_SECONDS = 2.0
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class GuardedProtocol(H11Protocol):
    """uvicorn's, which itself waits for ever for a connection's first request and for the rest of a body, and answers
    what it cannot read in plain text."""

    _timer: asyncio.TimerHandle | None = None
    _is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Reads on."""
        if not self._is_refused:
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

    def send_400_response(self, msg: str) -> None:
        """Refuses what the parser cannot read, in the shape of every other error, and closes the connection."""
        refusal = sys.exception()
        status = refusal.error_status_hint if isinstance(refusal, h11.RemoteProtocolError) else 400
        # 501 for an unknown coding: the mistake is the sender's all the same.
        status = status if status < 500 else 400
        if self.cycle and not self.cycle.response_complete:
            # Its body broke off in the middle: whoever reads it is told that nothing more comes.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            line = f"This is no HTTP request that can be read: {refusal}."
            response = error_response(status, line, "invalid_request")
            response.headers.update({**SECURITY_HEADERS, "Connection": "close"})
            head = h11.Response(status_code=status, headers=response.raw_headers, reason=_REASONS.get(status, b""))
            for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self._is_refused = True
        self._stop()
        # Not closed at once: what still arrives would have the kernel reset the connection, and the answer be lost.
        self.transport.write_eof()
        self.flow.resume_reading()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _watch(self) -> None:
        if self.cycle and not self.cycle.more_body and not self.cycle.response_complete:
            self._stop()
        elif self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _stop(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None
