"""Asking the engine beside this node: its JSON-RPC interface, over a Unix socket or an address of this machine.

One instance serves one thread. It keeps its connection between questions and opens it again when it was lost.
"""

import base64
import http.client
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from guildbook.primitives.errors import GuildbookError

ANSWER_SIZE_BYTES_MAX = 256 << 20
TIMEOUT_S = 10.0

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class RpcRefused(Exception):
    """The engine answered, and refused: its own words."""


class Question(NamedTuple):
    """A method of the interface and its arguments."""

    method: str
    arguments: dict[str, Any]


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a socket file, reached by a short name whatever the length of its path."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("engine", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket; OSError when nobody listens."""
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(self.timeout)
            connection.connect(f"/proc/self/fd/{folder}/{self._path.name}")
        except BaseException:
            connection.close()
            raise
        finally:
            os.close(folder)
        self.sock = connection


class EngineRpc:
    """The interface at ``address``: the path of a socket file, or ``host:port``."""

    def __init__(self, address: str | Path, timeout_s: float = TIMEOUT_S) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, **arguments: Any) -> Any:
        """The result of one method. Raises RpcRefused, or GuildbookError ``engine.unreachable``."""
        (answer,) = self.ask_all([Question(method, arguments)])
        if isinstance(answer, RpcRefused):
            raise answer
        return answer

    def ask_all(self, questions: Sequence[Question]) -> list[Any]:
        """The results of several methods, in order, in one exchange; an RpcRefused in place of each that was refused.

        Raises GuildbookError ``engine.unreachable``.
        """
        body = _encode(
            [
                {"jsonrpc": "2.0", "id": number, "method": one.method, "params": one.arguments}
                for number, one in enumerate(questions)
            ]
        )
        try:
            answers = self._exchange(body)
        except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
            self.close()
            raise GuildbookError(
                "engine.unreachable",
                f"the engine at {self._address} does not answer: {str(error) or type(error).__name__}",
                hint="see whether its process runs, and its log",
            ) from None
        found: dict[int, Any] = {}
        for one in answers if isinstance(answers, list) else [answers]:
            if not isinstance(one, dict):
                continue
            refused = one.get("error")
            if isinstance(refused, dict):
                found[one.get("id", 0)] = RpcRefused(f"{refused.get('message')}: {refused.get('data')}")
            elif isinstance(one.get("result"), dict):
                found[one.get("id", 0)] = one["result"]
        return [found.get(number, RpcRefused("no answer")) for number in range(len(questions))]

    def _exchange(self, body: bytes) -> Any:
        headers = {"Content-Type": "application/json"}
        kept = self._connection is not None
        for again in (True, False):
            connection = self._connection
            if connection is None:
                connection = self._connection = self._connect()
            try:
                connection.request("POST", "/", body, headers)
                response = connection.getresponse()
                return _decode(response.read(ANSWER_SIZE_BYTES_MAX))
            except (OSError, http.client.HTTPException):
                self.close()
                if not (kept and again):  # a connection that was kept may have been closed by the other side
                    raise
        raise AssertionError("unreachable")

    def _connect(self) -> http.client.HTTPConnection:
        if isinstance(self._address, Path):
            return _SocketConnection(self._address, self._timeout_s)
        return http.client.HTTPConnection(self._address, timeout=self._timeout_s)

    def close(self) -> None:
        """Close the connection; the next question opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def base64_text(data: bytes) -> str:
    """``data`` as the interface takes bytes."""
    return base64.b64encode(data).decode()
