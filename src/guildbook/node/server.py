"""The HTTP server of a node: uvicorn, with bounds that it does not bring, and a stop that the node decides."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from guildbook.node.config import BadConfiguration, HttpConfig

BACKLOG_CONNECTIONS = 2_048


def bounded_protocol(config: HttpConfig) -> type[HttpToolsProtocol]:
    """Make uvicorn's protocol with a bound on the size of a request's head and on the time until it is complete.

    Without them one connection could hold memory for ever, or a thousand could hold a socket each by sending a byte
    now and then. A connection that breaks a bound is closed.
    """

    class BoundedProtocol(HttpToolsProtocol):
        _head_bytes = 0
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._cancel()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._head_bytes = 0
            if self._head_timer is None:
                self._expect_head()

        def on_url(self, url: bytes) -> None:
            self._grow(len(url))
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._grow(len(name) + len(value))
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._cancel()
            super().on_headers_complete()

        def _expect_head(self) -> None:
            self._head_timer = self.loop.call_later(config.header_timeout_s, self.transport.close)

        def _cancel(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _grow(self, size: int) -> None:
            self._head_bytes += size
            if self._head_bytes > config.header_size_bytes_max:
                raise ValueError("the head of the request is too large")  # the parser answers 400 and closes

    return BoundedProtocol


def listen(config: HttpConfig) -> socket.socket:
    """A socket that listens as ``config`` says; raises BadConfiguration when the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((config.host, config.port))
        made.listen(BACKLOG_CONNECTIONS)
    except OSError as error:
        made.close()
        raise BadConfiguration(
            f"cannot listen on {config.host}:{config.port}: {error.strerror or error}",
            "set http.port or http.host in guildbook.toml, or stop the other process",
            host=config.host,
            port=config.port,
        ) from None
    made.setblocking(False)
    return made


def url_of(bound: socket.socket) -> str:
    """The address of a listening socket as a client writes it."""
    host, port = bound.getsockname()[:2]
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"


class HttpServer(uvicorn.Server):
    """A server that leaves signals to the node."""

    def __init__(self, app: Any, config: HttpConfig) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=bounded_protocol(config),
                loop="uvloop",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=config.idle_timeout_s,
                timeout_graceful_shutdown=config.stop_timeout_s,
                backlog=BACKLOG_CONNECTIONS,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The node handles signals."""
        yield
