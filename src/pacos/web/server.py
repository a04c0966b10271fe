"""Keeps other servers out of a folder, binds the port, then serves until Ctrl-C."""

import errno
import fcntl
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from pacos.core.errors import PacosError
from pacos.web.connections import GuardedProtocol
from pacos.web.proxies import LOOPBACK, ForwardedClients, Network
from pacos.web.streams import SEND_SECONDS

# Long enough for a short answer to end, short enough that Ctrl-C feels like stopping.
SHUTDOWN_SECONDS = 2


@contextmanager
def held(folder: Path, busy: str, kept: str, is_private: bool = False) -> Iterator[None]:
    """Makes the folder, for this user alone where it is private, and keeps other servers out of it meanwhile.

    `busy` and `kept` are for the lines of the PacosErrors: who has it already, and what goes there.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if is_private:
                folder.chmod(0o700)
            lock = stack.enter_context(open(folder / ".lock", "a"))
            # The kernel drops the lock with the process, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PacosError(f"{folder}: {busy}.") from None
        except OSError as error:
            raise PacosError(f"{folder}: cannot be written ({error.strerror}); {kept} go there.") from None
        yield


def bind(host: str, port: int, host_name: str = "serve.host", port_name: str = "serve.port") -> socket.socket:
    """A bound socket that does not listen yet; port 0 takes a free one. PacosError where it cannot be had.

    The names are those of the settings that the host and port come from, for the error.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise PacosError(
            f"{host_name}: {host!r} is not an address of this machine ({error.strerror}); "
            "expected such as 127.0.0.1 or 0.0.0.0."
        ) from None
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Inherited by every connection: one whose reader takes nothing for so long is cut, with what it was sent.
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(SEND_SECONDS * 1000))
        bound.bind(address)
        # A bound port may still belong to a listener when both allow reuse; listening tells.
        bound.listen()
    except OSError as error:
        bound.close()
        raise PacosError(_bind_line(host, port, error, host_name, port_name)) from None
    return bound


def _bind_line(host: str, port: int, error: OSError, host_name: str, port_name: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{port_name}: {port} on {host} is in use by another program; stop it, or give 0 for a free one."
    if error.errno == errno.EACCES:
        return f"{port_name}: {port} needs administrator rights; give a port above 1023, such as 8000."
    return f"{host_name}: cannot listen on {host}:{port} ({error.strerror}); expected an address of this machine."


def address_of(bound: socket.socket) -> str:
    """The URL to open in a browser on this machine."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_ready()


def make_server(
    app: ASGIApp, on_ready: Callable[[], None] = lambda: None, proxies: Sequence[Network] = LOOPBACK
) -> uvicorn.Server:
    """A uvicorn server that calls `on_ready` once it answers; run it with `run(sockets=[bound])`.

    No access log is kept: it would hold addresses. A request from the `networks` of trusted proxies is their client's.
    """
    config = uvicorn.Config(
        ForwardedClients(app, proxies),
        log_level="warning",
        access_log=False,
        server_header=False,
        # uvicorn's own reading knows one header of three.
        proxy_headers=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        lifespan="on",
        # Whatever else is installed: another parser has other limits, and there are no web sockets here.
        http=GuardedProtocol,
        ws="none",
    )
    return _Server(config, on_ready)
